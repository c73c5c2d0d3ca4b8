//! Requests in flight towards one device: stream ID → waiter, bounded, each with a deadline.

use crate::cause::Cause;
use crate::codec::message::{Answer, StreamId};
use crate::time::Instant;

/// How many stale IDs of a device are remembered; the oldest is forgotten first.
const STALE_MAX: usize = 64;

/// What a device made of a request. An Error of the device is an answer too.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    Ok(Answer),
    Error(Answer),
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the device is not connected")]
    NotConnected,
    #[error("{max} requests to the device are in flight, which is the limit")]
    TooMany { max: usize },
    #[error("the requests in flight to the device would hold over {max} bytes, which is the limit")]
    TooManyBytes { max: usize },
    #[error("the request is {size} bytes, a device takes at most {max}")]
    TooLarge { size: usize, max: usize },
    #[error("a secret is written over an aes or a tls link only, and this one is plain")]
    NotSecured,
    #[error("the device did not answer in time")]
    TimedOut,
    #[error("the device has no such resource")]
    UnknownResource,
    #[error("the resource is an action: it is run, not read")]
    IsAction,
    #[error("the resource is not streamed now")]
    NotStreamed,
    #[error("the session ended: {0}")]
    SessionEnded(Cause),
}

impl RequestError {
    /// The HTTP code that says it.
    pub const fn code(&self) -> u16 {
        match self {
            Self::NotSecured => 403,
            Self::NotConnected | Self::UnknownResource => 404,
            Self::IsAction => 405,
            Self::NotStreamed => 409,
            Self::TooLarge { .. } => 413,
            Self::TooMany { .. } | Self::TooManyBytes { .. } => 429,
            Self::SessionEnded(_) => 502,
            Self::TimedOut => 504,
        }
    }
}

/// How much may be in flight in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests, at most 65,535: each needs an ID of its own.
    pub count_max: usize,
    /// The sum of their frames, in bytes.
    pub bytes_max: usize,
}

/// The requests of one session. Without any in flight it owns no memory of its own.
#[derive(Debug)]
pub struct Requests<W> {
    waiting: Vec<Waiting<W>>,
    /// IDs under which the device sends without being asked in this session.
    stale: Vec<StreamId>,
    last: StreamId,
}

#[derive(Debug)]
struct Waiting<W> {
    id: StreamId,
    bytes: usize,
    deadline: Instant,
    /// Whether it counts against the limits.
    has_place: bool,
    waiter: W,
}

impl<W> Requests<W> {
    /// `seed` sets the first ID. Sessions should differ in it, so that what a device still sends
    /// for an earlier session is not taken for an answer.
    pub const fn new(seed: StreamId) -> Self {
        Self {
            waiting: Vec::new(),
            stale: Vec::new(),
            last: seed,
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An ID that nothing uses, 1 … 65,535, to be given to [`Self::insert`]; `None` when all are
    /// taken. `is_open` says which ones are those of streams.
    pub fn free_id(&mut self, is_open: impl Fn(StreamId) -> bool) -> Option<StreamId> {
        for _ in 0..=StreamId::MAX {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.is_taken(self.last) && !is_open(self.last) {
                return Some(self.last);
            }
        }
        None
    }

    /// How many count against the limit.
    pub fn places(&self) -> usize {
        self.waiting.iter().filter(|one| one.has_place).count()
    }

    /// Whether an answer with this ID is waited for.
    pub fn is_waited_for(&self, id: StreamId) -> bool {
        self.waiting.iter().any(|waiting| waiting.id == id)
    }

    /// Lets `waiter` wait for the answer to a request of `bytes` bytes with this ID.
    ///
    /// # Errors
    /// Gives the waiter back with the limit that is reached.
    pub fn insert(
        &mut self,
        id: StreamId,
        bytes: usize,
        deadline: Instant,
        waiter: W,
        limits: RequestLimits,
    ) -> Result<(), (W, RequestError)> {
        let max = limits.count_max;
        if self.places() >= max {
            return Err((waiter, RequestError::TooMany { max }));
        }
        let with_place = self.waiting.iter().filter(|waiting| waiting.has_place);
        let in_flight: usize = with_place.map(|waiting| waiting.bytes).sum();
        let max = limits.bytes_max;
        if in_flight.saturating_add(bytes) > max {
            return Err((waiter, RequestError::TooManyBytes { max }));
        }
        self.waiting.push(Waiting {
            id,
            bytes,
            deadline,
            has_place: true,
            waiter,
        });
        Ok(())
    }

    /// As [`Self::insert`], for what the gateway asks on its own: it takes no place from those that
    /// ask, and is bounded by what it is asked for.
    pub fn insert_own(&mut self, id: StreamId, deadline: Instant, waiter: W) {
        self.waiting.push(Waiting {
            id,
            bytes: 0,
            deadline,
            has_place: false,
            waiter,
        });
    }

    /// Who waits for the answer with this ID, if anyone; it is free again then.
    pub fn take(&mut self, id: StreamId) -> Option<W> {
        let index = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.remove(index))
    }

    /// The next one whose deadline has come, if any.
    pub fn take_expired(&mut self, now: Instant) -> Option<W> {
        let index = self
            .waiting
            .iter()
            .position(|waiting| waiting.deadline <= now)?;
        Some(self.remove(index))
    }

    /// Any one, for the end of the session.
    pub fn take_any(&mut self) -> Option<W> {
        (!self.waiting.is_empty()).then(|| self.remove(0))
    }

    /// When the first of them is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.deadline).min()
    }

