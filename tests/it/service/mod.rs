//! Life as a service: what a gateway says to a service manager and to those who ask for its health,
//! how it ends, and what it reads again while it runs.

mod drain;
mod health;
mod notify;
mod reload;
mod sockets;
mod units;

use gatehouse::grpc::proto::gatehouse::v1::watch_response::Item;
use gatehouse::grpc::proto::gatehouse::v1::{Event, WatchRequest, WatchResponse};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::support::{client, soon};

/// A stream of events that is read as it goes.
struct Events(Streaming<WatchResponse>);

impl Events {
    /// All events after this number.
    async fn after(channel: Channel, after: u64) -> Self {
        let request = WatchRequest {
            after,
            snapshot: false,
            queue_size: 65_536,
        };
        let watch = client::fleet(channel).watch(request).await;
        Self(watch.expect("watching").into_inner())
    }

    /// The next event; the status with which the stream ended otherwise.
    async fn next(&mut self) -> Result<Event, Status> {
        let response = soon("an event", self.0.message()).await?;
        let item = response.and_then(|response| response.item);
        match item {
            Some(Item::Event(event)) => {
                assert_eq!(event.conflated, 0, "nothing is left out: {event:?}");
                Ok(event)
            }
            other => panic!("events and nothing else, not {other:?}"),
        }
    }
}
