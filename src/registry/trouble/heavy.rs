//! The keys of a stream with the most weight, in bounded room.
//!
//! This is Space-Saving (Metwally, Agrawal, El Abbadi, 2005): when a key comes and there is no room,
//! it takes the place of the lightest, and with it the weight of that one as what may have been
//! missed of its own. So no key is ever told too much, and with room for `max` keys none whose
//! weight is more than the `max`-th part of all is missing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::cause::CauseKind;
use crate::identity::Identity;
use crate::registry::trouble::PARTS;

/// One thing that happened to a key.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// What it counts for in the decision who stays, at least 1.
    pub weight: u64,
    /// Which of the parts of its measure it belongs to; those that are not there count in none.
    pub part: usize,
    /// How long it took, where that is the trouble.
    pub took: Duration,
    pub cause: Option<CauseKind>,
    pub peer: SocketAddr,
    pub identity: Option<&'a Identity>,
    pub unix_ms: u64,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How often it was seen.
    pub events: u64,
    /// The weight that was seen.
    pub weight: u64,
    /// What was perhaps missed of it before it came in, as weight.
    pub missed: u64,
    pub parts: [u32; PARTS],
    /// The longest, and all together.
    pub worst: Duration,
    pub sum: Duration,
    /// Of the newest event.
    pub cause: Option<CauseKind>,
    pub peer: SocketAddr,
    pub unix_ms: u64,
    /// As it was when the key came in.
    pub identity: Option<Arc<Identity>>,
    /// Its place among those of the same weight.
    turn: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Heavy<K: Ord> {
    max: usize,
    tallies: OrdMap<K, Arc<Tally>>,
    /// By weight with what was missed, then by who was seen last: the first is the first to go.
    order: BTreeMap<(u64, u64), K>,
    next_turn: u64,
}

impl Tally {
    fn new(note: &Note<'_>, missed: u64) -> Self {
        Self {
            events: 0,
            weight: 0,
            missed,
            parts: [0; PARTS],
            worst: Duration::ZERO,
            sum: Duration::ZERO,
            cause: note.cause,
            peer: note.peer,
            unix_ms: note.unix_ms,
            identity: note.identity.cloned().map(Arc::new),
            turn: 0,
        }
    }

    fn add(&mut self, note: &Note<'_>) {
        self.events = self.events.saturating_add(1);
        self.weight = self.weight.saturating_add(note.weight.max(1));
        if let Some(part) = self.parts.get_mut(note.part) {
            *part = part.saturating_add(1);
        }
        self.worst = self.worst.max(note.took);
        self.sum = self.sum.saturating_add(note.took);
        self.cause = note.cause;
        self.peer = note.peer;
        self.unix_ms = note.unix_ms;
    }

    fn rank(&self) -> (u64, u64) {
        (self.weight.saturating_add(self.missed), self.turn)
    }
}

impl<K: Ord + Clone> Heavy<K> {
    /// Room for `max` keys; 0 counts as 1.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            tallies: OrdMap::new(),
            order: BTreeMap::new(),
            next_turn: 0,
        }
    }

    pub fn record(&mut self, key: &K, note: &Note<'_>) {
        let mut tally = match self.tallies.get(key) {
            Some(known) => {
                self.order.remove(&known.rank());
                Tally::clone(known)
            }
            None => Tally::new(note, self.make_room()),
        };
        tally.add(note);
        tally.turn = self.next_turn;
        self.next_turn += 1;
        self.order.insert(tally.rank(), key.clone());
        self.tallies.insert(key.clone(), Arc::new(tally));
    }

    /// What a key that is not here can have at most.
    pub fn floor(&self) -> u64 {
        let lightest = self.order.first_key_value();
        let lightest = lightest.map_or(0, |((weight, _), _)| *weight);
        if self.is_full() { lightest } else { 0 }
    }

    /// All of them; cheap to clone.
    pub fn tallies(&self) -> &OrdMap<K, Arc<Tally>> {
        &self.tallies
    }

    fn is_full(&self) -> bool {
        self.tallies.len() >= self.max
    }

    /// Sends the lightest away if need be; what the one that comes may have had at most.
    fn make_room(&mut self) -> u64 {
        if !self.is_full() {
            return 0;
        }
        let Some(((weight, _), lightest)) = self.order.pop_first() else {
            return 0;
        };
        self.tallies.remove(&lightest);
        weight
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::testing::note;
    use super::*;

    #[test]
    fn the_lightest_goes_and_of_equals_the_one_seen_longest_ago() {
        let mut heavy = Heavy::new(2);
        for key in [1, 2, 1, 3] {
            heavy.record(&key, &note(1));
        }
        let keys: Vec<_> = heavy.tallies().keys().copied().collect();
        assert_eq!(keys, [1, 3]);
        let newcomer = &heavy.tallies()[&3];
        assert_eq!((newcomer.weight, newcomer.missed), (1, 1));
        // Both weigh two now; key 1 was seen longer ago.
        heavy.record(&4, &note(1));
        let keys: Vec<_> = heavy.tallies().keys().copied().collect();
        assert_eq!((keys, heavy.floor()), (vec![3, 4], 2));
    }

    proptest! {
        #[test]
        fn nobody_with_more_than_a_share_is_missed_and_nobody_told_too_much(
            max in 1..20usize, stream in vec((0..60u32, 1..5u64), 0..400),
        ) {
            let mut heavy = Heavy::new(max);
            let mut truth: BTreeMap<u32, u64> = BTreeMap::new();
            for (key, weight) in stream {
                heavy.record(&key, &note(weight));
                *truth.entry(key).or_default() += weight;
                prop_assert!(heavy.tallies().len() <= max);
                prop_assert_eq!(heavy.tallies().len(), heavy.order.len());
            }
            let all: u64 = truth.values().sum();
            let share = all / u64::try_from(max).unwrap();
            prop_assert!(heavy.floor() <= share);
            for (key, weight) in truth {
                match heavy.tallies().get(&key) {
                    Some(tally) => {
                        prop_assert!(tally.weight <= weight);
                        prop_assert!(weight <= tally.weight + tally.missed);
                        prop_assert!(tally.missed <= share);
                    }
                    None => prop_assert!(weight <= heavy.floor()),
                }
            }
        }
    }
}
