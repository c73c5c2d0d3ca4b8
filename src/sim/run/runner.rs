//! The task of a device: it listens or dials, as it was told last.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::conversation::PATIENCE;
use super::{Order, Place, known, listener_at, socket_of};
use crate::sim::ip_config::Stance;
use crate::sim::link::{Role, Security};
use crate::sim::report::{Event, Reporter};
use crate::sim::spec::Spec;
use crate::sim::state::DeviceState;
use crate::sim::tls::{Tls, TlsError};

/// The pause after a failed accept, which means that the process has no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) const CUT: &str = "cut off by the simulator";
pub(super) const REPLACED: &str = "a newer link was accepted";

/// What the task of a device knows.
pub(super) struct Runner {
    pub(super) spec: Spec,
    pub(super) reporter: Reporter,
    place: Place,
    cut: Arc<Notify>,
    /// What it is to ask. Locked by its conversation alone: it has one at a time.
    orders: AsyncMutex<mpsc::UnboundedReceiver<Order>>,
    address: watch::Sender<Option<SocketAddr>>,
    state: watch::Sender<Arc<DeviceState>>,
    /// Its own address as its first link had it.
    local: OnceLock<IpAddr>,
    /// Made once for each root that it is given, so that sessions can be resumed.
    tls: Mutex<Option<Tls>>,
}

