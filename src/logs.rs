//! What the log may tell, and how its level is led while the gateway runs. [`limit`] and [`level`]
//! decide; `cli/logging` carries out.

pub mod level;
pub mod limit;
pub mod slow;

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Meter, table};

/// Whoever leads the log of the process, as the rooms to the right see him.
pub trait Control: Send + Sync {
    /// What is in force.
    fn level(&self) -> InForce;

    /// Puts a level in force, for a time or until something else is said; `None` is the level of
    /// the configuration again.
    ///
    /// # Errors
    /// [`BadLevel`]; everything stays as it was then.
    fn set(&self, level: Option<&str>, holds: Option<Duration>) -> Result<(), BadLevel>;

    /// The configuration was read again. One that says what it said before leaves a level in force
    /// that was set meanwhile.
    ///
    /// # Errors
    /// [`BadLevel`]; everything stays as it was then.
    fn configure(&self, level: &str) -> Result<(), BadLevel>;

    /// What was written since the process started, and what was not.
    fn counts(&self) -> Counts;
}

/// Lines of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the order of [`LEVELS`].
    pub written: [u64; LEVELS.len()],
    /// Left out by the [`limit`].
    pub suppressed: u64,
}

/// The levels of lines, as metrics name them.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Has each scrape tell what was logged.
pub fn count(log: &Arc<dyn Control>, meter: &Meter) {
    let log = Arc::clone(log);
    let written = LEVELS.map(|level| meter.counter(&table::LOG_LINES, &[level]));
    let suppressed = meter.counter(&table::LOG_LINES_SUPPRESSED, &[]);
    meter.read_at_scrape(move || {
        let counts = log.counts();
        for (counter, count) in written.iter().zip(counts.written) {
            counter.absolute(count);
        }
        suppressed.absolute(counts.suppressed);
    });
}

/// The level of the log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// As in the configuration: `info,gatehouse::session=debug`.
    pub level: String,
    /// What it is by the configuration.
    pub configured: String,
    /// After how long it is what the configuration says again; `None` when that was not asked for.
    pub returns_in: Option<Duration>,
}

/// A text that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no log level: write \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or for \
     single parts as in \"info,gatehouse::session=debug\""
)]
pub struct BadLevel(pub String);
