//! The verbs for link keys and secrets of devices.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::Answer;
use super::place::{Place, parse_id};
use crate::config::{Credential, CredentialDigest};
use crate::device::DeviceId;
use crate::link::key_files;
use crate::link::link_key::LinkKey as Key;

/// Makes a key for encrypted links to devices
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a key for encrypted links to devices.\n\n\
        A link key is 32 random bytes, written as 64 hex digits. The gateway and the devices that \
        use it must have the same key. A key of the fleet is shared by devices that have no key of \
        their own; a key of one device (--device) opens that device ID alone and is the strongest \
        proof of who it is. Any number of fleet keys are active, so that they can be changed one \
        device after the other: the gateway accepts all of them and dials with the newest first.\n\n\
        With --data-dir the key is filed for the gateway, sealed; `gatehouse certs show-key` \
        prints it for the device. With --out it is written in clear, and with neither it is \
        printed.",
    after_help = "Examples:\n  \
        gatehouse certs link-key --data-dir gatehouse-data\n      \
            a new key for the whole fleet\n  \
        gatehouse certs link-key --device 1001 --data-dir gatehouse-data\n      \
            a key for device 1001 alone\n  \
        gatehouse certs link-key --out my.key\n      \
            a key in a file of its own"
)]
pub(super) struct LinkKey {
    /// The ID of the device that the key belongs to, 1 to 4294967295 [default: the fleet]
    #[arg(long, value_name = "ID", value_parser = parse_id, requires = "data_dir")]
    device: Option<DeviceId>,
    /// The data directory of a gateway: the key is filed in it
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    data_dir: Option<PathBuf>,
    /// The gateway's key file [default: gateway.key in the data directory]
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    key_file: Option<PathBuf>,
    /// Another file to write the key to
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints a link key in clear
#[derive(Debug, Args)]
#[command(
    long_about = "Prints a link key in clear.\n\n\
        The gateway keeps its link keys sealed; devices and `gatehouse simulate` need them as 64 \
        hex digits. Who has the fleet's key can come in as any device that has nothing better: \
        let nobody see it.",
    after_help = "Examples:\n  \
        gatehouse certs show-key --data-dir gatehouse-data --out fleet.key\n      \
            the newest key of the fleet, to a file for its owner alone\n  \
        gatehouse certs show-key --device 1001 --data-dir gatehouse-data\n      \
            the key of device 1001, to the standard output"
)]
pub(super) struct ShowKey {
    /// The device whose key it is [default: the newest key of the fleet]
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    device: Option<DeviceId>,
    /// Write it to a new file (mode 0600) instead
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Makes a secret by which one device proves who it is
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a secret by which one device proves who it is.\n\n\
        The device sends it as the credential of its IOTMP Connect. It is printed once and kept \
        nowhere: the gateway gets its digest, in the lines that are printed below it and belong \
        into the gateway's configuration file.",
    after_help = "Examples:\n  \
        gatehouse certs device-secret --device 1001\n      \
            for the device with serial number 1001\n  \
        gatehouse certs device-secret --device front-door --owner alice\n      \
            for the device that connects as user alice, device front-door"
)]
pub(super) struct DeviceSecret {
    /// The device: its serial number, or the name that it connects with
    #[arg(long, value_name = "NAME")]
    device: String,
    /// The user name that it connects with
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

impl LinkKey {
    pub(super) fn answer(self) -> Answer {
        let key = key_files::generate()?;
        let path = match (self.data_dir, self.out) {
            (Some(data_dir), _) => {
                let place = Place {
                    data_dir,
                    key_file: self.key_file,
                };
                let (dir, sealer) = (place.keys(), place.sealer()?);
                match self.device {
                    Some(id) => key_files::file_device_key(&dir, id, &key, &sealer)?,
                    None => key_files::file_fleet_key(&dir, &key, &sealer)?,
                }
            }
            (None, Some(out)) => {
                key_files::write(&out, &key)?;
                out
            }
            (None, None) => return Ok(format!("{}\n", key.to_hex())),
        };
        Ok(format!("{}: key ID {}\n", path.display(), key.id()))
    }
}

impl ShowKey {
    pub(super) fn answer(self) -> Answer {
        let key = self.key()?;
        if let Some(out) = self.out {
            key_files::write(&out, &key)?;
            return Ok(format!("{}: key ID {}\n", out.display(), key.id()));
        }
        eprintln!("gatehouse: this key is secret, let nobody see it");
        Ok(format!("{}\n", key.to_hex()))
    }

    fn key(&self) -> Result<Key, Box<dyn std::error::Error>> {
        let (dir, sealer) = (self.place.keys(), self.place.existing_sealer()?);
        match self.device {
            None => key_files::newest_fleet_key(&dir, &sealer)?.ok_or_else(|| {
                let dir = dir.display();
                format!("{dir} holds no key of the fleet, start the gateway once").into()
            }),
            Some(id) => key_files::device_key(&dir, id, &sealer)?.ok_or_else(|| {
                format!("device {id} has no key of its own; it may use the fleet's").into()
            }),
        }
    }
}

impl DeviceSecret {
    pub(super) fn answer(self) -> Answer {
        let secret = hex::encode(key_files::random::<32>()?);
        let credential = Credential {
            device: self.device,
            owner: self.owner,
            digest: CredentialDigest::of(secret.as_bytes()),
        };
        let identity = credential.identity()?;
        let mut answer = format!("The secret of {identity}, shown this once:\n\n{secret}\n\n");
        writeln!(
            answer,
            "Add to the gateway's configuration:\n\n[[credential]]"
        )?;
        // The names are checked: nothing in them needs an escape.
        writeln!(answer, "device = \"{}\"", credential.device)?;
        if let Some(owner) = &credential.owner {
            writeln!(answer, "owner = \"{owner}\"")?;
        }
        writeln!(answer, "digest = \"{}\"", String::from(credential.digest))?;
        Ok(answer)
    }
}
