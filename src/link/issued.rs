//! Which certificates were made here: `issued.jsonl`, one line each, only ever added to.

use std::collections::HashSet;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::authority::CertificatePair;
use super::certificate::{CertificateInfo, serial_text};
use super::certs::CertsError;
use super::private_file::{FileError, append_line, read_list};
use super::role::Role;
use crate::device::DeviceId;
use crate::identity::CertificateId;
use crate::time::Now;

const NAME: &str = "issued.jsonl";

/// A certificate that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub id: CertificateId,
    /// As it stands in the certificate.
    pub serial: Box<[u8]>,
    pub roles: Vec<Role>,
    /// The last second in which it is valid, since the Unix epoch.
    pub not_after: i64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    serial: String,
    roles: Vec<String>,
    not_after: i64,
    made: u64,
}

/// Adds a certificate; it is on disk when this returns.
///
/// # Errors
/// [`CertsError::File`].
pub fn add(dir: &Path, pair: &CertificatePair, now: Now) -> Result<(), CertsError> {
    let path = dir.join(NAME);
    let content = || CertsError::Content {
        path: path.clone(),
        what: "place for what is no certificate",
    };
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
    let info = CertificateInfo::read(&der.map_err(|_| content())?)?;
    let line = Line {
        id: hex::encode(info.id.0),
        serial: serial_text(&info.serial),
        roles: info.roles.iter().map(Role::to_string).collect(),
        not_after: info.not_after,
        made: now.unix_ms / 1000,
    };
    Ok(append_line(&path, &serde_json::json!(line).to_string())?)
}

/// All of them, the oldest first. A line that does not read is passed over with a warning.
///
/// # Errors
/// [`FileError`].
pub fn read(dir: &Path) -> Result<Vec<Issued>, FileError> {
    let path = dir.join(NAME);
    let text = read_list(&path)?;
    let mut issued = Vec::new();
    for (number, line) in (1_u64..).zip(text.lines()) {
        match parse(line) {
            Some(entry) => issued.push(entry),
            None => {
                tracing::warn!(path = %path.display(), line = number, "a line does not name a certificate and is passed over");
            }
        }
    }
    Ok(issued)
}

/// The devices that a certificate was made for which has not expired. A revoked one counts too:
/// its device must not come back with the fleet key.
///
/// # Errors
/// [`FileError`].
pub fn issued_devices(dir: &Path, now: Now) -> Result<HashSet<DeviceId>, FileError> {
    Ok(devices_of(&read(dir)?, now))
}

/// The same of certificates that were read already.
pub fn devices_of(issued: &[Issued], now: Now) -> HashSet<DeviceId> {
    let valid = issued.iter().filter(|issued| issued.is_valid(now));
    let roles = valid.flat_map(|issued| &issued.roles);
    let devices = roles.filter_map(|role| match role {
        Role::Device(id) => Some(*id),
        _ => None,
    });
    devices.collect()
}

impl Issued {
    /// Whether it has not expired.
    pub fn is_valid(&self, now: Now) -> bool {
        i64::try_from(now.unix_ms / 1000).is_ok_and(|now| now <= self.not_after)
    }
}

fn parse(line: &str) -> Option<Issued> {
    let line: Line = serde_json::from_str(line).ok()?;
    let mut id = [0; 16];
    hex::decode_to_slice(&line.id, &mut id).ok()?;
    let roles = line.roles.iter().map(|role| Role::parse(role));
    Some(Issued {
        id: CertificateId(id),
        serial: super::certificate::parse_serial(&line.serial)?.into(),
        roles: roles.collect::<Option<_>>()?,
        not_after: line.not_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::authority::Authority;
    use crate::time::Instant;

    fn at(days: u64) -> Now {
        Now {
            instant: Instant::ZERO,
            unix_ms: days * 86_400_000,
        }
    }

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    #[test]
    fn what_was_made_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
        let (authority, _) = Authority::make(at(100)).unwrap();
        let pairs = [
            authority.device(&[id(7), id(8)], false, at(100)),
            authority.client(&Role::operator("alice").unwrap(), at(100)),
            authority.client(&Role::master_gateway("acme", "g").unwrap(), at(100)),
        ];
        let pairs = pairs.map(Result::unwrap);
        for pair in &pairs {
            add(dir.path(), pair, at(100)).unwrap();
        }
        let issued = read(dir.path()).unwrap();
        let infos = pairs.map(|pair| {
            let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
            CertificateInfo::read(&der).unwrap()
        });
        assert_eq!(issued.len(), 3);
        for (issued, info) in issued.iter().zip(infos) {
            assert_eq!((issued.id, &issued.serial), (info.id, &info.serial));
            assert_eq!(issued.roles, info.roles);
            assert_eq!(issued.not_after, info.not_after);
        }
    }

    #[test]
    fn a_device_has_a_certificate_until_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let (authority, _) = Authority::make(at(100)).unwrap();
        let pair = authority.device(&[id(7)], false, at(100)).unwrap();
        add(dir.path(), &pair, at(100)).unwrap();
        let devices = |days| issued_devices(dir.path(), at(days)).unwrap();
        assert_eq!(devices(100), HashSet::from([id(7)]));
        assert_eq!(devices(100 + 1827), HashSet::from([id(7)]));
        assert!(devices(100 + 1828).is_empty());
    }

    #[test]
    fn a_line_that_was_cut_short_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (authority, _) = Authority::make(at(100)).unwrap();
        for number in [7, 8] {
            let pair = authority.device(&[id(number)], false, at(100)).unwrap();
            add(dir.path(), &pair, at(100)).unwrap();
        }
        let path = dir.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        let pair = authority.device(&[id(9)], false, at(100)).unwrap();
        let first = text.find('\n').unwrap() + 1;
        for end in first..text.len() - 1 {
            std::fs::write(&path, &text[..end]).unwrap();
            add(dir.path(), &pair, at(100)).unwrap();
            let devices = issued_devices(dir.path(), at(100)).unwrap();
            assert_eq!(devices, HashSet::from([id(7), id(9)]), "{end}");
        }
    }
}
