//! What a store holds when it is opened. What does not decode is set aside.

use sled::{IVec, Tree};

use super::{Disk, DiskError, KEY_COVERAGE, KEY_GROUPS, KEY_IMPORTED, KEY_NUMBERS, KEY_SCHEMA};
use crate::device::{DeviceId, Status};
use crate::registry::records::Record;
use crate::store::bucket_index::Index;
use crate::store::coverage::{self, Batch, Run};
use crate::store::desired::Desired;
use crate::store::{record, stored_record};

/// What a store held when it was opened. What does not decode was set aside.
#[derive(Debug, Default)]
pub struct Loaded {
    pub desired: Desired,
    /// Whether the reserved event numbers are known: a fresh store, or a sound record that no other
    /// store can have gone on from.
    pub numbers_known: bool,
    pub last_statuses: Vec<(DeviceId, Status)>,
    /// `None` when it is not known from where on the log can be followed.
    pub coverage: Option<(u64, Vec<Run>)>,
    pub batches: Vec<Batch>,
    /// The first numbers of batches that were copied aside and are still to be dropped.
    pub damaged_batches: Vec<u64>,
    /// The numbers of the first and the last entry of the audit log.
    pub audit: Option<(u64, u64)>,
    pub buckets: Index,
}

impl Disk {
    /// Everything but events, audit entries, properties and points: of those, where they are.
    pub(super) fn load(&self) -> Result<Loaded, DiskError> {
        self.meta_record(KEY_SCHEMA, record::decode_schema)?;
        let numbers = self.meta_record(KEY_NUMBERS, record::decode_numbers)?;
        let coverage = self.meta_record(KEY_COVERAGE, record::decode_coverage)?;
        let fresh = self.events.is_empty() && self.devices.is_empty();
        let imported = self.meta.contains_key(KEY_IMPORTED)?;
        let fresh = fresh && self.quarantine.is_empty() && !imported;
        let mut loaded = Loaded {
            numbers_known: (numbers.is_some() && !imported) || fresh,
            coverage,
            ..Loaded::default()
        };
        loaded.desired.events_reserved = numbers.unwrap_or(0);
        let groups = self.meta_record(KEY_GROUPS, record::decode_groups)?;
        loaded.desired.groups = groups.unwrap_or(0);
        let desired = &mut loaded.desired;
        self.take(&self.devices, |key, value| {
            let device = record::decode_device(key, value)?;
            desired.devices.insert(device.id, device);
            Ok(())
        })?;
        self.take(&self.accept_filter, |_, value| {
            desired.accept_filter = record::decode_accept_filter(value)?;
            Ok(())
        })?;
        self.take(&self.identities, |key, value| {
            let (id, identity) = record::decode_identity(key, value)?;
            desired.identities.insert(id, identity);
            Ok(())
        })?;
        self.take_records(desired)?;
        self.check_properties()?;
        loaded.buckets = self.load_index()?;
        loaded.audit = self.audit_bounds()?;
        let last_statuses = &mut loaded.last_statuses;
        self.take(&self.last_status, |key, value| {
            last_statuses.push(record::decode_last_status(key, value)?);
            Ok(())
        })?;
        let batches = &mut loaded.batches;
        let damaged = self.each(&self.events, |key, value| {
            batches.extend(coverage::batch(record::decode_batch(key, value)?.iter()));
            Ok(())
        })?;
        let first = |key: &IVec| Some(u64::from_be_bytes(key.as_ref().try_into().ok()?));
        loaded.damaged_batches = damaged.iter().filter_map(first).collect();
        Ok(loaded)
    }

    fn take_records(&self, desired: &mut Desired) -> Result<(), DiskError> {
        type Decode = fn(&[u8], &[u8]) -> Result<Record, record::RecordError>;
        let kinds: [(&Tree, Decode); 4] = [
            (&self.slaves, stored_record::decode_slaves),
            (&self.credentials, stored_record::decode_credential),
            (&self.approvals, stored_record::decode_approval),
            (&self.tokens, stored_record::decode_token),
        ];
        for (tree, decode) in kinds {
            self.take(tree, |key, value| {
                let record = decode(key, value)?;
                desired.records.insert(record.key(), record);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn meta_record<T>(
        &self,
        key: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, record::RecordError>,
    ) -> Result<Option<T>, DiskError> {
        let Some(value) = self.meta.get(key)? else {
            return Ok(None);
        };
        match decode(&value) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                self.copy_aside(&self.meta, key, &value, &error)?;
                self.meta.remove(key)?;
                Ok(None)
            }
        }
    }

    /// Hands over each record of a tree; those that do not decode are moved aside.
    pub(super) fn take(
        &self,
        tree: &Tree,
        decode: impl FnMut(&[u8], &[u8]) -> Result<(), record::RecordError>,
    ) -> Result<(), DiskError> {
        for key in self.each(tree, decode)? {
            tree.remove(key)?;
        }
        Ok(())
    }

    /// Hands over each record of a tree; those that do not decode are copied aside and returned.
    pub(super) fn each(
        &self,
        tree: &Tree,
        mut decode: impl FnMut(&[u8], &[u8]) -> Result<(), record::RecordError>,
    ) -> Result<Vec<IVec>, DiskError> {
        let mut damaged = Vec::new();
        for entry in tree {
            let (key, value) = entry?;
            if let Err(error) = decode(&key, &value) {
                self.copy_aside(tree, &key, &value, &error)?;
                damaged.push(key);
            }
        }
        Ok(damaged)
    }

    /// Keeps what does not decode in a tree of its own, and tells so.
    pub(super) fn copy_aside(
        &self,
        tree: &Tree,
        key: &[u8],
        value: &IVec,
        error: &record::RecordError,
    ) -> Result<(), DiskError> {
        let name = tree.name();
        tracing::warn!(
            tree = %String::from_utf8_lossy(&name),
            key = %hex::encode(key),
            %error,
            "a stored record does not decode and was moved to the tree `quarantine`"
        );
        let place = [name.as_ref(), b"/", key].concat();
        self.quarantine.insert(place, value)?;
        Ok(())
    }
}
