//! `gatehouse certs`: link keys, secrets of devices, certificates of operators.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::clock;
use crate::config::{Credential, CredentialDigest, certs_dir};
use crate::device::DeviceId;
use crate::link::certs::make_operator;
use crate::link::key_files;

/// Makes keys, secrets and certificates
#[derive(Debug, Args)]
#[command(long_about = "Makes keys, secrets and certificates.\n\n\
        Nothing that exists is overwritten, and secrets are written for their owner alone \
        (mode 0600). The gateway makes its own root certificate, server certificate and first \
        link key at its first start: none of these commands is needed to begin.")]
pub struct Certs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    LinkKey(LinkKey),
    DeviceSecret(DeviceSecret),
    Operator(Operator),
}

/// Makes a key for encrypted links to devices
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a key for encrypted links to devices.\n\n\
        A link key is 32 random bytes, written as 64 hex digits. The gateway and the devices that \
        use it must have the same key. A key of the fleet is shared by devices that have no key of \
        their own; a key of one device (--device) opens that device ID alone and is the strongest \
        proof of who it is. Any number of fleet keys are active, so that they can be changed one \
        device after the other: the gateway accepts all of them and dials with the newest first. \
        It reads its keys when it starts.\n\n\
        With neither --dir nor --out the key is printed.",
    after_help = "Examples:\n  \
        gatehouse certs link-key --dir gatehouse-data/keys\n      \
            a new key for the whole fleet\n  \
        gatehouse certs link-key --device 1001 --dir gatehouse-data/keys\n      \
            a key for device 1001 alone\n  \
        gatehouse certs link-key --out my.key\n      \
            a key in a file of its own"
)]
struct LinkKey {
    /// The ID of the device that the key belongs to, 1 to 4294967295 [default: the fleet]
    #[arg(long, value_name = "ID", value_parser = parse_id, requires = "dir")]
    device: Option<DeviceId>,
    /// The key directory of a gateway, `keys` in its data directory: the key is filed in it
    #[arg(long, value_name = "KEYS_DIR", conflicts_with = "out")]
    dir: Option<PathBuf>,
    /// Another file to write the key to
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
struct DeviceSecret {
    /// The device: its serial number, or the name that it connects with
    #[arg(long, value_name = "NAME")]
    device: String,
    /// The user name that it connects with
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

/// Makes a certificate for a client of the gateway's API
#[derive(Debug, Args)]
#[command(
    long_about = "Makes a certificate for a client of the gateway's API.\n\n\
        Clients need one where the gateway's configuration has client_certificates = \"required\" \
        in [grpc]. It is signed by the gateway's root (certs/ca.crt in the data directory, made at \
        the gateway's first start) and valid for five years. Two files are written: NAME.crt and \
        NAME_key.pem. The client also needs ca.crt, to know the gateway by.",
    after_help = "Examples:\n  \
        gatehouse certs operator alice --data-dir gatehouse-data\n      \
            writes alice.crt and alice_key.pem to this directory\n  \
        gatehouse certs operator ci --data-dir /var/lib/gatehouse --out-dir /etc/ci"
)]
struct Operator {
    /// Who uses it: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// The data directory of the gateway
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the two files are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out_dir: PathBuf,
}

impl Certs {
    /// # Errors
    /// One line that says what was wrong.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let answer = match self.command {
            Command::LinkKey(command) => command.answer()?,
            Command::DeviceSecret(command) => command.answer()?,
            Command::Operator(command) => command.answer()?,
        };
        Ok(super::print(&answer)?)
    }
}

impl LinkKey {
    fn answer(self) -> Result<String, Box<dyn Error>> {
        let key = key_files::generate()?;
        let path = match (self.dir, self.out, self.device) {
            (Some(dir), _, Some(id)) => key_files::device_path(&dir, id),
            (Some(dir), _, None) => key_files::next_fleet_path(&dir)?,
            (None, Some(out), _) => out,
            (None, None, _) => return Ok(format!("{}\n", key.to_hex())),
        };
        key_files::write(&path, &key)?;
        Ok(format!("{}: key ID {}\n", path.display(), key.id()))
    }
}

