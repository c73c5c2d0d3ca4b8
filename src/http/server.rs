//! The HTTP server: its own accept loop, one slow or silent peer hinders nobody, and it stops when
//! told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::Gauge;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::callers::accept::{Acceptor, Newcomer, Places};
use crate::callers::connection::{Connection, SecureError, Speaks};
use crate::http::hosts::Via;

/// How long what was cut may take to be gone.
const CUT_DEADLINE: Duration = Duration::from_secs(1);
/// The longest head of a request, in bytes.
const HEAD_MAX: usize = 64 << 10;

/// How to serve.
#[derive(Clone)]
pub struct Settings {
    /// `None`: plainly. Read at each handshake, so that a new certificate counts from the next
    /// connection on.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// Clients connected at once, those in the handshake included; one more is closed at once.
    pub connections_max: usize,
    /// Handshakes in progress; one more waits in the backlog of the listening socket.
    pub handshakes_max: usize,
    /// Within which a handshake must end.
    pub handshake_deadline: Duration,
    /// Within which the head of a request must come whole; also how long a connection may idle.
    pub head_deadline: Duration,
    /// Requests in progress on one connection.
    pub streams_max: u32,
    /// After this long without a sign of life an HTTP/2 client is pinged.
    pub keep_alive_interval: Duration,
    /// Within which it must answer the ping.
    pub keep_alive_timeout: Duration,
    /// After this long a peer that takes nothing of what it is sent is cut.
    pub unsent_deadline: Duration,
    /// How long requests and streams may still take after a stop; then they are cut.
    pub stop_deadline: Duration,
    /// Told how many clients are connected, those in the handshake included.
    pub connected: Gauge,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls: None,
            connections_max: 4096,
            handshakes_max: 256,
            handshake_deadline: Duration::from_secs(10),
            head_deadline: Duration::from_secs(15),
            streams_max: 128,
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
            unsent_deadline: Duration::from_secs(60),
            stop_deadline: Duration::from_secs(5),
            connected: Gauge::noop(),
        }
    }
}

/// A running server. Dropping it ends streams and accepts no more, and waits for nobody.
#[derive(Debug)]
pub struct Server {
    stop_deadline: Duration,
    places: Places,
    stop: CancellationToken,
    cut: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves who connects to `listener`. `stop` is what the streams of the routes hear.
    pub fn start(
        listener: TcpListener,
        settings: Settings,
        router: Router,
        stop: CancellationToken,
    ) -> Self {
        let cut = CancellationToken::new();
        let places = Places::new(settings.connections_max, settings.connected.clone());
        let acceptor = Acceptor::new("http", places.clone(), settings.handshakes_max);
        let stop_deadline = settings.stop_deadline;
        let shared = Arc::new(Shared {
            settings,
            router,
            stop: stop.clone(),
            cut: cut.clone(),
        });
        let serve = move |newcomer| {
            let shared = Arc::clone(&shared);
            async move { shared.welcome(newcomer).await }
        };
        let stopped = stop.clone().cancelled_owned();
        Self {
            stop_deadline,
            places,
            stop,
            cut,
            accepting: tokio::spawn(acceptor.run(listener, stopped, serve)),
        }
    }

    /// Accepts no more, ends streams, lets requests in progress end until the deadline, then cuts
    /// what is left.
    pub async fn stop(self) {
        let deadline = self.stop_deadline;
        self.stop_within(deadline).await;
    }

    /// The same with another deadline.
    pub async fn stop_within(mut self, deadline: Duration) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the http accept loop failed");
        }
        if !self.places.all_free(deadline).await {
            tracing::warn!("http requests were still in progress at the stop and are cut");
            self.cut.cancel();
            self.places.all_free(CUT_DEADLINE).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What every connection is served with.
struct Shared {
    settings: Settings,
    router: Router,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Shared {
    async fn welcome(&self, newcomer: Newcomer) -> Result<(), ServeError> {
        self.tune(&newcomer.stream)?;
        let via = Via {
            local: newcomer.stream.local_addr()?.ip(),
            peer: newcomer.address.ip(),
            is_tls: self.settings.tls.is_some(),
        };
        let Some(tls) = &self.settings.tls else {
            return self.converse(newcomer.plain(&self.cut), via).await;
        };
        let tls = TlsAcceptor::from(tls.load_full());
        let deadline = self.settings.handshake_deadline;
        let securing = newcomer.secure(&tls, Speaks::AsNegotiated, deadline, &self.cut);
        match self.stop.run_until_cancelled(securing).await {
            Some(secured) => self.converse(secured?, via).await,
            None => Ok(()),
        }
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let interval = self.settings.keep_alive_interval;
        let keep_alive = TcpKeepalive::new()
            .with_time(interval)
            .with_interval(interval);
        socket.set_tcp_keepalive(&keep_alive)?;
        socket.set_tcp_user_timeout(Some(self.settings.unsent_deadline))
    }

    /// Answers requests until the peer closes or the server stops.
    async fn converse<S>(&self, connection: Connection<S>, via: Via) -> Result<(), ServeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (router, peer) = (self.router.clone(), connection.peer().clone());
        let is_http2 = connection.is_http2();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(via);
            router.clone().oneshot(request.map(Body::new))
        });
        let io = TokioIo::new(connection);
        let served = if is_http2 {
            let serving = self.http2().serve_connection(io, service);
            self.until_stop(serving, |serving| serving.graceful_shutdown())
                .await
        } else {
            let serving = self.http1().serve_connection(io, service).with_upgrades();
            self.until_stop(serving, |serving| serving.graceful_shutdown())
                .await
        };
        Ok(served?)
    }

    async fn until_stop<C>(
        &self,
        serving: C,
        shut_down: impl FnOnce(Pin<&mut C>),
    ) -> hyper::Result<()>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            served = serving.as_mut() => served,
            () = self.stop.cancelled() => {
                shut_down(serving.as_mut());
                serving.await
            }
        }
    }

    /// The deadline of a head also runs while a connection idles, from its first moment on.
    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_deadline)
            .max_buf_size(HEAD_MAX);
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let settings = &self.settings;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
            .keep_alive_interval(settings.keep_alive_interval)
            .keep_alive_timeout(settings.keep_alive_timeout);
        builder
    }
}

/// Why a connection ended otherwise than in order.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Secure(#[from] SecureError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}
