//! The gRPC server: TLS always, one slow or silent peer hinders nobody, and it stops when told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::Gauge;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

use crate::callers::accept::{Acceptor, Newcomer, Places};
use crate::callers::connection::{Connection, SecureError, Speaks};
use crate::callers::peer::Peer;
use crate::grpc::routes::Routes;
use crate::grpc::stop::{Stop, Stopper};

/// The largest request by default, in bytes: 72 MiB, as clients of the Connect API expect.
pub const MESSAGE_SIZE_MAX: usize = 75_497_472;

/// Connections whose handshake is done and that tonic has not taken yet.
const READY_MAX: usize = 16;

/// What tonic reads and writes.
type Secured = Connection<TlsStream<TcpStream>>;

/// How to serve.
#[derive(Clone)]
pub struct Settings {
    /// Read at each handshake, so that a new certificate counts from the next connection on. Must
    /// offer the ALPN protocol `h2`.
    pub tls: Arc<ArcSwap<ServerConfig>>,
    /// The largest request, in bytes.
    pub message_size_max: usize,
    /// Clients connected at once, those in the handshake included; one more is closed at once.
    pub connections_max: usize,
    /// Handshakes in progress; one more waits in the backlog of the listening socket.
    pub handshakes_max: usize,
    /// Within which a handshake must end.
    pub handshake_deadline: Duration,
    /// Calls in progress on one connection.
    pub streams_max: u32,
    /// After this long without a sign of life a client is pinged.
    pub keep_alive_interval: Duration,
    /// Within which it must answer the ping.
    pub keep_alive_timeout: Duration,
    /// How long calls may still take after a stop; then they are cut.
    pub stop_deadline: Duration,
    /// Told how many clients are connected, those in the handshake included.
    pub connected: Gauge,
}

impl Settings {
    /// The defaults, where they do not depend on the installation.
    pub fn new(tls: Arc<ArcSwap<ServerConfig>>) -> Self {
        Self {
            tls,
            message_size_max: MESSAGE_SIZE_MAX,
            connections_max: 1024,
            handshakes_max: 256,
            handshake_deadline: Duration::from_secs(10),
            streams_max: 256,
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
            stop_deadline: Duration::from_secs(5),
            connected: Gauge::noop(),
        }
    }
}

/// A running server. Dropping it cuts every connection at once.
#[derive(Debug)]
pub struct Server {
    stop_deadline: Duration,
    /// Ends streams and the accept loop.
    stopper: Stopper,
    /// Dropped, it cuts the connections.
    cutter: DropGuard,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    /// Serves who connects to `listener`. `stopper` belongs to the [`Stop`] that the services'
    /// streams hear.
    pub fn start(
        listener: TcpListener,
        settings: Settings,
        routes: Routes,
        stopper: Stopper,
    ) -> Self {
        let cut = CancellationToken::new();
        let cutter = cut.clone().drop_guard();
        let (ready_in, ready) = mpsc::channel(READY_MAX);
        let serving = serve(&settings, routes, ready, stopper.listen());
        let places = Places::new(settings.connections_max, settings.connected);
        let acceptor = Acceptor::new("grpc", places, settings.handshakes_max);
        let (tls, deadline) = (settings.tls, settings.handshake_deadline);
        let welcome = move |newcomer| {
            let tls = TlsAcceptor::from(tls.load_full());
            welcome(newcomer, tls, deadline, cut.clone(), ready_in.clone())
        };
        let mut stop = stopper.listen();
        let stopped = async move { stop.requested().await };
        let accepting = acceptor.run(listener, stopped, welcome);
        Self {
            stop_deadline: settings.stop_deadline,
            stopper,
            cutter,
            tasks: [tokio::spawn(accepting), tokio::spawn(serving)],
        }
    }

    /// Accepts no more, ends streams with UNAVAILABLE, lets calls in progress end until the
    /// deadline, then cuts what is left.
    pub async fn stop(self) {
        let deadline = self.stop_deadline;
        self.stop_within(deadline).await;
    }

    /// The same with another deadline.
    pub async fn stop_within(self, deadline: Duration) {
        self.stopper.stop();
        let [accepting, mut serving] = self.tasks;
        if tokio::time::timeout(deadline, &mut serving).await.is_err() {
            tracing::warn!("grpc calls were still in progress at the stop and are cut");
            drop(self.cutter);
            // Every connection ends at its next poll, which the cut has woken.
            ended(serving).await;
        }
        ended(accepting).await;
    }
}

async fn ended(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "a grpc server task failed");
    }
}

fn serve(
    settings: &Settings,
    routes: Routes,
    ready: mpsc::Receiver<io::Result<Secured>>,
    mut stop: Stop,
) -> impl Future<Output = ()> + Send + use<> {
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(settings.streams_max)
        .http2_keepalive_interval(Some(settings.keep_alive_interval))
        .http2_keepalive_timeout(Some(settings.keep_alive_timeout));
    async move {
        let signal = async move { stop.requested().await };
        let served =
            server.serve_with_incoming_shutdown(routes, ReceiverStream::new(ready), signal);
        if let Err(error) = served.await {
            tracing::error!(%error, "the grpc server ended");
        }
    }
}

/// Hands a client over to tonic once its handshake is done.
async fn welcome(
    newcomer: Newcomer,
    tls: TlsAcceptor,
    deadline: Duration,
    cut: CancellationToken,
    ready: mpsc::Sender<io::Result<Secured>>,
) -> Result<(), SecureError> {
    newcomer.stream.set_nodelay(true)?;
    let secured = newcomer.secure(&tls, Speaks::Http2, deadline, &cut).await?;
    // It fails when the server has stopped, which closes the connection.
    let _ = ready.send(Ok(secured)).await;
    Ok(())
}

impl Connected for Secured {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer().clone()
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
