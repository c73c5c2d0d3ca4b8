//! A window that slides over a stream of events, a slot at a time.
//!
//! Each slot is a [`Heavy`] of its own, so that an old flood says nothing about what came after it:
//! with room for `max` keys in each, no key is missing that has more than the `max`-th part of all
//! weight in the window, for then it has more than its part in at least one of the slots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::cause::CauseKind;
use crate::identity::Identity;
use crate::registry::trouble::PARTS;
use crate::registry::trouble::heavy::{Heavy, Note, Tally};
use crate::time::Instant;

/// The length of a slot.
pub const SLOT: Duration = Duration::from_secs(60);
/// How many slots the longest window has, the one that is being filled included.
pub const SLOTS: usize = 10;

/// The newest [`SLOTS`] slots, being filled.
#[derive(Debug)]
pub struct Window<K: Ord> {
    max: usize,
    /// The oldest first. Shared with readers, and replaced once a slot.
    closed: Arc<Vec<Slot<K>>>,
    number: u64,
    heavy: Heavy<K>,
}

/// What readers see of a window. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Slots<K: Ord> {
    closed: Arc<Vec<Slot<K>>>,
    open: Slot<K>,
}

#[derive(Clone, Debug)]
struct Slot<K: Ord> {
    /// Counted from the start of the clock.
    number: u64,
    tallies: OrdMap<K, Arc<Tally>>,
    /// What a key that is not in it can have at most.
    floor: u64,
}

/// What a key comes to in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How often it was seen.
    pub events: u64,
    pub weight: u64,
    /// What was perhaps missed of it, at most: 0 unless more keys had trouble than there is room.
    pub missed: u64,
    pub parts: [u64; PARTS],
    pub worst: Duration,
    pub sum: Duration,
    /// The newest event.
    pub last: Option<Last>,
}

/// The newest event of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub cause: Option<CauseKind>,
    pub peer: std::net::SocketAddr,
    pub unix_ms: u64,
    pub identity: Option<Arc<Identity>>,
}

/// The slot that a moment belongs to.
const fn number(now: Instant) -> u64 {
    now.as_micros() / (SLOT.as_micros() as u64)
}

impl<K: Ord + Clone> Window<K> {
    /// Room for `max` keys in each slot.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            closed: Arc::default(),
            number: 0,
            heavy: Heavy::new(max),
        }
    }

    /// Counts an event. One that is older than the slot being filled counts in that.
    pub fn record(&mut self, key: &K, note: &Note<'_>, now: Instant) {
        let number = number(now);
        if number > self.number {
            self.close(number);
        }
        self.heavy.record(key, note);
    }

    pub fn slots(&self) -> Slots<K> {
        Slots {
            closed: Arc::clone(&self.closed),
            open: self.open(),
        }
    }

    fn open(&self) -> Slot<K> {
        Slot {
            number: self.number,
            tallies: self.heavy.tallies().clone(),
            floor: self.heavy.floor(),
        }
    }

    /// Begins slot `number`, and lets go what no window reaches any more.
    fn close(&mut self, number: u64) {
        let oldest = first(number, SLOTS);
        let kept = self.closed.iter().filter(|slot| slot.number >= oldest);
        let mut closed: Vec<_> = kept.cloned().collect();
        if self.number >= oldest && !self.heavy.tallies().is_empty() {
            closed.push(self.open());
        }
        self.closed = Arc::new(closed);
        self.heavy = Heavy::new(self.max);
        self.number = number;
    }
}

/// The number of the first slot of a window whose last slot is `number`.
fn first(number: u64, slots: usize) -> u64 {
    let before = u64::try_from(slots.max(1) - 1).unwrap_or(u64::MAX);
    number.saturating_sub(before)
}

impl<K: Ord> Default for Slots<K> {
    fn default() -> Self {
        Self {
            closed: Arc::default(),
            open: Slot {
                number: 0,
                tallies: OrdMap::new(),
                floor: 0,
            },
        }
    }
}

impl<K: Ord + Clone> Slots<K> {
    /// Every key that was seen in the last so many slots, the present one included.
    pub fn keys(&self, slots: usize, now: Instant) -> BTreeMap<K, Total> {
        let mut keys: BTreeMap<K, Total> = BTreeMap::new();
        let mut floors = 0_u64;
        for slot in self.within(slots, now) {
            for (key, tally) in &slot.tallies {
                // Who comes only now may have been missed in the slots before.
                let total = keys.entry(key.clone()).or_insert_with(|| Total {
                    missed: floors,
                    ..Total::default()
                });
                total.add(tally);
            }
            floors = floors.saturating_add(slot.floor);
            if slot.floor > 0 {
                let absent = keys
                    .iter_mut()
                    .filter(|(key, _)| !slot.tallies.contains_key(*key));
                absent
                    .for_each(|(_, total)| total.missed = total.missed.saturating_add(slot.floor));
            }
        }
        keys
    }

    /// What one key comes to in the last so many slots, the present one included.
    pub fn of(&self, key: &K, slots: usize, now: Instant) -> Total {
        let mut total = Total::default();
        for slot in self.within(slots, now) {
            match slot.tallies.get(key) {
                Some(tally) => total.add(tally),
                None => total.missed = total.missed.saturating_add(slot.floor),
            }
        }
        total
    }

    /// The oldest first. A reader whose clock is behind has at least the slot being filled.
    fn within(&self, slots: usize, now: Instant) -> impl Iterator<Item = &Slot<K>> {
        let first = first(number(now).max(self.open.number), slots);
        let all = self.closed.iter().chain(std::iter::once(&self.open));
        all.filter(move |slot| slot.number >= first)
    }
}

