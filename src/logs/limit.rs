//! How many lines of the log are written, so that a flapping fleet fills no disk. Pure.
//!
//! A device may write a burst of lines and then one in an interval; so may each place in the code
//! whose lines name no device. Beyond that all lines together have a bound of their own, of which
//! a share is kept for devices that have written little: a flood of others never hides how an
//! incident of theirs begins. Errors are always written.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::time::Instant;

/// Devices that are remembered, 32 bytes each. Those beyond have the bound of all alone.
pub const DEVICES_MAX: usize = 65_536;
/// Devices that a report names.
const WORST_MAX: usize = 10;
/// The part of the bound of all that is kept for who has written little: one in so many.
const KEPT_SHARE: u32 = 4;

/// How many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines of one device, or of one place, at once.
    pub burst: u32,
    /// After the burst: one more in this time.
    pub interval: Duration,
    /// Lines of all at once.
    pub total_burst: u32,
    /// After that: so many a second.
    pub total_rate: u32,
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Device(u32),
    /// A line of the code, by a number of its own.
    Place(usize),
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A fault of the gateway, or a line that must be whole for another reason: always written.
    Must,
    Normal,
    /// Somebody looks closely: the bound of all alone.
    Detail,
}

/// What was left out since the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub lines: u64,
    /// Devices that lines were left out of.
    pub devices: usize,
    /// Those of them with the most, and how many.
    pub worst: Vec<(u32, u32)>,
}

/// See the module.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    devices: HashMap<u32, Bucket>,
    /// As many as there are lines of code that log.
    places: HashMap<usize, Bucket>,
    total: Instant,
    left_out: u64,
    swept: Instant,
}

/// Holds what it may until `full_at`, counted back from there.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Instant,
    /// Until then it is one of those that make the flood: it went on when it had written much. A
    /// refused line counts as well, or who is refused by the bound of all would seem quiet.
    loud_until: Instant,
    left_out: u32,
}

impl Limiter {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            devices: HashMap::new(),
            places: HashMap::new(),
            total: Instant::ZERO,
            left_out: 0,
            swept: Instant::ZERO,
        }
    }

    /// Whether this line is written.
    pub fn take(&mut self, source: Source, weight: Weight, now: Instant) -> bool {
        let is_written = match weight {
            Weight::Must => true,
            Weight::Detail => self.take_total(false, now),
            Weight::Normal => self.take_own(source, now),
        };
        if !is_written {
            self.left_out += 1;
        }
        is_written
    }

    fn take_own(&mut self, source: Source, now: Instant) -> bool {
        if let Source::Device(device) = source
            && !self.devices.contains_key(&device)
            && !self.has_room(now)
        {
            return self.take_total(false, now);
        }
        let mut bucket = match source {
            Source::Device(device) => bucket(&self.devices, &device),
            Source::Place(place) => bucket(&self.places, &place),
        };
        let Limits {
            burst, interval, ..
        } = self.limits;
        let is_early = bucket.loud_until <= now && bucket.used(now) < interval * burst.div_ceil(2);
        if !is_early {
            bucket.loud_until = now + interval * burst;
        }
        let is_written = bucket.has(interval, burst, now) && self.take_total(is_early, now);
        if is_written {
            bucket.full_at = bucket.full_at.max(now) + interval;
        } else {
            bucket.left_out = bucket.left_out.saturating_add(1);
        }
        match source {
            Source::Device(device) => drop(self.devices.insert(device, bucket)),
            Source::Place(place) => drop(self.places.insert(place, bucket)),
        }
        is_written
    }

    /// `is_early`: of who has written little, and does not go on and on.
    fn take_total(&mut self, is_early: bool, now: Instant) -> bool {
        let each = Duration::from_secs(1) / self.limits.total_rate.max(1);
        let burst = self.limits.total_burst;
        let kept = if is_early { 0 } else { burst / KEPT_SHARE };
        let total = Bucket {
            full_at: self.total,
            ..Bucket::default()
        };
        let is_there = total.has(each, burst - kept, now);
        if is_there {
            self.total = self.total.max(now) + each;
        }
        is_there
    }

    /// Whether one more device can be remembered. Forgets those that are as good as new, at most
    /// once in a second: there are many to look at.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.devices.len() >= DEVICES_MAX && now.since(self.swept) >= Duration::from_secs(1) {
            self.swept = now;
            self.devices.retain(|_, bucket| {
                bucket.full_at.max(bucket.loud_until) > now || bucket.left_out > 0
            });
        }
        self.devices.len() < DEVICES_MAX
    }

    /// What was left out since the last time; `None` when nothing was.
    pub fn report(&mut self) -> Option<Report> {
        let lines = std::mem::take(&mut self.left_out);
        let mut worst = Vec::new();
        for (device, bucket) in &mut self.devices {
            let left_out = std::mem::take(&mut bucket.left_out);
            if left_out > 0 {
                worst.push((*device, left_out));
            }
        }
        self.places
            .values_mut()
            .for_each(|bucket| bucket.left_out = 0);
        let devices = worst.len();
        worst.sort_unstable_by_key(|(device, lines)| (Reverse(*lines), *device));
        worst.truncate(WORST_MAX);
        (lines > 0).then_some(Report {
            lines,
            devices,
            worst,
        })
    }
}

impl Bucket {
    /// The time it takes until it is full again.
    fn used(self, now: Instant) -> Duration {
        self.full_at.since(now)
    }

    fn has(self, each: Duration, burst: u32, now: Instant) -> bool {
        self.used(now) + each <= each * burst
    }
}

