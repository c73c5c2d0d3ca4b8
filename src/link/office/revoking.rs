//! Takes certificates back: adds them to the list of the root that signed them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use super::super::certificate::{CertificateInfo, serial_text};
use super::super::certs::{CertsError, REVOKED, certificates, crls, making};
use super::super::issued::{self, Issued};
use super::super::private_file::replace_public;
use super::super::revocation::{certificate_id_of, issuer_of, list_of, revoked_ids};
use super::super::role::Role;
use super::super::roots::{Roots, pem_text};
use super::Office;
use crate::device::DeviceId;

/// Which certificates to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one in this file.
    File(PathBuf),
    /// The one with this serial number, as it stands in the certificate.
    Serial(Vec<u8>),
    /// All that were made here for this device and are still good.
    Device(DeviceId),
    /// All that were made here for a client of this name and are still good.
    Client(Box<str>),
}

/// Serial numbers to revoke, by the name in DER of the root that gave them.
type ByRoot = BTreeMap<Box<[u8]>, Vec<Box<[u8]>>>;

impl Office {
    /// Revokes certificates, and tells the serial numbers of those that were not revoked yet. The
    /// gateway closes the sessions that stand on them as soon as it reads the new list.
    ///
    /// # Errors
    /// [`CertsError::Unfit`] when nothing fits the target, or another root signed it;
    /// [`CertsError::NoRootKey`] when the root's key is elsewhere.
    pub fn revoke(&self, target: &Target) -> Result<Vec<String>, CertsError> {
        let roots = self.roots()?;
        let found = self.find(target, &roots)?;
        let mut all = crls(&self.dir, &roots.certificates)?;
        let since = i64::from(self.now.unix_seconds());
        let mut revoked = Vec::new();
        let mut made = String::new();
        for (issuer, serials) in found {
            let authority = roots.named(&issuer, &self.dir)?.ok_or_else(|| {
                self.unfit_list("another root signed it, revoke it where that root is")
            })?;
            let mut list = list_of(&all, &issuer);
            for serial in serials {
                // Who is revoked already stays so since then.
                if let Entry::Vacant(vacant) = list.entries.entry(serial) {
                    revoked.push(serial_text(vacant.key()));
                    vacant.insert(since);
                }
            }
            list.number = list.number.saturating_add(1);
            let pem = authority.revocation_list(&list, self.now);
            made.push_str(&pem.map_err(making(&self.dir.join(REVOKED)))?);
            all.retain(|crl| issuer_of(crl).as_ref() != Some(&issuer));
        }
        if !revoked.is_empty() {
            let others: String = all.iter().map(|crl| pem_text("X509 CRL", crl)).collect();
            replace_public(&self.dir.join(REVOKED), &format!("{made}{others}"))?;
        }
        Ok(revoked)
    }

    fn find(&self, target: &Target, roots: &Roots) -> Result<ByRoot, CertsError> {
        let mut found = ByRoot::new();
        match target {
            Target::File(path) => {
                for certificate in certificates(path)?.iter().take(1) {
                    let info = CertificateInfo::read(certificate)?;
                    found.entry(info.issuer).or_default().push(info.serial);
                }
            }
            Target::Serial(serial) => {
                let issuer = self.issuer_of_serial(serial, roots)?;
                found.entry(issuer).or_default().push(serial[..].into());
            }
            Target::Device(id) => self.find_made(
                &mut found,
                roots,
                |role| matches!(role, Role::Device(device) if device == id),
            )?,
            Target::Client(name) => self.find_made(
                &mut found,
                roots,
                |role| matches!(role, Role::Client { name: client, .. } if client == name),
            )?,
        }
        Ok(found)
    }

    /// The root that gave this number: by the list of what was made here, else the first root,
    /// for one that another gateway made under the same root.
    fn issuer_of_serial(&self, serial: &[u8], roots: &Roots) -> Result<Box<[u8]>, CertsError> {
        let made = issued::read(&self.dir)?;
        let names = roots.names();
        let is_made = |name: &[u8]| {
            let id = certificate_id_of(name, serial);
            made.iter().any(|made| made.id == id)
        };
        let by_list = names.iter().find(|name| is_made(name));
        let by_list = by_list.or_else(|| names.first());
        let name = by_list.cloned();
        name.ok_or_else(|| CertsError::NoAuthority(self.dir.clone()))
    }

    fn find_made(
        &self,
        found: &mut ByRoot,
        roots: &Roots,
        is_meant: impl Fn(&Role) -> bool,
    ) -> Result<(), CertsError> {
        let names = roots.names();
        let revoked = revoked_ids(&crls(&self.dir, &roots.certificates)?);
        let made = issued::read(&self.dir)?;
        let is_good = |made: &&Issued| made.is_valid(self.now) && !revoked.contains(&made.id);
        let good = made
            .iter()
            .filter(is_good)
            .filter(|made| made.roles.iter().any(&is_meant));
        for made in good {
            let root = names
                .iter()
                .find(|name| certificate_id_of(name, &made.serial) == made.id);
            // What a forgotten root signed is worth nothing as it is.
            if let Some(root) = root {
                let serials = found.entry(root.clone()).or_default();
                serials.push(made.serial.clone());
            }
        }
        if found.is_empty() {
            return Err(self.unfit_list(
                "no certificate that is still good was made here for that one; see: gatehouse \
                 certs list",
            ));
        }
        Ok(())
    }

    fn unfit_list(&self, problem: &str) -> CertsError {
        CertsError::Unfit {
            path: self.dir.clone(),
            problem: problem.to_owned(),
        }
    }
}
