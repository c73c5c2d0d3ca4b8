//! The way from a histogram to a device: whatever took too long is a line that names it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::device::DeviceId;

/// From which time on something is slow: for the log and for the devices with the most trouble.
/// Cheap to clone; every clone has the same time.
#[derive(Clone, Debug)]
pub struct Slow {
    after_nanos: Arc<AtomicU64>,
}

impl Slow {
    pub fn new(after: Duration) -> Self {
        Self {
            after_nanos: Arc::new(AtomicU64::new(nanos(after))),
        }
    }

    /// From now on another time counts.
    pub fn set(&self, after: Duration) {
        self.after_nanos.store(nanos(after), Ordering::Relaxed);
    }

    pub fn is_slow(&self, took: Duration) -> bool {
        nanos(took) >= self.after_nanos.load(Ordering::Relaxed)
    }

    /// A phase of a connection, or a request to a device; `None` while nobody knows which it is.
    pub fn device(&self, device: Option<DeviceId>, phase: &str, took: Duration) {
        if self.is_slow(took) {
            let (device, seconds) = (device.map(DeviceId::get), took.as_secs_f64());
            tracing::info!(device, phase, seconds, "slow");
        }
    }

    /// A request of a client, until the head of its answer. It is named where it was slow alone.
    pub fn call<N: Display>(&self, call: impl Fn() -> N, code: impl Display, took: Duration) {
        if self.is_slow(took) {
            let (call, seconds) = (call(), took.as_secs_f64());
            tracing::info!(%call, %code, seconds, "slow");
        }
    }
}

/// What is longer than 584 years counts as that.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_has_the_same_time_and_that_is_slow_itself() {
        let slow = Slow::new(Duration::from_secs(1));
        let clone = slow.clone();
        for (after, took, is_slow) in [(1000, 999, false), (1000, 1000, true), (10, 10, true)] {
            slow.set(Duration::from_millis(after));
            assert_eq!(
                clone.is_slow(Duration::from_millis(took)),
                is_slow,
                "{after} {took}"
            );
        }
        slow.set(Duration::MAX);
        assert!(!clone.is_slow(Duration::from_hours(24 * 365)));
    }
}