impl Total {
    fn add(&mut self, tally: &Tally) {
        self.events = self.events.saturating_add(tally.events);
        self.weight = self.weight.saturating_add(tally.weight);
        self.missed = self.missed.saturating_add(tally.missed);
        for (sum, part) in self.parts.iter_mut().zip(tally.parts) {
            *sum = sum.saturating_add(part.into());
        }
        self.worst = self.worst.max(tally.worst);
        self.sum = self.sum.saturating_add(tally.sum);
        self.last = Some(Last {
            cause: tally.cause,
            peer: tally.peer,
            unix_ms: tally.unix_ms,
            identity: tally.identity.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::testing::note;
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_happened_leaves_the_window_with_its_slot_though_nothing_happens_any_more() {
        let mut window = Window::new(5);
        window.record(&7, &note(1), at(59));
        window.record(&7, &note(1), at(60));
        let slots = window.slots();
        let events = |slots_wanted, seconds| slots.of(&7, slots_wanted, at(seconds)).events;
        assert_eq!((events(10, 60), events(1, 60)), (2, 1));
        assert_eq!(
            (events(10, 599), events(10, 600), events(10, 659)),
            (2, 1, 1)
        );
        assert_eq!(events(10, 660), 0);
        assert!(slots.keys(10, at(660)).is_empty());
        // Who reads with the clock of a moment ago still sees the present slot.
        assert_eq!(events(1, 0), 1);
    }

    #[test]
    fn the_newest_event_is_told() {
        let mut window = Window::new(5);
        for (cause, seconds) in [(CauseKind::IoError, 0), (CauseKind::KeepAliveTimeout, 90)] {
            let cause = Some(cause);
            window.record(&7, &Note { cause, ..note(1) }, at(seconds));
        }
        let last = window.slots().of(&7, 10, at(100)).last;
        let cause = last.and_then(|last| last.cause);
        assert_eq!(cause, Some(CauseKind::KeepAliveTimeout));
    }

    /// Events at times that need not ascend, as key, weight and second.
    fn stream() -> impl Strategy<Value = Vec<(u32, u64, u64)>> {
        let step = (0..30u32, 1..4u64, 0..100u64, 0..30u64);
        vec(step, 0..300).prop_map(|steps| {
            let mut clock = 0;
            let event = |(key, weight, pause, late): (u32, u64, u64, u64)| {
                clock += pause;
                (key, weight, clock.saturating_sub(late))
            };
            steps.into_iter().map(event).collect()
        })
    }

    /// The slot in which each event counts: the newest so far.
    fn placed(stream: &[(u32, u64, u64)]) -> Vec<(u32, u64, u64)> {
        let mut newest = 0;
        let place = |(key, weight, second): &(u32, u64, u64)| {
            newest = newest.max(second / 60);
            (*key, *weight, newest)
        };
        stream.iter().map(place).collect()
    }

    proptest! {
        #[test]
        fn with_room_for_all_the_window_is_exact(
            stream in stream(), slots in 1..=SLOTS, later in 0..900u64,
        ) {
            let mut window = Window::new(30);
            for (key, weight, second) in &stream {
                window.record(key, &note(*weight), at(*second));
            }
            let placed = placed(&stream);
            let newest = placed.last().map_or(0, |(_, _, slot)| *slot);
            let now = at(newest * 60 + later);
            let first = first(number(now), slots);
            let view = window.slots();
            for key in 0..30 {
                let of_key = placed.iter().filter(|(k, _, slot)| *k == key && *slot >= first);
                let weights: Vec<u64> = of_key.map(|(_, weight, _)| *weight).collect();
                let total = view.of(&key, slots, now);
                prop_assert_eq!(total.events, u64::try_from(weights.len()).unwrap());
                prop_assert_eq!(total.weight, weights.iter().sum::<u64>());
                prop_assert_eq!(total.missed, 0);
                prop_assert_eq!(view.keys(slots, now).contains_key(&key), !weights.is_empty());
            }
            prop_assert!(window.closed.len() < SLOTS);
        }

        #[test]
        fn nobody_with_more_than_a_share_of_the_window_is_missed(
            max in 1..12usize, stream in stream(), slots in 1..=SLOTS, later in 0..900u64,
        ) {
            let mut window = Window::new(max);
            for (key, weight, second) in &stream {
                window.record(key, &note(*weight), at(*second));
            }
            let placed = placed(&stream);
            let newest = placed.last().map_or(0, |(_, _, slot)| *slot);
            let now = at(newest * 60 + later);
            let first = first(number(now), slots);
            let mut truth: BTreeMap<u32, u64> = BTreeMap::new();
            for (key, weight, _) in placed.iter().filter(|(_, _, slot)| *slot >= first) {
                *truth.entry(*key).or_default() += weight;
            }
            let share = truth.values().sum::<u64>() / u64::try_from(max).unwrap();
            let view = window.slots();
            let keys = view.keys(slots, now);
            for key in 0..30 {
                let weight = truth.get(&key).copied().unwrap_or(0);
                let total = view.of(&key, slots, now);
                prop_assert!(total.weight <= weight && weight <= total.weight + total.missed);
                prop_assert!(total.missed <= share);
                prop_assert!(weight <= share || keys.contains_key(&key));
                prop_assert_eq!(keys.get(&key).unwrap_or(&total), &total);
            }
        }
    }
}
