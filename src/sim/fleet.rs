//! Many simulated devices in one process.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::report::{Counts, Reports, Tally};
use super::run::{self, DeviceHandle};
use super::search::Responder;
use super::spec::{Dialling, Spec};

/// Devices that were started together. Dropping it stops them all.
#[derive(Debug)]
pub struct Fleet {
    reports: Reports,
    pace: Pace,
    devices: Vec<DeviceHandle>,
    responder: Option<Responder>,
}

/// Where a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The gateway dials it here; port 0 takes any free one.
    Listens(SocketAddr),
    Dials(Dialling),
}

/// As the words after "cannot".
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listens(address) => write!(f, "listen at {address}"),
            Self::Dials(dialling) => write!(f, "dial {}", dialling.to),
        }
    }
}

impl Fleet {
    /// A fleet without devices, which tells everything to `reports` and starts at most `rate`
    /// devices a second.
    pub fn new(reports: Reports, rate: Option<NonZeroU32>) -> Self {
        Self {
            reports,
            pace: Pace { rate, next: None },
            devices: Vec::new(),
            responder: None,
        }
    }

    /// Lets the devices be found by a search, those that are there and those to come.
    pub fn answer_searches(&mut self, responder: Responder) {
        self.devices.iter().for_each(|device| responder.add(device));
        self.responder = Some(responder);
    }

    /// Starts one more device, as soon as the rate allows.
    ///
    /// # Errors
    /// When it cannot listen where it should.
    pub async fn start(&mut self, spec: Spec, place: Place) -> io::Result<()> {
        let now = Instant::now();
        let due = self.pace.next(now);
        // A timer that is due at once still takes a millisecond.
        if due > now {
            sleep_until(due).await;
        }
        let reports = self.reports.clone();
        let device = match place {
            Place::Listens(address) => run::listen(spec, address, reports)?,
            Place::Dials(dialling) => run::dial(spec, dialling, reports),
        };
        if let Some(responder) = &self.responder {
            responder.add(&device);
        }
        let (id, address) = (device.id(), device.address());
        self.devices.push(device);
        if let Some(address) = address {
            self.reports.tell_address(id, address).await;
        }
        Ok(())
    }

    pub fn devices(&self) -> &[DeviceHandle] {
        &self.devices
    }

    /// The counts of all devices together.
    pub fn counts(&self) -> Counts {
        self.devices.iter().map(DeviceHandle::counts).sum()
    }

    pub fn tally(&self) -> Tally {
        self.reports.tally()
    }

    /// Ends all devices and waits until their sockets are closed.
    pub async fn stop(self) {
        self.devices.iter().for_each(DeviceHandle::abort);
        for device in self.devices {
            device.stop().await;
        }
    }
}

/// Spaces starts evenly.
#[derive(Debug)]
struct Pace {
    rate: Option<NonZeroU32>,
    next: Option<Instant>,
}

impl Pace {
    /// When the next device may start.
    fn next(&mut self, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        let due = self.next.unwrap_or(now);
        self.next = Some(due + Duration::from_secs(1) / rate.get());
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::super::link::Security;
    use super::super::report::Event;
    use super::*;

    #[tokio::test]
    async fn every_address_is_told_however_slow_the_reader() {
        let (channel, mut reports) = mpsc::channel(1);
        let mut fleet = Fleet::new(Reports::to(channel), None);
        let start = async {
            for id in 1..=3 {
                let free = Place::Listens(([127, 0, 0, 1], 0).into());
                let spec = Spec::new(id, Security::Plain);
                fleet.start(spec, free).await.unwrap();
            }
        };
        let read = async {
            let mut told = Vec::new();
            while told.len() < 3 {
                told.push(reports.recv().await.unwrap());
            }
            told
        };
        // It only keeps a broken run from hanging.
        let both = timeout(Duration::from_secs(60), async { tokio::join!(start, read) });
        let ((), told) = both.await.expect("an address was not told");
        for (report, device) in told.iter().zip(fleet.devices()) {
            assert_eq!(report.device, device.id());
            assert_eq!(report.event, Event::Listens(device.address().unwrap()));
        }
        assert_eq!(fleet.counts(), Counts::default());
        fleet.stop().await;
        assert!(reports.recv().await.is_none());
    }

    #[test]
    fn starts_are_spaced_evenly() {
        let now = Instant::now();
        let mut pace = Pace {
            rate: NonZeroU32::new(10),
            next: None,
        };
        let due: Vec<Instant> = (0..=20).map(|_| pace.next(now)).collect();
        assert_eq!(due[0], now);
        assert_eq!(due[20] - now, Duration::from_secs(2));
        let mut unpaced = Pace {
            rate: None,
            next: None,
        };
        assert_eq!((unpaced.next(now), unpaced.next(now)), (now, now));
    }
}
