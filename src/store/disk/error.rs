//! Why the disk did not do what was asked.

use sled::transaction::TransactionError;

use super::SCHEMA;
use crate::registry::NotStored;
use crate::store::files;

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

/// sled makes up an error without a number when its lock is held.
pub(super) fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("acquire lock"))
}

pub(super) fn not_done(error: TransactionError<()>) -> DiskError {
    match error {
        TransactionError::Storage(error) => error.into(),
        TransactionError::Abort(()) => DiskError::Refused("the write was aborted".into()),
    }
}
