//! How streams learn that the server stops: a stream that ends with UNAVAILABLE tells its reader
//! to come back, one that is cut tells nothing.

use futures_util::FutureExt;
use tokio::sync::watch;
use tonic::Status;

use crate::registry::hub::{Delivery, Subscription};

/// Says stop; dropping it says so as well.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Hears it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// One more that hears it.
    pub fn listen(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Returns once stop was said.
    pub async fn requested(&mut self) {
        // An error means that the stopper is gone, which says the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// The next delivery. What waits when the server stops is told before the end is.
    ///
    /// # Errors
    /// UNAVAILABLE, with which the stream is to end.
    pub async fn next(&mut self, subscription: &mut Subscription) -> Result<Delivery, Status> {
        tokio::select! {
            biased;
            () = self.requested() => subscription.next().now_or_never().flatten().ok_or_else(shutting_down),
            delivery = subscription.next() => delivery.ok_or_else(shutting_down),
        }
    }
}

/// How every stream ends when the gateway does: the client is to come back.
pub fn shutting_down() -> Status {
    Status::unavailable("the gateway is shutting down")
}
