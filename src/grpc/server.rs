//! The gRPC server: TLS always, one slow or silent peer hinders nobody, and it stops when told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::Gauge;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::callers::peer::Peer;
use crate::grpc::connection::{Connection, secure, shown_certificate};
use crate::grpc::routes::Routes;
use crate::grpc::stop::{self, Stop, Stopper};
use crate::metrics::Counted;

/// The largest request by default, in bytes: 72 MiB, as clients of the Connect API expect.
pub const MESSAGE_SIZE_MAX: usize = 75_497_472;

/// How long to wait after an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections whose handshake is done and that tonic has not taken yet.
const READY_MAX: usize = 16;

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
    /// Cuts the connections.
    cutter: Stopper,
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
        let (cutter, cut) = stop::channel();
        let (ready_in, ready) = mpsc::channel(READY_MAX);
        let stop_deadline = settings.stop_deadline;
        let serving = serve(&settings, routes, ready, stopper.listen());
        let accepting = Acceptor::new(settings, ready_in, cut).run(listener, stopper.listen());
        Self {
            stop_deadline,
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
            self.cutter.stop();
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
    ready: mpsc::Receiver<io::Result<Connection>>,
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

/// Takes connections from the socket and hands them over once their handshake is done.
struct Acceptor {
    settings: Settings,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Connection>>,
    cut: Stop,
}

impl Acceptor {
    fn new(settings: Settings, ready: mpsc::Sender<io::Result<Connection>>, cut: Stop) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(settings.connections_max)),
            handshakes: Arc::new(Semaphore::new(settings.handshakes_max)),
            settings,
            ready,
            cut,
        }
    }

    async fn run(self, listener: TcpListener, mut stop: Stop) {
        tokio::select! {
            () = stop.requested() => {}
            () = self.accept(listener) => {}
        }
    }

    async fn accept(&self, listener: TcpListener) {
        // The semaphore is never closed; were it, there would be nothing left to accept.
        while let Ok(handshake) = self.handshakes.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer, handshake),
                Err(error) => {
                    tracing::warn!(%error, "grpc cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, handshake: OwnedSemaphorePermit) {
        let Ok(slot) = self.connections.clone().try_acquire_owned() else {
            let connections_max = self.settings.connections_max;
            tracing::warn!(%peer, connections_max, "grpc peer refused: too many connections");
            return;
        };
        let slot = (slot, Counted::one_more(&self.settings.connected));
        let tls = TlsAcceptor::from(self.settings.tls.load_full());
        let deadline = self.settings.handshake_deadline;
        let ready = self.ready.clone();
        let cut = self.cut.clone();
        tokio::spawn(async move {
            let accepted = tokio::time::timeout(deadline, secure(&tls, stream)).await;
            drop(handshake);
            let accepted = accepted.map(|secured| {
                let stream = secured?;
                Ok::<_, io::Error>((shown_certificate(&stream)?, stream))
            });
            match accepted {
                Ok(Ok((certificate, stream))) => {
                    let address = peer;
                    let peer = Peer {
                        address,
                        certificate,
                    };
                    let connection = Connection::new(stream, peer, slot, cut);
                    // It fails when the server has stopped, which closes the connection.
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "grpc handshake failed"),
                Err(_) => tracing::debug!(%peer, "grpc handshake not done in time"),
            }
        });
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
