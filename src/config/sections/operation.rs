//! The sections of what an operator sees and keeps: the end, events, metrics, the store, the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::logs::limit::Limits;

/// The orderly end of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Sessions that are closed a second.
    pub pace: u32,
    /// Within which the process ends.
    #[serde(with = "duration")]
    pub grace: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            pace: 500,
            // Kubernetes kills after 30 s.
            grace: Duration::from_secs(25),
        }
    }
}

/// The event log on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    pub keep_max: u64,
    #[serde(with = "duration")]
    pub keep_for: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            keep_max: 1_000_000,
            keep_for: Duration::from_hours(30 * 24),
        }
    }
}

/// What is counted for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    pub enabled: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Bytes; below, what makes the store grow is refused. 0 for no reserve.
    pub free_min: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { free_min: 64 << 20 }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or several for single targets.
    pub level: String,
    pub format: LogFormat,
    /// Lines of one device, or of one line of code, at once.
    pub device_burst: u32,
    /// After the burst: one more in this time.
    #[serde(with = "duration")]
    pub device_interval: Duration,
    /// Lines of all at once.
    pub total_burst: u32,
    /// After that: so many a second.
    pub total_rate_max: u32,
    /// What takes longer is told with its device.
    #[serde(with = "duration")]
    pub slow_after: Duration,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            device_burst: 20,
            device_interval: Duration::from_mins(1),
            total_burst: 20_000,
            total_rate_max: 50,
            slow_after: Duration::from_secs(1),
        }
    }
}

impl From<&Log> for Limits {
    fn from(log: &Log) -> Self {
        Self {
            burst: log.device_burst,
            interval: log.device_interval,
            total_burst: log.total_burst,
            total_rate: log.total_rate_max,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
