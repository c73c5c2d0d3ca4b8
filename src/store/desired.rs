//! What operators asked for and the store acknowledged, as a value.

use std::collections::BTreeMap;

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::{AutoDevice, StoreChange};

/// The desired state. The store holds a copy of what it acknowledged: the export is made from it,
/// and a store that could not write is put right by it when it can write again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub devices: BTreeMap<DeviceId, AutoDevice>,
    pub accept_filter: AcceptFilter,
    pub identities: BTreeMap<DeviceId, Identity>,
    /// Event numbers below this may have been given out.
    pub events_reserved: u64,
    /// How many groups of changes were acknowledged, starts counting as one each.
    pub groups: u64,
}

/// How a store is brought to a desired state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    pub changes: Vec<StoreChange>,
    /// Identities that no change takes away again.
    pub stray_identities: Vec<DeviceId>,
}

impl Desired {
    pub fn apply(&mut self, change: &StoreChange) {
        match change {
            StoreChange::PutDevices(devices) => {
                let devices = devices.iter().map(|device| (device.id, *device));
                self.devices.extend(devices);
            }
            StoreChange::DeleteDevices(ids) => {
                for id in ids {
                    self.devices.remove(id);
                }
            }
            StoreChange::PutAcceptFilter(filter) => self.accept_filter = filter.clone(),
            StoreChange::PutIdentity(id, identity) => {
                self.identities.insert(*id, identity.clone());
            }
            StoreChange::ReserveEvents(reserved) => {
                self.events_reserved = self.events_reserved.max(*reserved);
            }
            StoreChange::PutRecords(_) | StoreChange::DeleteRecords(_) | StoreChange::All(_) => {}
        }
    }

    /// What brings `found` here, but for the count of groups. Event numbers are never taken back.
    pub fn repair(&self, found: &Self) -> Repair {
        let mut changes = Vec::new();
        let differs = |device: &&AutoDevice| found.devices.get(&device.id) != Some(device);
        let put: Vec<_> = self.devices.values().filter(differs).copied().collect();
        if !put.is_empty() {
            changes.push(StoreChange::PutDevices(put));
        }
        let stray = |id: &&DeviceId| !self.devices.contains_key(id);
        let delete: Vec<_> = found.devices.keys().filter(stray).copied().collect();
        if !delete.is_empty() {
            changes.push(StoreChange::DeleteDevices(delete));
        }
        if self.accept_filter != found.accept_filter {
            let filter = self.accept_filter.clone();
            changes.push(StoreChange::PutAcceptFilter(filter));
        }
        for (id, identity) in &self.identities {
            if found.identities.get(id) != Some(identity) {
                changes.push(StoreChange::PutIdentity(*id, identity.clone()));
            }
        }
        if self.events_reserved > found.events_reserved {
            changes.push(StoreChange::ReserveEvents(self.events_reserved));
        }
        let stray = |id: &&DeviceId| !self.identities.contains_key(id);
        Repair {
            changes,
            stray_identities: found.identities.keys().filter(stray).copied().collect(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    pub fn any_change() -> impl Strategy<Value = StoreChange> {
        let id = || (1..9u32).prop_filter_map("zero is no device", DeviceId::new);
        let device = (id(), any::<u32>(), any::<u16>(), any::<bool>()).prop_map(
            |(id, ip, port, use_ssl)| AutoDevice {
                id,
                address: SocketAddrV4::new(Ipv4Addr::from_bits(ip), port),
                use_ssl,
            },
        );
        let filter = (any::<bool>(), vec(any::<u32>(), 0..3), vec(".{0,5}", 0..3)).prop_map(
            |(allow_all, device_ids, ip_addrs)| AcceptFilter {
                allow_all,
                device_ids,
                subnet_masks: ip_addrs.clone(),
                ip_addrs,
            },
        );
        let identity = (id(), "[a-z]{0,3}", "[a-z]{1,3}");
        prop_oneof![
            vec(device, 1..5).prop_map(StoreChange::PutDevices),
            vec(id(), 1..5).prop_map(StoreChange::DeleteDevices),
            filter.prop_map(StoreChange::PutAcceptFilter),
            identity.prop_map(|(id, owner, device)| {
                StoreChange::PutIdentity(id, Identity::new(&owner, &device).expect("valid names"))
            }),
            (0..1u64 << 60).prop_map(StoreChange::ReserveEvents),
        ]
    }

    pub fn any_desired() -> impl Strategy<Value = Desired> {
        (vec(any_change(), 0..12), any::<u64>()).prop_map(|(changes, groups)| {
            let mut desired = Desired {
                groups,
                ..Desired::default()
            };
            changes.iter().for_each(|change| desired.apply(change));
            desired
        })
    }

    proptest! {
        #[test]
        fn a_repair_brings_any_store_to_the_desired_state(
            wanted in any_desired(), mut found in any_desired(),
        ) {
            let repair = wanted.repair(&found);
            let reserved = found.events_reserved.max(wanted.events_reserved);
            repair.changes.iter().for_each(|change| found.apply(change));
            for id in &repair.stray_identities {
                found.identities.remove(id);
            }
            let expected = Desired { events_reserved: reserved, groups: found.groups, ..wanted.clone() };
            prop_assert_eq!(found, expected);
            prop_assert_eq!(wanted.repair(&wanted), Repair::default());
        }
    }
}
