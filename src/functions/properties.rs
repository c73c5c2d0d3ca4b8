//! Sets properties: in the store first, then everybody hears of it, in the order in which they were
//! set.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use futures_util::{FutureExt, TryFutureExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::store::{PropertyError, Store};

/// A property that is on disk.
pub(super) struct Changed {
    pub(super) device: DeviceId,
    pub(super) name: String,
    /// `None`: it was deleted.
    pub(super) value: Option<Value>,
}

pub(super) struct Setter {
    store: Store,
    /// The store writes many at once, and still they are told in their order.
    queue: Mutex<mpsc::UnboundedSender<BoxFuture<'static, Written>>>,
}

/// What one came to, and who waits for it.
struct Written {
    result: Result<Changed, PropertyError>,
    done: oneshot::Sender<Result<(), PropertyError>>,
}

impl Setter {
    /// `tell` is told each change, one after the other.
    pub(super) fn new(
        store: Store,
        runtime: &Handle,
        tell: impl Fn(Changed) + Send + 'static,
    ) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        runtime.spawn(tell_in_order(waiting, tell));
        Self {
            store,
            queue: Mutex::new(queue),
        }
    }

    /// Given to the store by the call itself. How many wait is the caller's to bound.
    pub(super) fn set(
        &self,
        device: DeviceId,
        name: String,
        value: Option<Value>,
    ) -> impl Future<Output = Result<(), PropertyError>> + Send + 'static {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.store.set_property(device, &name, value.clone());
        let written = written.map(move |result| Written {
            result: result.map(|()| Changed {
                device,
                name,
                value,
            }),
            done,
        });
        // The other end is there for as long as the runtime is.
        let _ = queue.send(written.boxed());
        drop(queue);
        let ended = |_| PropertyError::NotStored("the gateway is shutting down".into());
        answer.map_err(ended).map(Result::flatten)
    }
}

async fn tell_in_order(
    mut waiting: mpsc::UnboundedReceiver<BoxFuture<'static, Written>>,
    tell: impl Fn(Changed),
) {
    let mut order = FuturesOrdered::new();
    loop {
        tokio::select! {
            next = waiting.recv() => match next {
                Some(written) => order.push_back(written),
                None => return,
            },
            Some(Written { result, done }) = order.next() => {
                // Who does not wait any more has set it all the same.
                let _ = done.send(result.map(&tell));
            }
        }
    }
}
