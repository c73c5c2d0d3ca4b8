//! sled, with its blind spots covered. Every call blocks; only the store's thread makes them.

pub mod fill;
mod nudge;
pub mod points;
pub mod properties;
pub mod survey;
mod watched;

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};
use sled::{Batch as TreeWrites, IVec, Transactional, Tree};

pub use self::watched::{DB_FILE, Watched};
use crate::device::{DeviceId, Status};
use crate::event::StatusEvent;
use crate::registry::records::{AuditEntry, Record};
use crate::registry::{NotStored, StoreChange};
use crate::store::bucket_index::Index;
use crate::store::coverage::{self, Batch, Coverage, Run};
use crate::store::desired::Desired;
use crate::store::gather::Gathered;
use crate::store::writes::{Place, Writes};
use crate::store::{files, gather, record, stored_record};

/// The schema that this gateway reads and writes.
///
/// 1: devices, accept filter, identities, events. 2: records and the audit log came, and events of
/// decisions on pending devices. A gateway that knows 1 alone would set those events aside, and let
/// a device that has a credential in with the fleet key, so it must not open what 2 wrote. 3:
/// properties and buckets came. A gateway that knows 2 alone would replace the export by one
/// without the properties, which are then gone with the store. What 1 and 2 wrote is read as it
/// is: trees that are not there yet are empty.
pub const SCHEMA: u32 = 3;

const KEY_SCHEMA: &[u8] = b"schema";
const KEY_NUMBERS: &[u8] = b"numbers";
const KEY_GROUPS: &[u8] = b"groups";
const KEY_COVERAGE: &[u8] = b"coverage";
/// There until the first start with a store that was imported, whatever it holds.
const KEY_IMPORTED: &[u8] = b"imported";

/// Why the disk did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The contents are of a schema that a newer gateway wrote.
    #[error("its schema version is {found}, and this gateway knows versions up to {SCHEMA}")]
    NewerSchema { found: u32 },
    /// The contents are of an older schema, which this gateway reads and then changes.
    #[error("its schema version is {found}, and this gateway writes version {SCHEMA}")]
    OlderSchema { found: u32 },
    /// The operating system refused: the contents may be sound.
    #[error("{0}")]
    Refused(String),
    /// The disk is full.
    #[error("{0}")]
    NoSpace(String),
    /// The contents are damaged.
    #[error("{0}")]
    Damaged(String),
}

