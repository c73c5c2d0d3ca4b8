//! The way from a histogram to a device: whatever took too long is a line that names it.

use std::fmt::Display;
use std::time::Duration;

use crate::device::DeviceId;

/// From which time on something is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    after: Duration,
}

impl Slow {
    pub const fn new(after: Duration) -> Self {
        Self { after }
    }

    pub fn is_slow(self, took: Duration) -> bool {
        took > self.after
    }

    /// A phase of a connection, or a request to a device; `None` while nobody knows which it is.
    pub fn device(self, device: Option<DeviceId>, phase: &str, took: Duration) {
        if self.is_slow(took) {
            let (device, seconds) = (device.map(DeviceId::get), took.as_secs_f64());
            tracing::info!(device, phase, seconds, "slow");
        }
    }

    /// A request of a client, until the head of its answer. It is named where it was slow alone.
    pub fn call<N: Display>(self, call: impl Fn() -> N, code: impl Display, took: Duration) {
        if self.is_slow(took) {
            let (call, seconds) = (call(), took.as_secs_f64());
            tracing::info!(%call, %code, seconds, "slow");
        }
    }
}
