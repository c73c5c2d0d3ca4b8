//! What is done to the store of a gateway that does not run: it is checked, exported, imported,
//! compacted. Whoever does it holds the data directory, as a gateway would.

pub mod check;
pub mod compact;
pub mod dump;
pub mod load;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::store::disk::DiskError;
use crate::store::files::{self, Layout, LockError};
use crate::store::{open, swap};

/// Why something was not done; the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CareError {
    #[error("there is no store in {}; is that the data directory of a gateway?", .0.display())]
    NoStore(PathBuf),
    #[error("the data directory {} is in use by {holder}; stop the gateway first", directory.display())]
    InUse { directory: PathBuf, holder: String },
    #[error("the store in {} cannot be opened: {source}", directory.display())]
    Disk {
        directory: PathBuf,
        source: DiskError,
    },
    #[error("{} cannot be {verb}: {source}", path.display())]
    File {
        path: PathBuf,
        verb: &'static str,
        source: io::Error,
    },
    #[error("line {line}: {problem}; nothing was imported")]
    Line { line: u64, problem: String },
    #[error("the export cannot be read: {0}; nothing was imported")]
    Export(io::Error),
    /// Where the export was to go does not take it.
    #[error("the export cannot be written: {0}")]
    Out(io::Error),
    #[error(
        "there is a store in {} already, with {contents}; --replace puts the export in its place",
        directory.display()
    )]
    NotEmpty {
        directory: PathBuf,
        contents: String,
    },
    #[error("the new store could not be written: {0}; the old one is untouched")]
    Build(DiskError),
    #[error("the copy differs from the store in tree {0:?}; the store is untouched")]
    Differs(String),
}

/// A data directory that no other process has until this is dropped.
pub struct Care {
    layout: Layout,
    _lock: File,
}

impl Care {
    /// Takes a data directory with a store in it.
    ///
    /// # Errors
    /// [`CareError::NoStore`], [`CareError::InUse`], [`CareError::File`].
    pub fn of(directory: &Path) -> Result<Self, CareError> {
        let layout = Layout::new(directory);
        if !layout.store().exists() && !layout.outgoing().exists() {
            return Err(CareError::NoStore(directory.to_owned()));
        }
        Self::taken(layout)
    }

    /// Takes a data directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`CareError::InUse`], [`CareError::File`].
    pub fn of_any(directory: &Path) -> Result<Self, CareError> {
        files::make_directory(directory).map_err(cannot("made", directory))?;
        Self::taken(Layout::new(directory))
    }

    fn taken(layout: Layout) -> Result<Self, CareError> {
        let owner = layout.owner();
        let lock = files::lock(&owner).map_err(|error| match error {
            LockError::Held(holder) => CareError::InUse {
                directory: layout.directory().to_owned(),
                holder,
            },
            LockError::Io(source) => cannot("locked", &owner)(source),
        })?;
        swap::settle(&layout).map_err(cannot("tidied up", layout.directory()))?;
        Ok(Self {
            layout,
            _lock: lock,
        })
    }

    fn not_opened(&self, source: DiskError) -> CareError {
        CareError::Disk {
            directory: self.layout.directory().to_owned(),
            source,
        }
    }
}

fn cannot(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CareError {
    let path = path.to_owned();
    move |source| CareError::File { path, verb, source }
}

/// Does something with sled, which panics on some damage.
fn caught<T>(step: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    let done = catch_unwind(AssertUnwindSafe(step));
    done.unwrap_or_else(|panic| Err(DiskError::Damaged(open::panic_text(&*panic))))
}
