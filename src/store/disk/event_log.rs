//! The event log on disk: its batches, what they cover, and where they leave each device.

use sled::transaction::ConflictableTransactionError;
use sled::{Batch as TreeWrites, Transactional};

use super::error::not_done;
use super::{Disk, DiskError, KEY_COVERAGE, KEY_IMPORTED, KEY_NUMBERS, KEY_SCHEMA, SCHEMA};
use crate::event::StatusEvent;
use crate::store::coverage::Coverage;
use crate::store::gather::{self, Gathered};
use crate::store::record;

impl Disk {
    /// Begins a run of the event log: its coverage and the end of its reserved numbers, in one. The
    /// numbers are of this store from then on, also of one that was imported.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn start_run(&self, coverage: &Coverage, reserved: u64) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
        writes.insert(KEY_SCHEMA, record::encode_schema(SCHEMA));
        writes.insert(KEY_NUMBERS, record::encode_numbers(reserved));
        writes.insert(KEY_COVERAGE, encode_coverage(coverage));
        writes.remove(KEY_IMPORTED);
        Ok(self.meta.apply_batch(writes)?)
    }

    /// Writes the first `count` of the gathered events as one batch, with where they leave their
    /// devices, what the log covers after it, and the removal of old batches, in one transaction.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write_events(
        &self,
        gathered: &Gathered,
        count: usize,
        coverage: &Coverage,
        trimmed: &[u64],
    ) -> Result<(), DiskError> {
        let (events, statuses) = (
            event_writes(gathered, count, trimmed),
            status_writes(gathered, count),
        );
        let trees = (&self.events, &self.last_status, &self.meta);
        let done = trees.transaction(|(events_tree, statuses_tree, meta)| {
            events_tree.apply_batch(&events)?;
            statuses_tree.apply_batch(&statuses)?;
            meta.insert(KEY_COVERAGE, encode_coverage(coverage))?;
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        done.map_err(not_done)
    }

    /// Drops batches of the event log by their first numbers, and stores what it covers then.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn drop_batches(&self, firsts: &[u64], coverage: &Coverage) -> Result<(), DiskError> {
        self.write_events(&Gathered::default(), 0, coverage, firsts)
    }

    /// The events of one batch; `None` when it is missing, or does not decode and was copied
    /// aside: then it is to be dropped.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn batch(&self, first: u64) -> Result<Option<Vec<StatusEvent>>, DiskError> {
        let key = record::batch_key(first);
        let Some(value) = self.events.get(key)? else {
            return Ok(None);
        };
        match record::decode_batch(&key, &value) {
            Ok(events) => Ok(Some(events)),
            Err(error) => {
                self.copy_aside(&self.events, &key, &value, &error)?;
                Ok(None)
            }
        }
    }
}

fn encode_coverage(coverage: &Coverage) -> Vec<u8> {
    record::encode_coverage(coverage.floor(), &coverage.runs())
}

fn event_writes(gathered: &Gathered, count: usize, trimmed: &[u64]) -> TreeWrites {
    let mut writes = TreeWrites::default();
    if let Some(first) = gathered.iter().take(count).next() {
        let value = record::encode_batch(gathered.iter().take(count));
        writes.insert(&record::batch_key(first.number), value);
    }
    for first in trimmed {
        writes.remove(&record::batch_key(*first));
    }
    writes
}

fn status_writes(gathered: &Gathered, count: usize) -> TreeWrites {
    let mut statuses = gathered
        .lost()
        .map(|lost| lost.statuses.clone())
        .unwrap_or_default();
    for event in gathered.iter().take(count) {
        gather::note_status(&mut statuses, event);
    }
    let mut writes = TreeWrites::default();
    for (id, status) in statuses {
        let key = &record::device_key(id);
        match status {
            Some(status) => writes.insert(key, record::encode_last_status(status)),
            None => writes.remove(key),
        }
    }
    writes
}
