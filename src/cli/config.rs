//! `gatehouse config`: what a configuration file says, and whether it can.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::Config;
use crate::service::config_file::{self, ConfigFileError};

/// Checks a configuration file, or prints the settings in force
#[derive(Debug, Args)]
#[command(
    long_about = "Checks a configuration file, or prints the settings in force.\n\n\
        The gateway needs no file: every setting has a default. config/gateway.toml in the source \
        holds all of them with an explanation; a file of yours needs those lines only that you \
        change."
)]
pub struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is wrong with a file, with line and key; the exit code is 0 when nothing is
    #[command(after_help = "Example:\n  gatehouse config check --config gateway.toml")]
    Check(ConfigFile),
    /// Prints every setting in force as TOML, with secrets hidden
    #[command(after_help = "Examples:\n  \
        gatehouse config show\n      \
            the defaults\n  \
        gatehouse config show --config gateway.toml\n      \
            what is in force with this file")]
    Show(ConfigFile),
}

/// The option by which every command takes its configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file [default: none, every setting at its default]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The settings of the file, or the defaults when none was named.
    ///
    /// # Errors
    /// [`ConfigFileError`]: one line with file, line and key.
    pub fn read(&self) -> Result<Config, ConfigFileError> {
        match &self.config {
            None => Ok(Config::default()),
            Some(path) => config_file::read(path),
        }
    }

    /// The file, if one was named.
    pub fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

impl ConfigCommand {
    /// # Errors
    /// One line that says what was wrong.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        Ok(super::print(&self.command.answer()?)?)
    }
}

impl Command {
    fn answer(self) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Check(file) => {
                file.read()?;
                Ok("the configuration is fine\n".to_owned())
            }
            Self::Show(file) => Ok(file.read()?.show()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        config: ConfigCommand,
    }

    fn answer(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        let program = Program::try_parse_from([&["gatehouse"], arguments].concat())?;
        program.config.command.answer()
    }

    fn file(text: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file.into_temp_path()
    }

    #[test]
    fn the_commands_are_well_formed() {
        Program::command().debug_assert();
    }

    #[test]
    fn without_a_file_the_defaults_are_in_force() {
        let shown = answer(&["show"]).unwrap();
        assert_eq!(Config::parse(&shown).unwrap(), Config::default());
        assert!(answer(&["check"]).is_ok());
    }

    #[test]
    fn a_file_is_read_and_its_fault_told_in_one_line() {
        let good = file("[dial]\nrate_max = 7\n");
        let shown = answer(&["show", "--config", good.to_str().unwrap()]).unwrap();
        assert!(shown.contains("rate_max = 7"), "{shown}");
        let bad = file("[dial]\nrate = 7\n");
        let path = bad.to_str().unwrap();
        let error = answer(&["check", "--config", path])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("{path}: line 2, key dial.rate: ")),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_missing_file_is_told_by_name() {
        let error = answer(&["check", "--config", "/nowhere/a.toml"]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/a.toml cannot be read"),
            "{error}"
        );
    }
}
