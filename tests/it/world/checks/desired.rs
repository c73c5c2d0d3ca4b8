//! Promise 2: nothing acknowledged is lost, and nothing is half there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use gatehouse::device::{DeviceId, Origin};
use gatehouse::registry::records::{Record, RecordKey};
use gatehouse::registry::snapshot::Snapshot;
use gatehouse::registry::{Command, CommandError, Reply, RequestId, StoreChange, Stored};

use super::Checks;
use crate::world::store::{Store, apply};

/// A change that an operator asked for, in the order in which the registry took them.
#[derive(Debug)]
pub struct Asked {
    request: RequestId,
    change: StoreChange,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unanswered,
    Acknowledged,
    Failed,
}

impl Checks {
    /// The store was opened: nothing acknowledged is lost, and nothing is half there.
    pub fn started(&mut self, stored: &Stored, store: &Store) {
        assert!(
            stored.event_next > self.number,
            "promise 3: numbers go on at {} after {}",
            stored.event_next,
            self.number
        );
        self.explain(0, store, "after the start");
        self.base = store.disk.clone();
        self.asked.clear();
        self.numbers_end = stored.events_reserved;
        self.told = store.statuses().clone();
        self.learned = store.disk.clone();
        self.records = store.records.clone();
    }

    /// The machine shows what was stored.
    pub fn restarted(&self, snapshot: &Snapshot, store: &Store) {
        let listed: Vec<DeviceId> = snapshot.devices.keys().copied().collect();
        let stored: Vec<DeviceId> = store.disk.devices.keys().copied().collect();
        assert_eq!(listed, stored, "promise 2: the list after the start");
        assert_eq!(
            *snapshot.accept_filter, store.disk.accept_filter,
            "promise 2: the accept filter after the start"
        );
    }

    /// What is on disk is what was asked for up to a point, whole, which lies behind everything
    /// that was acknowledged.
    fn explain(&self, at_least: usize, store: &Store, when: &str) {
        let acknowledged = self
            .asked
            .iter()
            .rposition(|asked| asked.state == State::Acknowledged);
        let at_least = acknowledged.map_or(0, |index| index + 1).max(at_least);
        let mut desired = self.base.clone();
        for index in 0..=self.asked.len() {
            let same = desired.devices == store.disk.devices
                && desired.accept_filter == store.disk.accept_filter;
            if index >= at_least && same {
                return;
            }
            if let Some(asked) = self.asked.get(index)
                && asked.state != State::Failed
            {
                apply(&mut desired, &mut BTreeMap::new(), &asked.change);
            }
        }
        panic!(
            "promise 2: {when} there is on disk {:?} {:?}; asked for were {:?}",
            store.disk.devices, store.disk.accept_filter, self.asked
        );
    }

    pub fn submitted(&mut self, request: RequestId, command: &Command, snapshot: &Snapshot) {
        self.awaited.insert(request);
        let change = match command {
            Command::AddAsync(devices) => StoreChange::PutDevices(devices.clone()),
            Command::DeleteAsync(ids) => StoreChange::DeleteDevices(ids.clone()),
            Command::SetAcceptFilter(_)
            | Command::ChangeAcceptFilter { .. }
            | Command::Approve { .. }
            | Command::Refuse { .. }
            | Command::SetSlaves(_) => {
                self.deciding.insert(request, command.clone());
                return;
            }
            Command::RetryNow(ids) => {
                let views = ids.iter().filter_map(|id| snapshot.devices.get(id));
                self.at_once.extend(views.map(|view| view.address));
                return;
            }
            Command::Connect { address, .. } => {
                self.connecting.insert(request, (*address).into());
                return;
            }
            Command::Disconnect(_) | Command::DisconnectAll => return,
        };
        self.asked.push(Asked {
            request,
            change,
            state: State::Unanswered,
        });
    }

