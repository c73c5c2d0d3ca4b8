//! The arguments that several verbs have: where the gateway keeps its things, and how long a
//! certificate lasts.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::clock;
use crate::config::{certs_dir, keys_dir};
use crate::device::DeviceId;
use crate::link::certs::{CertsError, has_roots};
use crate::link::gateway_key::{self, GatewayKeyError};
use crate::link::host_names::HostNames;
use crate::link::office::{MadeFiles, Office};
use crate::link::seal::Sealer;

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The data directory of the gateway
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: PathBuf,
    /// The gateway's key file [default: gateway.key in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

impl Place {
    /// The key that seals; a new data directory gets one.
    pub(super) fn sealer(&self) -> Result<Sealer, GatewayKeyError> {
        gateway_key::open(&self.gateway_key(), &self.data_dir)
    }

    /// The key that seals, which must be there.
    pub(super) fn existing_sealer(&self) -> Result<Sealer, GatewayKeyError> {
        gateway_key::read(&self.gateway_key())
    }

    /// The certificates, which must be there: a mistyped directory would get a root that nobody
    /// trusts.
    pub(super) fn office(&self) -> Result<Office, Box<dyn Error>> {
        let dir = certs_dir(&self.data_dir);
        if !has_roots(&dir)? {
            return Err(CertsError::NoAuthority(dir).into());
        }
        self.new_office()
    }

    /// The certificates, which may be made now.
    pub(super) fn new_office(&self) -> Result<Office, Box<dyn Error>> {
        let sealer = self.sealer()?;
        Ok(Office::new(certs_dir(&self.data_dir), sealer, clock::now()))
    }

    pub(super) fn keys(&self) -> PathBuf {
        keys_dir(&self.data_dir)
    }

    fn gateway_key(&self) -> PathBuf {
        let named = self.key_file.clone();
        named.unwrap_or_else(|| self.data_dir.join("gateway.key"))
    }
}

/// How long a certificate that is not a root is valid.
#[derive(Debug, Args)]
pub(super) struct Life {
    /// How many days it is valid, up to 100 years
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1827,
        value_parser = clap::value_parser!(u32).range(1..=36_525)
    )]
    days: u32,
}

impl Life {
    pub(super) fn duration(&self) -> Duration {
        days(self.days)
    }
}

pub(super) fn days(days: u32) -> Duration {
    Duration::from_hours(u64::from(days) * 24)
}

/// Where a certificate for somebody else goes.
#[derive(Debug, Args)]
pub(super) struct Out {
    /// Where the two files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) out_dir: PathBuf,
}

/// Under which names clients reach the gateway.
#[derive(Debug, Args)]
pub(super) struct Names {
    /// A DNS name or an address of the gateway, beside this machine's own; may be given often
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
}

impl Names {
    pub(super) fn hosts(&self) -> Result<HostNames, Box<dyn Error>> {
        let hosts = HostNames::of_this_machine(&self.names);
        let is_taken = |name: &&String| {
            let address = name
                .parse()
                .is_ok_and(|address| hosts.addresses.contains(&address));
            address || hosts.dns.contains(name)
        };
        match self.names.iter().find(|name| !is_taken(name)) {
            Some(name) => Err(format!("--name {name} is no DNS name and no address").into()),
            None => Ok(hosts),
        }
    }
}

pub(super) fn shown(files: &MadeFiles) -> String {
    format!("{}\n{}\n", files.certificate.display(), files.key.display())
}

pub(super) fn parse_id(text: &str) -> Result<DeviceId, String> {
    let id = text.parse().ok().and_then(DeviceId::new);
    id.ok_or_else(|| "a device ID is a number from 1 to 4294967295".to_owned())
}
