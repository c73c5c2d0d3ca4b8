//! One subscriber's queue: bounded, and when it is full the newest event of each device is kept.
//!
//! Numbers come out ascending, always, so that a subscriber that resumes after the last number it
//! saw has missed nothing older. Therefore events wait in two places: up to `max` in order as
//! they came, and from the first that found no room on in the overflow, until it is empty again.
//!
//! The overflow has up to three slots a device, for membership of the two lists is told by
//! different events: [`Change::Refused`] says that a device entered the pending list,
//! [`Change::Approved`] and [`Change::Denied`] that a decision took it off, and all others speak of
//! the managed list. A newer event takes the place, and the number, of the older one in its slot.
//! Entries and decisions do not take each other's place: the first is a status that the Connect
//! API tells and must not move behind a newer one of the managed list, and the second is not. Since
//! each keeps the number of its newest, the later of the two is the truth of the pending list.
//!
//! What two events mean for the managed list is reckoned over both:
//!
//! | listed before both | listed after both | merged                        |
//! | ------------------ | ----------------- | ----------------------------- |
//! | no                 | yes               | `Added`                       |
//! | yes                | yes               | `Changed`                     |
//! | yes                | no                | `Removed`                     |
//! | no                 | no                | `Removed`, with `old` absent  |
//!
//! `old` is that of the oldest event left out, everything else that of the newest. So whoever
//! applies `Added` and `Changed` as "put" and `Removed` as "take away" ends with the same list as
//! one that saw every event, and each `old` is what it had.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::device::DeviceId;
use crate::event::{Change, StatusEvent};
use crate::registry::hub::Delivery;

/// An empty queue keeps room for so many events.
const KEPT_CAPACITY: usize = 16;

#[derive(Debug)]
pub struct Queue {
    max: usize,
    waiting: VecDeque<Arc<StatusEvent>>,
    /// By the number of the event in the slot.
    overflow: BTreeMap<u64, Slot>,
    /// The number under which a device has its slot.
    slots: HashMap<(DeviceId, List), u64>,
}

/// Which list an event speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    Managed,
    /// The pending list, entered.
    Pending,
    /// The pending list, left by a decision.
    Decision,
}

#[derive(Debug)]
struct Slot {
    event: Arc<StatusEvent>,
    conflated: u64,
}

