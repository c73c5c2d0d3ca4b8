//! Who was accepted and is no session yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Bounds the accepted connections that are not sessions yet, in total and per source address.
///
/// When a bound is reached, the connection that has been silent for the longest gives way: a peer
/// that says nothing must not keep out one that would.
#[derive(Debug)]
pub struct WaitingRoom {
    total_max: usize,
    per_source_max: usize,
    seats: BTreeMap<SeatId, Seat>,
    sources: HashMap<IpAddr, BTreeSet<SeatId>>,
    /// Those that have not sent a byte, the longest waiting first.
    silent: BTreeSet<SeatId>,
}

/// Names one waiting connection; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId(u64);

#[derive(Debug)]
struct Seat {
    source: IpAddr,
}

/// What became of a connection at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    Seated(SeatId),
    /// Seated in the place of a silent one, which is to be closed.
    SeatedInsteadOf {
        seat: SeatId,
        silent: SeatId,
    },
    /// Every seat is taken by a connection that has spoken.
    Full,
}

impl WaitingRoom {
    pub fn new(total_max: usize, per_source_max: usize) -> Self {
        Self {
            total_max: total_max.max(1),
            per_source_max: per_source_max.max(1),
            seats: BTreeMap::new(),
            sources: HashMap::new(),
            silent: BTreeSet::new(),
        }
    }

    /// Seats the `number`-th connection, if there is or can be made room for it.
    pub fn enter(&mut self, number: u64, source: IpAddr) -> Entrance {
        let here = self.sources.get(&source);
        let evicted = if here.is_some_and(|here| here.len() >= self.per_source_max) {
            let silent = here.and_then(|here| here.iter().find(|seat| self.silent.contains(seat)));
            silent.copied().map_or(Err(()), |silent| Ok(Some(silent)))
        } else if self.seats.len() >= self.total_max {
            self.silent
                .first()
                .copied()
                .map_or(Err(()), |silent| Ok(Some(silent)))
        } else {
            Ok(None)
        };
        let Ok(evicted) = evicted else {
            return Entrance::Full;
        };
        if let Some(silent) = evicted {
            self.leave(silent);
        }
        let seat = SeatId(number);
        self.seats.insert(seat, Seat { source });
        self.sources.entry(source).or_default().insert(seat);
        self.silent.insert(seat);
        match evicted {
            Some(silent) => Entrance::SeatedInsteadOf { seat, silent },
            None => Entrance::Seated(seat),
        }
    }

    /// The peer has sent something: it does not give way any more.
    pub fn spoke(&mut self, seat: SeatId) {
        self.silent.remove(&seat);
    }

    /// The connection became a session, or ended. Harmless when it left before.
    pub fn leave(&mut self, seat: SeatId) {
        let Some(Seat { source }) = self.seats.remove(&seat) else {
            return;
        };
        self.silent.remove(&seat);
        if let Some(here) = self.sources.get_mut(&source) {
            here.remove(&seat);
            if here.is_empty() {
                self.sources.remove(&source);
                self.sources.shrink_to(64);
            }
        }
    }

    pub fn holds(&self, seat: SeatId) -> bool {
        self.seats.contains_key(&seat)
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seated(entrance: Entrance) -> SeatId {
        match entrance {
            Entrance::Seated(seat) | Entrance::SeatedInsteadOf { seat, .. } => seat,
            Entrance::Full => panic!("the room is full"),
        }
    }

    #[test]
    fn the_longest_silent_gives_way_and_who_spoke_stays() {
        let (one, two): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut room = WaitingRoom::new(3, 2);
        let first = seated(room.enter(1, one));
        let second = seated(room.enter(2, one));
        room.spoke(first);
        let third = SeatId(3);
        let entrance = Entrance::SeatedInsteadOf {
            seat: third,
            silent: second,
        };
        assert_eq!(room.enter(3, one), entrance, "its own source gives way");
        room.spoke(third);
        assert_eq!(
            room.enter(4, one),
            Entrance::Full,
            "all of this source have spoken"
        );
        let fifth = seated(room.enter(5, two));
        assert_eq!(
            room.enter(6, two),
            Entrance::SeatedInsteadOf {
                seat: SeatId(6),
                silent: fifth
            },
            "the whole room is full"
        );
        for seat in [first, second, third, fifth, SeatId(6)] {
            room.leave(seat);
        }
        assert!(room.is_empty() && room.sources.is_empty() && room.silent.is_empty());
    }

    proptest! {
        #[test]
        fn the_bounds_hold(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3), 1..300)
        ) {
            let mut room = WaitingRoom::new(8, 4);
            let mut seats = Vec::new();
            for (number, (step, source)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => match room.enter(number as u64, [10, 0, 0, source].into()) {
                        Entrance::Seated(seat) => seats.push(seat),
                        Entrance::SeatedInsteadOf { seat, silent } => {
                            prop_assert!(seats.contains(&silent));
                            seats.retain(|seat| *seat != silent);
                            seats.push(seat);
                        }
                        Entrance::Full => prop_assert!(seats.len() >= 4),
                    },
                    2 => seats.last().into_iter().for_each(|seat| room.spoke(*seat)),
                    _ => {
                        if let Some(seat) = seats.pop() {
                            room.leave(seat);
                        }
                    }
                }
                prop_assert_eq!(room.len(), seats.len());
                prop_assert!(room.len() <= 8);
                prop_assert!(room.sources.values().all(|here| here.len() <= 4));
            }
        }
    }
}
