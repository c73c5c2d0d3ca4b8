//! What operators asked for and the store acknowledged, as a value.

use std::collections::BTreeMap;

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::{Record, RecordKey};
use crate::registry::{AutoDevice, StoreChange};

/// The desired state. The store holds a copy of what it acknowledged: the export is made from it,
/// and a store that could not write is put right by it when it can write again.
///
/// Properties are desired state too and are not here: a fleet may have gigabytes of them. They lie
/// on disk alone. The export reads them there; of a change that is not acknowledged yet the worker
/// keeps what was there before, and puts that back when the change failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub devices: BTreeMap<DeviceId, AutoDevice>,
    pub accept_filter: AcceptFilter,
    pub identities: BTreeMap<DeviceId, Identity>,
    pub records: BTreeMap<RecordKey, Record>,
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
            StoreChange::PutRecords(records) => {
                let records = records.iter().map(|record| (record.key(), record.clone()));
                self.records.extend(records);
            }
            StoreChange::DeleteRecords(keys) => {
                for key in keys {
                    self.records.remove(key);
                }
            }
            StoreChange::All(changes) => changes.iter().for_each(|change| self.apply(change)),
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
        changes.extend(self.repair_records(found));
        if self.events_reserved > found.events_reserved {
            changes.push(StoreChange::ReserveEvents(self.events_reserved));
        }
        let stray = |id: &&DeviceId| !self.identities.contains_key(id);
        Repair {
            changes,
            stray_identities: found.identities.keys().filter(stray).copied().collect(),
        }
    }

    fn repair_records(&self, found: &Self) -> Vec<StoreChange> {
        let mut changes = Vec::new();
        let differs =
            |(key, record): &(&RecordKey, &Record)| found.records.get(key) != Some(record);
        let put = self.records.iter().filter(differs);
        let put: Vec<_> = put.map(|(_, record)| record.clone()).collect();
        if !put.is_empty() {
            changes.push(StoreChange::PutRecords(put));
        }
        let stray = |key: &&RecordKey| !self.records.contains_key(key);
        let delete: Vec<_> = found.records.keys().filter(stray).cloned().collect();
        if !delete.is_empty() {
            changes.push(StoreChange::DeleteRecords(delete));
        }
        changes
    }
}

#[cfg(test)]
pub mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::access::Role;
    use crate::registry::records::{
        PreviousDigest, Refusal, Slaves, StoredCredential, StoredToken,
    };

    fn any_id() -> impl Strategy<Value = DeviceId> {
        (1..9u32).prop_filter_map("zero is no device", DeviceId::new)
    }

    fn any_identity() -> impl Strategy<Value = Identity> {
        ("[a-z]{0,3}", "[a-z]{1,3}")
            .prop_map(|(owner, device)| Identity::new(&owner, &device).expect("valid names"))
    }

    fn any_credential() -> impl Strategy<Value = StoredCredential> {
        let previous = proptest::option::of((any::<[u8; 32]>(), any::<u64>()));
        (
            any_identity(),
            any::<[u8; 32]>(),
            previous,
            any::<u64>(),
            any::<bool>(),
        )
            .prop_map(
                |(identity, digest, previous, created_unix_ms, made_for_tls)| StoredCredential {
                    identity,
                    digest,
                    previous: previous.map(|(digest, holds_until_unix_ms)| PreviousDigest {
                        digest,
                        holds_until_unix_ms,
                    }),
                    created_unix_ms,
                    made_for_tls,
                    confirmed: !made_for_tls,
                },
            )
    }

    fn any_token() -> impl Strategy<Value = StoredToken> {
        let role = proptest::sample::select(Role::ALL.to_vec());
        let times = (any::<u64>(), proptest::option::of(any::<u64>()));
        ("[a-z]{1,3}", role, any::<[u8; 32]>(), times, ".{0,5}").prop_map(
            |(name, role, digest, (created_unix_ms, expires_unix_ms), by)| StoredToken {
                name: name.into(),
                role,
                digest,
                created_unix_ms,
                expires_unix_ms,
                created_by: by.into(),
            },
        )
    }

    pub fn any_record() -> impl Strategy<Value = Record> {
        let slaves = (any_id(), vec(any_id(), 0..3), vec(any_id(), 0..3));
        let refusal = (any_id(), ".{0,5}", any::<u64>(), any::<u64>());
        prop_oneof![
            slaves.prop_map(|(parent, rs485, wiegand)| Record::Slaves(Slaves {
                parent,
                rs485,
                wiegand
            })),
            any_credential().prop_map(Record::Credential),
            refusal.prop_map(
                |(device, by, unix_ms, expires_unix_ms)| Record::Refusal(Refusal {
                    device,
                    by: by.into(),
                    unix_ms,
                    expires_unix_ms
                })
            ),
            any_id().prop_map(Record::Enrolment),
            any_token().prop_map(Record::Token),
        ]
    }

    pub fn any_change() -> impl Strategy<Value = StoreChange> {
        let all = vec(any_single_change(), 0..4).prop_map(StoreChange::All);
        prop_oneof![5 => any_single_change(), 1 => all]
    }

    fn any_single_change() -> impl Strategy<Value = StoreChange> {
        let id = any_id;
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
            vec(any_record(), 1..4).prop_map(StoreChange::PutRecords),
            vec(any_record().prop_map(|record| record.key()), 1..4)
                .prop_map(StoreChange::DeleteRecords),
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