impl DeviceSecret {
    fn answer(self) -> Result<String, Box<dyn Error>> {
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

impl Operator {
    fn answer(self) -> Result<String, Box<dyn Error>> {
        let certs = certs_dir(&self.data_dir);
        let made = make_operator(&certs, &self.name, &self.out_dir, clock::now())?;
        let (certificate, key) = made;
        Ok(format!("{}\n{}\n", certificate.display(), key.display()))
    }
}

fn parse_id(text: &str) -> Result<DeviceId, String> {
    let id = text.parse().ok().and_then(DeviceId::new);
    id.ok_or_else(|| "a device ID is a number from 1 to 4294967295".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::config::Config;
    use crate::link::link_key;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        certs: Certs,
    }

    fn answer(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
        let program = Program::try_parse_from([&["gatehouse"], arguments].concat())?;
        match program.certs.command {
            Command::LinkKey(command) => command.answer(),
            Command::DeviceSecret(command) => command.answer(),
            Command::Operator(command) => command.answer(),
        }
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn the_commands_are_well_formed() {
        Program::command().debug_assert();
    }

    #[test]
    fn a_link_key_is_filed_for_the_fleet_or_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let keys = text(dir.path());
        let told = answer(&["link-key", "--dir", keys]).unwrap();
        assert!(told.contains("fleet/0001.key: key ID "), "{told}");
        let told = answer(&["link-key", "--dir", keys]).unwrap();
        assert!(told.contains("fleet/0002.key: "), "{told}");
        let told = answer(&["link-key", "--dir", keys, "--device", "7"]).unwrap();
        assert!(told.contains("device/7.key: "), "{told}");
        assert!(answer(&["link-key", "--dir", keys, "--device", "7"]).is_err());
        let read = key_files::load(dir.path()).unwrap();
        assert_eq!((read.fleet.len(), read.devices.len()), (2, 1));
        assert!(told.ends_with(&format!("{}\n", read.devices[0].1.id())));
    }

    #[test]
    fn a_link_key_is_written_or_printed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("my.key");
        answer(&["link-key", "--out", text(&out)]).unwrap();
        let written = std::fs::read_to_string(out).unwrap();
        assert!(link_key::LinkKey::from_hex(&written).is_ok());
        let printed = answer(&["link-key"]).unwrap();
        assert!(link_key::LinkKey::from_hex(&printed).is_ok());
    }

    #[test]
    fn a_link_key_goes_to_one_place_only() {
        for wrong in [
            &["link-key", "--dir", "a", "--out", "b"][..],
            &["link-key", "--device", "7"],
            &["link-key", "--device", "0", "--dir", "a"],
        ] {
            assert!(answer(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_device_secret_comes_with_lines_that_the_gateway_takes() {
        let told = answer(&["device-secret", "--device", "door", "--owner", "alice"]).unwrap();
        let secret = told.lines().nth(2).unwrap();
        let (_, stanza) = told.split_once("[[credential]]").unwrap();
        let config = Config::parse(&format!("[[credential]]{stanza}")).unwrap();
        let credential = &config.credential[0];
        assert!(credential.digest.matches(secret.as_bytes()));
        assert_eq!(credential.identity().unwrap().to_string(), "alice/door");
        assert!(!stanza.contains(secret));
        let error = answer(&["device-secret", "--device", "a door"]).unwrap_err();
        assert!(error.to_string().contains("device"), "{error}");
    }

    #[test]
    fn an_operator_needs_the_gateways_root() {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["operator", "alice", "--data-dir", text(dir.path())];
        let error = answer(&arguments).unwrap_err().to_string();
        assert!(error.contains("start the gateway once"), "{error}");
    }
}
