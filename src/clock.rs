//! The only place that asks the time.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now};

fn start() -> tokio::time::Instant {
    static START: OnceLock<tokio::time::Instant> = OnceLock::new();
    *START.get_or_init(tokio::time::Instant::now)
}

/// The present on both clocks.
pub fn now() -> Now {
    let start = start();
    let micros = tokio::time::Instant::now()
        .duration_since(start)
        .as_micros();
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Now {
        instant: Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The present as other programs stamp it.
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The runtime's instant of a deadline of ours, for arming a timer.
pub fn deadline(instant: Instant) -> tokio::time::Instant {
    start() + Duration::from_micros(instant.as_micros())
}
