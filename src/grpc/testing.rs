//! What the tests of the server need: a Fleet service that does on demand what they ask, and guards.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::server::NamedService;
use tonic::service::Interceptor;
use tonic::{Request, Response, Status};

use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::callers::guard::Guard;
use crate::callers::peer::Peer;
use crate::grpc::proto::gatehouse::v1::fleet_server::Fleet;
use crate::grpc::proto::gatehouse::v1::{
    GetRequest, GetResponse, ListRequest, ListResponse, RetryNowRequest, RetryNowResponse,
    TopRequest, TopResponse, WatchRequest, WatchResponse,
};
use crate::grpc::stop::Stop;
use crate::store::{Limits, Retention, Store};

/// A store in this directory.
pub fn store(directory: &Path) -> Store {
    let retention = Retention {
        events_max: 1000,
        age_max: Duration::from_secs(3600),
        audit_max: 1000,
        limits: Limits::default(),
    };
    let (opened, _) = Store::open(directory, retention).expect("the store opens");
    opened.run(|_, _| ()).expect("a thread")
}

/// A guard that takes everybody as anonymous, and keeps its log where nobody looks.
pub fn open_guard() -> Guard {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let credentials = Arc::new(Credentials::new(store.clone(), []));
    Guard::new(credentials, Arc::new(|_| true), Audit::new(store))
}

/// The same, and the token of an admin.
pub async fn guard_with_admin() -> (Guard, Bearer) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let credentials = Arc::new(Credentials::new(store.clone(), []));
    let token = credentials.create_admin("test", &[7; 32]).await;
    let token = format!("Bearer {}", token.expect("stored").as_str());
    let guard = Guard::new(credentials, Arc::new(|_| true), Audit::new(store));
    (guard, Bearer(token.parse().expect("a header")))
}

/// Puts a token beside each call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub fn loopback_peer() -> Peer {
    Peer {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        certificate: None,
    }
}

/// `Get` answers, `List` never does, `Watch` says nothing until the stop, `RetryNow` answers when
/// it was given at least one ID.
pub struct Stub {
    pub stop: Stop,
    /// Hears of each call that came in, and of each that is over, answered or not.
    pub calls: mpsc::UnboundedSender<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Begun,
    Over,
}

struct Over(mpsc::UnboundedSender<Seen>);

impl Over {
    fn new(calls: &mpsc::UnboundedSender<Seen>) -> Self {
        let _ = calls.send(Seen::Begun);
        Self(calls.clone())
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Over);
    }
}

#[tonic::async_trait]
impl Fleet for Stub {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let guard = Over::new(&self.calls);
        let mut stop = self.stop.clone();
        let end = async move {
            stop.requested().await;
            drop(guard);
            Err(Status::unavailable("stopped"))
        };
        Ok(Response::new(stream::once(end).boxed()))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(GetResponse::default()))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let _guard = Over::new(&self.calls);
        std::future::pending().await
    }

    async fn retry_now(
        &self,
        request: Request<RetryNowRequest>,
    ) -> Result<Response<RetryNowResponse>, Status> {
        match request.into_inner().device_ids.as_slice() {
            [] => Err(Status::invalid_argument("no ID")),
            _ => Ok(Response::new(RetryNowResponse {})),
        }
    }

    async fn top(&self, _: Request<TopRequest>) -> Result<Response<TopResponse>, Status> {
        Ok(Response::new(TopResponse::default()))
    }
}

/// A service that nobody without the role admin reaches.
#[derive(Clone)]
pub struct Identities;

impl NamedService for Identities {
    const NAME: &'static str = "gatehouse.v1.Identities";
}

impl Service<http::Request<Body>> for Identities {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::aborted("reached").into_http()))
    }
}
