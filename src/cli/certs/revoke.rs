//! `gatehouse certs revoke`.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::Answer;
use super::place::{Place, parse_id};
use crate::config::certs_dir;
use crate::device::DeviceId;
use crate::link::certificate::parse_serial;
use crate::link::office::Target;

/// Takes certificates back
#[derive(Debug, Args)]
#[command(
    long_about = "Takes certificates back.\n\n\
        They are added to the revocation list certs/ca.crl, which the root signs. A running \
        gateway closes the sessions that stand on them and refuses them from then on. It cannot \
        be undone; make a new certificate instead. A device whose certificate is revoked does not \
        come back with the fleet's link key before that certificate would have expired.",
    after_help = "Examples:\n  \
        gatehouse certs revoke --device 1001 --data-dir gatehouse-data\n      \
            all certificates of device 1001\n  \
        gatehouse certs revoke --client anna --data-dir gatehouse-data\n  \
        gatehouse certs revoke anna.crt --data-dir gatehouse-data\n  \
        gatehouse certs revoke 5C1F0A2277BB90E1 --data-dir gatehouse-data",
    group = ArgGroup::new("target").required(true)
)]
pub(super) struct Revoke {
    /// The file of a certificate, or its serial number in hex
    #[arg(value_name = "FILE|SERIAL", group = "target")]
    certificate: Option<String>,
    /// All certificates that were made for this device
    #[arg(long, value_name = "ID", value_parser = parse_id, group = "target")]
    device: Option<DeviceId>,
    /// All certificates that were made for a client of this name
    #[arg(long, value_name = "NAME", group = "target")]
    client: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl Revoke {
    pub(super) fn answer(self) -> Answer {
        let target = match (self.certificate, self.device, self.client) {
            (Some(text), ..) => file_or_serial(&text)?,
            (None, Some(id), _) => Target::Device(id),
            (None, None, name) => Target::Client(name.unwrap_or_default().into()),
        };
        let revoked = self.place.office()?.revoke(&target)?;
        let list = certs_dir(&self.place.data_dir).join("ca.crl");
        if revoked.is_empty() {
            return Ok("it was revoked before\n".to_owned());
        }
        let serials = revoked.join(" ");
        Ok(format!("{}: revoked {serials}\n", list.display()))
    }
}

fn file_or_serial(text: &str) -> Result<Target, Box<dyn Error>> {
    if Path::new(text).exists() {
        return Ok(Target::File(PathBuf::from(text)));
    }
    let serial = parse_serial(text).ok_or_else(|| {
        format!("{text} is neither a file nor a serial number in hex; see: gatehouse certs list")
    })?;
    Ok(Target::Serial(serial))
}
