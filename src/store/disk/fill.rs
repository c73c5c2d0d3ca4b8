//! A new store, filled from an export.

use sled::Batch as TreeWrites;

use super::{
    Disk, DiskError, KEY_COVERAGE, KEY_GROUPS, KEY_IMPORTED, KEY_NUMBERS, KEY_SCHEMA, SCHEMA,
};
use crate::device::{DeviceId, Status};
use crate::event::StatusEvent;
use crate::store::coverage::Run;
use crate::store::desired::Desired;
use crate::store::property::{self, Property};
use crate::store::record;

impl Disk {
    /// # Errors
    /// [`DiskError`].
    pub fn put_properties(&self, properties: &[Property]) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
        for Property { device, name, pson } in properties {
            let record = property::encode(*device, name, pson);
            writes.insert(property::key(*device, name), record);
        }
        Ok(self.properties.apply_batch(writes)?)
    }

    /// # Errors
    /// [`DiskError`].
    pub fn put_last_statuses(&self, statuses: &[(DeviceId, Status)]) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
        for (device, status) in statuses {
            writes.insert(
                &record::device_key(*device),
                record::encode_last_status(*status),
            );
        }
        Ok(self.last_status.apply_batch(writes)?)
    }

    /// Writes events as one batch of the log.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn put_events(&self, events: &[StatusEvent]) -> Result<(), DiskError> {
        if let Some(first) = events.first() {
            let batch = record::encode_batch(events.iter());
            self.events.insert(record::batch_key(first.number), batch)?;
        }
        Ok(())
    }

    /// Says what the store is of: the present schema, and the groups and event numbers of what it
    /// was filled with, which are not its own yet; with the floor and the runs of its event log, if
    /// it has one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn begin_imported(
        &self,
        desired: &Desired,
        coverage: Option<&(u64, Vec<Run>)>,
    ) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
        writes.insert(KEY_SCHEMA, record::encode_schema(SCHEMA));
        writes.insert(KEY_GROUPS, record::encode_groups(desired.groups));
        writes.insert(KEY_NUMBERS, record::encode_numbers(desired.events_reserved));
        writes.insert(KEY_IMPORTED, &[]);
        if let Some((floor, runs)) = coverage {
            writes.insert(KEY_COVERAGE, record::encode_coverage(*floor, runs));
        }
        Ok(self.meta.apply_batch(writes)?)
    }
}
