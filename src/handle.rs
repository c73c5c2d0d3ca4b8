//! The handle through which every service reaches the gateway: cheap to clone, knows no actor's
//! inside.

use std::sync::Arc;

use crate::event::StatusEvent;
use crate::registry::hub::{Subscription, TooManySubscribers};
use crate::registry::snapshot::Snapshot;
use crate::registry::{Command, CommandError, Reply};

/// Cheap to clone; every clone reaches the same gateway.
#[derive(Clone)]
pub struct Gateway {}

/// What the event log still has after a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// Every event after the number asked for, oldest first.
    Events(Vec<StatusEvent>),
    /// The log does not reach back that far (or the number was never given out): a snapshot must
    /// take its place.
    Gap,
}

impl Gateway {
    /// The newest published state; never waits.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// Has the registry carry out a command. Dropping the future of a `Connect` cancels it.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::LimitReached`] at once when too many are waiting.
    pub async fn command(&self, _command: Command) -> Result<Reply, CommandError> {
        unimplemented!()
    }

    /// Follows the events from now on; at most `queue_max` wait before they are conflated.
    ///
    /// # Errors
    /// [`TooManySubscribers`].
    pub fn subscribe(&self, _queue_max: usize) -> Result<Subscription, TooManySubscribers> {
        unimplemented!()
    }

    /// The events after number `after`, up to and including `until`.
    ///
    /// # Errors
    /// A text when the event log cannot be read.
    pub async fn events(&self, _after: u64, _until: u64) -> Result<History, String> {
        unimplemented!()
    }
}
