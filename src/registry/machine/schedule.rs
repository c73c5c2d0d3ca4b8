//! When a device is dialled next.

use std::time::Duration;

use rand::RngExt;

use super::Machine;
use crate::device::{DeviceId, Origin};
use crate::registry::counts::Observed;
use crate::registry::entry::Phase;
use crate::time::Now;

impl Machine {
    /// Schedules the next dial of an auto device.
    pub(super) fn back_off(&mut self, id: DeviceId, now: Now) {
        let random = self.rng.random();
        let draining = self.draining;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.origin != Origin::Auto || draining {
            return;
        }
        let delay = self.policy.backoff.delay(entry.backoff_step, random);
        entry.backoff_step = entry.backoff_step.saturating_add(1);
        self.observations.add(Observed::BackedOff(delay));
        self.wait(id, delay, now);
    }

    pub(super) fn wait(&mut self, id: DeviceId, delay: Duration, now: Now) {
        self.unschedule(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            let due = now.instant + delay;
            entry.phase = Phase::Backoff { due };
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            entry.next_try_unix_ms = Some(now.unix_ms.saturating_add(delay_ms));
            self.timers.insert((due, id));
            self.dirty.insert(id);
        }
    }

    /// Takes back what is scheduled for a device: its backoff, or its place in the dial queue.
    pub(super) fn unschedule(&mut self, id: DeviceId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        match entry.phase {
            Phase::Backoff { due } => {
                self.timers.remove(&(due, id));
                entry.phase = Phase::Resting;
            }
            // Its ticket in the queue finds it no longer queued and is passed over.
            Phase::Queued => entry.phase = Phase::Resting,
            Phase::Resting | Phase::Dialling { .. } | Phase::Up(_) => return,
        }
        entry.next_try_unix_ms = None;
        self.dirty.insert(id);
    }
}
