//! The drain: sessions are closed at a set pace, so that the devices do not all come to another
//! gateway, or back to this one, in the same moment.

use std::collections::VecDeque;
use std::time::Duration;

use super::Machine;
use crate::cause::{Cause, CauseKind};
use crate::config::Drain;
use crate::device::Generation;
use crate::time::{Instant, Now};

/// The sessions that are still to be told to end, the oldest first.
///
/// The pace is a timetable and no bucket of tokens: what a busy machine was late with is made up for,
/// or the grace time would not suffice.
#[derive(Debug)]
pub(super) struct DrainQueue {
    waiting: VecDeque<Generation>,
    since: Instant,
    rate: u32,
    /// How many were told.
    told: u32,
}

impl DrainQueue {
    const fn new(waiting: VecDeque<Generation>, rate: u32, now: Instant) -> Self {
        Self {
            waiting,
            since: now,
            rate,
            told: 0,
        }
    }

    /// When the next one is to be told.
    fn due(&self) -> Instant {
        let micros = (u64::from(self.told) * 1_000_000).div_ceil(u64::from(self.rate.max(1)));
        self.since + Duration::from_micros(micros)
    }
}

/// Sessions a second: what is set, or what so many sessions need to be told within three quarters
/// of the grace time. The last quarter is for what comes after them.
pub fn rate(drain: &Drain, sessions: usize) -> u32 {
    let sessions = u128::try_from(sessions).unwrap_or(u128::MAX);
    let within_ms = (drain.grace.as_millis() * 3 / 4).max(1);
    let needed = sessions.saturating_mul(1000).div_ceil(within_ms);
    drain.pace.max(u32::try_from(needed).unwrap_or(u32::MAX))
}

impl Machine {
    /// Ends every session and every dial for good: what is no session yet at once, sessions at the
    /// pace of [`rate`]. The machine is done when [`Self::is_drained`].
    pub fn handle_drain(&mut self, now: Now) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.abandon_queued_connects();
        self.abandon_decisions();
        let is_session = |id: &Generation| {
            let attempt = self.attempts.get(id);
            attempt.is_some_and(|attempt| attempt.device.is_some())
        };
        let (sessions, others): (Vec<_>, Vec<_>) =
            self.attempts.keys().copied().partition(is_session);
        for generation in others {
            self.close(generation, Cause::from(CauseKind::Drain));
        }
        let rate = rate(&self.policy.drain, sessions.len());
        self.drain = Some(DrainQueue::new(sessions.into(), rate, now.instant));
        self.drain_some(now);
        self.start_dials(now);
    }

    /// Tells as many sessions to end as the pace allows.
    pub(super) fn drain_some(&mut self, now: Now) {
        while let Some(generation) = self.next_to_drain(now) {
            self.close(generation, Cause::from(CauseKind::Drain));
        }
    }

    fn next_to_drain(&mut self, now: Now) -> Option<Generation> {
        let drain = self.drain.as_mut()?;
        // Those that ended by themselves, or were told to, cost no time.
        let attempts = &self.attempts;
        let is_open = |id: &Generation| attempts.get(id).is_some_and(|a| a.closing.is_none());
        while drain.waiting.front().is_some_and(|id| !is_open(id)) {
            drain.waiting.pop_front();
        }
        if drain.due() > now.instant {
            return None;
        }
        let next = drain.waiting.pop_front()?;
        drain.told = drain.told.saturating_add(1);
        Some(next)
    }

    pub(super) fn next_drain_at(&self) -> Option<Instant> {
        let drain = self.drain.as_ref()?;
        (!drain.waiting.is_empty()).then(|| drain.due())
    }
}
