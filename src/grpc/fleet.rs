//! The Fleet service.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status};

use crate::clock;
use crate::grpc::fleet_view;
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::grpc::proto::gatehouse::v1::fleet_server::Fleet;
use crate::grpc::proto::gatehouse::v1::watch_response;
use crate::grpc::stop::Stop;
use crate::grpc::top_view;
use crate::handle::Gateway;
use crate::registry::hub::Subscription;
use crate::registry::watch::{Item, Need, Watch};
use crate::registry::{Command, CommandError};

/// Serves `gatehouse.v1.Fleet`.
pub struct FleetService {
    gateway: Gateway,
    stop: Stop,
}

impl FleetService {
    pub fn new(gateway: Gateway, stop: Stop) -> Self {
        Self { gateway, stop }
    }
}

#[tonic::async_trait]
impl Fleet for FleetService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let queue_size = fleet_view::watch_queue_size(request.queue_size);
        let subscription = self.gateway.subscribe(queue_size)?;
        let position = subscription.position();
        let watch = match request.after {
            _ if request.snapshot => Watch::from_snapshot(position),
            0 => Watch::from_now(position),
            after => Watch::resume(position, after),
        };
        let watcher = Watcher {
            watch,
            subscription,
            gateway: self.gateway.clone(),
            stop: self.stop.clone(),
        };
        Ok(Response::new(Box::pin(stream::unfold(
            Some(watcher),
            |watcher| async {
                let mut watcher = watcher?;
                match watcher.next().await {
                    Ok(item) => Some((Ok(response(item)), Some(watcher))),
                    Err(status) => Some((Err(status), None)),
                }
            },
        ))))
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::GetResponse>, Status> {
        let id = fleet_view::device_id("device_id", request.into_inner().device_id)?;
        let snapshot = self.gateway.snapshot();
        let view = snapshot
            .devices
            .get(&id)
            .ok_or(CommandError::UnknownDevice(id))?;
        Ok(Response::new(wire::GetResponse {
            device: Some(fleet_view::device(view)),
        }))
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        let snapshot = self.gateway.snapshot();
        let page = fleet_view::page(&snapshot, request.into_inner());
        Ok(Response::new(page))
    }

    async fn retry_now(
        &self,
        request: Request<wire::RetryNowRequest>,
    ) -> Result<Response<wire::RetryNowResponse>, Status> {
        let ids = fleet_view::device_ids("device_ids", &request.into_inner().device_ids)?;
        self.gateway.command(Command::RetryNow(ids)).await?;
        Ok(Response::new(wire::RetryNowResponse {}))
    }

    async fn top(
        &self,
        request: Request<wire::TopRequest>,
    ) -> Result<Response<wire::TopResponse>, Status> {
        let query = top_view::query(request.into_inner())?;
        let snapshot = self.gateway.snapshot();
        let top = top_view::top(&snapshot, &query, clock::now().instant);
        Ok(Response::new(top))
    }
}

/// One watcher's stream. Dropping it frees the subscriber's slot.
struct Watcher {
    watch: Watch,
    subscription: Subscription,
    gateway: Gateway,
    stop: Stop,
}

impl Watcher {
    async fn next(&mut self) -> Result<Item, Status> {
        loop {
            if let Some(item) = self.watch.poll_output() {
                return Ok(item);
            }
            match self.watch.need() {
                Need::Snapshot => self.watch.handle_snapshot(&self.gateway.snapshot()),
                Need::History { after, until } => {
                    let history = self.gateway.events(after, until).await;
                    self.watch.handle_history(history.map_err(unreadable)?);
                }
                Need::Delivery => {
                    let delivery = self.stop.next(&mut self.subscription).await?;
                    self.watch.handle_delivery(delivery);
                }
            }
        }
    }
}

fn unreadable(error: String) -> Status {
    Status::internal(format!("the event log cannot be read: {error}"))
}

fn response(item: Item) -> wire::WatchResponse {
    let item = match item {
        Item::Gap { from, to } => watch_response::Item::Gap(wire::Gap { from, to }),
        Item::SnapshotBegin(devices) => watch_response::Item::SnapshotBegin(wire::SnapshotBegin {
            devices: u32::try_from(devices).unwrap_or(u32::MAX),
        }),
        Item::Device(view) => watch_response::Item::Device(fleet_view::device(&view)),
        Item::SnapshotEnd(event_number) => {
            watch_response::Item::SnapshotEnd(wire::SnapshotEnd { event_number })
        }
        Item::Event(delivery) => watch_response::Item::Event(fleet_view::event(&delivery)),
    };
    wire::WatchResponse { item: Some(item) }
}
