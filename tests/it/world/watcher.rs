//! A subscriber that reads when it likes, and resumes by number after each restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse::device::{DeviceId, Status};
use gatehouse::event::{Change, StatusEvent};
use gatehouse::registry::conflate::Queue;
use gatehouse::registry::snapshot::Snapshot;
use gatehouse::registry::watch::{Item, Need, Watch};

use super::store::Store;

pub struct Watcher {
    queue_max: usize,
    connection: Option<(Watch, Queue)>,
    /// The last number it saw; `None` before it was ever connected.
    last: Option<u64>,
    devices: BTreeMap<DeviceId, Status>,
    /// The snapshot that is being told.
    snapshot: Option<BTreeMap<DeviceId, Status>>,
    gap: bool,
    /// Devices of which an event was seen since it resumed or took a snapshot. The first event may
    /// stand for several changes, of which the resumed number, or the snapshot, knows some.
    followed: BTreeSet<DeviceId>,
}

impl Watcher {
    pub fn new(queue_max: usize) -> Self {
        Self {
            queue_max,
            connection: None,
            last: None,
            devices: BTreeMap::new(),
            snapshot: None,
            gap: false,
            followed: BTreeSet::new(),
        }
    }

    pub fn publish(&mut self, events: &[StatusEvent]) {
        if let Some((_, queue)) = &mut self.connection {
            events.iter().for_each(|event| {
                queue.push(&Arc::new(event.clone()));
            });
        }
    }

    /// The gateway is gone.
    pub fn cut_off(&mut self) {
        self.connection = None;
        self.snapshot = None;
        self.gap = false;
        self.followed.clear();
    }

    /// Reads at most so many items; true when there is nothing more.
    pub fn read(&mut self, items: usize, position: u64, newest: &Snapshot, store: &Store) -> bool {
        if self.connection.is_none() {
            let watch = match self.last {
                Some(last) => Watch::resume(position, last),
                None => Watch::from_snapshot(position),
            };
            self.connection = Some((watch, Queue::new(self.queue_max)));
        }
        for _ in 0..items {
            let Some((watch, queue)) = &mut self.connection else {
                return true;
            };
            if let Some(item) = watch.poll_output() {
                self.see(item);
                continue;
            }
            match watch.need() {
                Need::Snapshot => watch.handle_snapshot(newest),
                Need::History { after, until } => {
                    watch.handle_history(store.history(after, until));
                }
                Need::Delivery => match queue.pop() {
                    Some(delivery) => watch.handle_delivery(delivery),
                    None => return true,
                },
            }
        }
        false
    }

    /// What it holds for the list.
    pub fn devices(&self) -> &BTreeMap<DeviceId, Status> {
        &self.devices
    }

    fn see(&mut self, item: Item) {
        match item {
            Item::Gap { from, to } => {
                let last = self.last.unwrap_or(0);
                assert!(
                    from == last + 1 && to >= from || from == 1,
                    "promise 3: a gap from {from} to {to} after {last}"
                );
                self.gap = true;
            }
            Item::SnapshotBegin(_) => self.snapshot = Some(BTreeMap::new()),
            Item::Device(view) => {
                if let Some(snapshot) = &mut self.snapshot {
                    snapshot.insert(view.id, view.status);
                }
            }
            Item::SnapshotEnd(number) => {
                let last = self.last.unwrap_or(0);
                assert!(
                    number >= last,
                    "promise 3: a snapshot of {number} after {last}"
                );
                self.last = Some(number);
                self.devices = self.snapshot.take().unwrap_or_default();
                self.gap = false;
                self.followed.clear();
            }
            Item::Event(delivery) => self.apply(&delivery.event),
        }
    }

    fn apply(&mut self, event: &StatusEvent) {
        let last = self.last.unwrap_or(0);
        assert!(
            event.number > last,
            "promise 3: a subscriber sees {} after {last}",
            event.number
        );
        assert!(!self.gap, "promise 3: a gap that no snapshot fills");
        self.last = Some(event.number);
        let held = self.devices.get(&event.device).copied();
        match event.change {
            Change::Refused | Change::Approved | Change::Denied => return,
            Change::Removed => {
                self.devices.remove(&event.device);
            }
            Change::Added | Change::Changed => {
                self.devices.insert(event.device, event.new);
            }
        }
        let follows = !self.followed.insert(event.device);
        assert!(
            event.old == held || !follows,
            "promise 3: a subscriber holds {held:?} and sees {event:?}"
        );
    }
}
