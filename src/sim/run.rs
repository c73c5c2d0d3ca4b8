//! Simulated devices over real sockets: one task each.

mod improper;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::device::{self, Behaviour, Device, Output};
use super::link::{Link, LinkError, Role};
use super::report::{Counts, Event, Reporter, Reports};
use super::spec::{Dialling, Spec};
use crate::clock;
use crate::time::Instant;

/// How long a device waits for the TCP connection, and again for the handshake of its link.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which means that the process has no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Links that wait to be accepted by one device.
const BACKLOG: u32 = 64;

const CUT: &str = "cut off by the simulator";
const REPLACED: &str = "a newer link was accepted";
const CLOSED: &str = "the gateway closed the link";

/// A running device. Dropping it stops the device.
#[derive(Debug)]
pub struct DeviceHandle {
    id: u32,
    address: Option<SocketAddr>,
    counts: watch::Receiver<Counts>,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Starts a device that the gateway dials. It has one link at a time: a new one ends the older.
/// To be called within a tokio runtime.
///
/// # Errors
/// When it cannot listen at `address`; port 0 takes any free one.
pub fn listen(spec: Spec, address: SocketAddr, reports: Reports) -> io::Result<DeviceHandle> {
    let socket = socket_of(address)?;
    // A device that was stopped a moment ago can have its port back.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok(start(spec, reports, Some(address), |runner| {
        tokio::spawn(async move { runner.accept_for_ever(listener).await })
    }))
}

/// Starts a device that dials the gateway, again and again. To be called within a tokio runtime.
pub fn dial(spec: Spec, dialling: Dialling, reports: Reports) -> DeviceHandle {
    start(spec, reports, None, |runner| {
        tokio::spawn(async move { runner.dial_for_ever(dialling).await })
    })
}

impl DeviceHandle {
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Where it listens; `None` for one that dials.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until its counts are so. `false` when the device has stopped before.
    pub async fn until(&self, are_so: impl FnMut(&Counts) -> bool) -> bool {
        self.counts.clone().wait_for(are_so).await.is_ok()
    }

    /// Drops the TCP connection, if there is one, without a word. The device goes on.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Begins to end the device.
    pub(super) fn abort(&self) {
        self.task.abort();
    }

    /// Ends the device and waits until its sockets are closed.
    pub async fn stop(mut self) {
        self.abort();
        // An error says that it was aborted, which is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        self.abort();
    }
}

fn start(
    spec: Spec,
    reports: Reports,
    address: Option<SocketAddr>,
    spawn: impl FnOnce(Runner) -> JoinHandle<()>,
) -> DeviceHandle {
    let id = spec.id;
    let (reporter, counts) = Reporter::new(id, reports);
    let cut = Arc::new(Notify::new());
    let runner = Runner {
        spec,
        reporter,
        cut: cut.clone(),
    };
    DeviceHandle {
        id,
        address,
        counts,
        cut,
        task: spawn(runner),
    }
}

