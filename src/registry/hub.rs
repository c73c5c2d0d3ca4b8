//! Fans events out to subscribers; a slow one is conflated and slows nobody.

use crate::event::StatusEvent;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{max} subscribers are connected already, which is the limit")]
pub struct TooManySubscribers {
    pub max: usize,
}

/// One subscriber's end.
pub struct Subscription {}

/// One event as a subscriber receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub event: StatusEvent,
    /// How many older events of this device were left out because the queue was full.
    pub conflated: u64,
}

impl Subscription {
    /// The number of the newest event that was published before this subscription: everything
    /// after it arrives here.
    pub fn position(&self) -> u64 {
        unimplemented!()
    }

    /// The next event; `None` when the gateway shuts down.
    pub async fn next(&mut self) -> Option<Delivery> {
        unimplemented!()
    }
}
