//! A bare tonic stream: what is put into a channel is sent, with no gateway behind it.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::callers::guard::Guard;
use crate::grpc::proto::gsdk::connect::{StatusChange, SubscribeStatusRequest};
use crate::grpc::routes::Routes;
use crate::grpc::server::{Server, Settings};
use crate::grpc::stop;
use crate::store::{Limits, Retention, Store};

/// Changes that wait for the client; the bench sends them one at a time.
const CHANGES_MAX: usize = 16;

/// Answers every call as if it were a `SubscribeStatus`.
#[derive(Clone)]
pub(super) struct BareStream {
    changes: broadcast::Sender<StatusChange>,
}

/// Takes everybody as anonymous, as the gateway does on loopback.
fn open_guard(data: &Path) -> Result<Guard, Box<dyn Error>> {
    let retention = Retention {
        events_max: 1000,
        age_max: Duration::from_secs(3600),
        audit_max: 1000,
        limits: Limits::default(),
    };
    let (opened, _) = Store::open(data, retention)?;
    let store = opened.run(|_, _| ())?;
    let credentials = Arc::new(Credentials::new(store.clone(), []));
    Ok(Guard::new(
        credentials,
        Arc::new(|_| true),
        Audit::new(store),
    ))
}

impl BareStream {
    /// Starts a server with this TLS; the sender is where the changes go in. `data` must outlive it:
    /// its store writes there to the end.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(super) async fn serve(
        tls: rustls::ServerConfig,
        data: &Path,
    ) -> Result<(Server, SocketAddr, broadcast::Sender<StatusChange>), Box<dyn Error>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let routes = Routes::new(open_guard(data)?).with(Self {
            changes: changes.clone(),
        });
        let settings = Settings::new(Arc::new(ArcSwap::from_pointee(tls)));
        let (stopper, _) = stop::channel();
        let server = Server::start(listener, settings, routes, stopper);
        Ok((server, address, changes))
    }
}

impl NamedService for BareStream {
    const NAME: &'static str = "gsdk.connect.Connect";
}

impl Service<http::Request<Body>> for BareStream {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(service, request).await)
        })
    }
}

impl ServerStreamingService<SubscribeStatusRequest> for BareStream {
    type Response = StatusChange;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<StatusChange, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<SubscribeStatusRequest>) -> Self::Future {
        let changes = BroadcastStream::new(self.changes.subscribe());
        let changes =
            changes.map(|change| change.map_err(|error| Status::internal(error.to_string())));
        ready(Ok(Response::new(Box::pin(changes))))
    }
}
