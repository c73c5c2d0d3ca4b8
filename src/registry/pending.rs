//! Who asked to come in, was proven, and was refused by the accept filter.

use std::collections::{BTreeMap, BTreeSet};

use crate::device::DeviceId;
use crate::identity::{Claim, Identity};
use crate::registry::snapshot::PendingView;

/// Bounded: a newer try pushes out the one whose last try is the longest ago.
#[derive(Debug)]
pub struct PendingList {
    max: usize,
    entries: BTreeMap<DeviceId, PendingView>,
    by_last_try: BTreeSet<(u64, DeviceId)>,
}

impl PendingList {
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            entries: BTreeMap::new(),
            by_last_try: BTreeSet::new(),
        }
    }

    /// Records a refused try. Returns whether the device is new to the list, and which one was
    /// pushed out for it.
    pub fn record(
        &mut self,
        id: DeviceId,
        claim: &Claim,
        unix_ms: u64,
    ) -> (bool, Option<DeviceId>) {
        let known = self.remove(id);
        let evicted = if self.entries.len() >= self.max {
            self.evict()
        } else {
            None
        };
        let is_new = known.is_none();
        let view = PendingView {
            id,
            identity: claim.identity.clone(),
            address: claim.peer.ip(),
            link: claim.link,
            device_type: known.as_ref().map_or(0, |known| known.device_type),
            first_try_unix_ms: known
                .as_ref()
                .map_or(unix_ms, |known| known.first_try_unix_ms),
            last_try_unix_ms: unix_ms,
            tries: known.map_or(1, |known| known.tries.saturating_add(1)),
        };
        self.by_last_try.insert((unix_ms, id));
        self.entries.insert(id, view);
        (is_new, evicted)
    }

    pub fn remove(&mut self, id: DeviceId) -> Option<PendingView> {
        let view = self.entries.remove(&id)?;
        self.by_last_try.remove(&(view.last_try_unix_ms, id));
        Some(view)
    }

    pub fn get(&self, id: DeviceId) -> Option<&PendingView> {
        self.entries.get(&id)
    }

    /// Whether this ID stands here for another device than `identity`.
    pub fn is_another(&self, id: DeviceId, identity: &Identity) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|view| view.identity != *identity)
    }

    fn evict(&mut self) -> Option<DeviceId> {
        let (_, id) = self.by_last_try.pop_first()?;
        self.entries.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{ConnectionMode, LinkKind};
    use crate::identity::Evidence;
    use std::time::Duration;

    fn claim(device: u32) -> Claim {
        Claim {
            identity: Identity::new("", &device.to_string()).unwrap(),
            evidence: Evidence::default(),
            link: LinkKind::Aes,
            mode: ConnectionMode::DeviceToServer,
            peer: ([10, 0, 0, 1], 4000).into(),
            keep_alive: Duration::from_secs(60),
        }
    }

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    #[test]
    fn a_second_try_updates_and_makes_no_second_entry() {
        let mut list = PendingList::new(10);
        assert_eq!(list.record(id(7), &claim(7), 1_000), (true, None));
        assert_eq!(list.record(id(7), &claim(7), 2_000), (false, None));
        let view = list.get(id(7)).unwrap();
        assert_eq!(
            (view.first_try_unix_ms, view.last_try_unix_ms, view.tries),
            (1_000, 2_000, 2)
        );
    }

    #[test]
    fn the_longest_silent_is_pushed_out() {
        let mut list = PendingList::new(2);
        list.record(id(1), &claim(1), 1_000);
        list.record(id(2), &claim(2), 2_000);
        list.record(id(1), &claim(1), 3_000);
        assert_eq!(list.record(id(3), &claim(3), 4_000), (true, Some(id(2))));
        assert!(list.get(id(1)).is_some() && list.get(id(2)).is_none());
        assert_eq!(list.by_last_try.len(), list.entries.len());
    }
}
