//! What the event log still has, and from which numbers on it can be followed.
//!
//! A subscriber that names the last number it saw must get either every event after it or a gap,
//! never a history with a hole. Numbers alone do not tell: they have legal holes, because every
//! start skips to the end of the block that the start before it had reserved. So the log keeps,
//! for each start of the gateway, a *run*: its `base`, the number before the first that it could
//! give out (itself never given out), and its `end`, the newest event that reached the log.
//!
//! Within one run the log is complete from `base` to `end`, because events reach it in order.
//! Between two runs it is complete as a story: the statuses that the next run starts from are
//! stored together with the events, so a reader that stands at the `end` of a run and then reads
//! the next one ends with the truth. What was given out after `end` and lost with a crash is no
//! part of that story, and whoever saw it stands beside it. Therefore a number can be followed if
//!
//! 1. it lies in `base ..= end` of a run: between runs lie only numbers that were never given out
//!    or were lost with a crash, and nobody can tell which; and
//! 2. it is not below the `floor`, the newest number that the log dropped: because it was too old
//!    or one too many, did not decode, or could not be written and the memory for it was used up.
//!
//! In the newest run `end` counts events that are gathered but not yet written. After a crash it
//! is found in the log itself, so it needs no write of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::StatusEvent;
use crate::store::limits::Limits;

/// At most so many runs are kept; the oldest are dropped with their events' continuity.
const RUNS_MAX: usize = 1024;

/// How long events are kept, and how much of other things. Whole batches of events are dropped, so
/// up to one batch more than this stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub events_max: u64,
    /// Judged by the newest event of a batch, whenever events are written and at each start.
    pub age_max: Duration,
    /// Entries of the audit log; the oldest go first.
    pub audit_max: u64,
    pub limits: Limits,
}

/// The numbers of one start of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The number before the first that could be given out; itself never given out.
    pub base: u64,
    /// The newest event in the log; `base` when there is none.
    pub end: u64,
}

/// One stored batch of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub first: u64,
    pub last: u64,
    pub events: u64,
    /// Milliseconds since the Unix epoch of its newest event.
    pub newest_unix_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    floor: u64,
    past: Vec<Run>,
    /// Its end is what was written, because the disk is told of it.
    current: Run,
    /// The end before the newest batch.
    end_before: u64,
    /// The newest number of the present run that will never be written.
    lost: u64,
    batches: BTreeMap<u64, Batch>,
    events: u64,
}

/// What the log notes of a batch; `None` when there are no events in it.
pub fn batch<'a>(events: impl Iterator<Item = &'a StatusEvent>) -> Option<Batch> {
    events.fold(None, |batch: Option<Batch>, event| {
        let first = batch.map_or(event.number, |batch| batch.first);
        let events = batch.map_or(0, |batch| batch.events) + 1;
        Some(Batch {
            first,
            last: event.number,
            events,
            newest_unix_ms: event.unix_ms,
        })
    })
}

impl Coverage {
    /// Takes up the log as a start finds it, and begins a run whose numbers lie above `base`.
    ///
    /// `damaged` are the first numbers of batches that did not decode.
    pub fn start(
        floor: u64,
        mut runs: Vec<Run>,
        batches: Vec<Batch>,
        damaged: &[u64],
        base: u64,
    ) -> Self {
        if let (Some(run), Some(batch)) = (runs.last_mut(), batches.last()) {
            run.end = run.end.max(batch.last);
        }
        runs.retain(|run| run.end < base);
        let mut coverage = Self {
            floor,
            past: runs,
            current: Run { base, end: base },
            end_before: base,
            lost: base,
            events: batches.iter().map(|batch| batch.events).sum(),
            batches: batches
                .into_iter()
                .map(|batch| (batch.first, batch))
                .collect(),
        };
        for first in damaged {
            let next = coverage.batches.range(first..).next();
            let lost_through = next.map_or(base, |(next, _)| next - 1);
            coverage.lose(lost_through);
        }
        coverage
    }