    /// The device sends on a stream of this ID that this session did not open; a request must not
    /// be mistaken for it. True when it is to be told to stop: with the first value, and for as
    /// many IDs as are remembered.
    pub fn avoid(&mut self, id: StreamId) -> bool {
        if self.stale.contains(&id) {
            return false;
        }
        let is_full = self.stale.len() >= STALE_MAX;
        if is_full {
            self.stale.remove(0);
        }
        self.stale.push(id);
        !is_full
    }

    #[cfg(test)]
    pub const fn retained(&self) -> usize {
        self.waiting.capacity() + self.stale.capacity()
    }

    fn is_taken(&self, id: StreamId) -> bool {
        self.stale.contains(&id) || self.is_waited_for(id)
    }

    fn remove(&mut self, index: usize) -> W {
        let waiting = self.waiting.swap_remove(index);
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        waiting.waiter
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: RequestLimits = RequestLimits {
        count_max: 8,
        bytes_max: 100,
    };

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn the_sum_of_bytes_is_bounded() {
        let mut requests = Requests::new(0);
        assert_eq!(requests.insert(1, 60, at(1), 'a', LIMITS), Ok(()));
        let full = RequestError::TooManyBytes { max: 100 };
        assert_eq!(
            requests.insert(2, 41, at(1), 'b', LIMITS),
            Err(('b', full.clone()))
        );
        assert_eq!(
            requests.insert(2, usize::MAX, at(1), 'b', LIMITS),
            Err(('b', full))
        );
        assert_eq!(requests.insert(2, 40, at(1), 'b', LIMITS), Ok(()));
    }

    #[test]
    fn the_number_is_bounded() {
        let mut requests = Requests::new(0);
        for id in 1..=8 {
            assert_eq!(requests.insert(id, 1, at(1), id, LIMITS), Ok(()));
        }
        let full = RequestError::TooMany { max: 8 };
        assert_eq!(requests.insert(9, 1, at(1), 9, LIMITS), Err((9, full)));
        requests.insert_own(10, at(1), 10);
        assert_eq!((requests.len(), requests.places()), (9, 8));
    }

    #[test]
    fn ids_wrap_past_zero_and_past_what_is_in_use() {
        let mut requests = Requests::new(65_534);
        requests.avoid(2);
        assert_eq!(requests.insert(1, 1, at(1), (), LIMITS), Ok(()));
        assert_eq!(requests.free_id(|_| false), Some(65_535));
        assert_eq!(requests.free_id(|_| false), Some(3));
        assert_eq!(requests.free_id(|id| id == 4), Some(5));
    }

    #[test]
    fn with_all_ids_taken_there_is_none() {
        let mut requests = Requests::new(9);
        for id in 1..=65_535 {
            requests.insert_own(id, at(1), ());
        }
        assert_eq!(requests.free_id(|_| false), None);
    }

    #[test]
    fn stale_ids_are_bounded() {
        let mut requests: Requests<()> = Requests::new(0);
        let told = (1..1000).filter(|&id| requests.avoid(id)).count();
        assert_eq!(told, STALE_MAX);
        assert!(!requests.avoid(999));
        assert_eq!(requests.stale.len(), STALE_MAX);
        assert_eq!(requests.free_id(|_| false), Some(1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open { bytes: usize, deadline: u64 },
        Answer(usize),
        AnswerId(StreamId),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40usize, 0..50u64).prop_map(|(bytes, deadline)| Step::Open { bytes, deadline }),
            any::<usize>().prop_map(Step::Answer),
            any::<StreamId>().prop_map(Step::AnswerId),
            (0..50u64).prop_map(Step::Expire),
        ]
    }

    proptest! {
        /// Whatever happens, every waiter comes out once, by its own ID, and an empty table has no
        /// memory.
        #[test]
        fn every_waiter_comes_out_once(
            seed: StreamId,
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let mut requests = Requests::new(seed);
            let mut open: Vec<(StreamId, u64)> = Vec::new();
            for (serial, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Open { bytes, deadline } => {
                        let id = requests.free_id(|_| false).unwrap();
                        prop_assert!(id != 0 && open.iter().all(|&(used, _)| used != id));
                        let waiter = (serial, id);
                        if requests.insert(id, bytes, at(deadline), waiter, LIMITS).is_ok() {
                            open.push((id, deadline));
                        }
                    }
                    Step::Answer(pick) if !open.is_empty() => {
                        let (id, _) = open.swap_remove(pick % open.len());
                        prop_assert_eq!(requests.take(id).map(|(_, own)| own), Some(id));
                        prop_assert_eq!(requests.take(id), None);
                    }
                    Step::Answer(_) => {}
                    Step::AnswerId(id) => {
                        let known = open.iter().any(|&(used, _)| used == id);
                        prop_assert_eq!(requests.take(id).is_some(), known);
                        open.retain(|&(used, _)| used != id);
                    }
                    Step::Expire(now) => {
                        let mut expired = HashSet::new();
                        while let Some((_, id)) = requests.take_expired(at(now)) {
                            prop_assert!(expired.insert(id));
                        }
                        for &(id, deadline) in &open {
                            prop_assert_eq!(expired.contains(&id), deadline <= now);
                        }
                        open.retain(|&(_, deadline)| deadline > now);
                    }
                }
                let first = open.iter().map(|&(_, deadline)| at(deadline)).min();
                prop_assert_eq!(requests.deadline(), first);
                prop_assert_eq!(requests.len(), open.len());
            }
            let mut left = 0;
            while requests.take_any().is_some() {
                left += 1;
            }
            prop_assert_eq!(left, open.len());
            prop_assert_eq!(requests.waiting.capacity(), 0);
        }
    }
}
