//! How a verb fails: what is damaged is told apart from what could not be done.

use std::error::Error;
use std::fmt;
use std::io;

use crate::service::config_file::ConfigFileError;
use crate::store::care::CareError;

/// Why a verb did not do all it should.
#[derive(Debug)]
pub enum StoreFailure {
    /// Something is damaged, in these words.
    Damaged(String),
    /// It could not be done, for this reason.
    NotDone(Box<dyn Error>),
}

impl StoreFailure {
    /// The exit code of the process.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Damaged(_) => 1,
            Self::NotDone(_) => 2,
        }
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => f.write_str(what),
            Self::NotDone(error) => error.fmt(f),
        }
    }
}

impl Error for StoreFailure {}

impl From<CareError> for StoreFailure {
    fn from(error: CareError) -> Self {
        match error {
            // Where it goes is named as for what the other verbs write.
            CareError::Out(error) => error.into(),
            error => Self::NotDone(error.into()),
        }
    }
}

impl From<ConfigFileError> for StoreFailure {
    fn from(error: ConfigFileError) -> Self {
        Self::NotDone(error.into())
    }
}

impl From<io::Error> for StoreFailure {
    fn from(error: io::Error) -> Self {
        Self::NotDone(error.into())
    }
}
