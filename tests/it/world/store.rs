//! What the store promises, without a disk: a change is on disk whole once it is acknowledged, a
//! crash keeps what is on disk and any first part of what was being written.

use std::collections::BTreeMap;

use gatehouse::device::{DeviceId, Status};
use gatehouse::event::{Change, History, StatusEvent};
use gatehouse::registry::records::{Record, RecordKey};
use gatehouse::registry::{CommitId, StoreChange, Stored};
use gatehouse::store::desired::Desired;

/// The numbers of one start, and the newest of them that reached the log.
#[derive(Clone, Copy, Debug)]
struct Run {
    base: u64,
    end: u64,
}

#[derive(Debug, Default)]
pub struct Store {
    pub disk: Desired,
    pub records: BTreeMap<RecordKey, Record>,
    waiting: Vec<(CommitId, StoreChange)>,
    /// The group on its way to the disk.
    writing: Vec<(CommitId, StoreChange)>,
    log: Vec<StatusEvent>,
    log_max: usize,
    /// The newest number that the log dropped.
    floor: u64,
    statuses: BTreeMap<DeviceId, Status>,
    gathered: Vec<StatusEvent>,
    runs: Vec<Run>,
}

impl Store {
    /// A log of at most `log_max` events.
    pub fn new(log_max: usize) -> Self {
        Self {
            log_max,
            ..Self::default()
        }
    }

    /// What a start finds. It reserves `block` numbers, so that a small block shows what happens
    /// when they run out.
    pub fn open(&mut self, block: u64) -> Stored {
        let base = self.disk.events_reserved;
        self.disk.events_reserved = base + block + 1;
        self.runs.push(Run { base, end: base });
        Stored {
            devices: self.disk.devices.values().copied().collect(),
            accept_filter: self.disk.accept_filter.clone(),
            identities: self.disk.identities.clone().into_iter().collect(),
            records: self.records.values().cloned().collect(),
            last_statuses: self.statuses.clone().into_iter().collect(),
            event_next: base + 1,
            events_reserved: self.disk.events_reserved,
        }
    }

    /// Takes a change; whether the disk is idle, so that a write must be started.
    pub fn put(&mut self, id: CommitId, change: StoreChange) -> bool {
        self.waiting.push((id, change));
        self.writing.is_empty()
    }

    /// Starts to write everything that waits; whether there is anything.
    pub fn write(&mut self) -> bool {
        if self.writing.is_empty() {
            self.writing = std::mem::take(&mut self.waiting);
        }
        !self.writing.is_empty()
    }

    /// The group is on disk, or nothing of it; the changes that were in it.
    pub fn written(&mut self, fails: bool) -> Vec<CommitId> {
        let group = std::mem::take(&mut self.writing);
        if !fails {
            group.iter().for_each(|(_, change)| self.apply(change));
        }
        group.into_iter().map(|(id, _)| id).collect()
    }

    /// Takes events; whether they are the first that wait.
    pub fn append(&mut self, events: &[StatusEvent]) -> bool {
        let first = self.gathered.is_empty();
        self.gathered.extend_from_slice(events);
        first
    }

    pub fn write_events(&mut self) {
        let all = self.gathered.len();
        self.write_first(all);
    }

    /// The process dies. `changes` of the group and `events` are on disk, if there are so many.
    pub fn crash(&mut self, changes: usize, events: usize) {
        let group = std::mem::take(&mut self.writing);
        for (_, change) in group.iter().take(changes) {
            self.apply(change);
        }
        self.write_first(events.min(self.gathered.len()));
        self.gathered.clear();
        self.waiting.clear();
    }

    pub fn in_flight(&self) -> (usize, usize) {
        (self.writing.len(), self.gathered.len())
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_empty()
    }

    /// Where each device ended, as far as it is on disk.
    pub fn statuses(&self) -> &BTreeMap<DeviceId, Status> {
        &self.statuses
    }

    pub fn history(&self, after: u64, until: u64) -> History {
        let newest = self.gathered.last().map_or(0, |event| event.number);
        let mut runs = self.runs.clone();
        if let Some(run) = runs.last_mut() {
            run.end = run.end.max(newest);
        }
        let holds = |run: &Run| run.base <= after && after <= run.end;
        if after < self.floor || !runs.iter().any(holds) {
            return History::Gap;
        }
        let all = self.log.iter().chain(&self.gathered);
        let wanted = all.filter(|event| event.number > after && event.number <= until);
        History::Events(wanted.cloned().collect())
    }

    fn apply(&mut self, change: &StoreChange) {
        apply(&mut self.disk, &mut self.records, change);
    }

    fn write_first(&mut self, count: usize) {
        for event in self.gathered.drain(..count) {
            match event.change {
                Change::Added | Change::Changed => {
                    self.statuses.insert(event.device, event.new);
                }
                Change::Removed => {
                    self.statuses.remove(&event.device);
                }
                Change::Refused | Change::Approved | Change::Denied => {}
            }
            if let Some(run) = self.runs.last_mut() {
                run.end = event.number;
            }
            self.log.push(event);
        }
        let excess = self.log.len().saturating_sub(self.log_max);
        for event in self.log.drain(..excess) {
            self.floor = event.number;
        }
    }
}

/// What a change makes of the desired state and of the records, each part of it in turn.
pub fn apply(
    desired: &mut Desired,
    records: &mut BTreeMap<RecordKey, Record>,
    change: &StoreChange,
) {
    match change {
        StoreChange::All(changes) => {
            for change in changes {
                apply(desired, records, change);
            }
        }
        StoreChange::PutRecords(put) => {
            records.extend(put.iter().map(|record| (record.key(), record.clone())));
        }
        StoreChange::DeleteRecords(keys) => records.retain(|key, _| !keys.contains(key)),
        StoreChange::PutDevices(_)
        | StoreChange::DeleteDevices(_)
        | StoreChange::PutAcceptFilter(_)
        | StoreChange::PutIdentity(..)
        | StoreChange::ReserveEvents(_) => desired.apply(change),
    }
}
