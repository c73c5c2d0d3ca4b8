//! How long to wait before the next try.

use std::time::Duration;

/// Exponential backoff with full jitter: every wait lies between the minimum and a ceiling that
/// doubles with each step up to the maximum, so that a fleet lost at once does not dial at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    #[error(
        "the shortest wait is zero; it must be longer, or a dead device is dialled without pause"
    )]
    ZeroMin,
    #[error("the shortest wait {min:?} is longer than the longest {max:?}")]
    MinAboveMax { min: Duration, max: Duration },
}

impl Backoff {
    /// # Errors
    /// [`BackoffError`] when `min` is zero or above `max`.
    pub const fn new(min: Duration, max: Duration) -> Result<Self, BackoffError> {
        if min.is_zero() {
            return Err(BackoffError::ZeroMin);
        }
        if min.as_nanos() > max.as_nanos() {
            return Err(BackoffError::MinAboveMax { min, max });
        }
        Ok(Self { min, max })
    }

    pub const fn min(&self) -> Duration {
        self.min
    }

    /// The longest wait at this step; step 0 is the first wait.
    pub fn ceiling(&self, step: u32) -> Duration {
        let doubled = 2_u32
            .checked_pow(step.saturating_add(1))
            .unwrap_or(u32::MAX);
        self.min.saturating_mul(doubled).min(self.max)
    }

    /// The wait at this step; `random` is spread evenly over `u64`.
    pub fn delay(&self, step: u32, random: u64) -> Duration {
        let span = self.ceiling(step).saturating_sub(self.min).as_micros();
        let share = (span * u128::from(random)) >> 64;
        self.min + Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_checked() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Backoff::new(Duration::ZERO, second),
            Err(BackoffError::ZeroMin)
        );
        assert!(Backoff::new(second * 2, second).is_err());
        assert!(Backoff::new(second, second).is_ok());
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_min_and_the_ceiling(
            min in 1_u64..100_000, more in 0_u64..1_000_000, step in any::<u32>(), random in any::<u64>()
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            let backoff = Backoff::new(min, max).unwrap();
            let delay = backoff.delay(step, random);
            prop_assert!(min <= delay && delay <= backoff.ceiling(step) && delay <= max);
            prop_assert!(backoff.ceiling(step) <= backoff.ceiling(step.saturating_add(1)));
        }

        #[test]
        fn the_whole_span_is_used(step in 0_u32..40) {
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).unwrap();
            prop_assert_eq!(backoff.delay(step, 0), Duration::from_secs(1));
            let longest = backoff.delay(step, u64::MAX);
            prop_assert!(backoff.ceiling(step) - longest <= Duration::from_micros(1));
        }
    }
}