impl From<sled::Error> for DiskError {
    fn from(error: sled::Error) -> Self {
        match &error {
            sled::Error::Io(io) if files::is_no_space(io) => Self::NoSpace(error.to_string()),
            sled::Error::Io(io) if io.raw_os_error().is_some() => Self::Refused(error.to_string()),
            _ if is_locked(&error) => Self::Refused(error.to_string()),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<std::io::Error> for DiskError {
    fn from(error: std::io::Error) -> Self {
        match files::is_no_space(&error) {
            true => Self::NoSpace(error.to_string()),
            false => Self::Refused(error.to_string()),
        }
    }
}

impl From<DiskError> for NotStored {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::NoSpace(problem) => Self::NoSpace(problem),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<&NotStored> for DiskError {
    fn from(problem: &NotStored) -> Self {
        match problem {
            NotStored::NoSpace(problem) => Self::NoSpace(problem.clone()),
            NotStored::Other(problem) => Self::Refused(problem.clone()),
        }
    }
}

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

pub struct Disk {
    /// The file that sled writes to, for `sync_data`.
    file: File,
    meta: Tree,
    devices: Tree,
    accept_filter: Tree,
    identities: Tree,
    events: Tree,
    last_status: Tree,
    slaves: Tree,
    credentials: Tree,
    approvals: Tree,
    tokens: Tree,
    properties: Tree,
    audit: Tree,
    points: Tree,
    /// Notes of the batches in `points`.
    buckets: Tree,
    quarantine: Tree,
    /// The last, as it closes sled.
    sled: Watched,
}

/// What is done with a store of an older schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// It is left alone, with [`DiskError::OlderSchema`].
    Refused,
    /// It is opened, and is of the present schema once a run is begun.
    Taken,
}

impl Disk {
    /// Opens or creates the store in this directory. What does not decode is set aside. Can panic on
    /// damage: call it guarded.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(directory: &Path, older: Older) -> Result<(Self, Loaded), DiskError> {
        let disk = Self::attach(directory, older)?;
        let loaded = disk.load()?;
        Ok((disk, loaded))
    }

    /// Opens or creates the store in this directory and leaves what is in it as it is. Can panic on
    /// damage: call it guarded.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn attach(directory: &Path, older: Older) -> Result<Self, DiskError> {
        let sled = Watched::open(directory)?;
        let meta = sled.open_tree("meta")?;
        // A record that does not decode is set aside by whoever loads it.
        let schema = meta.get(KEY_SCHEMA)?;
        match schema.and_then(|schema| record::decode_schema(&schema).ok()) {
            Some(found) if found > SCHEMA => return Err(DiskError::NewerSchema { found }),
            Some(found) if found < SCHEMA && older == Older::Refused => {
                return Err(DiskError::OlderSchema { found });
            }
            _ => {}
        }
        Ok(Self {
            file: File::options()
                .read(true)
                .write(true)
                .open(directory.join(DB_FILE))?,
            meta,
            devices: sled.open_tree("devices")?,
            accept_filter: sled.open_tree("accept_filter")?,
            identities: sled.open_tree("identities")?,
            events: sled.open_tree("events")?,
            last_status: sled.open_tree("last_status")?,
            slaves: sled.open_tree("slaves")?,
            credentials: sled.open_tree("credentials")?,
            approvals: sled.open_tree("approvals")?,
            tokens: sled.open_tree("tokens")?,
            properties: sled.open_tree("properties")?,
            audit: sled.open_tree("audit")?,
            points: sled.open_tree("points")?,
            buckets: sled.open_tree("buckets")?,
            quarantine: sled.open_tree("quarantine")?,
            sled,
        })
    }

    /// Applies a change whole or not at all. It is on disk after [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`]; then every write fails until the store is opened again.
    pub fn apply(&self, change: &StoreChange) -> Result<(), DiskError> {
        let writes = Writes::of(change);
        let mut trees: Vec<(Tree, TreeWrites)> = Vec::new();
        if let Some(reserve) = writes.reserve {
            let reserved = self.reserved()?.max(reserve);
            let mut meta = TreeWrites::default();
            meta.insert(KEY_NUMBERS, record::encode_numbers(reserved));
            trees.push((self.meta.clone(), meta));
        }
        let places = writes.trees.into_iter();
        trees.extend(places.map(|(place, writes)| (self.tree(place).clone(), writes)));
        write(trees)
    }

    const fn tree(&self, place: Place) -> &Tree {
        match place {
            Place::Devices => &self.devices,
            Place::AcceptFilter => &self.accept_filter,
            Place::Identities => &self.identities,
            Place::Slaves => &self.slaves,
            Place::Credentials => &self.credentials,
            Place::Approvals => &self.approvals,
            Place::Tokens => &self.tokens,
        }
    }

    /// # Errors
    /// [`DiskError`].
    pub fn remove_identities(&self, ids: &[DeviceId]) -> Result<(), DiskError> {
        let mut writes = TreeWrites::default();
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

    /// Hands everything to the operating system: safe from the end of this process.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn flush(&self) -> Result<(), DiskError> {
        self.sled.flush()
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

    fn audit_bounds(&self) -> Result<Option<(u64, u64)>, DiskError> {
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

/// sled makes up an error without a number when its lock is held.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("acquire lock"))
}

/// Applies all writes, or none: sled recovers a transaction whole or not at all.
fn write(mut trees: Vec<(Tree, TreeWrites)>) -> Result<(), DiskError> {
    if trees.len() <= 1 {
        // A batch of one tree need not read what it replaces.
        let only = trees.pop();
        return only.map_or(Ok(()), |(tree, writes)| Ok(tree.apply_batch(writes)?));
    }
    let (trees, writes): (Vec<Tree>, Vec<TreeWrites>) = trees.into_iter().unzip();
    let done = trees
        .as_slice()
        .transaction(|trees: &Vec<TransactionalTree>| {
            for (tree, writes) in trees.iter().zip(&writes) {
                tree.apply_batch(writes)?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
    done.map_err(not_done)
}

fn not_done(error: TransactionError<()>) -> DiskError {
    match error {
        TransactionError::Storage(error) => error.into(),
        TransactionError::Abort(()) => DiskError::Refused("the write was aborted".into()),
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
