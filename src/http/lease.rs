//! How long a stream may last: until what let its caller in is withdrawn, or the gateway stops.

use std::pin::Pin;

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio_util::sync::CancellationToken;

use crate::callers::guard::{Guard, Pass, Refusal};

/// Counted by each WebSocket and each stream of events.
pub struct Lease {
    /// `None` where the pass can never end.
    withdrawn: Option<Shared<Pin<Box<dyn Future<Output = Refusal> + Send>>>>,
    stop: CancellationToken,
}

/// Why a stream ends; its text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    #[error("the gateway is shutting down")]
    Stopping,
    #[error("{0}")]
    Withdrawn(Refusal),
}

impl Lease {
    pub fn new(guard: Guard, pass: Pass, stop: CancellationToken) -> Self {
        let withdrawn = Guard::can_end(&pass).then(|| guard.withdrawn(pass).boxed().shared());
        Self { withdrawn, stop }
    }

    /// Waits until the stream must end. May be dropped and asked again.
    pub async fn over(&self) -> Over {
        let withdrawn = async {
            match &self.withdrawn {
                Some(withdrawn) => withdrawn.clone().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Over::Stopping,
            refusal = withdrawn => Over::Withdrawn(refusal),
        }
    }
}
