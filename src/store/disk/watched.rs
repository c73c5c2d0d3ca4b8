//! sled, opened, and closed so that its files can be opened again.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;

use sled::{Db, Tree};

use super::DiskError;
use super::error::is_locked;
use super::nudge::Nudge;
use crate::store::files;

/// sled's name for the file that it writes to, and locks.
pub const DB_FILE: &str = "db";

const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Closes sled in its drop, and waits for that: whatever else refers to it must be gone before.
pub struct Watched {
    db: Db,
    nudge: Nudge,
    /// The last, as it waits for those before it.
    _let_go: LetGo,
}

impl Watched {
    /// Opens sled, or makes it. Can panic on damage: call it guarded.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(directory: &Path) -> Result<Self, DiskError> {
        files::remove_unfinished_snapshots(directory)?;
        let config = sled::Config::new().path(directory);
        let config = config.cache_capacity(CACHE_BYTES);
        // Made first, as what is made first is dropped last, should the others fail.
        let let_go = LetGo {
            path: directory.join(DB_FILE),
        };
        let db = files::patiently(|| config.open(), is_locked)?;
        Ok(Self {
            nudge: Nudge::watch(Tree::clone(&db))?,
            db,
            _let_go: let_go,
        })
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn flush(&self) -> Result<(), DiskError> {
        self.nudge.during(|| self.db.flush())?;
        Ok(())
    }
}

impl Deref for Watched {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // What is written here need not be written while sled is closed, where nobody can be
        // nudged. Should that have failed before, those who wait for it in vain are woken: sled's
        // own thread would never end. The failure itself was told to whoever wrote.
        if !thread::panicking() {
            let _ = self.flush();
        }
    }
}

/// Waits in its drop until sled's file can be opened again: a thread of sled's own, or a child that
/// is being started, may hold it for a moment after everything else has gone.
struct LetGo {
    path: PathBuf,
}

impl Drop for LetGo {
    fn drop(&mut self) {
        // Without a file there is nothing to wait for, and who finds it held is told so.
        if let Ok(file) = File::open(&self.path) {
            // Unlocked, and not only closed: a child that is being started may have a copy.
            if files::take_lock(&file).is_ok() {
                let _ = file.unlock();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_closed_with_its_watch_and_can_be_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let sled = Watched::open(directory.path()).unwrap();
            sled.insert("round", &[round]).unwrap();
            sled.flush().unwrap();
            assert_eq!(sled.get("round").unwrap().unwrap(), [round]);
            drop(sled);
            drop(sled::open(directory.path()).unwrap());
        }
    }
}
