//! How a gateway ends, step by step, within its grace time.

use std::time::Duration;

use actix::Addr;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Running;
use crate::link::listen::StopListening;
use crate::registry::actor::{Drain, Registry};
use crate::service::notify;
use crate::service::pulse::Part;
use crate::service::readiness::State;
use crate::store::Store;
use crate::trace::Tracer;

/// How long calls and streams may take to end once the sessions have: who reads takes no time.
const CALLS_MAX: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything that was told is on disk.
    InOrder,
    /// The store did not close as it should, or not in time; the log says why.
    NotStored,
}

impl Running {
    /// Drains, within the grace time: says that it is not ready, accepts no more devices, ends the
    /// sessions with a Disconnect at the set pace, tells every event of that, ends streams with
    /// UNAVAILABLE, stores everything, and ends. What takes longer than its share is cut.
    pub async fn stop(self) -> Stopped {
        let begin = Instant::now();
        let grace = self.settings.current().drain.grace;
        // The sessions are told within three quarters of it.
        let [sessions_by, calls_by] = [grace * 7 / 8, grace * 15 / 16].map(|share| begin + share);
        self.readiness.set(State::Draining);
        notify::stopping(grace);
        drop(self.background);
        for listener in &self.listeners {
            listener.do_send(StopListening);
        }
        drain(&self.registry, sessions_by).await;
        tracing::info!(after = ?begin.elapsed(), "sessions are drained");
        self.vitals
            .with(|pulse| pulse.handle_retired(Part::Registry));
        // All events are with their subscribers now: streams end after them.
        self.handle.close_subscriptions();
        self.streams.close();
        let left = calls_by.saturating_duration_since(Instant::now());
        self.faces.stop(left.min(CALLS_MAX)).await;
        self.vitals.with(|pulse| pulse.handle_retired(Part::Store));
        let stopped = close(self.store, begin + grace).await;
        // The last of all, for it tells of what came before. It has a bound of its own.
        flush(self.tracer).await;
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        stopped
    }
}

/// Ends the sessions; those that are left at `by` are cut with the process.
async fn drain(registry: &Addr<Registry>, by: Instant) {
    let (done, drained) = oneshot::channel();
    registry.do_send(Drain { done });
    if tokio::time::timeout_at(by, drained).await.is_err() {
        tracing::warn!("sessions were still open at the end of the drain and are cut");
    }
}

/// Has on disk what was told, until `by`.
async fn close(store: Store, by: Instant) -> Stopped {
    let closing = tokio::task::spawn_blocking(move || store.close());
    match tokio::time::timeout_at(by, closing).await {
        Ok(Ok(Ok(()))) => Stopped::InOrder,
        Ok(Ok(Err(error))) => not_stored(&error),
        Ok(Err(error)) => not_stored(&error.to_string()),
        Err(_) => not_stored("it took longer than the grace time"),
    }
}

async fn flush(tracer: Tracer) {
    let flushed = tokio::task::spawn_blocking(move || tracer.shut_down()).await;
    if let Err(error) = flushed {
        tracing::error!(%error, "the last spans were not sent");
    }
}

fn not_stored(error: &str) -> Stopped {
    tracing::error!(error, "the store did not close as it should");
    Stopped::NotStored
}
