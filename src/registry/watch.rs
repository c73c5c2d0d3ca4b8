//! In which order a watcher of the fleet is told what: snapshot, history, live events, with no
//! number twice and none lost.

use std::collections::VecDeque;
use std::sync::Arc;

use imbl::OrdMap;

use crate::device::DeviceId;
use crate::event::History;
use crate::event::StatusEvent;
use crate::registry::hub::Delivery;
use crate::registry::snapshot::{DeviceView, Snapshot};

/// What the watcher is told next.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// These numbers are lost, both included; a snapshot follows.
    Gap {
        from: u64,
        to: u64,
    },
    /// A snapshot of this many devices follows.
    SnapshotBegin(usize),
    Device(Arc<DeviceView>),
    /// The snapshot contains every event up to this number.
    SnapshotEnd(u64),
    Event(Delivery),
}

/// What must be brought once there is nothing left to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The newest [`Snapshot`].
    Snapshot,
    /// The [`History`] after one number up to and including another.
    History { after: u64, until: u64 },
    /// The next [`Delivery`] of the subscription.
    Delivery,
}

/// One watcher, who has subscribed already: what is published after `position` reaches him as
/// deliveries, so everything before it must come from the snapshot or from the log.
pub struct Watch {
    position: u64,
    /// Every event up to here was told, or is in the snapshot that was told.
    told: u64,
    wants_snapshot: bool,
    /// The log could not tell what came after `told`.
    missed: bool,
    ready: VecDeque<Item>,
    history: VecDeque<StatusEvent>,
    /// The devices that are still to be told, and the number of their snapshot.
    snapshot: Option<(Devices, u64)>,
}

type Devices = <OrdMap<DeviceId, Arc<DeviceView>> as IntoIterator>::IntoIter;

impl Watch {
    /// A watcher who wants a snapshot first.
    pub fn from_snapshot(position: u64) -> Self {
        Self {
            wants_snapshot: true,
            ..Self::resume(position, 0)
        }
    }

    /// A watcher who wants what happens from now on.
    pub fn from_now(position: u64) -> Self {
        Self::resume(position, position)
    }

    /// A watcher who has seen everything up to the number `after`.
    pub fn resume(position: u64, after: u64) -> Self {
        // A number that was never given out says nothing of what the watcher knows.
        let never_given = after > position;
        Self {
            position,
            told: if never_given { 0 } else { after },
            wants_snapshot: never_given,
            missed: never_given,
            ready: VecDeque::new(),
            history: VecDeque::new(),
            snapshot: None,
        }
    }

    /// What to tell next; after `None` ask [`need`](Self::need).
    pub fn poll_output(&mut self) -> Option<Item> {
        if let Some(item) = self.ready.pop_front() {
            return Some(item);
        }
        if let Some((devices, number)) = &mut self.snapshot {
            if let Some((_, device)) = devices.next() {
                return Some(Item::Device(device));
            }
            self.told = *number;
            self.snapshot = None;
            return Some(Item::SnapshotEnd(self.told));
        }
        let event = self.history.pop_front()?;
        self.told = event.number;
        Some(Item::Event(Delivery {
            event,
            conflated: 0,
        }))
    }

    /// What to bring now that everything was told.
    pub fn need(&self) -> Need {
        if self.wants_snapshot {
            Need::Snapshot
        } else if self.told < self.position {
            Need::History {
                after: self.told,
                until: self.position,
            }
        } else {
            Need::Delivery
        }
    }

    pub fn handle_snapshot(&mut self, snapshot: &Snapshot) {
        let number = snapshot.event_number;
        if self.missed {
            let from = self.told.saturating_add(1);
            self.ready.push_back(Item::Gap {
                from,
                to: number.max(from),
            });
        }
        let devices = snapshot.devices.clone();
        self.ready.push_back(Item::SnapshotBegin(devices.len()));
        self.snapshot = Some((devices.into_iter(), number));
        self.wants_snapshot = false;
        self.missed = false;
    }

    /// Takes what the log has; a portion of it is enough, and none means that there is no more.
    pub fn handle_history(&mut self, history: History) {
        match history {
            History::Events(events) if events.is_empty() => self.told = self.position,
            History::Events(events) => self.history = events.into(),
            History::Gap => {
                self.wants_snapshot = true;
                self.missed = true;
            }
        }
    }

