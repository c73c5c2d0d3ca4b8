//! `grpc.health.v1`: for load balancers and others who ask by the protocol of gRPC whether they may
//! send calls here.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::grpc::generation;
use crate::grpc::stop::{self, Stop};
use crate::service::readiness::{Readiness, State};

/// Every service is as ready as the gateway is: none works without the registry.
#[derive(Clone, Debug)]
pub struct HealthService {
    /// The names under which services are reached, of both generations, and "" for all.
    names: Arc<HashSet<String>>,
    readiness: Readiness,
    stop: Stop,
}

type Answer = Result<HealthCheckResponse, Status>;

/// The service for those of these names.
pub fn server(
    served: impl IntoIterator<Item = &'static str>,
    readiness: Readiness,
    stop: Stop,
) -> HealthServer<HealthService> {
    let names = served.into_iter().flat_map(names_of);
    let names = names.chain([health_server::SERVICE_NAME, ""]);
    HealthServer::new(HealthService {
        names: Arc::new(names.map(str::to_owned).collect()),
        readiness,
        stop,
    })
}

/// The names under which a service is reached.
fn names_of(name: &'static str) -> impl Iterator<Item = &'static str> {
    [name].into_iter().chain(generation::bare(name))
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.names.contains(&service) {
            return Err(Status::not_found(format!("unknown service {service}")));
        }
        Ok(Response::new(answer(serving(self.readiness.get()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    /// A service that is not known is told as such, and might come: the protocol wants it so.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watcher = Watcher {
            is_known: self.names.contains(&request.into_inner().service),
            told: None,
            states: self.readiness.follow(),
            stop: self.stop.clone(),
        };
        let answers = stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Some(status) => Some((Ok(answer(status)), Some(watcher))),
                None => Some((Err(stop::shutting_down()), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One that watches.
struct Watcher {
    is_known: bool,
    told: Option<ServingStatus>,
    states: watch::Receiver<State>,
    stop: Stop,
}

impl Watcher {
    /// The next status that differs from the last; `None` when the server stops, once that the
    /// gateway drains was told.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let state = *self.states.borrow_and_update();
            let status = match self.is_known {
                true => serving(state),
                false => ServingStatus::ServiceUnknown,
            };
            if self.told.replace(status) != Some(status) {
                return Some(status);
            }
            tokio::select! {
                biased;
                changed = self.states.changed() => changed.ok()?,
                () = self.stop.requested() => return None,
            }
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    let status = status.into();
    HealthCheckResponse { status }
}

const fn serving(state: State) -> ServingStatus {
    match state {
        State::Ready => ServingStatus::Serving,
        State::Starting | State::Draining => ServingStatus::NotServing,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tonic::Code;

    use super::*;

    fn service() -> (HealthService, Readiness, stop::Stopper) {
        let (stopper, stop) = stop::channel();
        let readiness = Readiness::default();
        let names = ["gsdk.connect.Connect", "gatehouse.v1.Fleet"];
        let names = names.into_iter().flat_map(names_of).chain([""]);
        let service = HealthService {
            names: Arc::new(names.map(str::to_owned).collect()),
            readiness: readiness.clone(),
            stop,
        };
        (service, readiness, stopper)
    }

    fn request(service: &str) -> Request<HealthCheckRequest> {
        let service = service.to_owned();
        Request::new(HealthCheckRequest { service })
    }

    async fn check(service: &HealthService, name: &str) -> Result<ServingStatus, Code> {
        let answer = service.check(request(name)).await;
        answer
            .map(|answer| answer.into_inner().status())
            .map_err(|status| status.code())
    }

    #[tokio::test]
    async fn every_name_is_as_ready_as_the_gateway() {
        let (service, readiness, _stopper) = service();
        let names = [
            "",
            "gsdk.connect.Connect",
            "connect.Connect",
            "gatehouse.v1.Fleet",
        ];
        for (state, expected) in [
            (State::Starting, ServingStatus::NotServing),
            (State::Ready, ServingStatus::Serving),
            (State::Draining, ServingStatus::NotServing),
        ] {
            readiness.set(state);
            for name in names {
                assert_eq!(check(&service, name).await, Ok(expected), "{name:?}");
            }
        }
        for name in ["v1.Fleet", "Connect", "nonsense"] {
            assert_eq!(check(&service, name).await, Err(Code::NotFound), "{name}");
        }
    }

    #[tokio::test]
    async fn a_watch_tells_each_change_once_and_ends_after_the_drain() {
        let (service, readiness, stopper) = service();
        let watch = service.watch(request("connect.Connect")).await;
        let mut watch = watch.expect("watching").into_inner();
        let mut next = async || {
            let answer = watch.next().await.expect("an answer");
            answer.map(|answer| answer.status())
        };
        assert_eq!(next().await.expect("told"), ServingStatus::NotServing);
        readiness.set(State::Ready);
        assert_eq!(next().await.expect("told"), ServingStatus::Serving);
        readiness.set(State::Ready);
        readiness.set(State::Draining);
        stopper.stop();
        assert_eq!(next().await.expect("told"), ServingStatus::NotServing);
        let end = next().await.expect_err("the end");
        assert_eq!(end.code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn an_unknown_service_is_watched_as_unknown() {
        let (service, readiness, stopper) = service();
        let watch = service.watch(request("nonsense")).await;
        let mut watch = watch.expect("watching").into_inner();
        let first = watch.next().await.expect("an answer").expect("told");
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
        readiness.set(State::Ready);
        stopper.stop();
        let end = watch.next().await.expect("an end").expect_err("an end");
        assert_eq!(end.code(), Code::Unavailable);
    }
}
