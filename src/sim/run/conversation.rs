//! One TCP connection of a device, from its beginning to its end.

use std::io;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::runner::Runner;
use super::{Order, improper};
use crate::clock;
use crate::sim::device::{self, Behaviour, Device, Output};
use crate::sim::link::{Link, LinkError, Role, Security};
use crate::sim::report::Event;
use crate::time::Instant;

/// How long a device waits for the TCP connection, and again for the handshake of its link.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const CLOSED: &str = "the gateway closed the link";

impl Runner {
    /// Leads one TCP connection, its `n`-th, from its beginning to its end.
    pub(super) async fn lead(&self, stream: TcpStream, role: Role, n: u64) {
        self.reporter.tell(Event::Opened);
        let seed = self.spec.seed.wrapping_add(n << 32);
        let why = match self.lead_with(stream, role, seed).await {
            Ok(why) => why,
            Err(error) => error.to_string(),
        };
        self.reporter.tell(Event::Ended(why));
    }

    async fn lead_with(&self, stream: TcpStream, role: Role, seed: u64) -> io::Result<String> {
        // Its frames are small and each of them is waited for.
        stream.set_nodelay(true)?;
        self.learn(stream.local_addr()?);
        let security = match self.security() {
            Ok(security) => security,
            Err(error) => return Ok(format!("no link can be made: {error}")),
        };
        if let Some(bytes) = improper::first_bytes(&self.spec, &security, role, seed) {
            return Ok(improper::say_and_wait(stream, &bytes).await);
        }
        let opening = async {
            if self.spec.websocket && role == Role::Dialled {
                Link::open_websocket(stream, &security).await
            } else {
                Link::open(stream, &security, role).await
            }
        };
        let opened = timeout(PATIENCE, opening).await;
        Ok(match opened {
            Err(_) => "the handshake was not finished in time".to_owned(),
            Ok(Err(error)) => format!("no link came about: {error}"),
            Ok(Ok(link)) => {
                self.reporter.tell(Event::Linked(link.kind()));
                self.converse(link, self.device(&security, seed)).await
            }
        })
    }

    /// The device at the beginning of a conversation.
    fn device(&self, security: &Security, seed: u64) -> Device {
        let mut config = self.spec.device.clone();
        if let Some(mean) = self.spec.churn {
            let mut rng = SmallRng::seed_from_u64(seed);
            config.behaviour = Behaviour::Churn(exponential(mean, rng.random()));
        }
        let lacking = self.spec.lacking.clone();
        Device::with_state(config, lacking, security.kind(), self.state())
    }

    async fn converse(&self, mut link: Link, mut device: Device) -> String {
        let mut why = CLOSED.to_owned();
        let mut broken = None;
        loop {
            self.keep(device.state());
            while let Some(output) = device.poll_output() {
                match output {
                    Output::Send(bytes) => {
                        if let Err(error) = link.write(&bytes).await {
                            broken.get_or_insert(error);
                            device.handle_closed();
                        }
                    }
                    Output::Report(event) => why = self.report(event).unwrap_or(why),
                    Output::Close => {
                        link.close().await;
                        return why;
                    }
                }
            }
            match broken {
                Some(LinkError::Closed) => return why,
                Some(error) => return error.to_string(),
                None => broken = self.step(&mut link, &mut device).await.err(),
            }
        }
    }

    /// Waits for bytes, for the device's deadline or for what it is to ask, whichever is first,
    /// and lets the device have it.
    async fn step(&self, link: &mut Link, device: &mut Device) -> Result<(), LinkError> {
        // Made anew each time, so that an idle device keeps no buffer.
        let mut received = Vec::new();
        let mut order = None;
        let result = tokio::select! {
            result = link.read(&mut received) => result,
            () = at(device.poll_timeout()) => Ok(()),
            next = self.next_order(), if device.is_up() => {
                order = Some(next);
                Ok(())
            }
        };
        let now = clock::now().instant;
        device.handle_bytes(&received, now);
        device.handle_timeout(now);
        if let Some(Order { id, ask }) = order {
            device.ask(id, &ask, now);
            // What it leads to may be due at once.
            device.handle_timeout(now);
        }
        if result.is_err() {
            device.handle_closed();
        }
        result
    }

    /// Passes an event of the conversation on; answers with why the link ends, if it does.
    fn report(&self, event: device::Event) -> Option<String> {
        let (event, why) = match event {
            device::Event::Admitted => (Event::Admitted, None),
            device::Event::Described => (Event::Described, None),
            device::Event::Written(resource) => (Event::Written(resource), None),
            device::Event::StreamStarted {
                id,
                resource,
                interval,
            } => {
                let event = Event::StreamStarted {
                    id,
                    resource,
                    interval,
                };
                (event, None)
            }
            device::Event::StreamRefused { id } => (Event::StreamRefused(id), None),
            device::Event::StreamStopped { id } => (Event::StreamStopped(id), None),
            device::Event::Answered { ask, answer } => (Event::Answered { ask, answer }, None),
            device::Event::Pushed { ask, value } => (Event::Pushed { ask, value }, None),
            device::Event::Refused(why) => (Event::Refused(why), Some("refused".to_owned())),
            device::Event::Disconnected(why) => return Some(why),
        };
        self.reporter.tell(event);
        why
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(clock::deadline(deadline)).await,
        None => std::future::pending().await,
    }
}

/// A time with this mean; `uniform` is drawn from 0 to 1.
pub(super) fn exponential(mean: Duration, uniform: f64) -> Duration {
    // The largest factor is that of the smallest step of `uniform`, about 37.
    let factor = -(1.0 - uniform).max(f64::EPSILON).ln();
    Duration::try_from_secs_f64(mean.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
