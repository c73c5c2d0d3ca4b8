//! How clients are accepted: so many at once, so many of them in their handshake, and one slow or
//! silent peer hinders nobody.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Counted;

/// How long to wait after an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The places for clients that are connected. Cheap to clone; every clone is the same.
#[derive(Clone, Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    max: u32,
    connected: Gauge,
}

/// The place of one client, until it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Places {
    /// `connected` is told how many are taken.
    pub fn new(max: usize, connected: Gauge) -> Self {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(max as usize)),
            max,
            connected,
        }
    }

    fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place {
            _permit: permit,
            _counted: Counted::one_more(&self.connected),
        })
    }

    /// Waits until every client is gone; says whether that was so within this time.
    pub async fn all_free(&self, within: Duration) -> bool {
        let all = self.free.acquire_many(self.max);
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// A client that was accepted and has said nothing yet.
pub struct Newcomer {
    pub stream: TcpStream,
    pub address: SocketAddr,
    pub place: Place,
    /// Its place among those in the handshake; to be dropped after it.
    pub handshake: OwnedSemaphorePermit,
}

/// Takes clients from a listening socket and has each served in a task of its own.
pub struct Acceptor {
    /// As the log names the server.
    face: &'static str,
    places: Places,
    handshakes: Arc<Semaphore>,
}

impl Acceptor {
    /// One client more than there are places is closed at once; one more than `handshakes_max` that
    /// are in the handshake waits in the backlog of the listening socket.
    pub fn new(face: &'static str, places: Places, handshakes_max: usize) -> Self {
        Self {
            face,
            places,
            handshakes: Arc::new(Semaphore::new(handshakes_max)),
        }
    }

    /// Accepts until it is told to stop; who was accepted is served on.
    pub async fn run<S, E>(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        serve: impl Fn(Newcomer) -> S,
    ) where
        S: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        tokio::select! {
            () = stop => {}
            () = self.accept(listener, serve) => {}
        }
    }

    async fn accept<S, E>(&self, listener: TcpListener, serve: impl Fn(Newcomer) -> S)
    where
        S: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let face = self.face;
        // The semaphore is never closed; were it, there would be nothing left to accept.
        while let Ok(handshake) = Arc::clone(&self.handshakes).acquire_owned().await {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "{face} cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.places.take() else {
                let connections_max = self.places.max;
                tracing::warn!(peer = %address, connections_max, "{face} peer refused: too many connections");
                continue;
            };
            let serving = serve(Newcomer {
                stream,
                address,
                place,
                handshake,
            });
            tokio::spawn(async move {
                if let Err(error) = serving.await {
                    tracing::debug!(peer = %address, %error, "{face} connection ended");
                }
            });
        }
    }
}
