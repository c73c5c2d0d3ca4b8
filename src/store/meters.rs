//! What the store counts.

use metrics::{Counter, Gauge, Histogram};

use crate::metrics::Meter;
use crate::metrics::table::{self, Metric};
use crate::registry::NotStored;

/// The handles of the store's thread.
pub struct Meters {
    pub commit_seconds: Histogram,
    pub changes: Histogram,
    pub events: Histogram,
    pub audit: Histogram,
    pub points: Histogram,
    pub healthy: Gauge,
    pub full: Gauge,
    pub events_lost: Counter,
    pub size: Gauge,
    pub filesystem_free: Gauge,
    pub filesystem_size: Gauge,
    /// In seconds since the Unix epoch.
    pub exported: Gauge,
    no_space: Counter,
    other: Counter,
}

/// How much waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub changes: usize,
    pub events: usize,
    pub audit: usize,
}

impl Meters {
    pub fn new(meter: &Meter) -> Self {
        let gauge = |metric: &'static Metric| meter.gauge(metric, &[]);
        let batch = |kind| meter.histogram(&table::STORE_BATCH_SIZE, &[kind]);
        let failures = |reason| meter.counter(&table::STORE_FAILURES, &[reason]);
        let meters = Self {
            commit_seconds: meter.histogram(&table::STORE_COMMIT_SECONDS, &[]),
            changes: batch("changes"),
            events: batch("events"),
            audit: batch("audit"),
            points: batch("points"),
            healthy: gauge(&table::STORE_HEALTHY),
            full: gauge(&table::STORE_FULL),
            events_lost: meter.counter(&table::STORE_EVENTS_LOST, &[]),
            size: gauge(&table::STORE_SIZE_BYTES),
            filesystem_free: gauge(&table::STORE_FILESYSTEM_FREE_BYTES),
            filesystem_size: gauge(&table::STORE_FILESYSTEM_SIZE_BYTES),
            exported: gauge(&table::STORE_EXPORT_TIMESTAMP),
            no_space: failures("no_space"),
            other: failures("other"),
        };
        meters.healthy.set(1.0);
        meters
    }

    pub fn failed(&self, problem: &NotStored) {
        match problem {
            NotStored::NoSpace(_) => self.no_space.increment(1),
            NotStored::Other(_) => self.other.increment(1),
        }
    }
}

/// Tells at each scrape how much waits.
pub fn tell_waiting(meter: &Meter, waiting: impl Fn() -> Waiting + Send + Sync + 'static) {
    let gauge = |kind| meter.gauge(&table::STORE_WAITING, &[kind]);
    let (changes, events, audit) = (gauge("changes"), gauge("events"), gauge("audit"));
    meter.read_at_scrape(move || {
        let now = waiting();
        changes.set(count(now.changes));
        events.set(count(now.events));
        audit.set(count(now.audit));
    });
}

/// A count or a number of bytes as a sample; exact up to 2^53.
pub fn sample(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    sample(number as u64)
}