fn bucket<K: Eq + Hash>(buckets: &HashMap<K, Bucket>, key: &K) -> Bucket {
    buckets.get(key).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        burst: 4,
        interval: Duration::from_secs(10),
        total_burst: 40,
        total_rate: 2,
    };

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn normal(limiter: &mut Limiter, device: u32, ms: u64) -> bool {
        limiter.take(Source::Device(device), Weight::Normal, at(ms))
    }

    #[test]
    fn a_device_has_its_burst_and_then_one_in_an_interval() {
        let mut limiter = Limiter::new(LIMITS);
        let written = |limiter: &mut Limiter, ms| (0..9).filter(|_| normal(limiter, 7, ms)).count();
        assert_eq!(written(&mut limiter, 0), 4);
        assert_eq!(written(&mut limiter, 9_999), 0);
        assert_eq!(written(&mut limiter, 10_000), 1);
        assert_eq!(written(&mut limiter, 100_000), 4);
        let report = limiter.report().expect("some were left out");
        assert_eq!((report.lines, report.devices), (36 - 9, 1));
        assert_eq!(report.worst, [(7, 27)]);
        assert_eq!(limiter.report(), None);
    }

    #[test]
    fn errors_are_always_written() {
        let mut limiter = Limiter::new(LIMITS);
        for _ in 0..1000 {
            assert!(limiter.take(Source::Place(1), Weight::Must, at(0)));
        }
        assert_eq!(limiter.report(), None);
    }

    #[test]
    fn a_place_is_limited_as_a_device_is_and_apart_from_the_others() {
        let mut limiter = Limiter::new(LIMITS);
        let mut written = |place| {
            let take = |_: &u32| limiter.take(Source::Place(place), Weight::Normal, at(0));
            (0..9).filter(take).count()
        };
        assert_eq!((written(1), written(2)), (4, 4));
    }

    #[test]
    fn a_flood_leaves_room_for_who_was_quiet() {
        let mut limiter = Limiter::new(LIMITS);
        // 100 devices that flap without end.
        for ms in (0..600_000).step_by(100) {
            for device in 1..=100 {
                normal(&mut limiter, device, ms);
            }
        }
        // One that did not, and whoever looks closely has none of its room.
        for _ in 0..100 {
            limiter.take(Source::Device(5), Weight::Detail, at(600_000));
        }
        assert!(normal(&mut limiter, 1000, 600_000));
        assert!(normal(&mut limiter, 1000, 600_001));
    }

    #[test]
    fn no_more_devices_than_its_bound_are_remembered_and_the_rest_shares_the_bound_of_all() {
        let limits = Limits {
            total_burst: 1_000_000,
            ..LIMITS
        };
        let mut limiter = Limiter::new(limits);
        let bound = u32::try_from(DEVICES_MAX).expect("small");
        for device in 1..=bound + 10 {
            assert!(normal(&mut limiter, device, 0));
        }
        assert_eq!(limiter.devices.len(), DEVICES_MAX);
        // All of them are as good as new again.
        assert!(normal(&mut limiter, bound + 11, 100_000));
        assert_eq!(limiter.devices.len(), 1);
    }

    fn lines() -> impl Strategy<Value = Vec<(u64, Source, Weight)>> {
        let source = prop_oneof![
            3 => (1..30_u32).prop_map(Source::Device),
            1 => (0..5_usize).prop_map(Source::Place),
        ];
        let weight = prop_oneof![
            1 => Just(Weight::Must),
            8 => Just(Weight::Normal),
            2 => Just(Weight::Detail),
        ];
        proptest::collection::vec((0..5_000_u64, source, weight), 1..400)
    }

    proptest! {
        /// From any moment on nobody gets more than a burst and what the time since gave; and what
        /// was not written is in the reports.
        #[test]
        fn the_bounds_hold_from_every_moment_on(lines in lines()) {
            let mut limiter = Limiter::new(LIMITS);
            let mut ms = 0;
            let mut written = Vec::new();
            let mut left_out = 0;
            for (wait, source, weight) in lines {
                // Long breaks are rare, so that the bounds are met.
                ms += wait / 20;
                if limiter.take(source, weight, at(ms)) {
                    written.push((ms, source, weight));
                } else {
                    prop_assert_ne!(weight, Weight::Must);
                    left_out += 1;
                }
            }
            prop_assert_eq!(limiter.report().map_or(0, |report| report.lines), left_out);
            let bounded: Vec<_> = written.iter().filter(|(_, _, weight)| *weight != Weight::Must).collect();
            for (first, (start, source, weight)) in bounded.iter().copied().enumerate() {
                for (end, (now, _, _)) in bounded.iter().copied().enumerate().skip(first) {
                    let all = end - first + 1;
                    let since = now - start;
                    prop_assert!(all as u64 <= u64::from(LIMITS.total_burst) + since / 500 + 1);
                    if *weight == Weight::Normal {
                        let own = bounded[first..=end].iter().filter(|line| line.1 == *source && line.2 == Weight::Normal);
                        let most = u64::from(LIMITS.burst) + since / 10_000 + 1;
                        prop_assert!(own.count() as u64 <= most);
                    }
                }
            }
        }

        /// Who has written nothing for long is written, whatever the others do, as long as not too
        /// many like him come at once.
        #[test]
        fn a_quiet_device_is_heard(lines in lines()) {
            let mut limiter = Limiter::new(LIMITS);
            let mut ms = 0;
            for (wait, source, weight) in lines {
                ms += wait / 20;
                let Source::Device(_) = source else { continue };
                limiter.take(source, weight, at(ms));
            }
            // Until the kept share is there again: its 10 lines at 2 in a second.
            ms += 5_000;
            for n in 0..200 {
                limiter.take(Source::Device(1), Weight::Detail, at(ms + n));
            }
            prop_assert!(normal(&mut limiter, 1000, ms + 200));
        }
    }
}
