//! A change as the writes that it is made of, tree by tree.

use std::collections::BTreeMap;

use sled::Batch;

use crate::registry::StoreChange;
use crate::registry::records::{Record, RecordKey};
use crate::store::record;
use crate::store::stored_record;

/// The key of the accept filter in its tree.
pub const KEY_FILTER: &[u8] = b"filter";

/// The trees of the desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Devices,
    AcceptFilter,
    Identities,
    Slaves,
    Credentials,
    Approvals,
    Tokens,
}

/// What a change writes. Of two writes of one key the later one counts.
#[derive(Default)]
pub struct Writes {
    pub trees: BTreeMap<Place, Batch>,
    /// Event numbers below this are to be reserved, if they are not yet.
    pub reserve: Option<u64>,
}

impl Writes {
    pub fn of(change: &StoreChange) -> Self {
        let mut writes = Self::default();
        writes.add(change);
        writes
    }

    fn add(&mut self, change: &StoreChange) {
        match change {
            StoreChange::PutDevices(devices) => {
                for device in devices {
                    let key = &record::device_key(device.id);
                    let tree = self.tree(Place::Devices);
                    tree.insert(key, record::encode_device(device));
                }
            }
            StoreChange::DeleteDevices(ids) => {
                for id in ids {
                    self.tree(Place::Devices).remove(&record::device_key(*id));
                }
            }
            StoreChange::PutAcceptFilter(filter) => {
                let tree = self.tree(Place::AcceptFilter);
                tree.insert(KEY_FILTER, record::encode_accept_filter(filter));
            }
            StoreChange::PutIdentity(id, identity) => {
                let key = &record::device_key(*id);
                let tree = self.tree(Place::Identities);
                tree.insert(key, record::encode_identity(*id, identity));
            }
            StoreChange::ReserveEvents(reserved) => {
                self.reserve = self.reserve.max(Some(*reserved));
            }
            StoreChange::PutRecords(records) => records.iter().for_each(|record| self.put(record)),
            StoreChange::DeleteRecords(keys) => keys.iter().for_each(|key| self.delete(key)),
            StoreChange::All(changes) => changes.iter().for_each(|change| self.add(change)),
        }
    }

    fn put(&mut self, record: &Record) {
        let key = record.key();
        let tree = self.tree(place(&key));
        tree.insert(stored_record::key(&key), stored_record::encode(record));
    }

    fn delete(&mut self, key: &RecordKey) {
        self.tree(place(key)).remove(stored_record::key(key));
    }

    fn tree(&mut self, place: Place) -> &mut Batch {
        self.trees.entry(place).or_default()
    }
}

/// The tree in which a record lies.
const fn place(key: &RecordKey) -> Place {
    match key {
        RecordKey::Slaves(_) => Place::Slaves,
        RecordKey::Credential(_) => Place::Credentials,
        RecordKey::Refusal(_) | RecordKey::Enrolment(_) => Place::Approvals,
        RecordKey::Token(_) => Place::Tokens,
    }
}
