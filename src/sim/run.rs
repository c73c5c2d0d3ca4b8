//! Simulated devices over real sockets: one task each.

mod conversation;
mod improper;
mod runner;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use self::runner::Runner;
use super::ask::{Ask, AskId};
use super::info::Info;
use super::link::Security;
use super::report::{Counts, Reporter, Reports};
use super::spec::{Dialling, Spec};
use super::state::DeviceState;
use crate::device::{ConnectionMode, LinkKind};

/// Links that wait to be accepted by one device.
const BACKLOG: u32 = 64;

/// A running device. Dropping it stops the device.
#[derive(Debug)]
pub struct DeviceHandle {
    id: u32,
    info: Info,
    address: watch::Receiver<Option<SocketAddr>>,
    state: watch::Receiver<Arc<DeviceState>>,
    counts: watch::Receiver<Counts>,
    cut: Arc<Notify>,
    orders: mpsc::UnboundedSender<Order>,
    next_ask: AtomicU64,
    task: JoinHandle<()>,
}

/// Something that a device is told to ask.
#[derive(Debug)]
struct Order {
    id: AskId,
    ask: Ask,
}

/// Starts a device that the gateway dials. It has one link at a time: a new one ends the older.
/// To be called within a tokio runtime.
///
/// # Errors
/// When it cannot listen at `address`; port 0 takes any free one.
pub fn listen(spec: Spec, address: SocketAddr, reports: Reports) -> io::Result<DeviceHandle> {
    let listener = listener_at(address)?;
    let address = listener.local_addr()?;
    let mut state = first_state(&spec);
    state.ip.connection_mode = ConnectionMode::ServerToDevice;
    state.ip.port = address.port();
    state.ip.address = known(address.ip());
    let place = Place {
        own: address,
        dialling: None,
    };
    Ok(start(spec, state, place, Some(listener), reports))
}

/// Starts a device that dials the gateway, again and again. To be called within a tokio runtime.
pub fn dial(spec: Spec, dialling: Dialling, reports: Reports) -> DeviceHandle {
    let mut state = first_state(&spec);
    state.ip.connection_mode = ConnectionMode::DeviceToServer;
    state.ip.server = dialling.to.ip().to_string().into();
    match spec.security.kind() {
        LinkKind::Tls => state.ip.ssl_server_port = dialling.to.port(),
        LinkKind::Aes | LinkKind::Plain => state.ip.server_port = dialling.to.port(),
    }
    state.ip.address = dialling.from.and_then(known);
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let place = Place {
        own: SocketAddr::new(dialling.from.unwrap_or(unspecified), 0),
        dialling: Some(dialling),
    };
    start(spec, state, place, None, reports)
}

impl DeviceHandle {
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Where it listens now; `None` while it dials.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.borrow()
    }

    /// What it keeps now: what it began with, and what was written to it.
    pub fn state(&self) -> Arc<DeviceState> {
        self.state.borrow().clone()
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until its counts are so. `false` when the device has stopped before.
    pub async fn until(&self, are_so: impl FnMut(&Counts) -> bool) -> bool {
        self.counts.clone().wait_for(are_so).await.is_ok()
    }

    /// Waits until it keeps what is wanted. `false` when the device has stopped before.
    pub async fn until_state(&self, mut is_so: impl FnMut(&DeviceState) -> bool) -> bool {
        let mut state = self.state.clone();
        state.wait_for(|state| is_so(state)).await.is_ok()
    }

    /// Waits until it listens, and tells where. `None` when the device has stopped before.
    pub async fn until_listening(&self) -> Option<SocketAddr> {
        let mut address = self.address.clone();
        let address = address.wait_for(Option::is_some).await;
        address.ok().and_then(|address| *address)
    }

    /// Lets it ask this as soon as it is admitted. What comes of it is told as
    /// [`Event::Answered`](super::report::Event::Answered) with this name, values of a stream as
    /// [`Event::Pushed`](super::report::Event::Pushed).
    pub fn ask(&self, ask: Ask) -> AskId {
        let id = AskId(self.next_ask.fetch_add(1, Ordering::Relaxed));
        // A device that has stopped asks nothing.
        let _ = self.orders.send(Order { id, ask });
        id
    }

    /// What others on its network can learn of it.
    pub(super) fn neighbour(&self) -> Neighbour {
        Neighbour {
            info: self.info.clone(),
            state: self.state.clone(),
        }
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

/// A device as its network sees it. It does not keep the device alive.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) info: Info,
    pub(super) state: watch::Receiver<Arc<DeviceState>>,
}

/// Where a device is, whichever way its links come about.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where it listens when no other port is written; port 0: any free one.
    own: SocketAddr,
    /// How it dials, if that is how it began.
    dialling: Option<Dialling>,
}

/// What the device keeps when it is switched on for the first time.
fn first_state(spec: &Spec) -> DeviceState {
    let mut state = spec.state.clone();
    match &spec.security {
        Security::Plain => {
            state.key = None;
            state.ssl.enabled = false;
        }
        Security::Aes(key) => {
            state.key = Some(key.clone());
            state.ssl.enabled = false;
        }
        Security::Tls(tls) => {
            state.ssl.enabled = true;
            state.ssl.root = Some(tls.root().clone());
        }
    }
    state
}

fn start(
    spec: Spec,
    state: DeviceState,
    place: Place,
    listener: Option<TcpListener>,
    reports: Reports,
) -> DeviceHandle {
    let (id, info) = (spec.id, spec.device.info.clone());
    let (reporter, counts) = Reporter::new(id, reports);
    let cut = Arc::new(Notify::new());
    let listens_at = listener.is_some().then_some(place.own);
    let (address, seen_address) = watch::channel(listens_at);
    let (state, seen_state) = watch::channel(Arc::new(state));
    let (orders, to_ask) = mpsc::unbounded_channel();
    let next_ask = AtomicU64::new(spec.device.subscriptions.len() as u64);
    let runner = Runner::new(spec, place, reporter, cut.clone(), to_ask, address, state);
    DeviceHandle {
        id,
        info,
        address: seen_address,
        state: seen_state,
        counts,
        cut,
        orders,
        next_ask,
        task: tokio::spawn(async move { runner.run(listener).await }),
    }
}

fn listener_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_of(address)?;
    // A device that was stopped a moment ago can have its port back.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn socket_of(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

/// The address as a device can tell it, if it is one.
fn known(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}
