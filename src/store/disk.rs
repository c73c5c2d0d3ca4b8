//! sled, with its blind spots covered. Every call blocks; only the store's thread makes them.

mod audit_log;
mod error;
mod event_log;
pub mod fill;
mod load;
mod nudge;
pub mod points;
pub mod properties;
pub mod survey;
mod watched;

use std::fs::File;
use std::path::Path;

use sled::transaction::{ConflictableTransactionError, TransactionalTree};
use sled::{Batch as TreeWrites, Transactional, Tree};

pub use self::error::DiskError;
use self::error::not_done;
pub use self::load::Loaded;
pub use self::watched::{DB_FILE, Watched};
use crate::device::DeviceId;
use crate::registry::StoreChange;
use crate::store::record;
use crate::store::writes::{Place, Writes};

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
