//! Promise 3: every change is told, in order.

use std::collections::BTreeMap;

use gatehouse::device::{DeviceId, Status};
use gatehouse::event::{Change, StatusEvent};

use super::Checks;
use crate::world::store::Store;

impl Checks {
    pub fn event(&mut self, event: &StatusEvent, store: &Store) {
        assert!(
            event.number > self.number,
            "promise 3: event {} comes after {}",
            event.number,
            self.number
        );
        assert!(
            event.number < store.disk.events_reserved,
            "promise 3: number {} was not reserved on disk",
            event.number
        );
        self.number = event.number;
        let id = event.device;
        let old = self.told.get(&id).copied();
        match event.change {
            Change::Refused => {
                assert_eq!(event.old, None, "promise 3: {event:?}");
                return;
            }
            Change::Approved | Change::Denied => return,
            Change::Added | Change::Changed | Change::Removed => {}
        }
        assert_eq!(
            event.old, old,
            "promise 3: {event:?} does not follow {old:?}"
        );
        assert!(
            self.merged_events_may_come || is_legal(event),
            "promise 3: no device goes this way: {event:?}"
        );
        if event.change == Change::Removed {
            self.told.remove(&id);
            self.takeovers.remove(&id);
        } else {
            self.told.insert(id, event.new);
        }
    }

    /// Whether the numbers are used up, so that events may wait for new ones.
    pub(super) fn events_may_be_held(&self) -> bool {
        self.number + 1 >= self.numbers_end
    }

    /// Whether a subscriber that has everything has what is listed.
    pub fn is_told(&self, devices: &BTreeMap<DeviceId, Status>) -> bool {
        self.events_may_be_held() || *devices == self.told
    }

    pub fn told(&self) -> &BTreeMap<DeviceId, Status> {
        &self.told
    }
}

/// Whether a device may go this way.
fn is_legal(event: &StatusEvent) -> bool {
    use Status::{Disconnected, TryToConnect};
    let failed =
        |status: Status| !status.is_connected() && !matches!(status, Disconnected | TryToConnect);
    match (event.change, event.old) {
        (Change::Added, old) => {
            old.is_none() && (event.new == Disconnected || event.new.is_connected())
        }
        (Change::Removed, old) => old.is_some() && event.new == Disconnected,
        (Change::Refused, old) => old.is_none() && failed(event.new),
        (Change::Approved | Change::Denied, _) => true,
        (Change::Changed, None) => false,
        (Change::Changed, Some(old)) => match event.new {
            Disconnected => old.is_connected(),
            TryToConnect => old == Disconnected || failed(old),
            new if new.is_connected() => !old.is_connected(),
            new => (old == TryToConnect || failed(old)) && old != new,
        },
    }
}
