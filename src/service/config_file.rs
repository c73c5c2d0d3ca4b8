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
    #[error(
        "{} sets nothing, and settings are in force; to have every default, restart the gateway",
        path.display()
    )]
    Nothing { path: PathBuf },
}

/// The settings of a file. Blocks.
///
/// # Errors
/// [`ConfigFileError`]: one line with file, line and key.
pub fn read(path: &Path) -> Result<Config, ConfigFileError> {
    parse(path, &text(path)?)
}

/// The settings of a file that are to take the place of those in force. Blocks.
///
/// # Errors
/// [`ConfigFileError`], also for a file without any setting where some are in force: more likely
/// than that somebody wants all defaults is that it was emptied to be written.
pub fn read_again(path: &Path, in_force: &Config) -> Result<Config, ConfigFileError> {
    let text = text(path)?;
    let table = text.parse::<toml::Table>();
    if table.is_ok_and(|table| sets_nothing(&table)) && *in_force != Config::default() {
        return Err(ConfigFileError::Nothing {
            path: path.to_owned(),
        });
    }
    parse(path, &text)
}

fn text(path: &Path) -> Result<String, ConfigFileError> {
    fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parse(path: &Path, text: &str) -> Result<Config, ConfigFileError> {
    Config::parse(text).map_err(|source| ConfigFileError::Config {
        path: path.to_owned(),
        source,
    })
}

/// Whether there are sections at the most.
fn sets_nothing(table: &toml::Table) -> bool {
    let is_empty = |value: &toml::Value| value.as_table().is_some_and(sets_nothing);
    table.values().all(is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str, in_force: &str) -> Result<Config, ConfigFileError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        read_again(&path, &Config::parse(in_force).unwrap())
    }

    #[test]
    fn a_file_that_was_emptied_does_not_stand_for_every_default() {
        let present = "drain.pace = 7\n";
        for nothing in ["", " \n\n\t\n", "# All of it\n", "# All of it\n[drain]\n"] {
            let refused = again(nothing, present).expect_err(nothing).to_string();
            assert!(refused.contains("sets nothing"), "{refused}");
            // Where nothing was set nothing is lost.
            assert_eq!(again(nothing, "").unwrap(), Config::default());
        }
        assert_eq!(again("drain.pace = 9", present).unwrap().drain.pace, 9);
        // One who says so may have the defaults.
        let default = Config::default().drain.pace;
        let said = again(&format!("drain.pace = {default}"), present).unwrap();
        assert_eq!(said, Config::default());
        let wrong = again("[drain\n", present).expect_err("no TOML");
        assert!(matches!(wrong, ConfigFileError::Config { .. }), "{wrong}");
    }
}
