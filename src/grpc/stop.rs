//! How streams learn that the server stops: a stream that ends with UNAVAILABLE tells its reader
//! to come back, one that is cut tells nothing.

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

    /// The next delivery, unless the server or the gateway stops first.
    ///
    /// # Errors
    /// UNAVAILABLE, with which the stream is to end.
    pub async fn next(&mut self, subscription: &mut Subscription) -> Result<Delivery, Status> {
        tokio::select! {
            biased;
            () = self.requested() => Err(shutting_down()),
            delivery = subscription.next() => delivery.ok_or_else(shutting_down),
        }
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the gateway is shutting down")
}
