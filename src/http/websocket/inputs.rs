//! The inputs that came on one socket, on their way to the device: one at a time, in order.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::codec::pson::Value;
use crate::http::problem::Problem;

/// Inputs of one socket that wait.
pub const INPUTS_MAX: usize = 16;

/// Gives an input for a resource to the device.
pub type Give =
    Arc<dyn Fn(Arc<str>, Value) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>;

/// An input that the device did not take, and why.
pub type NotTaken = (Arc<str>, Problem);

/// Those of one socket.
pub struct Inputs {
    queue: mpsc::Sender<(Arc<str>, Value)>,
    not_taken: Pin<Box<dyn Stream<Item = NotTaken> + Send>>,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{INPUTS_MAX} inputs wait for the device already, which is the limit")]
pub struct Full;

impl Inputs {
    pub fn new(give: Give) -> Self {
        let (queue, waiting) = mpsc::channel(INPUTS_MAX);
        let given = ReceiverStream::new(waiting).then(move |(resource, value)| {
            let giving = give(Arc::clone(&resource), value);
            async move { giving.await.err().map(|problem| (resource, problem)) }
        });
        Self {
            queue,
            not_taken: Box::pin(given.filter_map(std::future::ready)),
        }
    }

    /// Lets an input wait for its turn; it is given while [`Self::next_not_taken`] is awaited.
    ///
    /// # Errors
    /// [`Full`]; the input is dropped.
    pub fn push(&self, resource: Arc<str>, value: Value) -> Result<(), Full> {
        self.queue.try_send((resource, value)).map_err(|_| Full)
    }

    /// Gives one input after the other, until the device does not take one.
    pub async fn next_not_taken(&mut self) -> NotTaken {
        match self.not_taken.next().await {
            Some(not_taken) => not_taken,
            // Not while the queue is held.
            None => std::future::pending().await,
        }
    }
}