    /// Events up to this number were dropped from the log.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Oldest first, the present one last.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = self.past.clone();
        runs.push(self.current);
        runs
    }

    /// Takes in a batch that was written, newer than all before it.
    pub fn add(&mut self, batch: Batch) {
        self.events += batch.events;
        self.end_before = self.current.end;
        self.current.end = self.current.end.max(batch.last);
        self.batches.insert(batch.first, batch);
    }

    /// Notes that an event of the present run up to this number, or an older one, is not in the
    /// log and will not be.
    pub fn lose(&mut self, through: u64) {
        self.floor = self.floor.max(through);
        self.lost = self.lost.max(through);
        self.forget_runs();
    }

    /// Takes out a batch that does not decode.
    pub fn lose_batch(&mut self, first: u64) {
        if let Some(batch) = self.batches.remove(&first) {
            self.events -= batch.events;
            self.lose(batch.last);
        }
    }

    /// Takes back the newest batch: it could not be written, and its events still wait.
    pub fn take_back(&mut self, first: u64) {
        if let Some(batch) = self.batches.remove(&first) {
            self.events -= batch.events;
        }
        self.current.end = self.end_before;
    }

    /// Compares with the batches that are really stored, and returns the first numbers of those
    /// that are not to be there.
    pub fn reconcile(&mut self, stored: &[Batch]) -> Vec<u64> {
        let stored: BTreeMap<u64, Batch> =
            stored.iter().map(|batch| (batch.first, *batch)).collect();
        let unlike =
            |(first, batch): (&u64, &Batch)| (stored.get(first) != Some(batch)).then_some(*first);
        let missing: Vec<u64> = self.batches.iter().filter_map(unlike).collect();
        missing.into_iter().for_each(|first| self.lose_batch(first));
        let known = |first: &u64| self.batches.contains_key(first);
        stored.into_keys().filter(|first| !known(first)).collect()
    }

    /// Takes out the batches that [`Retention`] no longer keeps, and returns their first numbers.
    pub fn trim(&mut self, retention: Retention, now_unix_ms: u64) -> Vec<u64> {
        let age_max_ms = u64::try_from(retention.age_max.as_millis()).unwrap_or(u64::MAX);
        let oldest_kept_ms = now_unix_ms.saturating_sub(age_max_ms);
        let mut trimmed = Vec::new();
        while let Some((first, batch)) = self.batches.first_key_value() {
            let too_many = self.events - batch.events >= retention.events_max;
            if !too_many && batch.newest_unix_ms >= oldest_kept_ms {
                break;
            }
            trimmed.push(*first);
            self.floor = self.floor.max(batch.last);
            self.events -= batch.events;
            self.batches.pop_first();
        }
        self.forget_runs();
        trimmed
    }

    /// Whether the log has every event after this number; `gathered` is the newest event that
    /// waits to be written.
    pub fn reaches(&self, after: u64, gathered: Option<u64>) -> bool {
        let current = Run {
            base: self.current.base,
            end: self.current.end.max(self.lost).max(gathered.unwrap_or(0)),
        };
        let holds = |run: &Run| run.base <= after && after <= run.end;
        after >= self.floor && (holds(&current) || self.past.iter().any(holds))
    }

    /// The first numbers of the batches that have events after `after` and up to `until`.
    pub fn batches(&self, after: u64, until: u64) -> Vec<u64> {
        if until <= after {
            return Vec::new();
        }
        let before = self.batches.range(..=after).next_back();
        let before = before.filter(|(_, batch)| batch.last > after);
        let from = before.map_or(after, |(first, _)| *first);
        let batches = self.batches.range(from..=until);
        batches
            .filter(|(_, batch)| batch.last > after)
            .map(|(first, _)| *first)
            .collect()
    }

    fn forget_runs(&mut self) {
        self.past.retain(|run| run.end >= self.floor);
        if self.past.len() > RUNS_MAX {
            let kept = self.past.split_off(self.past.len() - RUNS_MAX);
            self.floor = self.floor.max(kept[0].base);
            self.past = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const RETENTION: Retention = Retention {
        events_max: 6,
        age_max: Duration::from_millis(40),
        audit_max: 1,
        limits: Limits {
            properties_max: 1,
            property_max_bytes: 1,
            buckets_max: 1,
            bucket_keep_max: 1,
            bucket_keep_for: Duration::ZERO,
        },
    };

    /// What may happen to a log.
    #[derive(Clone, Debug)]
    enum Step {
        /// So many events are given out, told to subscribers, and gathered.
        Give(u64),
        /// What is gathered is written.
        Write,
        /// The disk refuses what is gathered, having taken it or not, and is opened again.
        FailedWrite(bool),
        /// The oldest of what is gathered is dropped for want of memory.
        Overflow,
        /// The process dies; what is gathered is lost. The block that was reserved reaches so
        /// far beyond the last number given out.
        Crash(u64),
        /// The stored batch with this index, if there is one, turns out damaged.
        Damage(usize, bool),
        Pass(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..5u64).prop_map(Step::Give),
            4 => Just(Step::Write),
            1 => any::<bool>().prop_map(Step::FailedWrite),
            1 => Just(Step::Overflow),
            2 => (0..4u64).prop_map(Step::Crash),
            1 => (0..6usize, any::<bool>()).prop_map(|(index, at_start)| Step::Damage(index, at_start)),
            1 => (1..30u64).prop_map(Step::Pass),
        ]
    }

    /// A log as a plain list, beside what every number ever given out has become.
    struct World {
        coverage: Coverage,
        /// The stored batches: the numbers in them and the time.
        stored: Vec<(Vec<u64>, u64)>,
        gathered: Vec<u64>,
        /// Each number that was given out, and whether it stays part of the story: not lost with
        /// a crash.
        story: BTreeMap<u64, bool>,
        bases: Vec<u64>,
        /// What the disk has of the coverage: written together with events and at each start.
        on_disk: (u64, Vec<Run>),
        next: u64,
        now_ms: u64,
    }

    impl World {
        fn new() -> Self {
            let coverage = Coverage::start(0, Vec::new(), Vec::new(), &[], 0);
            Self {
                on_disk: (coverage.floor(), coverage.runs()),
                coverage,
                stored: Vec::new(),
                gathered: Vec::new(),
                story: BTreeMap::new(),
                bases: vec![0],
                next: 1,
                now_ms: 1000,
            }
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Give(count) => self.give(count),
                Step::Write => self.write(),
                Step::FailedWrite(taken) => self.fail_to_write(taken),
                Step::Overflow if !self.gathered.is_empty() => {
                    let lost = self.gathered.remove(0);
                    self.coverage.lose(lost);
                }
                Step::Overflow => {}
                Step::Crash(unused) => self.restart(unused, &[]),
                Step::Damage(index, at_start) if index < self.stored.len() => {
                    let (numbers, _) = self.stored.remove(index);
                    if at_start {
                        self.restart(0, &[numbers[0]]);
                    } else {
                        self.coverage.lose_batch(numbers[0]);
                        self.on_disk = (self.coverage.floor(), self.coverage.runs());
                    }
                }
                Step::Damage(..) => {}
                Step::Pass(ms) => self.now_ms += ms,
            }
        }

        fn give(&mut self, count: u64) {
            for number in self.next..self.next + count {
                self.gathered.push(number);
                self.story.insert(number, true);
            }
            self.next += count;
        }

        fn write(&mut self) {
            if self.gathered.is_empty() {
                return;
            }
            let numbers = std::mem::take(&mut self.gathered);
            self.coverage.add(batch(&numbers, self.now_ms));
            self.stored.push((numbers, self.now_ms));
            let trimmed = self.coverage.trim(RETENTION, self.now_ms);
            self.stored
                .retain(|(numbers, _)| !trimmed.contains(&numbers[0]));
            self.on_disk = (self.coverage.floor(), self.coverage.runs());
        }

        fn fail_to_write(&mut self, taken: bool) {
            let Some(first) = self.gathered.first().copied() else {
                return;
            };
            self.coverage.add(batch(&self.gathered, self.now_ms));
            let trimmed = self.coverage.trim(RETENTION, self.now_ms);
            if taken {
                self.stored.push((self.gathered.clone(), self.now_ms));
                self.stored
                    .retain(|(numbers, _)| !trimmed.contains(&numbers[0]));
            }
            self.coverage.take_back(first);
            let stray = self.coverage.reconcile(&self.batches());
            self.stored
                .retain(|(numbers, _)| !stray.contains(&numbers[0]));
            self.on_disk = (self.coverage.floor(), self.coverage.runs());
        }

        fn batches(&self) -> Vec<Batch> {
            let stored = self.stored.iter();
            stored.map(|(numbers, ms)| batch(numbers, *ms)).collect()
        }

        fn restart(&mut self, unused: u64, damaged: &[u64]) {
            for number in self.gathered.drain(..) {
                self.story.insert(number, false);
            }
            // Overflowed events that no later write told the disk of never happened either.
            let written = self
                .stored
                .last()
                .map_or(0, |(numbers, _)| numbers[numbers.len() - 1]);
            let known = written
                .max(self.on_disk.0)
                .max(damaged.iter().copied().max().unwrap_or(0));
            for (_, kept) in self.story.range_mut(known + 1..) {
                *kept = false;
            }
            let base = self.next + unused;
            self.next = base + 1;
            self.bases.push(base);
            let batches = self
                .stored
                .iter()
                .map(|(numbers, ms)| batch(numbers, *ms))
                .collect();
            let (floor, runs) = self.on_disk.clone();
            self.coverage = Coverage::start(floor, runs, batches, damaged, base);
            self.on_disk = (self.coverage.floor(), self.coverage.runs());
        }

        /// The events after `after` as the log has them.
        fn log(&self, after: u64) -> Vec<u64> {
            let firsts = self.coverage.batches(after, u64::MAX);
            let stored = self
                .stored
                .iter()
                .filter(|(numbers, _)| firsts.contains(&numbers[0]));
            let numbers = stored.flat_map(|(numbers, _)| numbers.iter().copied());
            let all = numbers.chain(self.gathered.iter().copied());
            all.filter(|number| *number > after).collect()
        }

        fn check(&self) {
            for after in 0..self.next + 3 {
                let newest = self.gathered.last().copied();
                if self.coverage.reaches(after, newest) {
                    let started_here = self.bases.contains(&after);
                    let stands_in_story = self.story.get(&after).is_some_and(|kept| *kept);
                    assert!(
                        started_here || stands_in_story,
                        "{after} was never a place to stand"
                    );
                    let story = self.story.range(after + 1..);
                    let story: Vec<u64> = story
                        .filter(|(_, kept)| **kept)
                        .map(|(number, _)| *number)
                        .collect();
                    assert_eq!(self.log(after), story, "after {after}");
                }
            }
        }
    }

    fn batch(numbers: &[u64], newest_unix_ms: u64) -> Batch {
        Batch {
            first: numbers[0],
            last: numbers[numbers.len() - 1],
            events: numbers.len() as u64,
            newest_unix_ms,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_history_is_whole_or_a_gap(steps in vec(any_step(), 1..40)) {
            let mut world = World::new();
            for step in steps {
                world.step(step);
                world.check();
            }
        }

        #[test]
        fn what_is_kept_can_be_followed(gives in vec(1..4u64, 1..12)) {
            let mut world = World::new();
            for count in gives {
                world.step(Step::Give(count));
                world.step(Step::Write);
            }
            let newest = world.next - 1;
            prop_assert!(world.coverage.reaches(newest, None));
            prop_assert!(world.coverage.reaches(newest.saturating_sub(RETENTION.events_max), None));
            prop_assert!(!world.coverage.reaches(newest + 1, None));
            world.step(Step::Crash(3));
            prop_assert!(world.coverage.reaches(newest, None));
            prop_assert!(world.coverage.reaches(world.next - 1, None));
            prop_assert!(!world.coverage.reaches(world.next - 2, None));
        }

        #[test]
        fn the_log_stays_within_its_bounds(counts in vec(1..5u64, 1..20), pauses in vec(0..30u64, 20)) {
            let mut world = World::new();
            for (count, pause) in counts.into_iter().zip(pauses) {
                world.step(Step::Pass(pause));
                world.step(Step::Give(count));
                world.step(Step::Write);
                let kept: usize = world.stored.iter().map(|(numbers, _)| numbers.len()).sum();
                prop_assert!(kept < 6 + 5);
                prop_assert!(world.stored.iter().all(|(_, ms)| ms + 40 >= world.now_ms));
            }
        }
    }

    #[test]
    fn who_saw_the_newest_lost_event_missed_nothing() {
        let mut coverage = Coverage::start(0, Vec::new(), Vec::new(), &[], 0);
        coverage.lose(5);
        assert!(!coverage.reaches(4, Some(6)));
        assert!(coverage.reaches(5, None));
        let restarted = Coverage::start(coverage.floor(), coverage.runs(), Vec::new(), &[], 9);
        assert!(!restarted.reaches(5, None));
        assert!(restarted.reaches(9, None));
    }

    #[test]
    fn a_thousand_starts_are_remembered_and_no_more() {
        let mut runs = Vec::new();
        for start in 0..2000 {
            let base = start * 10;
            let coverage = Coverage::start(0, runs, Vec::new(), &[], base);
            assert!(coverage.reaches(base, None));
            runs = coverage.runs();
        }
        let mut coverage = Coverage::start(0, runs, Vec::new(), &[], 20_000);
        coverage.trim(RETENTION, 0);
        assert_eq!(coverage.runs().len(), RUNS_MAX + 1);
        assert!(!coverage.reaches(0, None));
        assert!(coverage.reaches(19_990, None));
    }
}
