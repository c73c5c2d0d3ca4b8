//! Keep-alive: the negotiated interval in, the deadline out.

use std::time::Duration;

use crate::time::Instant;

/// The interval of a device that asks for none.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// The longest interval a device may ask for, in seconds.
pub const INTERVAL_MAX_SECS: u64 = 1800;

/// How late a device may be, as a share of its interval.
const MARGIN_PERCENT: u32 = 15;

/// An interval that is not honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a keep-alive interval of {asked} s is out of range, it is 1 to {INTERVAL_MAX_SECS} s")]
pub struct KeepAliveError {
    pub asked: u64,
}

/// The interval that holds for a device which asked for `asked` seconds in its Connect: the default
/// for 0 and for nothing.
///
/// # Errors
/// [`KeepAliveError`] for more than [`INTERVAL_MAX_SECS`].
pub fn negotiate(asked: Option<u64>) -> Result<Duration, KeepAliveError> {
    match asked {
        None | Some(0) => Ok(INTERVAL_DEFAULT),
        Some(asked) if asked <= INTERVAL_MAX_SECS => Ok(Duration::from_secs(asked)),
        Some(asked) => Err(KeepAliveError { asked }),
    }
}

/// How long a session still counts as alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    interval: Duration,
    last_heard: Instant,
}

impl KeepAlive {
    pub const fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            last_heard: now,
        }
    }

    /// A complete frame came, of whatever type: a device that is busy sending data must not be
    /// lost because its Keep Alive waits behind them.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(now);
    }

    /// When the peer counts as dead: the interval and 15 % of it after its last frame.
    pub fn deadline(&self) -> Instant {
        self.last_heard + self.interval * (100 + MARGIN_PERCENT) / 100
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sixty_seconds_end_after_sixty_nine() {
        let start = Instant::from_micros(5);
        let keep_alive = KeepAlive::new(INTERVAL_DEFAULT, start);
        assert_eq!(keep_alive.deadline(), start + Duration::from_secs(69));
    }

    #[test]
    fn nothing_and_zero_mean_the_default() {
        assert_eq!(negotiate(None), Ok(INTERVAL_DEFAULT));
        assert_eq!(negotiate(Some(0)), Ok(INTERVAL_DEFAULT));
    }

    proptest! {
        #[test]
        fn from_one_second_to_the_longest_is_honoured(asked in 1..=1800u64) {
            prop_assert_eq!(negotiate(Some(asked)), Ok(Duration::from_secs(asked)));
        }

        #[test]
        fn more_is_refused(asked in 1801u64..) {
            prop_assert_eq!(negotiate(Some(asked)), Err(KeepAliveError { asked }));
        }

        #[test]
        fn the_deadline_follows_the_latest_frame(
            secs in 1..=1800u64,
            heard in proptest::collection::vec(0..1_000_000_000u64, 1..9),
        ) {
            let mut keep_alive = KeepAlive::new(Duration::from_secs(secs), Instant::ZERO);
            for &micros in &heard {
                keep_alive.heard(Instant::from_micros(micros));
            }
            let latest = heard.into_iter().max().unwrap_or(0);
            let margin = secs * 1_150_000;
            prop_assert_eq!(keep_alive.deadline(), Instant::from_micros(latest + margin));
        }
    }
}
