//! How long the steps of a connection took, from its dial or its accept until it is a session.

use std::time::Duration;

use crate::time::Instant;

/// A step that comes to its end on the way to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Until TCP was open.
    Dial,
    /// Until an accepted peer said something.
    FirstByte,
    /// The handshake of the link, without the wait for a permit.
    Handshake,
    /// The wait until a handshake could be computed.
    Permit,
    /// Until the Connect was there, on a secured link.
    Connect,
    /// Until the registry had judged.
    Verdict,
}

impl Step {
    pub const ALL: [Self; 6] = [
        Self::Dial,
        Self::FirstByte,
        Self::Handshake,
        Self::Permit,
        Self::Connect,
        Self::Verdict,
    ];

    /// The stable name, as in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::FirstByte => "first_byte",
            Self::Handshake => "handshake",
            Self::Permit => "permit",
            Self::Connect => "connect",
            Self::Verdict => "verdict",
        }
    }
}

/// One connection on its way. Boxed where it is kept: a session that is up has none.
#[derive(Debug)]
pub struct Course {
    since: Instant,
    /// Of a handshake that was interrupted by the wait for a permit.
    handshake: Duration,
    ended: Vec<(Step, Duration)>,
    /// What the peer and the network took together.
    theirs: Duration,
}

impl Course {
    pub const fn begin(now: Instant) -> Self {
        Self {
            since: now,
            handshake: Duration::ZERO,
            ended: Vec::new(),
            theirs: Duration::ZERO,
        }
    }

    /// This step ends here; the next one begins.
    pub fn pass(&mut self, step: Step, now: Instant) {
        let took = self.lap(now);
        self.end(step, took);
    }

    /// The handshake waits for something else, and goes on after it.
    pub fn interrupt_handshake(&mut self, now: Instant) {
        let took = self.lap(now);
        self.handshake += took;
    }

    /// The handshake is done.
    pub fn pass_handshake(&mut self, now: Instant) {
        let took = std::mem::take(&mut self.handshake) + self.lap(now);
        self.end(Step::Handshake, took);
    }

    /// What ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<(Step, Duration)> {
        std::mem::take(&mut self.ended)
    }

    /// How long it took so far, without what the gateway itself waited for.
    pub const fn theirs(&self) -> Duration {
        self.theirs
    }

    fn end(&mut self, step: Step, took: Duration) {
        self.ended.push((step, took));
        if !matches!(step, Step::Permit | Step::Verdict) {
            self.theirs = self.theirs.saturating_add(took);
        }
    }

    fn lap(&mut self, now: Instant) -> Duration {
        let took = now.since(self.since);
        self.since = now;
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_a_permit_is_no_part_of_the_handshake() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let ms = Duration::from_millis;
        let mut course = Course::begin(at(0));
        course.pass(Step::FirstByte, at(5));
        course.interrupt_handshake(at(8));
        course.pass(Step::Permit, at(108));
        course.pass_handshake(at(110));
        course.pass(Step::Connect, at(117));
        let expected = [
            (Step::FirstByte, ms(5)),
            (Step::Permit, ms(100)),
            (Step::Handshake, ms(5)),
            (Step::Connect, ms(7)),
        ];
        assert_eq!(course.take_ended(), expected);
        assert_eq!(course.take_ended(), []);
        course.pass(Step::Verdict, at(500));
        assert_eq!(course.theirs(), ms(17));
    }
}
