//! A Fleet service that does on demand what the tests of the server need.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::grpc::proto::gatehouse::v1::fleet_server::Fleet;
use crate::grpc::proto::gatehouse::v1::{
    GetRequest, GetResponse, ListRequest, ListResponse, RetryNowRequest, RetryNowResponse,
    WatchRequest, WatchResponse,
};
use crate::grpc::stop::Stop;

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

struct Guard(mpsc::UnboundedSender<Seen>);

impl Guard {
    fn new(calls: &mpsc::UnboundedSender<Seen>) -> Self {
        let _ = calls.send(Seen::Begun);
        Self(calls.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Over);
    }
}

#[tonic::async_trait]
impl Fleet for Stub {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let guard = Guard::new(&self.calls);
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
        let _guard = Guard::new(&self.calls);
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
}