impl Runner {
    pub(super) fn new(
        spec: Spec,
        place: Place,
        reporter: Reporter,
        cut: Arc<Notify>,
        orders: mpsc::UnboundedReceiver<Order>,
        address: watch::Sender<Option<SocketAddr>>,
        state: watch::Sender<Arc<DeviceState>>,
    ) -> Self {
        let tls = match &spec.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::Aes(_) | Security::Plain => None,
        };
        Self {
            spec,
            reporter,
            place,
            cut,
            orders: AsyncMutex::new(orders),
            address,
            state,
            local: OnceLock::new(),
            tls: Mutex::new(tls),
        }
    }

    /// Never returns. `listener`: what it listens with at first.
    pub(super) async fn run(&self, mut listener: Option<TcpListener>) {
        let mut rng = SmallRng::seed_from_u64(self.spec.seed);
        let mut links = 0;
        loop {
            match self.stance() {
                Stance::Dials { .. } => self.dial_for_long(&mut rng, &mut links).await,
                Stance::Listens(port) => {
                    let found = match listener.take() {
                        Some(first) => Ok(first),
                        None => self.listen_again(port),
                    };
                    match found {
                        Ok(listener) => self.accept_for_long(listener, &mut links).await,
                        Err(error) => {
                            let why = format!("cannot listen at port {port}: {error}");
                            self.reporter.tell(Event::Unreachable(why));
                            self.pause(&mut rng).await;
                        }
                    }
                    self.address.send_replace(None);
                }
            }
        }
    }

    /// Accepts until the device is told to be elsewhere and its link has ended.
    async fn accept_for_long(&self, listener: TcpListener, links: &mut u64) {
        let stance = self.stance();
        let mut link = pin!(Fuse::terminated());
        while !link.is_terminated() || self.stance() == stance {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if !link.is_terminated() {
                            link.set(Fuse::terminated());
                            self.tell_ended(REPLACED);
                        }
                        // The newer link comes to a device that is leaving.
                        if self.stance() != stance {
                            return;
                        }
                        *links += 1;
                        link.set(self.lead(stream, Role::Accepted, *links).fuse());
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

    /// Dials until the device is told to be elsewhere and its link has ended.
    async fn dial_for_long(&self, rng: &mut SmallRng, links: &mut u64) {
        let stance = self.stance();
        loop {
            match self.dial_once(&stance).await {
                Err(error) => self.reporter.tell(Event::Unreachable(error.to_string())),
                Ok(stream) => {
                    *links += 1;
                    tokio::select! {
                        () = self.lead(stream, Role::Dialled, *links) => {}
                        () = self.cut.notified() => self.tell_ended(CUT),
                    }
                }
            }
            if self.stance() != stance {
                return;
            }
            self.pause(rng).await;
        }
    }

    async fn dial_once(&self, stance: &Stance) -> io::Result<TcpStream> {
        let from = self.place.dialling.and_then(|dialling| dialling.from);
        let to = self.server_of(stance, from).await?;
        let socket = socket_of(to)?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        match timeout(PATIENCE, socket.connect(to)).await {
            Ok(stream) => stream,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answered")),
        }
    }

    /// The server's address, of the same family as the one that is dialled from.
    async fn server_of(&self, stance: &Stance, from: Option<IpAddr>) -> io::Result<SocketAddr> {
        let Stance::Dials {
            server,
            port,
            ssl_port,
        } = stance
        else {
            return Err(io::Error::other("the device is to listen"));
        };
        let is_tls = self.state.borrow().ssl.enabled;
        let port = if is_tls { *ssl_port } else { *port };
        let fits = |to: &SocketAddr| from.is_none_or(|from| from.is_ipv4() == to.is_ipv4());
        let found = lookup_host((&**server, port)).await?.find(fits);
        found.ok_or_else(|| io::Error::other(format!("{server} has no address to dial")))
    }

    /// Listens where it was told to, or else where it did before.
    fn listen_again(&self, port: u16) -> io::Result<TcpListener> {
        let own = self.place.own;
        let is_known = !own.ip().is_unspecified();
        let ip = self.local.get().filter(|_| !is_known);
        let port = if port == 0 { own.port() } else { port };
        let at = SocketAddr::new(*ip.unwrap_or(&own.ip()), port);
        let listener = listener_at(at)?;
        let at = listener.local_addr()?;
        self.state
            .send_modify(|state| Arc::make_mut(state).ip.port = at.port());
        self.address.send_replace(Some(at));
        self.reporter.tell(Event::Listens(at));
        Ok(listener)
    }

    async fn pause(&self, rng: &mut SmallRng) {
        let dialling = self.place.dialling;
        let redial = dialling.map_or(self.spec.redial, |dialling| dialling.redial);
        sleep(redial.mul_f64(rng.random_range(0.5..1.5))).await;
    }

    fn stance(&self) -> Stance {
        self.state.borrow().ip.stance()
    }

    pub(super) fn state(&self) -> Arc<DeviceState> {
        self.state.borrow().clone()
    }

    /// Keeps what the device has, if that is something else than before.
    pub(super) fn keep(&self, state: &Arc<DeviceState>) {
        self.state.send_if_modified(|kept| {
            let is_new = !Arc::ptr_eq(kept, state);
            if is_new {
                *kept = state.clone();
            }
            is_new
        });
    }

    /// Learns its own address from a link, if it does not know it.
    pub(super) fn learn(&self, local: SocketAddr) {
        let local = *self.local.get_or_init(|| local.ip());
        self.state.send_if_modified(|state| {
            let is_new = state.ip.address.is_none() && known(local).is_some();
            if is_new {
                Arc::make_mut(state).ip.address = known(local);
            }
            is_new
        });
    }

    /// What is to secure the next link.
    ///
    /// # Errors
    /// When tls is enabled and cannot be had with what the device has.
    pub(super) fn security(&self) -> Result<Security, TlsError> {
        let state = self.state();
        match (&state.key, &state.ssl.root) {
            (_, Some(root)) if state.ssl.enabled => self.tls(root).map(Security::Tls),
            (Some(key), _) => Ok(Security::Aes(key.clone())),
            (None, _) => Ok(Security::Plain),
        }
    }

    fn tls(&self, root: &Arc<str>) -> Result<Tls, TlsError> {
        let mut kept = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = kept.as_ref().filter(|tls| tls.root() == root) {
            return Ok(tls.clone());
        }
        let tls = Tls::new(root, &self.spec.tls)?;
        *kept = Some(tls.clone());
        Ok(tls)
    }

    /// The next thing that it is told to ask. Nothing is lost if the future is dropped.
    pub(super) async fn next_order(&self) -> Order {
        match self.orders.lock().await.recv().await {
            Some(order) => order,
            // Nobody is left to tell it, and it is about to be stopped.
            None => std::future::pending().await,
        }
    }

    fn tell_ended(&self, why: &str) {
        self.reporter.tell(Event::Ended(why.to_owned()));
    }
}
