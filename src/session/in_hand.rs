//! What a device asked of the gateway that is not answered yet, and the streams that it opened.

use crate::codec::message::StreamId;
use crate::session::asked::Denied;

/// The HTTP-like code for more than is allowed at a time.
const TOO_MANY: u16 = 429;

/// Names one thing that a device asked within its session.
pub type Serial = u32;

/// How much one device may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedLimits {
    /// Requests of it in progress.
    pub in_flight_max: usize,
    /// Streams that it has open.
    pub streams_max: usize,
}

/// Of one session.
#[derive(Debug, Default)]
pub struct InHand {
    last: Serial,
    running: Vec<Running>,
    streams: Vec<Open>,
}

/// Something in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    serial: Serial,
    /// Under which ID the device waits for an answer, if it does.
    pub answer_to: Option<StreamId>,
    /// Whether it opens a stream of that ID.
    pub opens: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: StreamId,
    /// Its Start Stream was answered with Ok.
    is_up: bool,
}

impl InHand {
    pub const fn is_empty(&self) -> bool {
        self.running.is_empty() && self.streams.is_empty()
    }

    /// Whether the device has a stream of this ID, or is getting it.
    pub fn has_stream(&self, id: StreamId) -> bool {
        self.streams.iter().any(|open| open.id == id)
    }

    /// Whether values may go over the stream of this ID.
    pub fn is_up(&self, id: StreamId) -> bool {
        self.streams.iter().any(|open| open.id == id && open.is_up)
    }

    /// A function begins.
    ///
    /// # Errors
    /// When as many are in progress as may be.
    pub fn begin(
        &mut self,
        answer_to: Option<StreamId>,
        limits: AskedLimits,
    ) -> Result<Serial, Denied> {
        self.run(answer_to, false, limits)
    }

    /// A stream of an ID that none is open under begins to open.
    ///
    /// # Errors
    /// When as many are open as may be, or as many requests in progress.
    pub fn open(&mut self, id: StreamId, limits: AskedLimits) -> Result<Serial, Denied> {
        let max = limits.streams_max;
        if self.streams.len() >= max {
            return Err(too_many(format!(
                "{max} streams of the device are open, which is the limit"
            )));
        }
        let serial = self.run(Some(id), true, limits)?;
        self.streams.push(Open { id, is_up: false });
        Ok(serial)
    }

    /// The stream of this ID is closed, and if it was still opening nobody waits for that any more;
    /// false when there is none.
    pub fn close(&mut self, id: StreamId) -> bool {
        let Some(index) = self.streams.iter().position(|open| open.id == id) else {
            return false;
        };
        self.streams.swap_remove(index);
        for running in &mut self.running {
            if running.opens && running.answer_to == Some(id) {
                running.answer_to = None;
            }
        }
        true
    }

    /// Something came to its end; a stream is up from then on, or gone when it was denied.
    pub fn finish(&mut self, serial: Serial, is_done: bool) -> Option<Running> {
        let index = self
            .running
            .iter()
            .position(|running| running.serial == serial)?;
        let running = self.running.swap_remove(index);
        if let (true, Some(id)) = (running.opens, running.answer_to) {
            if is_done {
                let opened = self.streams.iter_mut().filter(|open| open.id == id);
                opened.for_each(|open| open.is_up = true);
            } else {
                self.streams.retain(|open| open.id != id);
            }
        }
        Some(running)
    }

    fn run(
        &mut self,
        answer_to: Option<StreamId>,
        opens: bool,
        limits: AskedLimits,
    ) -> Result<Serial, Denied> {
        let max = limits.in_flight_max;
        if self.running.len() >= max {
            return Err(too_many(format!(
                "{max} requests of the device are in progress, which is the limit"
            )));
        }
        self.last = self.last.wrapping_add(1);
        self.running.push(Running {
            serial: self.last,
            answer_to,
            opens,
        });
        Ok(self.last)
    }
}

const fn too_many(text: String) -> Denied {
    Denied {
        code: TOO_MANY,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AskedLimits = AskedLimits {
        in_flight_max: 3,
        streams_max: 2,
    };

    #[test]
    fn a_stream_is_up_once_it_is_answered_and_gone_when_it_is_denied() {
        let mut in_hand = InHand::default();
        let serial = in_hand.open(5, LIMITS).unwrap();
        assert!(in_hand.has_stream(5) && !in_hand.is_up(5));
        assert_eq!(in_hand.finish(serial, true).unwrap().answer_to, Some(5));
        assert!(in_hand.is_up(5));
        assert_eq!(in_hand.finish(serial, true), None);
        let serial = in_hand.open(6, LIMITS).unwrap();
        in_hand.finish(serial, false);
        assert!(!in_hand.has_stream(6));
        assert!(in_hand.close(5) && !in_hand.close(5));
        assert!(in_hand.is_empty());
    }

    #[test]
    fn one_that_is_closed_while_it_opens_is_not_answered() {
        let mut in_hand = InHand::default();
        let first = in_hand.open(5, LIMITS).unwrap();
        assert!(in_hand.close(5));
        let second = in_hand.open(5, LIMITS).unwrap();
        assert_eq!(in_hand.finish(first, true).unwrap().answer_to, None);
        assert!(!in_hand.is_up(5));
        assert_eq!(in_hand.finish(second, true).unwrap().answer_to, Some(5));
        assert!(in_hand.is_up(5));
    }

    #[test]
    fn both_are_bounded() {
        let mut in_hand = InHand::default();
        in_hand.open(1, LIMITS).unwrap();
        let second = in_hand.open(2, LIMITS).unwrap();
        assert_eq!(in_hand.open(3, LIMITS).unwrap_err().code, 429);
        in_hand.begin(None, LIMITS).unwrap();
        let denied = in_hand.begin(None, LIMITS).unwrap_err();
        assert_eq!(denied.code, 429);
        in_hand.finish(second, true);
        in_hand.begin(None, LIMITS).unwrap();
    }
}
