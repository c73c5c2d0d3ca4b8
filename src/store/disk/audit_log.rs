//! The audit log on disk.

use std::ops::Range;

use sled::Batch as TreeWrites;

use super::{Disk, DiskError};
use crate::registry::records::AuditEntry;
use crate::store::{record, stored_record};

impl Disk {
    /// Writes entries of the audit log by their numbers, and drops those with the numbers of
    /// `trimmed`.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write_audit<'a>(
        &self,
        entries: impl Iterator<Item = &'a AuditEntry>,
        trimmed: Range<u64>,
    ) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
        for entry in entries {
            let key = &stored_record::audit_key(entry.number);
            writes.insert(key, stored_record::encode_audit(entry));
        }
        let [from, to] = [trimmed.start, trimmed.end].map(stored_record::audit_key);
        for key in self.audit.range(from..to).keys() {
            writes.remove(key?);
        }
        Ok(self.audit.apply_batch(writes)?)
    }

    /// Entries of the audit log with a greater number than `after`, oldest first, at most `max`.
    /// Those that do not decode are moved aside.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn audit(&self, after: u64, max: usize) -> Result<Vec<AuditEntry>, DiskError> {
        let mut entries = Vec::new();
        let Some(first) = after.checked_add(1) else {
            return Ok(entries);
        };
        for entry in self.audit.range(stored_record::audit_key(first)..) {
            if entries.len() >= max {
                break;
            }
            let (key, value) = entry?;
            match stored_record::decode_audit(&key, &value) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    self.copy_aside(&self.audit, &key, &value, &error)?;
                    self.audit.remove(key)?;
                }
            }
        }
        Ok(entries)
    }

    /// The numbers of the first and the last entry.
    pub(super) fn audit_bounds(&self) -> Result<Option<(u64, u64)>, DiskError> {
        // A key that is no number would stand at either end or between; it is of no use anywhere.
        let mut bounds = None;
        for entry in &self.audit {
            let (key, value) = entry?;
            match stored_record::audit_number(&key) {
                Some(number) => bounds = Some((bounds.map_or(number, |(first, _)| first), number)),
                None => {
                    let error = record::RecordError::Key(key.len(), 8);
                    self.copy_aside(&self.audit, &key, &value, &error)?;
                    self.audit.remove(key)?;
                }
            }
        }
        Ok(bounds)
    }
}