fn socket_of(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

/// What the task of a device knows.
struct Runner {
    spec: Spec,
    reporter: Reporter,
    cut: Arc<Notify>,
}

impl Runner {
    async fn accept_for_ever(&self, listener: TcpListener) {
        let mut links = 0;
        let mut link = pin!(Fuse::terminated());
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if !link.is_terminated() {
                            link.set(Fuse::terminated());
                            self.tell_ended(REPLACED);
                        }
                        links += 1;
                        link.set(self.lead(stream, Role::Accepted, links).fuse());
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                () = &mut link => {}
                () = self.cut.notified() => if !link.is_terminated() {
                    link.set(Fuse::terminated());
                    self.tell_ended(CUT);
                }
            }
        }
    }

    async fn dial_for_ever(&self, dialling: Dialling) {
        let mut rng = SmallRng::seed_from_u64(self.spec.seed);
        for links in 1.. {
            match dial_once(dialling).await {
                Err(error) => self.reporter.tell(Event::Unreachable(error.to_string())),
                Ok(stream) => tokio::select! {
                    () = self.lead(stream, Role::Dialled, links) => {}
                    () = self.cut.notified() => self.tell_ended(CUT),
                },
            }
            sleep(dialling.redial.mul_f64(rng.random_range(0.5..1.5))).await;
        }
    }

    fn tell_ended(&self, why: &str) {
        self.reporter.tell(Event::Ended(why.to_owned()));
    }

    /// Leads one TCP connection, its `n`-th, from its beginning to its end.
    async fn lead(&self, stream: TcpStream, role: Role, n: u64) {
        self.reporter.tell(Event::Opened);
        let seed = self.spec.seed.wrapping_add(n << 32);
        let why = match improper::first_bytes(&self.spec, role, seed) {
            None => self.open_and_converse(stream, role, seed).await,
            Some(bytes) => improper::say_and_wait(stream, &bytes).await,
        };
        self.reporter.tell(Event::Ended(why));
    }

    async fn open_and_converse(&self, stream: TcpStream, role: Role, seed: u64) -> String {
        // Its frames are small and each of them is waited for.
        if let Err(error) = stream.set_nodelay(true) {
            return error.to_string();
        }
        match timeout(PATIENCE, Link::open(stream, &self.spec.security, role)).await {
            Err(_) => "the handshake was not finished in time".to_owned(),
            Ok(Err(error)) => format!("no link came about: {error}"),
            Ok(Ok(link)) => self.converse(link, self.device(seed)).await,
        }
    }

    /// The device at the beginning of a conversation.
    fn device(&self, seed: u64) -> Device {
        let mut config = self.spec.device.clone();
        if let Some(mean) = self.spec.churn {
            let mut rng = SmallRng::seed_from_u64(seed);
            config.behaviour = Behaviour::Churn(exponential(mean, rng.random()));
        }
        Device::new(config)
    }

    async fn converse(&self, mut link: Link, mut device: Device) -> String {
        let mut why = CLOSED.to_owned();
        let mut broken = None;
        loop {
            while let Some(output) = device.poll_output() {
                match output {
                    Output::Send(bytes) => {
                        if let Err(error) = link.write(&bytes).await {
                            broken.get_or_insert(error);
                            device.handle_closed();
                        }
                    }
                    Output::Report(event) => why = self.report(event).unwrap_or(why),
                    Output::Close => return why,
                }
            }
            match broken {
                Some(LinkError::Closed) => return why,
                Some(error) => return error.to_string(),
                None => broken = step(&mut link, &mut device).await.err(),
            }
        }
    }

    /// Passes an event of the conversation on; answers with why the link ends, if it does.
    fn report(&self, event: device::Event) -> Option<String> {
        let (event, why) = match event {
            device::Event::Admitted => (Event::Admitted, None),
            device::Event::Described => (Event::Described, None),
            device::Event::Refused(why) => (Event::Refused(why), Some("refused".to_owned())),
            device::Event::Disconnected(why) => return Some(why),
        };
        self.reporter.tell(event);
        why
    }
}

/// Waits for bytes or for the device's deadline, whichever is first, and lets the device have it.
async fn step(link: &mut Link, device: &mut Device) -> Result<(), LinkError> {
    // Made anew each time, so that an idle device keeps no buffer.
    let mut received = Vec::new();
    let result = tokio::select! {
        result = link.read(&mut received) => result,
        () = at(device.poll_timeout()) => Ok(()),
    };
    let now = clock::now().instant;
    device.handle_bytes(&received, now);
    device.handle_timeout(now);
    if result.is_err() {
        device.handle_closed();
    }
    result
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(clock::deadline(deadline)).await,
        None => std::future::pending().await,
    }
}

async fn dial_once(dialling: Dialling) -> io::Result<TcpStream> {
    let socket = socket_of(dialling.to)?;
    if let Some(from) = dialling.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    match timeout(PATIENCE, socket.connect(dialling.to)).await {
        Ok(stream) => stream,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answered")),
    }
}

/// A time with this mean; `uniform` is drawn from 0 to 1.
fn exponential(mean: Duration, uniform: f64) -> Duration {
    // The largest factor is that of the smallest step of `uniform`, about 37.
    let factor = -(1.0 - uniform).max(f64::EPSILON).ln();
    Duration::try_from_secs_f64(mean.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
