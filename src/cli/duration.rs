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

/// The same where no time at all would say the opposite: on the wire 0 stands for "for ever" or for
/// the default.
///
/// # Errors
/// What would be right.
pub fn parse_some(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("write a time that is longer than 0".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_refused_where_it_would_mean_for_ever() {
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for text in ["0s", "0ms", "0d"] {
            assert_eq!(
                parse_some(text),
                Err("write a time that is longer than 0".to_owned())
            );
        }
        assert_eq!(parse_some("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_some("soon"), parse("soon"));
    }
}
