//! `store compact`: the store written anew without the space that nothing uses any more.

use sled::{Batch, Db, Tree};

use super::{Care, CareError, cannot, caught};
use crate::store::disk::{DiskError, Watched};
use crate::store::{files, swap};

/// A batch is written with so many records …
const BATCH_RECORDS: usize = 1000;
/// … or so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the files before and after.
    pub before: u64,
    pub after: u64,
    pub records: u64,
}

impl Care {
    /// Writes the store anew and puts that in its place, once it is compared and on disk.
    /// `progress` is told how many records were copied.
    ///
    /// # Errors
    /// [`CareError`]; the store is as it was then.
    pub fn compact(&self, progress: &mut dyn FnMut(u64)) -> Result<Compacted, CareError> {
        let (store, built) = (self.layout.store(), self.layout.building());
        let before = files::size(&store).map_err(cannot("read", &store))?;
        let copied = self.copy(progress);
        if copied.is_err() {
            files::remove_directory(&built).map_err(cannot("removed", &built))?;
        }
        let records = copied?;
        let after = files::size(&built).map_err(cannot("read", &built))?;
        swap::put_in_place(&self.layout, &built).map_err(cannot("put in place", &built))?;
        files::remove_directory(&built).map_err(cannot("removed", &built))?;
        Ok(Compacted {
            before,
            after,
            records,
        })
    }

    fn copy(&self, progress: &mut dyn FnMut(u64)) -> Result<u64, CareError> {
        let old = caught(|| Watched::open(&self.layout.store()));
        let old = old.map_err(|error| self.not_opened(error))?;
        let building = || {
            let new = Watched::open(&self.layout.building())?;
            let records = copy_all(&old, &new, progress)?;
            new.flush()?;
            Ok((records, differing(&old, &new)?))
        };
        match caught(building).map_err(CareError::Build)? {
            (records, None) => Ok(records),
            (_, Some(tree)) => Err(CareError::Differs(tree)),
        }
    }
}

fn copy_all(old: &Db, new: &Db, progress: &mut dyn FnMut(u64)) -> Result<u64, DiskError> {
    let mut records = 0;
    for name in old.tree_names() {
        let (from, to) = (old.open_tree(&name)?, new.open_tree(&name)?);
        copy_tree(&from, &to, &mut |count| {
            records += count;
            progress(records);
        })?;
    }
    Ok(records)
}

fn copy_tree(from: &Tree, to: &Tree, progress: &mut dyn FnMut(u64)) -> Result<(), DiskError> {
    let (mut batch, mut count, mut bytes) = (Batch::default(), 0, 0);
    for entry in from {
        let (key, value) = entry?;
        count += 1;
        bytes += key.len() + value.len();
        batch.insert(key, value);
        if count >= BATCH_RECORDS || bytes >= BATCH_BYTES {
            to.apply_batch(std::mem::take(&mut batch))?;
            progress(count as u64);
            (count, bytes) = (0, 0);
        }
    }
    to.apply_batch(batch)?;
    progress(count as u64);
    Ok(())
}

/// The name of a tree that is not the same in both.
fn differing(old: &Db, new: &Db) -> Result<Option<String>, DiskError> {
    for name in old.tree_names() {
        let (from, to) = (old.open_tree(&name)?, new.open_tree(&name)?);
        if !from.iter().eq(to.iter()) {
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    Ok(None)
}
