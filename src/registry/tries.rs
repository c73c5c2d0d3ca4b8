//! Who knocked and was turned away, in bounded room: which key has to go when another comes.
//!
//! Whoever can make up names can knock with a new one each time, so a list that keeps the newest
//! shows nothing but the flood, and one that keeps the oldest never shows a device that came
//! during it. Therefore, once the list is full, a quarter of it is for newcomers: they push each
//! other out, the oldest first. Whoever tries a second time before that is one of the others, and
//! of those the fewest tries go first, the newest first among equals. So of what was there before
//! a flood at least three quarters stay, the best evidence of it, and a device that came during
//! the flood stays if it tries again before a quarter of the list came after it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The part of a full list that is for newcomers, as a divisor.
const NEWCOMERS_PART: usize = 4;

#[derive(Debug)]
pub struct Tries<K> {
    max: usize,
    ranks: BTreeMap<K, Rank>,
    /// By the order in which they came.
    newcomers: BTreeMap<u64, K>,
    /// The first is the first to go.
    others: BTreeMap<(u32, Reverse<u64>), K>,
    next_order: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rank {
    tries: u32,
    order: u64,
    is_newcomer: bool,
}

/// What a try did to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded<K> {
    /// This one included.
    pub tries: u32,
    /// It came when the list was full, and has not tried again yet.
    pub is_newcomer: bool,
    pub evicted: Option<K>,
}

impl<K: Ord + Clone> Tries<K> {
    /// Room for `max` keys; 0 counts as 1.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            ranks: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            others: BTreeMap::new(),
            next_order: 0,
        }
    }

    /// Makes room for another number of keys. Those that have to go where it is less go as when
    /// others come.
    pub fn set_max(&mut self, max: usize) -> Vec<K> {
        self.max = max.max(1);
        let too_many = self.ranks.len().saturating_sub(self.max);
        (0..too_many).filter_map(|_| self.evict()).collect()
    }

    /// Counts a try of this key.
    pub fn record(&mut self, key: &K) -> Recorded<K> {
        let (rank, evicted) = match self.take(key) {
            Some(known) => {
                let again = Rank {
                    tries: known.tries.saturating_add(1),
                    is_newcomer: false,
                    ..known
                };
                (again, None)
            }
            None => {
                let is_full = self.ranks.len() >= self.max;
                let order = self.next_order;
                self.next_order += 1;
                let first = Rank {
                    tries: 1,
                    order,
                    is_newcomer: is_full,
                };
                (first, if is_full { self.evict() } else { None })
            }
        };
        if rank.is_newcomer {
            self.newcomers.insert(rank.order, key.clone());
        } else {
            let place = (rank.tries, Reverse(rank.order));
            self.others.insert(place, key.clone());
        }
        self.ranks.insert(key.clone(), rank);
        Recorded {
            tries: rank.tries,
            is_newcomer: rank.is_newcomer,
            evicted,
        }
    }

    pub fn remove(&mut self, key: &K) {
        self.take(key);
    }

    fn take(&mut self, key: &K) -> Option<Rank> {
        let rank = self.ranks.remove(key)?;
        if rank.is_newcomer {
            self.newcomers.remove(&rank.order);
        } else {
            self.others.remove(&(rank.tries, Reverse(rank.order)));
        }
        Some(rank)
    }

    fn evict(&mut self) -> Option<K> {
        let newcomers_max = (self.max / NEWCOMERS_PART).max(1);
        let other = match self.newcomers.len() {
            count if count < newcomers_max => self.others.pop_first(),
            _ => None,
        };
        let key = match other {
            Some((_, key)) => key,
            None => self.newcomers.pop_first()?.1,
        };
        self.ranks.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    impl Tries<u32> {
        fn keys(&self) -> BTreeSet<u32> {
            self.ranks.keys().copied().collect()
        }
    }

    #[test]
    fn a_second_try_is_no_second_entry() {
        let mut tries = Tries::new(2);
        assert_eq!(tries.record(&7).tries, 1);
        let again = tries.record(&7);
        assert_eq!((again.tries, again.evicted), (2, None));
        assert_eq!(tries.keys(), [7].into());
    }

    #[test]
    fn newcomers_push_each_other_out() {
        let mut tries = Tries::new(8);
        for key in 1..=8 {
            tries.record(&key);
        }
        let evicted = |tries: &mut Tries<u32>, key| tries.record(&key).evicted;
        // The two newest of those tried once give way, then the newcomers to each other.
        assert_eq!(evicted(&mut tries, 11), Some(8));
        assert_eq!(evicted(&mut tries, 12), Some(7));
        assert_eq!(evicted(&mut tries, 13), Some(11));
        // One that tries again stays, and leaves its place among the newcomers.
        let again = tries.record(&12);
        assert_eq!((again.is_newcomer, again.evicted), (false, None));
        assert_eq!(evicted(&mut tries, 14), Some(6));
        assert_eq!(evicted(&mut tries, 15), Some(13));
        assert_eq!(tries.keys(), [1, 2, 3, 4, 5, 12, 14, 15].into());
    }

    proptest! {
        #[test]
        fn a_flood_leaves_the_best_evidence(
            max in 1..40usize, before in vec(0..60u32, 0..200), flood in 0..500u32,
        ) {
            let mut tries = Tries::new(max);
            for key in &before {
                tries.record(key);
            }
            let held = tries.keys();
            let mut best: Vec<_> = held
                .iter()
                .map(|key| (tries.ranks[key], *key))
                .filter(|(rank, _)| !rank.is_newcomer)
                .map(|(rank, key)| (Reverse(rank.tries), rank.order, key))
                .collect();
            best.sort_unstable();
            best.truncate(max - (max / NEWCOMERS_PART).max(1));
            for key in 0..flood {
                tries.record(&(1_000 + key));
                prop_assert!(tries.ranks.len() <= max);
            }
            for (_, _, key) in best {
                prop_assert!(tries.keys().contains(&key), "{key} went");
            }
        }

        #[test]
        fn the_books_agree(
            mut max in 1..10usize, steps in vec((0..5u8, 0..20u32), 0..200),
        ) {
            let mut tries = Tries::new(max);
            let mut held = BTreeSet::new();
            for (what, key) in steps {
                match what {
                    0 => {
                        max = key as usize;
                        for evicted in tries.set_max(max) {
                            prop_assert!(held.remove(&evicted));
                        }
                        max = max.max(1);
                    }
                    1 | 2 => {
                        tries.remove(&key);
                        held.remove(&key);
                    }
                    _ => {
                        let recorded = tries.record(&key);
                        held.insert(key);
                        if let Some(evicted) = recorded.evicted {
                            prop_assert!(held.remove(&evicted));
                        }
                    }
                }
                prop_assert_eq!(&tries.keys(), &held);
                prop_assert_eq!(tries.newcomers.len() + tries.others.len(), held.len());
                prop_assert!(held.len() <= max);
            }
        }

        #[test]
        fn whoever_comes_during_a_flood_and_tries_again_soon_stays(
            max in 4..40usize, flood in 100..400u32,
        ) {
            let mut tries = Tries::new(max);
            for key in 0..flood {
                tries.record(&(1_000 + key));
            }
            tries.record(&7);
            let pause = u32::try_from(max / NEWCOMERS_PART).unwrap() - 1;
            for key in 0..pause {
                tries.record(&(5_000 + key));
            }
            prop_assert_eq!(tries.record(&7).tries, 2);
            for key in 0..flood {
                tries.record(&(9_000 + key));
            }
            prop_assert!(tries.keys().contains(&7));
        }
    }
}
