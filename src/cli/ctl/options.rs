//! The options of every command.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::profile::{self, Given, Target, Token};
use crate::cli::duration;

/// The data directory of a gateway that was started here.
const HERE: &str = "gatehouse-data";

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Options {
    /// Where the gateway serves gRPC [default: 127.0.0.1:4000]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The root certificate by which the gateway is known, its certs/ca.crt
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate, made by `gatehouse certs operator`
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The key of the client certificate
    #[arg(long, global = true, value_name = "FILE")]
    cert_key: Option<PathBuf>,
    /// A token [default: the environment variable GATEHOUSE_TOKEN]; others on this machine can see
    /// it in the list of processes, --token-file is better
    #[arg(
        long,
        global = true,
        value_name = "TEXT",
        conflicts_with = "token_file"
    )]
    token: Option<Token>,
    /// A file with a token in it
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A profile of gatehouse/ctl.toml in ~/.config (or XDG_CONFIG_HOME) [default: `default`, if
    /// there is one]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "data_dir")]
    profile: Option<String>,
    /// The data directory of a gateway on this machine: its root certificate, and its first admin
    /// token if you may read it [default: ./gatehouse-data, if it is there]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The form of the answer
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,
    /// How long an answer may take [default: 30s]; for `search`, how long answers are collected
    /// [default: 5s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
}

impl Options {
    /// The gateway that these options, the environment and the profile name.
    ///
    /// # Errors
    /// [`Exit::Usage`]: what is missing or wrong.
    pub fn target(&self) -> Result<Target, Failure> {
        let mut given = Given {
            address: self.address.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            cert_key: self.cert_key.clone(),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            data_dir: self.data_dir.clone(),
        };
        if given.token.is_none() && given.token_file.is_none() {
            given.token = token_of_environment()?;
        }
        let here = Path::new(HERE);
        let here = here.join("certs/ca.crt").is_file().then(|| here.to_owned());
        profile::resolve(given, self.read_profile()?, here)
    }

    fn read_profile(&self) -> Result<Given, Failure> {
        // A gateway on this machine is not the one that the default profile describes.
        if self.data_dir.is_some() {
            return Ok(Given::default());
        }
        let name = self.profile.as_deref();
        let usage = |text| Failure::new(Exit::Usage, text);
        let Some(file) = profile_file() else {
            return match name {
                None => Ok(Given::default()),
                Some(name) => Err(usage(format!(
                    "there is no profile {name:?}: neither XDG_CONFIG_HOME nor HOME says where profiles are"
                ))),
            };
        };
        match fs::read_to_string(&file) {
            Ok(text) => profile::profile(&text, &file, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.is_none() => {
                Ok(Given::default())
            }
            Err(error) => Err(usage(format!(
                "the profiles in {} cannot be read: {error}",
                file.display()
            ))),
        }
    }
}

fn token_of_environment() -> Result<Option<Token>, Failure> {
    match env::var("GATEHOUSE_TOKEN") {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => {
            let token = text.parse();
            let token = token.map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    format!("GATEHOUSE_TOKEN holds no token: {error}"),
                )
            })?;
            Ok(Some(token))
        }
        Err(_) => Ok(None),
    }
}

fn profile_file() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
    let config = config.or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("gatehouse/ctl.toml"))
}
