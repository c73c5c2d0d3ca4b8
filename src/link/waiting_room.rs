//! Who was accepted and is no session yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;

/// How long a peer may take to its Connect before its place can be given to another. A good device
/// on a slow line needs less; nobody who says nothing keeps a place for longer.
const GRACE: Duration = Duration::from_secs(1);

/// Bounds the accepted connections that are not sessions yet, in total and per source address.
///
/// When a bound is reached, the longest waiting that has not sent its Connect gives way: a peer
/// that says nothing, says it slowly, or says again what it overheard must not keep out one that
/// would speak. Whoever has sent it waits for us alone, and is waited for.
#[derive(Debug)]
pub struct WaitingRoom {
    total_max: usize,
    per_source_max: usize,
    seats: BTreeMap<SeatId, Seat>,
    sources: HashMap<IpAddr, BTreeSet<SeatId>>,
    /// Those whose Connect is not there, the longest waiting first.
    unheard: BTreeSet<SeatId>,
}

/// Names one waiting connection; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId(u64);

#[derive(Debug)]
struct Seat {
    source: IpAddr,
    since: Instant,
}

/// What becomes of a connection at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    Seated(SeatId),
    /// Seated in the place of another, which is to be closed.
    SeatedInsteadOf {
        seat: SeatId,
        evicted: SeatId,
    },
    /// The room is full of peers that are being worked on, or may still speak: hold it, and all
    /// that come after it, until one of them leaves.
    Hold,
    /// Its source address has its share already: close it.
    Refused,
}

impl WaitingRoom {
    pub fn new(total_max: usize, per_source_max: usize) -> Self {
        Self {
            total_max: total_max.max(1),
            per_source_max: per_source_max.max(1),
            seats: BTreeMap::new(),
            sources: HashMap::new(),
            unheard: BTreeSet::new(),
        }
    }

    /// Other bounds from now on; who sits there keeps its place.
    pub fn set_limits(&mut self, total_max: usize, per_source_max: usize) {
        self.total_max = total_max.max(1);
        self.per_source_max = per_source_max.max(1);
    }

    /// Seats the `number`-th connection, if there is or can be made room for it.
    pub fn enter(&mut self, number: u64, source: IpAddr, now: Instant) -> Entrance {
        let here = self.sources.get(&source);
        let evicted = if here.is_some_and(|here| here.len() >= self.per_source_max) {
            let unheard = here.and_then(|here| here.intersection(&self.unheard).next());
            let Some(evicted) = self.past_grace(unheard.copied(), now) else {
                return Entrance::Refused;
            };
            Some(evicted)
        } else if self.seats.len() >= self.total_max {
            let Some(evicted) = self.past_grace(self.unheard.first().copied(), now) else {
                return Entrance::Hold;
            };
            Some(evicted)
        } else {
            None
        };
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        let seat = SeatId(number);
        self.seats.insert(seat, Seat { source, since: now });
        self.sources.entry(source).or_default().insert(seat);
        self.unheard.insert(seat);
        match evicted {
            Some(evicted) => Entrance::SeatedInsteadOf { seat, evicted },
            None => Entrance::Seated(seat),
        }
    }

    /// Its Connect is there: it does not give way any more.
    pub fn heard(&mut self, seat: SeatId) {
        self.unheard.remove(&seat);
    }

    /// The connection became a session, or ended. Harmless when it left before.
    pub fn leave(&mut self, seat: SeatId) {
        let Some(Seat { source, .. }) = self.seats.remove(&seat) else {
            return;
        };
        self.unheard.remove(&seat);
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

    fn past_grace(&self, seat: Option<SeatId>, now: Instant) -> Option<SeatId> {
        seat.filter(|seat| {
            let since = self.seats.get(seat).map(|seat| seat.since);
            since.is_some_and(|since| now.since(since) >= GRACE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn the_longest_unheard_gives_way_after_its_grace() {
        let mut room = WaitingRoom::new(3, 2);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(SeatId);
        assert_eq!(room.enter(1, ONE, at(0)), Entrance::Seated(first));
        assert_eq!(room.enter(2, ONE, at(0)), Entrance::Seated(second));
        room.heard(first);
        assert_eq!(
            room.enter(3, ONE, at(999)),
            Entrance::Refused,
            "within the grace"
        );
        let instead = Entrance::SeatedInsteadOf {
            seat: third,
            evicted: second,
        };
        assert_eq!(room.enter(3, ONE, at(1_000)), instead);
        room.heard(third);
        assert_eq!(
            room.enter(4, ONE, at(9_000)),
            Entrance::Refused,
            "all of them were heard"
        );
        assert_eq!(room.enter(4, TWO, at(9_000)), Entrance::Seated(fourth));
        assert_eq!(
            room.enter(5, TWO, at(9_500)),
            Entrance::Hold,
            "the room is full"
        );
        let instead = Entrance::SeatedInsteadOf {
            seat: SeatId(5),
            evicted: fourth,
        };
        assert_eq!(room.enter(5, TWO, at(10_000)), instead);
        for seat in [first, third, SeatId(5)] {
            room.leave(seat);
        }
        assert!(room.is_empty() && room.sources.is_empty() && room.unheard.is_empty());
    }

    #[test]
    fn other_bounds_hold_for_who_comes_and_push_nobody_out() {
        let mut room = WaitingRoom::new(8, 8);
        let source = |last: u8| [10, 0, 0, last].into();
        for number in 1..=4 {
            room.enter(number, source(1), at(0));
        }
        room.set_limits(4, 2);
        assert_eq!(room.len(), 4);
        assert_eq!(room.enter(5, source(1), at(0)), Entrance::Refused);
        assert_eq!(room.enter(6, source(2), at(0)), Entrance::Hold);
        room.set_limits(5, 5);
        assert_eq!(room.enter(7, source(1), at(0)), Entrance::Seated(SeatId(7)));
    }

    proptest! {
        #[test]
        fn the_bounds_hold(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3, 0_u64..700), 1..300)
        ) {
            let mut room = WaitingRoom::new(8, 4);
            let mut seats = Vec::new();
            let mut now = 0;
            for (number, (step, source, wait)) in steps.into_iter().enumerate() {
                now += wait;
                match step {
                    0 | 1 => match room.enter(number as u64, [10, 0, 0, source].into(), at(now)) {
                        Entrance::Seated(seat) => seats.push(seat),
                        Entrance::SeatedInsteadOf { seat, evicted } => {
                            prop_assert!(seats.contains(&evicted));
                            seats.retain(|seat| *seat != evicted);
                            seats.push(seat);
                        }
                        Entrance::Hold => prop_assert_eq!(seats.len(), 8),
                        Entrance::Refused => prop_assert!(seats.len() >= 4),
                    },
                    2 => seats.last().into_iter().for_each(|seat| room.heard(*seat)),
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
