//! What comes after a session, or a try at one, has ended.

use super::{Attempt, AttemptKind, Machine};
use crate::cause::{Cause, CauseKind};
use crate::device::{DeviceId, Generation, Origin, Status};
use crate::registry::counts::Observed;
use crate::registry::entry::{Entry, Phase};
use crate::registry::trouble::Of;
use crate::time::Now;

impl Machine {
    pub(super) fn ended(&mut self, generation: Generation, cause: Cause, now: Now) {
        let Some(attempt) = self.attempts.remove(&generation) else {
            return;
        };
        self.dials.finish(generation);
        self.sessions -= usize::from(attempt.device.is_some());
        if let Some(up) = attempt
            .succeeds
            .and_then(|id| self.entries.get_mut(&id))
            .and_then(Entry::up_mut)
            .filter(|up| up.newcomer == Some(generation))
        {
            up.newcomer = None;
        }
        if attempt.device.is_none() {
            let kind = attempt.closing.as_ref().map_or(cause.kind, |own| own.kind);
            self.counts.failed[attempt.kind.mode() as usize].count(kind);
        }
        match (attempt.device, attempt.kind) {
            (Some(id), _) => self.session_ended(id, generation, &attempt, cause, now),
            (None, AttemptKind::Auto(id)) => {
                self.auto_dial_ended(id, generation, &attempt, cause, now);
            }
            (None, AttemptKind::Direct(request)) => {
                self.direct_dial_ended(request, &attempt, cause);
            }
            (None, AttemptKind::Inbound) => {}
        }
        for request in attempt.waiters {
            self.one_ended(request);
        }
    }

    /// An authenticated session is over: the device is told as disconnected, and what comes next
    /// for it begins.
    fn session_ended(
        &mut self,
        id: DeviceId,
        generation: Generation,
        attempt: &Attempt,
        cause: Cause,
        now: Now,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(up) = entry.up().filter(|up| up.generation == generation).cloned() else {
            return;
        };
        let cause = attempt.closing.clone().unwrap_or(cause);
        self.counts.closed.count(cause.kind);
        let of = Of {
            id,
            identity: self.identities.get(id),
            peer: up.session.peer,
        };
        self.trouble.ended(of, &cause, now);
        entry.phase = Phase::Resting;
        entry.keys_refused = 0;
        let lasted = now.instant.since(up.since);
        if lasted >= self.policy.stable_after {
            entry.backoff_step = 0;
        } else {
            self.counts.short += 1;
        }
        self.observations.add(Observed::SessionLasted(lasted));
        let stays = (entry.origin == Origin::Auto || up.newcomer.is_some()) && !entry.deleted;
        if !stays {
            self.remove_entry(id, cause, now);
        } else {
            if cause.kind == CauseKind::Replaced {
                self.queue_dial(id);
            } else {
                self.back_off(id, now);
            }
            self.set_status(id, Status::Disconnected, Some(cause), now);
        }
        if let Some(newcomer) = up.newcomer {
            self.judge(newcomer, now);
            self.drop_if_unwanted(id, now);
        }
    }

    /// A listed device that is neither auto nor connected, nor about to be, leaves the list: the
    /// newcomer it was kept for did not make it.
    fn drop_if_unwanted(&mut self, id: DeviceId, now: Now) {
        let unwanted = self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.origin != Origin::Auto && entry.up().is_none());
        if unwanted {
            self.remove_entry(id, Cause::from(CauseKind::Disconnected), now);
        }
    }

    pub(super) fn remove_entry(&mut self, id: DeviceId, cause: Cause, now: Now) {
        self.unschedule(id);
        if let Some(entry) = self.entries.remove(&id) {
            self.dirty.insert(id);
            self.tell_gone(id, entry.status, cause, now);
        }
    }
}
