//! Things that are there for a while, and are counted as long as they are.

use metrics::Gauge;

/// Counts for one until it is dropped.
pub struct Counted(Gauge);

impl Counted {
    pub fn one_more(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
