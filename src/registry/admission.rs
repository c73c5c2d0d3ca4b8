//! How many at once and how many a second, over the whole fleet.

use std::time::Duration;

use crate::time::Instant;

/// Gives one token each `interval`, and up to `burst` at once after a pause.
///
/// It is the generic cell rate algorithm: the whole state is the instant at which the next token
/// would be due if all went evenly.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    even: Instant,
    interval: Duration,
    burst: u32,
}

impl TokenBucket {
    /// A full bucket; a `burst` of 0 counts as 1.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            even: Instant::ZERO,
            interval,
            burst,
        }
    }

    /// Gives another `burst` and another `interval` from now on; what was taken stays taken.
    pub const fn set(&mut self, burst: u32, interval: Duration) {
        self.burst = burst;
        self.interval = interval;
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.next_at(now) > now {
            return false;
        }
        self.even = self.even.max(now) + self.interval;
        true
    }

    /// When the next token is there; `now` if there is one already.
    pub fn next_at(&self, now: Instant) -> Instant {
        let ahead = self.interval.saturating_mul(self.burst.saturating_sub(1));
        let ahead = u64::try_from(ahead.as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(self.even.as_micros().saturating_sub(ahead)).max(now)
    }
}

/// Bounds the dials in flight and the dials a second.
#[derive(Clone, Debug)]
pub struct DialAdmission {
    in_flight: usize,
    in_flight_max: usize,
    rate: TokenBucket,
}

impl DialAdmission {
    /// `rate_max` is dials a second; a tenth of it may go at once.
    pub fn new(in_flight_max: usize, rate_max: u32) -> Self {
        let (burst, interval) = paced(rate_max);
        Self {
            in_flight: 0,
            in_flight_max: in_flight_max.max(1),
            rate: TokenBucket::new(burst, interval),
        }
    }

    /// Other bounds from now on; dials in flight beyond them are waited for.
    pub fn set_limits(&mut self, in_flight_max: usize, rate_max: u32) {
        self.in_flight_max = in_flight_max.max(1);
        let (burst, interval) = paced(rate_max);
        self.rate.set(burst, interval);
    }

    /// Whether a dial may start now; if so it counts as in flight until [`Self::release`].
    pub fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.in_flight < self.in_flight_max && self.rate.take(now);
        if admitted {
            self.in_flight += 1;
        }
        admitted
    }

    pub fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// When a waiting dial may start as far as the rate goes; `None` while the number in flight
    /// is what holds it, which only [`Self::release`] changes.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        (self.in_flight < self.in_flight_max).then(|| self.rate.next_at(now))
    }
}

/// Burst and interval of so many a second.
fn paced(rate_max: u32) -> (u32, Duration) {
    let rate = rate_max.max(1);
    ((rate / 10).max(1), Duration::from_secs(1) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_never_gives_more_than_burst_plus_rate(
            burst in 1_u32..20, interval_ms in 1_u64..500,
            waits in proptest::collection::vec(0_u64..1_000, 1..200)
        ) {
            let interval = Duration::from_millis(interval_ms);
            let mut bucket = TokenBucket::new(burst, interval);
            let start = Instant::from_micros(5_000_000);
            let mut now = start;
            let mut taken = 0_u64;
            for wait in waits {
                now = now + Duration::from_millis(wait);
                let due = bucket.next_at(now);
                let took = bucket.take(now);
                prop_assert_eq!(took, due <= now);
                taken += u64::from(took);
                let most = u64::from(burst) + now.since(start).as_micros() as u64 / (interval_ms * 1_000);
                prop_assert!(taken <= most, "{} taken, {} allowed", taken, most);
            }
        }

        #[test]
        fn an_idle_bucket_is_full_again(burst in 1_u32..20) {
            let mut bucket = TokenBucket::new(burst, Duration::from_secs(1));
            let mut now = Instant::from_micros(1_000_000);
            for _ in 0..3 {
                for _ in 0..burst {
                    prop_assert!(bucket.take(now));
                }
                prop_assert!(!bucket.take(now));
                now = now + Duration::from_secs(100);
            }
        }
    }

    #[test]
    fn other_bounds_hold_from_then_on() {
        let now = Instant::from_micros(1_000_000);
        let mut dials = DialAdmission::new(2, 1_000);
        assert!(dials.admit(now) && dials.admit(now) && !dials.admit(now));
        dials.set_limits(3, 1_000);
        assert!(dials.admit(now));
        dials.set_limits(1, 1);
        dials.release();
        dials.release();
        assert_eq!(dials.next_at(now), None, "one is in flight still");
        dials.release();
        let later = now + Duration::from_secs(1);
        assert!(dials.next_at(now).is_some_and(|at| at > now && at <= later));
        assert!(!dials.admit(now) && dials.admit(later));
    }

    #[test]
    fn dials_in_flight_are_bounded() {
        let now = Instant::from_micros(1_000_000);
        let mut dials = DialAdmission::new(2, 1_000);
        assert!(dials.admit(now) && dials.admit(now));
        assert!(!dials.admit(now));
        assert_eq!(dials.next_at(now), None);
        dials.release();
        assert_eq!(dials.next_at(now), Some(now));
        assert!(dials.admit(now));
    }
}
