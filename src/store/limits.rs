//! How much the store keeps for devices.

use std::time::Duration;

use crate::config::Functions;

/// The bounds of properties and buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Properties of one device.
    pub properties_max: usize,
    /// Bytes of the encoded value of a property (PSON v2).
    pub property_max_bytes: usize,
    /// Buckets of one owner.
    pub buckets_max: usize,
    /// Points of one bucket; the oldest go first, a batch at a time. At least one is kept.
    pub bucket_keep_max: u64,
    /// Judged by the latest time of a batch of points: when the bucket is written or read, and at
    /// each start. A batch that came before an older one goes first.
    pub bucket_keep_for: Duration,
}

impl From<&Functions> for Limits {
    fn from(functions: &Functions) -> Self {
        Self {
            properties_max: functions.properties_max,
            property_max_bytes: functions.property_max_bytes,
            buckets_max: functions.buckets_max,
            bucket_keep_max: functions.bucket_keep_max,
            bucket_keep_for: functions.bucket_keep_for,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&Functions::default())
    }
}