    pub fn handle_delivery(&mut self, delivery: Delivery) {
        // The snapshot can be newer than the subscription, so that the first deliveries are in it.
        if delivery.event.number > self.told {
            self.ready.push_back(Item::Event(delivery));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::device::{ConnectionMode, Origin, Status};
    use crate::event::Change;

    fn event(number: u64, device: u32) -> StatusEvent {
        StatusEvent {
            number,
            device: DeviceId::new(device).expect("not zero"),
            change: Change::Changed,
            old: None,
            new: Status::ALL[(number % 8) as usize],
            unix_ms: 0,
            cause: None,
            attempt: 0,
            next_try_unix_ms: None,
        }
    }

    fn view(event: &StatusEvent) -> Arc<DeviceView> {
        Arc::new(DeviceView {
            id: event.device,
            identity: None,
            origin: Origin::Auto,
            mode: ConnectionMode::ServerToDevice,
            address: ([192, 0, 2, 1], 51211).into(),
            use_ssl: false,
            status: event.new,
            since_unix_ms: 0,
            device_type: 0,
            session: None,
            attempt: 0,
            next_try_unix_ms: None,
            cause: None,
        })
    }

    fn snapshot(events: &[StatusEvent]) -> Snapshot {
        Snapshot {
            devices: events
                .iter()
                .map(|event| (event.device, view(event)))
                .collect(),
            event_number: events.last().map_or(0, |event| event.number),
            ..Snapshot::default()
        }
    }

    fn delivery(event: StatusEvent) -> Delivery {
        Delivery {
            event,
            conflated: 0,
        }
    }

    fn drain(watch: &mut Watch) -> Vec<Item> {
        std::iter::from_fn(|| watch.poll_output()).collect()
    }

    #[test]
    fn from_now_tells_deliveries_alone() {
        let mut watch = Watch::from_now(7);
        assert_eq!(watch.need(), Need::Delivery);
        watch.handle_delivery(delivery(event(8, 1)));
        assert_eq!(drain(&mut watch), [Item::Event(delivery(event(8, 1)))]);
        assert_eq!(watch.need(), Need::Delivery);
    }

    #[test]
    fn a_delivery_that_the_snapshot_contains_is_dropped() {
        let mut watch = Watch::from_snapshot(1);
        assert_eq!(watch.need(), Need::Snapshot);
        let events = [event(1, 1), event(2, 2)];
        watch.handle_snapshot(&snapshot(&events));
        assert_eq!(
            drain(&mut watch),
            [
                Item::SnapshotBegin(2),
                Item::Device(view(&events[0])),
                Item::Device(view(&events[1])),
                Item::SnapshotEnd(2),
            ]
        );
        assert_eq!(watch.need(), Need::Delivery);
        watch.handle_delivery(delivery(event(2, 2)));
        assert_eq!(drain(&mut watch), []);
        watch.handle_delivery(delivery(event(3, 2)));
        assert_eq!(drain(&mut watch), [Item::Event(delivery(event(3, 2)))]);
    }

    #[test]
    fn what_a_late_snapshot_lacks_comes_from_the_log() {
        let mut watch = Watch::from_snapshot(2);
        watch.handle_snapshot(&snapshot(&[event(1, 1)]));
        assert_eq!(drain(&mut watch).len(), 3);
        assert_eq!(watch.need(), Need::History { after: 1, until: 2 });
    }

    #[test]
    fn a_gap_is_told_before_the_snapshot_that_fills_it() {
        let mut watch = Watch::resume(9, 4);
        assert_eq!(watch.need(), Need::History { after: 4, until: 9 });
        watch.handle_history(History::Gap);
        assert_eq!(drain(&mut watch), []);
        assert_eq!(watch.need(), Need::Snapshot);
        watch.handle_snapshot(&snapshot(&[event(10, 1)]));
        assert_eq!(
            drain(&mut watch),
            [
                Item::Gap { from: 5, to: 10 },
                Item::SnapshotBegin(1),
                Item::Device(view(&event(10, 1))),
                Item::SnapshotEnd(10),
            ]
        );
    }

    #[test]
    fn a_number_that_was_never_given_out_is_a_gap() {
        let mut watch = Watch::resume(9, 10);
        assert_eq!(watch.need(), Need::Snapshot);
        watch.handle_snapshot(&snapshot(&[event(9, 1)]));
        assert_eq!(drain(&mut watch)[0], Item::Gap { from: 1, to: 9 });
    }

    /// Events of which the first are in the log only and the last are delivered only; the log has
    /// lost its beginning, and the snapshot is taken a little before or after the subscription.
    #[derive(Clone, Debug)]
    struct World {
        events: Vec<StatusEvent>,
        subscribed: usize,
        snapshot: usize,
        log_start: usize,
        portion: usize,
        seen: usize,
    }

    fn world() -> impl Strategy<Value = World> {
        let steps = prop::collection::vec((1u64..4, 1u32..5), 1..40);
        (steps, any::<[u16; 4]>(), 1usize..5).prop_map(|(steps, choices, portion)| {
            let mut number = 0;
            let events: Vec<_> = steps
                .into_iter()
                .map(|(step, device)| {
                    number += step;
                    event(number, device)
                })
                .collect();
            let choose = |choice: u16| usize::from(choice) % (events.len() + 1);
            World {
                subscribed: choose(choices[0]),
                snapshot: choose(choices[1]).max(choose(choices[2])),
                log_start: choose(choices[2]),
                seen: choose(choices[3]),
                portion,
                events,
            }
        })
    }

    impl World {
        fn number(&self, count: usize) -> u64 {
            count
                .checked_sub(1)
                .map_or(0, |last| self.events[last].number)
        }

        fn history(&self, after: u64, until: u64) -> History {
            if after < self.number(self.log_start) {
                return History::Gap;
            }
            let wanted = self
                .events
                .iter()
                .filter(|event| event.number > after && event.number <= until);
            History::Events(wanted.take(self.portion).cloned().collect())
        }

        /// Everything the watcher is told until no delivery is left.
        fn run(&self, mut watch: Watch) -> Vec<Item> {
            let mut deliveries = self.events[self.subscribed..].iter();
            let mut told = Vec::new();
            loop {
                told.extend(drain(&mut watch));
                assert!(told.len() < 1000, "there is no end to it");
                match watch.need() {
                    Need::Snapshot => {
                        watch.handle_snapshot(&snapshot(&self.events[..self.snapshot]));
                    }
                    Need::History { after, until } => {
                        watch.handle_history(self.history(after, until));
                    }
                    Need::Delivery => match deliveries.next() {
                        Some(event) => watch.handle_delivery(delivery(event.clone())),
                        None => return told,
                    },
                }
            }
        }

        /// What the watcher knows in the end, if it knew the statuses after `seen` events before.
        /// Checks that numbers only rise, and that a snapshot is whole.
        fn view(&self, told: &[Item], seen: usize) -> BTreeMap<DeviceId, Status> {
            let mut view = statuses(&self.events[..seen]);
            let mut newest = self.number(seen);
            for item in told {
                match item {
                    Item::Gap { from, to } => assert!(from <= to),
                    Item::SnapshotBegin(_) => view.clear(),
                    Item::Device(device) => {
                        view.insert(device.id, device.status);
                    }
                    Item::SnapshotEnd(number) => newest = *number,
                    Item::Event(Delivery { event, .. }) => {
                        assert!(event.number > newest, "{} again", event.number);
                        newest = event.number;
                        view.insert(event.device, event.new);
                    }
                }
            }
            view
        }
    }

    fn statuses(events: &[StatusEvent]) -> BTreeMap<DeviceId, Status> {
        events
            .iter()
            .map(|event| (event.device, event.new))
            .collect()
    }

    proptest! {
        #[test]
        fn resuming_loses_nothing_and_repeats_nothing(world in world()) {
            let position = world.number(world.subscribed);
            let seen = world.seen.min(world.subscribed);
            let told = world.run(Watch::resume(position, world.number(seen)));
            prop_assert_eq!(world.view(&told, seen), statuses(&world.events));
            if !told.iter().any(|item| matches!(item, Item::Gap { .. })) {
                let events = world.events[seen..].iter().cloned().map(delivery).map(Item::Event);
                prop_assert_eq!(told, events.collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_snapshot_and_what_follows_is_the_truth(world in world()) {
            let position = world.number(world.subscribed);
            let told = world.run(Watch::from_snapshot(position));
            prop_assert_eq!(world.view(&told, 0), statuses(&world.events));
        }
    }
}