impl Queue {
    /// A queue for up to `max` events in order; 0 conflates whatever is not taken at once.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            waiting: VecDeque::new(),
            overflow: BTreeMap::new(),
            slots: HashMap::new(),
        }
    }

    /// Takes in an event whose number is above all before it. Whether it took an older one's place.
    pub fn push(&mut self, event: &Arc<StatusEvent>) -> bool {
        if self.overflow.is_empty() && self.waiting.len() < self.max {
            self.waiting.push_back(event.clone());
            return false;
        }
        let slot_of = (event.device, list(event.change));
        let older = self.slots.insert(slot_of, event.number);
        let older = older.and_then(|number| self.overflow.remove(&number));
        let is_conflated = older.is_some();
        let slot = match older {
            None => Slot {
                event: event.clone(),
                conflated: 0,
            },
            Some(older) => Slot {
                event: Arc::new(merge(&older.event, event)),
                conflated: older.conflated + 1,
            },
        };
        self.overflow.insert(event.number, slot);
        is_conflated
    }

    /// The oldest event.
    pub fn pop(&mut self) -> Option<Delivery> {
        let (event, conflated) = match self.waiting.pop_front() {
            Some(event) => (event, 0),
            None => {
                let (_, slot) = self.overflow.pop_first()?;
                self.slots
                    .remove(&(slot.event.device, list(slot.event.change)));
                (slot.event, slot.conflated)
            }
        };
        if self.is_empty() {
            self.waiting.shrink_to(KEPT_CAPACITY);
            self.slots = HashMap::new();
        }
        Some(Delivery {
            event: Arc::unwrap_or_clone(event),
            conflated,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.overflow.is_empty()
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.overflow.len()
    }
}

/// The list that this change speaks of.
pub fn list(change: Change) -> List {
    match change {
        Change::Added | Change::Changed | Change::Removed => List::Managed,
        Change::Refused => List::Pending,
        Change::Approved | Change::Denied => List::Decision,
    }
}

/// Two events of one device and one list as one.
pub fn merge(older: &StatusEvent, newer: &StatusEvent) -> StatusEvent {
    if list(newer.change) != List::Managed {
        return newer.clone();
    }
    StatusEvent {
        change: match newer.change {
            Change::Removed => Change::Removed,
            _ if older.old.is_none() => Change::Added,
            _ => Change::Changed,
        },
        old: older.old,
        ..newer.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::device::Status;

    /// What happens next: an event of a device, or the subscriber takes so many.
    #[derive(Clone, Debug)]
    enum Step {
        Event {
            device: u32,
            kind: u8,
            status: usize,
        },
        Take(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..5u32, 0..6u8, 0..Status::ALL.len())
                .prop_map(|(device, kind, status)| Step::Event { device, kind, status }),
            1 => (0..6usize).prop_map(Step::Take),
        ]
    }

    type Devices = BTreeMap<DeviceId, Status>;

    /// The next legal event of a device, as the registry would tell it.
    fn next_event(
        number: u64,
        listed: &Devices,
        device: u32,
        kind: u8,
        status: usize,
    ) -> StatusEvent {
        let device = DeviceId::new(device).unwrap();
        let old = listed.get(&device).copied();
        let change = match (old, kind) {
            (_, 4) => Change::Approved,
            (_, 5) => Change::Denied,
            (None, 0) => Change::Refused,
            (None, _) => Change::Added,
            (Some(_), 0 | 1) => Change::Removed,
            (Some(_), _) => Change::Changed,
        };
        StatusEvent {
            number,
            device,
            change,
            old,
            new: Status::ALL[status],
            unix_ms: number * 7,
            cause: None,
            attempt: 0,
            next_try_unix_ms: None,
        }
    }

    fn put(devices: &mut Devices, event: &StatusEvent) {
        match event.change {
            Change::Added | Change::Changed => {
                devices.insert(event.device, event.new);
            }
            Change::Removed => {
                devices.remove(&event.device);
            }
            Change::Refused | Change::Approved | Change::Denied => {}
        }
    }

    /// A subscriber that checks what it is given.
    #[derive(Default)]
    struct Receiver {
        devices: Devices,
        last: u64,
        seen: u64,
        /// The newest that was told of the pending list.
        pending: BTreeMap<DeviceId, Change>,
    }

    impl Receiver {
        fn take(&mut self, delivery: &Delivery) {
            let event = &delivery.event;
            assert!(event.number > self.last, "numbers ascend");
            self.last = event.number;
            self.seen += 1 + delivery.conflated;
            let listed = self.devices.get(&event.device).copied();
            match event.change {
                Change::Added => assert_eq!((event.old, listed), (None, None)),
                Change::Changed => assert!(event.old.is_some() && event.old == listed),
                Change::Removed => {
                    assert_eq!(event.old, listed);
                    assert!(listed.is_some() || delivery.conflated > 0);
                }
                Change::Refused | Change::Approved | Change::Denied => {
                    self.pending.insert(event.device, event.change);
                }
            }
            put(&mut self.devices, event);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_slow_subscriber_ends_with_the_truth(
            max in 0..6usize, steps in vec(any_step(), 1..80),
        ) {
            let mut queue = Queue::new(max);
            let (mut truth, mut receiver) = (Devices::new(), Receiver::default());
            let mut newest: BTreeMap<(DeviceId, List), StatusEvent> = BTreeMap::new();
            let mut pending: BTreeMap<DeviceId, Change> = BTreeMap::new();
            let mut delivered = newest.clone();
            let mut number = 0;
            let mut take = |queue: &mut Queue, receiver: &mut Receiver, count: usize| {
                for delivery in std::iter::from_fn(|| queue.pop()).take(count) {
                    receiver.take(&delivery);
                    let event = delivery.event;
                    let key = (event.device, list(event.change));
                    delivered.insert(key, event);
                }
                delivered.clone()
            };
            for step in steps {
                match step {
                    Step::Event { device, kind, status } => {
                        number += 1;
                        let event = next_event(number, &truth, device, kind, status);
                        put(&mut truth, &event);
                        queue.push(&Arc::new(event.clone()));
                        if list(event.change) != List::Managed {
                            pending.insert(event.device, event.change);
                        }
                        newest.insert((event.device, list(event.change)), event);
                    }
                    Step::Take(count) => {
                        take(&mut queue, &mut receiver, count);
                    }
                }
                // Four devices, each with a slot a list.
                prop_assert!(queue.len() <= max + 12);
            }
            let delivered = take(&mut queue, &mut receiver, usize::MAX);
            prop_assert!(queue.is_empty());
            prop_assert_eq!(&receiver.devices, &truth);
            prop_assert_eq!(&receiver.pending, &pending, "who is pending");
            prop_assert_eq!(receiver.seen, number, "what is left out is counted");
            let point = |event: &StatusEvent| (event.number, event.new, event.unix_ms);
            let newest: Vec<_> = newest.values().map(point).collect();
            let delivered: Vec<_> = delivered.values().map(point).collect();
            prop_assert_eq!(delivered, newest, "the newest of every device arrives");
        }

        #[test]
        fn a_fast_subscriber_sees_every_event(statuses in vec((1..5u32, 0..6u8, 0..8usize), 1..50)) {
            let mut queue = Queue::new(1);
            let mut truth = Devices::new();
            for (index, (device, kind, status)) in statuses.into_iter().enumerate() {
                let event = next_event(index as u64 + 1, &truth, device, kind, status);
                put(&mut truth, &event);
                queue.push(&Arc::new(event.clone()));
                prop_assert_eq!(queue.pop(), Some(Delivery { event, conflated: 0 }));
            }
        }
    }

    /// What the Connect API tells of a pending device is told, and not as news, whatever came after
    /// it.
    #[test]
    fn a_decision_swallows_no_status() {
        let mut queue = Queue::new(0);
        let listed = Devices::new();
        let refused = next_event(1, &listed, 1, 0, 3);
        let added = next_event(2, &listed, 1, 1, 1);
        let denied = next_event(3, &listed, 1, 5, 3);
        let approved = next_event(4, &listed, 1, 4, 3);
        for event in [&refused, &added, &denied, &approved] {
            queue.push(&Arc::new(event.clone()));
        }
        let told: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|delivery| (delivery.event, delivery.conflated))
            .collect();
        assert_eq!(told, [(refused, 0), (added, 0), (approved, 1)]);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut queue = Queue::new(5000);
        let mut listed = Devices::new();
        for number in 1..=10_000 {
            let device = u32::try_from(number).unwrap();
            let event = next_event(number, &listed, device, 1, 0);
            put(&mut listed, &event);
            queue.push(&Arc::new(event));
        }
        while queue.pop().is_some() {}
        assert!(queue.waiting.capacity() <= KEPT_CAPACITY);
        assert_eq!(queue.slots.capacity(), 0);
    }
}
