//! Events on their way to the log: bounded, oldest dropped first, and nothing forgotten about
//! where each device ended.

use std::collections::{BTreeMap, VecDeque};

use crate::device::{DeviceId, Status};
use crate::event::{Change, StatusEvent};

/// So many events wait at most while the disk does not take them: about 10 MiB.
pub const GATHERED_MAX: usize = 65_536;

/// Events that are not yet written, ascending by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    events: VecDeque<StatusEvent>,
    lost: Option<Lost>,
}

/// What is left of events that had to be dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The newest number that was dropped.
    pub through: u64,
    /// How many were.
    pub events: u64,
    /// The status in which the dropped events left each device; `None` when unlisted.
    pub statuses: BTreeMap<DeviceId, Option<Status>>,
}

impl Gathered {
    /// Takes an event whose number is above all before it.
    pub fn push(&mut self, event: StatusEvent) {
        self.events.push_back(event);
        while self.events.len() > GATHERED_MAX {
            self.drop_oldest();
        }
    }

    /// Takes everything from `newer`, whose events are above all that are here.
    pub fn absorb(&mut self, newer: Self) {
        if let Some(lost) = newer.lost {
            // What was lost there is newer than what waits here, so none of it is of use.
            while !self.events.is_empty() {
                self.drop_oldest();
            }
            let mine = self.lost.get_or_insert_default();
            mine.through = mine.through.max(lost.through);
            mine.events += lost.events;
            mine.statuses.extend(lost.statuses);
        }
        for event in newer.events {
            self.push(event);
        }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost.is_none()
    }

    /// The number of the newest event.
    pub fn newest(&self) -> Option<u64> {
        self.events.back().map(|event| event.number)
    }

    pub fn iter(&self) -> impl Iterator<Item = &StatusEvent> {
        self.events.iter()
    }

    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Forgets the `count` oldest events, and what is left of lost ones: they were written.
    pub fn written(&mut self, count: usize) {
        self.events.drain(..count.min(self.events.len()));
        self.lost = None;
        if self.events.is_empty() {
            self.events.shrink_to(0);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            let lost = self.lost.get_or_insert_default();
            lost.through = event.number;
            lost.events += 1;
            note_status(&mut lost.statuses, &event);
        }
    }
}

/// Notes where this event leaves its device.
pub fn note_status(statuses: &mut BTreeMap<DeviceId, Option<Status>>, event: &StatusEvent) {
    match event.change {
        Change::Added | Change::Changed => statuses.insert(event.device, Some(event.new)),
        Change::Removed => statuses.insert(event.device, None),
        // The pending list is not the managed list.
        Change::Refused | Change::Approved | Change::Denied => None,
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(number: u64) -> StatusEvent {
        let device = DeviceId::new(1 + (number % 70_001) as u32).unwrap();
        StatusEvent {
            number,
            device,
            change: [
                Change::Added,
                Change::Changed,
                Change::Removed,
                Change::Refused,
            ][(number / 3 % 4) as usize],
            old: None,
            new: Status::ALL[(number % 8) as usize],
            unix_ms: 0,
            cause: None,
            attempt: 0,
            next_try_unix_ms: None,
        }
    }

    fn statuses(gathered: &Gathered) -> BTreeMap<DeviceId, Option<Status>> {
        let mut statuses = gathered.lost().cloned().unwrap_or_default().statuses;
        gathered
            .iter()
            .for_each(|event| note_status(&mut statuses, event));
        statuses
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_device_ends_where_its_newest_event_left_it(
            here in 0..GATHERED_MAX as u64 * 3 / 2, there in 0..GATHERED_MAX as u64 * 3 / 2,
        ) {
            let (mut older, mut newer) = (Gathered::default(), Gathered::default());
            let mut all = BTreeMap::new();
            for number in 0..here + there {
                note_status(&mut all, &event(number));
                if number < here { &mut older } else { &mut newer }.push(event(number));
            }
            older.absorb(newer);
            prop_assert!(older.len() <= GATHERED_MAX);
            prop_assert_eq!(statuses(&older), all);
            let numbers: Vec<u64> = older.iter().map(|event| event.number).collect();
            let kept_from = here + there - older.len() as u64;
            prop_assert_eq!(numbers, (kept_from..here + there).collect::<Vec<_>>());
            prop_assert_eq!(older.lost().map(|lost| lost.through + 1).unwrap_or(0), kept_from);
        }
    }

    #[test]
    fn nothing_is_left_once_all_is_written() {
        let mut gathered = Gathered::default();
        for number in 0..GATHERED_MAX as u64 + 3 {
            gathered.push(event(number));
        }
        gathered.written(10);
        assert!(gathered.lost().is_none());
        assert_eq!(gathered.iter().next().map(|event| event.number), Some(13));
        gathered.written(usize::MAX);
        assert!(gathered.is_empty());
    }
}
