//! The configuration as a file.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::config::{Config, ConfigError};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Config { path: PathBuf, source: ConfigError },
}

/// The settings of a file. Blocks.
///
/// # Errors
/// [`ConfigFileError`]: one line with file, line and key.
pub fn read(path: &Path) -> Result<Config, ConfigFileError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    Config::parse(&text).map_err(|source| ConfigFileError::Config {
        path: path.to_owned(),
        source,
    })
}
