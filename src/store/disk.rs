//! sled, with its blind spots covered. Every call blocks; only the store's thread makes them.

use std::fs::File;
use std::path::Path;

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{Batch as Writes, Db, IVec, Transactional, Tree};

use crate::device::{DeviceId, Status};
use crate::event::StatusEvent;
use crate::registry::StoreChange;
use crate::store::coverage::{self, Batch, Coverage, Run};
use crate::store::desired::Desired;
use crate::store::gather::Gathered;
use crate::store::{gather, record};

/// The schema that this gateway reads and writes.
pub const SCHEMA: u32 = 1;

const CACHE_BYTES: u64 = 16 * 1024 * 1024;

const KEY_SCHEMA: &[u8] = b"schema";
const KEY_NUMBERS: &[u8] = b"numbers";
const KEY_GROUPS: &[u8] = b"groups";
const KEY_COVERAGE: &[u8] = b"coverage";
const KEY_FILTER: &[u8] = b"filter";

/// Why the disk did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The contents are of a schema that a newer gateway wrote.
    #[error("its schema version is {found}, and this gateway knows versions up to {SCHEMA}")]
    NewerSchema { found: u32 },
    /// The operating system refused: the contents may be sound.
    #[error("{0}")]
    Refused(String),
    /// The contents are damaged.
    #[error("{0}")]
    Damaged(String),
}

