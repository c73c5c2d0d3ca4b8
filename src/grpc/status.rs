//! `SubscribeStatus`: the changes of status from the moment of the call.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use tonic::Status;

use crate::grpc::convert;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect::StatusChange;
use crate::grpc::stop::Stop;
use crate::registry::hub::Subscription;

/// What a client reads. Dropping it frees the subscriber's slot.
pub type StatusStream = Pin<Box<dyn Stream<Item = Result<StatusChange, Status>> + Send>>;

/// Reads the subscription only as fast as the client reads the stream, so that what must wait
/// waits in the subscriber's bounded queue.
pub fn stream(subscription: Subscription, generation: Generation, stop: Stop) -> StatusStream {
    let follower = Follower {
        subscription,
        generation,
        stop,
    };
    Box::pin(stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await {
            Ok(change) => Some((Ok(change), Some(follower))),
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Follower {
    subscription: Subscription,
    generation: Generation,
    stop: Stop,
}

impl Follower {
    async fn next(&mut self) -> Result<StatusChange, Status> {
        loop {
            let delivery = self.stop.next(&mut self.subscription).await?;
            if let Some(change) = convert::status_change(&delivery, self.generation) {
                return Ok(change);
            }
        }
    }
}