    /// A command's change goes to the store: from now on it counts.
    pub fn stores(&mut self, request: RequestId, change: &StoreChange) {
        let Some(command) = self.deciding.remove(&request) else {
            return;
        };
        let before = &self.learned.accept_filter;
        let (mut after, mut records) = (self.learned.clone(), BTreeMap::new());
        apply(&mut after, &mut records, change);
        let expected = match &command {
            Command::SetAcceptFilter(filter) => filter.device_ids.clone(),
            Command::ChangeAcceptFilter { add, remove } => {
                let removed = |id: &u32| remove.iter().any(|removed| removed.get() == *id);
                let kept = before.device_ids.iter().copied().filter(|id| !removed(id));
                kept.chain(add.iter().map(|id| id.get())).collect()
            }
            Command::Approve { ids, .. } => {
                let ids = ids.iter().map(|id| id.get());
                before.device_ids.iter().copied().chain(ids).collect()
            }
            _ => before.device_ids.clone(),
        };
        let expected: BTreeSet<u32> = expected.into_iter().collect();
        let found: BTreeSet<u32> = after.accept_filter.device_ids.iter().copied().collect();
        assert_eq!(found, expected, "promise 2: {command:?} after {before:?}");
        self.asked.push(Asked {
            request,
            change: change.clone(),
            state: State::Unanswered,
        });
    }

    pub fn change_failed(&mut self, request: RequestId) {
        let asked = self.asked.iter_mut().find(|asked| asked.request == request);
        if let Some(asked) = asked {
            asked.state = State::Failed;
        }
    }

    pub fn reply(
        &mut self,
        request: RequestId,
        reply: &Result<Reply, CommandError>,
        store: &Store,
    ) {
        assert!(
            self.awaited.remove(&request),
            "promise 5: {request:?} is answered twice, or after it was cancelled"
        );
        self.connecting.remove(&request);
        self.deciding.remove(&request);
        let index = self.asked.iter().position(|asked| asked.request == request);
        let Some(index) = index else {
            return;
        };
        if reply.is_err() {
            self.asked[index].state = State::Failed;
        } else {
            assert_ne!(
                self.asked[index].state,
                State::Failed,
                "promise 2: {request:?} is acknowledged and was not stored"
            );
            self.asked[index].state = State::Acknowledged;
            self.explain(index + 1, store, "with its acknowledgement");
        }
    }

    /// The store told the machine of a change.
    pub fn machine_learns(&mut self, change: &StoreChange) {
        apply(&mut self.learned, &mut self.records, change);
        self.learn(change);
    }

    fn learn(&mut self, change: &StoreChange) {
        match change {
            StoreChange::ReserveEvents(end) => {
                self.numbers_end = *end;
                self.merged_events_may_come = true;
            }
            StoreChange::PutDevices(devices) => {
                let addresses = devices.iter().map(|device| SocketAddr::V4(device.address));
                self.at_once.extend(addresses);
                let put = |id: &DeviceId| devices.iter().any(|device| device.id == *id);
                self.auto_dials.retain(|_, id| !put(id));
            }
            StoreChange::DeleteDevices(ids) => {
                self.auto_dials.retain(|_, id| !ids.contains(id));
            }
            StoreChange::All(changes) => {
                for change in changes {
                    self.learn(change);
                }
            }
            StoreChange::PutAcceptFilter(_)
            | StoreChange::PutIdentity(..)
            | StoreChange::PutRecords(_)
            | StoreChange::DeleteRecords(_) => {}
        }
    }

    /// The machine shows what is stored, and beside that only what is about to go.
    pub(super) fn check_desired(&self, snapshot: &Snapshot) {
        for device in self.learned.devices.values() {
            let view = snapshot.devices.get(&device.id);
            let shown = view.is_some_and(|view| {
                view.origin == Origin::Auto
                    && view.address == SocketAddr::V4(device.address)
                    && view.use_ssl == device.use_ssl
            });
            assert!(shown, "promise 2: {device:?} is stored and {view:?} listed");
        }
        for (id, view) in &snapshot.devices {
            let stored = self.learned.devices.contains_key(id);
            assert!(
                stored || self.up.contains_key(id),
                "promise 2: {view:?} is listed, not stored and not up"
            );
        }
        assert_eq!(
            *snapshot.accept_filter, self.learned.accept_filter,
            "promise 2: the accept filter"
        );
        let slaves = self.records.values().filter_map(|record| match record {
            Record::Slaves(slaves) => Some(slaves),
            _ => None,
        });
        assert!(slaves.eq(snapshot.slaves.iter()), "promise 2: the slaves");
        for refusal in snapshot.refusals.values() {
            let key = RecordKey::Refusal(refusal.device);
            let stored = self.records.get(&key);
            assert_eq!(
                stored,
                Some(&Record::Refusal(refusal.as_ref().clone())),
                "promise 2: a refusal"
            );
        }
    }
}
