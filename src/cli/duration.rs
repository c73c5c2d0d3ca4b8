//! Times on the command line.

use std::time::Duration;

use crate::config::duration;

/// Longer than anybody waits, and short enough to add to any instant.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Reads a time as in the configuration: a whole number with its unit, up to a year.
///
/// # Errors
/// What would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).filter(|time| *time <= LONGEST);
    duration.ok_or_else(|| "write a whole number with its unit: 500ms, 30s, 2m, 1h, 30d".to_owned())
}