impl From<sled::Error> for DiskError {
    fn from(error: sled::Error) -> Self {
        match &error {
            // sled makes up an error without a number when another process holds its lock.
            sled::Error::Io(io)
                if io.raw_os_error().is_some() || io.to_string().contains("acquire lock") =>
            {
                Self::Refused(error.to_string())
            }
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<std::io::Error> for DiskError {
    fn from(error: std::io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What a store held when it was opened. What does not decode was set aside.
#[derive(Debug, Default)]
pub struct Loaded {
    pub desired: Desired,
    /// Whether the reserved event numbers are known: a fresh store, or a sound record.
    pub numbers_known: bool,
    pub last_statuses: Vec<(DeviceId, Status)>,
    /// `None` when it is not known from where on the log can be followed.
    pub coverage: Option<(u64, Vec<Run>)>,
    pub batches: Vec<Batch>,
    /// The first numbers of batches that were copied aside and are still to be dropped.
    pub damaged_batches: Vec<u64>,
}

pub struct Disk {
    db: Db,
    /// The file that sled writes to, for `sync_data`.
    file: File,
    meta: Tree,
    devices: Tree,
    accept_filter: Tree,
    identities: Tree,
    events: Tree,
    last_status: Tree,
    quarantine: Tree,
}

impl Disk {
    /// Opens or creates the store in this directory. Can panic on damage: call it guarded.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(directory: &Path) -> Result<(Self, Loaded), DiskError> {
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .open()?;
        let disk = Self {
            file: File::options()
                .read(true)
                .write(true)
                .open(directory.join("db"))?,
            meta: db.open_tree("meta")?,
            devices: db.open_tree("devices")?,
            accept_filter: db.open_tree("accept_filter")?,
            identities: db.open_tree("identities")?,
            events: db.open_tree("events")?,
            last_status: db.open_tree("last_status")?,
            quarantine: db.open_tree("quarantine")?,
            db,
        };
        let loaded = disk.load()?;
        Ok((disk, loaded))
    }

    /// Applies a change whole or not at all. It is on disk after [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`]; then every write fails until the store is opened again.
    pub fn apply(&self, change: &StoreChange) -> Result<(), DiskError> {
        let mut writes = Writes::default();
        let tree = match change {
            StoreChange::PutDevices(devices) => {
                for device in devices {
                    let key = &record::device_key(device.id);
                    writes.insert(key, record::encode_device(device));
                }
                &self.devices
            }
            StoreChange::DeleteDevices(ids) => {
                ids.iter()
                    .for_each(|id| writes.remove(&record::device_key(*id)));
                &self.devices
            }
            StoreChange::PutAcceptFilter(filter) => {
                writes.insert(KEY_FILTER, record::encode_accept_filter(filter));
                &self.accept_filter
            }
            StoreChange::PutIdentity(id, identity) => {
                let key = &record::device_key(*id);
                writes.insert(key, record::encode_identity(*id, identity));
                &self.identities
            }
            StoreChange::ReserveEvents(reserved) => {
                let reserved = self.reserved()?.max(*reserved);
                writes.insert(KEY_NUMBERS, record::encode_numbers(reserved));
                &self.meta
            }
            StoreChange::PutRecords(_) | StoreChange::DeleteRecords(_) | StoreChange::All(_) => {
                return Ok(());
            }
        };
        Ok(tree.apply_batch(writes)?)
    }

    /// # Errors
    /// [`DiskError`].
    pub fn remove_identities(&self, ids: &[DeviceId]) -> Result<(), DiskError> {
        let mut writes = Writes::default();
        ids.iter()
            .for_each(|id| writes.remove(&record::device_key(*id)));
        Ok(self.identities.apply_batch(writes)?)
    }

    /// Notes how many groups of changes there were; comes after the changes of the newest.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn count_groups(&self, count: u64) -> Result<(), DiskError> {
        self.meta.insert(KEY_GROUPS, record::encode_groups(count))?;
        Ok(())
    }

    /// Begins a run of the event log: its coverage and the end of its reserved numbers, in one.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn start_run(&self, coverage: &Coverage, reserved: u64) -> Result<(), DiskError> {
        let mut writes = Writes::default();
        writes.insert(KEY_SCHEMA, record::encode_schema(SCHEMA));
        writes.insert(KEY_NUMBERS, record::encode_numbers(reserved));
        writes.insert(KEY_COVERAGE, encode_coverage(coverage));
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
        done.map_err(|error| match error {
            TransactionError::Storage(error) => error.into(),
            TransactionError::Abort(()) => DiskError::Refused("the write was aborted".into()),
        })
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

    /// Hands everything to the operating system: safe from the end of this process.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn flush(&self) -> Result<(), DiskError> {
        self.db.flush()?;
        Ok(())
    }

    /// Has everything on the platter: safe from the end of the machine. sled's own flush is not:
    /// on Linux it neither stores the file's new size nor empties the drive's cache.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn sync(&self) -> Result<(), DiskError> {
        self.flush()?;
        Ok(self.file.sync_data()?)
    }

    fn reserved(&self) -> Result<u64, DiskError> {
        let stored = self.meta.get(KEY_NUMBERS)?;
        let reserved = stored.and_then(|bytes| record::decode_numbers(&bytes).ok());
        Ok(reserved.unwrap_or(0))
    }

    fn load(&self) -> Result<Loaded, DiskError> {
        self.check_schema()?;
        let numbers = self.meta_record(KEY_NUMBERS, record::decode_numbers)?;
        let coverage = self.meta_record(KEY_COVERAGE, record::decode_coverage)?;
        let fresh = self.events.is_empty() && self.devices.is_empty();
        let mut loaded = Loaded {
            numbers_known: numbers.is_some() || (fresh && self.quarantine.is_empty()),
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

    fn check_schema(&self) -> Result<(), DiskError> {
        match self.meta_record(KEY_SCHEMA, record::decode_schema)? {
            Some(found) if found > SCHEMA => Err(DiskError::NewerSchema { found }),
            _ => Ok(()),
        }
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
    fn take(
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
    fn each(
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

    fn copy_aside(
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

fn encode_coverage(coverage: &Coverage) -> Vec<u8> {
    record::encode_coverage(coverage.floor(), &coverage.runs())
}

fn event_writes(gathered: &Gathered, count: usize, trimmed: &[u64]) -> Writes {
    let mut writes = Writes::default();
    if let Some(first) = gathered.iter().take(count).next() {
        let value = record::encode_batch(gathered.iter().take(count));
        writes.insert(&record::batch_key(first.number), value);
    }
    for first in trimmed {
        writes.remove(&record::batch_key(*first));
    }
    writes
}

fn status_writes(gathered: &Gathered, count: usize) -> Writes {
    let mut statuses = gathered
        .lost()
        .map(|lost| lost.statuses.clone())
        .unwrap_or_default();
    for event in gathered.iter().take(count) {
        gather::note_status(&mut statuses, event);
    }
    let mut writes = Writes::default();
    for (id, status) in statuses {
        let key = &record::device_key(id);
        match status {
            Some(status) => writes.insert(key, record::encode_last_status(status)),
            None => writes.remove(key),
        }
    }
    writes
}
