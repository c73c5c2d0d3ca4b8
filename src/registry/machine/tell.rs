//! Telling what changed: every event gets a number that was reserved on disk before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Commit, Machine};
use crate::cause::Cause;
use crate::device::{DeviceId, Status};
use crate::event::{Change, StatusEvent};
use crate::registry::conflate::{List, list, merge};
use crate::registry::{NotStored, Output, StoreChange};
use crate::time::{Instant, Now};

/// How many event numbers are reserved at once. The next block is asked for when half of one is
/// left, so that a slow disk is not waited for.
pub const EVENT_BLOCK: u64 = 1_000_000;

/// How long to wait before asking a store again that could not reserve.
const RESERVE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The event numbers that may be given out.
pub(super) struct Numbers {
    next: u64,
    end: u64,
    reserving: bool,
    retry_at: Option<Instant>,
    /// What could not be told because the store failed for a whole block: one event a device and
    /// list, with its place among the others.
    held: BTreeMap<(DeviceId, List), (u64, StatusEvent)>,
    next_held: u64,
}

impl Numbers {
    pub(super) fn new(next: u64, end: u64) -> Self {
        Self {
            next,
            end,
            reserving: false,
            retry_at: None,
            held: BTreeMap::new(),
            next_held: 0,
        }
    }

    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    fn take(&mut self) -> Option<u64> {
        let number = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(number)
    }

    fn is_low(&self) -> bool {
        self.end - self.next < EVENT_BLOCK / 2 && !self.reserving && self.retry_at.is_none()
    }
}

impl Machine {
    /// Sets the status of a listed device and tells it if it changed; `cause` is kept either way.
    pub(super) fn set_status(
        &mut self,
        id: DeviceId,
        status: Status,
        cause: Option<Cause>,
        now: Now,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        self.dirty.insert(id);
        if cause.is_some() {
            entry.cause.clone_from(&cause);
        }
        let old = entry.status;
        if old != status {
            entry.status = status;
            entry.since_unix_ms = now.unix_ms;
            self.tell(id, Change::Changed, Some(old), status, cause, now);
        }
    }

    /// A device entered the list without a session.
    pub(super) fn tell_added(&mut self, id: DeviceId, now: Now) {
        self.dirty.insert(id);
        self.tell(id, Change::Added, None, Status::Disconnected, None, now);
    }

    /// A device entered the list by its session.
    pub(super) fn enter_connected(&mut self, id: DeviceId, status: Status, now: Now) {
        self.dirty.insert(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.status = status;
        }
        self.tell(id, Change::Added, None, status, None, now);
    }

    /// A device left the list, in which it last had status `old`.
    pub(super) fn tell_gone(&mut self, id: DeviceId, old: Status, cause: Cause, now: Now) {
        let new = Status::Disconnected;
        self.tell(id, Change::Removed, Some(old), new, Some(cause), now);
    }

    pub(super) fn tell(
        &mut self,
        device: DeviceId,
        change: Change,
        old: Option<Status>,
        new: Status,
        cause: Option<Cause>,
        now: Now,
    ) {
        let entry = self.entries.get(&device);
        let event = StatusEvent {
            number: 0,
            device,
            change,
            old,
            new,
            unix_ms: now.unix_ms,
            cause,
            attempt: entry.map_or(0, |entry| entry.attempt),
            next_try_unix_ms: entry.and_then(|entry| entry.next_try_unix_ms),
        };
        match self.numbers.take() {
            Some(number) => self.emit(StatusEvent { number, ..event }),
            None => self.hold(event),
        }
        if self.numbers.is_low() {
            self.reserve();
        }
    }

    pub(super) fn events_reserved(&mut self, end: u64, result: Result<(), NotStored>, now: Now) {
        self.numbers.reserving = false;
        if result.is_err() {
            self.numbers.retry_at = Some(now.instant + RESERVE_AGAIN_AFTER);
            return;
        }
        self.numbers.end = end;
        let mut held: Vec<_> = std::mem::take(&mut self.numbers.held)
            .into_values()
            .collect();
        held.sort_unstable_by_key(|(place, _)| *place);
        for (_, event) in held {
            match self.numbers.take() {
                Some(number) => self.emit(StatusEvent { number, ..event }),
                None => self.hold(event),
            }
        }
        if self.numbers.is_low() {
            self.reserve();
        }
    }

    pub(super) fn retry_reservation(&mut self, now: Now) {
        if self.numbers.retry_at.is_some_and(|due| due <= now.instant) {
            self.numbers.retry_at = None;
            self.reserve();
        }
    }

    fn reserve(&mut self) {
        self.numbers.reserving = true;
        let end = self.numbers.end + EVENT_BLOCK;
        self.persist(StoreChange::ReserveEvents(end), Commit::ReserveEvents(end));
    }

    fn emit(&mut self, event: StatusEvent) {
        self.snapshot.event_number = event.number;
        self.outputs.push_back(Output::Event(event));
    }

    fn hold(&mut self, event: StatusEvent) {
        let slot = (event.device, list(event.change));
        let merged = match self.numbers.held.get(&slot) {
            Some((_, older)) => merge(older, &event),
            None => event,
        };
        let place = self.numbers.next_held;
        self.numbers.next_held += 1;
        self.numbers.held.insert(slot, (place, merged));
    }
}
