//! A storm: all devices of a fleet are gone at once, and come back at once. What is looked at is
//! who stands by.

use std::cell::Cell;
use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::fleet::{Fleet, Proof};
use super::quantiles::Quantiles;
use super::ramp;
use super::status::Bystander;
use super::subject::Subject;

/// As many devices a second as a process can start.
const AT_ONCE: u32 = 1_000_000;
/// How often is looked, so that looking takes no processor time worth mentioning.
const LOOK: Duration = Duration::from_millis(5);
/// Within which they must all be gone, or back.
const PATIENCE: Duration = Duration::from_secs(60);

/// What storms do to a device that has nothing to do with them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Storm {
    pub(super) devices: u32,
    /// The same bystander while all of them are connected and say nothing.
    pub(super) idle: Quantiles,
    pub(super) idle_closes: usize,
    /// The devices lose their power: they come back without tickets.
    pub(super) anew: Blow,
    /// The gateway ends all sessions: the devices resume them.
    pub(super) resumed: Blow,
}

/// One storm.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Blow {
    /// From the cut until none is told as connected.
    pub(super) gone_ms: f64,
    /// From when they may come back until all are connected.
    pub(super) back_ms: f64,
    /// How often the bystander closed its socket meanwhile.
    pub(super) closes: usize,
    pub(super) bystander: Quantiles,
}

/// The devices of the storm, which the gateway knows.
pub(super) struct Devices<'a> {
    pub(super) subject: &'a Subject,
    pub(super) proof: &'a Proof,
    pub(super) first_id: u32,
    pub(super) count: u32,
}

/// What happens to a fleet. It ends connected again.
enum Cause {
    PowerLoss,
    Disconnect,
}

/// Two storms over the devices, and before them the same look at a calm gateway.
///
/// # Errors
/// When a device or a change does not come.
pub(super) async fn measure(
    devices: &Devices<'_>,
    bystander: &mut Bystander,
    closes: usize,
) -> Result<Storm, Box<dyn Error>> {
    let mut fleet = devices.start()?;
    devices.until_back().await?;
    let settled = || devices.subject.is_settled();
    ramp::until("the sessions settled", settled).await?;
    let mut idle = Vec::with_capacity(closes);
    for _ in 0..closes {
        idle.push(bystander.close_one().await?);
    }
    let anew = devices
        .storm(&mut fleet, Cause::PowerLoss, bystander)
        .await?;
    ramp::until("the sessions settled", settled).await?;
    let resumed = devices
        .storm(&mut fleet, Cause::Disconnect, bystander)
        .await?;
    Ok(Storm {
        devices: devices.count,
        idle: Quantiles::of(idle),
        idle_closes: closes,
        anew,
        resumed,
    })
}

impl Devices<'_> {
    /// One storm, while the bystander closes its socket again and again.
    async fn storm(
        &self,
        fleet: &mut Fleet,
        cause: Cause,
        bystander: &mut Bystander,
    ) -> Result<Blow, Box<dyn Error>> {
        let over = Cell::new(false);
        let standing_by = async {
            let mut taken = Vec::new();
            while !over.get() {
                taken.push(bystander.close_one().await?);
            }
            Ok::<_, Box<dyn Error>>(taken)
        };
        let blowing = async {
            let times = self.blow(fleet, cause).await?;
            over.set(true);
            Ok(times)
        };
        let (taken, (gone, back)) = tokio::try_join!(standing_by, blowing)?;
        Ok(Blow {
            gone_ms: gone.as_secs_f64() * 1e3,
            back_ms: back.as_secs_f64() * 1e3,
            closes: taken.len(),
            bystander: Quantiles::of(taken),
        })
    }

    /// How long it took until all were gone, and then until all were back.
    async fn blow(
        &self,
        fleet: &mut Fleet,
        cause: Cause,
    ) -> Result<(Duration, Duration), Box<dyn Error>> {
        let cut = Instant::now();
        match cause {
            Cause::PowerLoss => fleet.cut()?,
            Cause::Disconnect => {
                fleet.pause()?;
                let ids = self.first_id..self.first_id + self.count;
                self.subject.disconnect(ids).await?;
            }
        }
        self.until(0).await?;
        let gone = cut.elapsed();
        let may_come = Instant::now();
        match cause {
            Cause::PowerLoss => *fleet = self.start()?,
            Cause::Disconnect => fleet.go_on()?,
        }
        self.until_back().await?;
        Ok((gone, may_come.elapsed()))
    }

    fn start(&self) -> Result<Fleet, Box<dyn Error>> {
        let to = self.subject.address(self.proof)?;
        let fleet = Fleet::start(to, self.proof, self.first_id, self.count, AT_ONCE)?;
        Ok(fleet)
    }

    async fn until_back(&self) -> Result<(), Box<dyn Error>> {
        self.until(self.count as usize).await
    }

    /// Waits until so many of them are connected.
    async fn until(&self, wanted: usize) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        loop {
            let is_possible = self.subject.connected() >= wanted;
            if is_possible && self.subject.connected_from(self.first_id) == wanted {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                let connected = self.subject.connected_from(self.first_id);
                let what = format!("{connected} devices are connected and not {wanted}");
                return Err(format!("after {PATIENCE:?} of the storm {what}").into());
            }
            sleep(LOOK).await;
        }
    }
}
