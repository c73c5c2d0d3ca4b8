//! The sections of what devices offer and ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration;

/// Streams of what devices offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// The shortest beat that is asked of a device, in whole seconds.
    #[serde(with = "duration")]
    pub interval_min: Duration,
    pub sinks_max: usize,
    pub resources_per_device_max: usize,
    /// What may wait in one sink.
    pub queue_max: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(1),
            sinks_max: 100_000,
            resources_per_device_max: 64,
            queue_max: 256,
        }
    }
}

/// What devices may ask of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Functions {
    /// Requests of one device in progress.
    pub in_flight_max: usize,
    /// Streams that one device may open.
    pub streams_max: usize,
    pub properties_max: usize,
    pub property_max_bytes: usize,
    pub buckets_max: usize,
    /// Points of one bucket.
    pub bucket_keep_max: u64,
    #[serde(with = "duration")]
    pub bucket_keep_for: Duration,
    /// Retained messages of one owner.
    pub retained_max: usize,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            in_flight_max: 16,
            streams_max: 64,
            properties_max: 64,
            property_max_bytes: 16 << 10,
            buckets_max: 256,
            bucket_keep_max: 100_000,
            bucket_keep_for: Duration::from_hours(30 * 24),
            retained_max: 1000,
        }
    }
}
