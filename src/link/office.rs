//! Makes, imports, revokes and lists the certificates of a gateway, as `gatehouse certs` asks.
//!
//! The gateway may run meanwhile: each file is replaced whole, and the gateway takes the new ones.

mod imports;
mod listing;
mod revoking;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use imports::Lacks;
pub use listing::{Kind, Listed, State};
pub use revoking::Target;

use super::authority::{Authority, AuthorityError, CertificatePair, LEAF_LIFE};
use super::certificate::stamp;
use super::certs::{
    CertsError, PairNames, REVOKED, ROOT_KEYS, ROOTS, SERVER, certificates, crls, is_there, making,
};
use super::host_names::HostNames;
use super::issued;
use super::private_file::{
    FileError, keep_copy, make_private_dir, remove, replace_private, replace_public, write_private,
    write_public,
};
use super::revocation::issuer_of;
use super::role::{ADMINISTRATOR, Role};
use super::roots::{Roots, pem_text};
use super::seal::Sealer;
use crate::device::DeviceId;
use crate::time::Now;

/// The certificates directory of a gateway, open for changes.
pub struct Office {
    dir: PathBuf,
    sealer: Sealer,
    now: Now,
}

/// A certificate that somebody is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Of a client of the gateway's services, a tenant, or a gateway of a master gateway.
    Client(Role),
    /// Of a device, or of a few that share it; `serves` where the device is the TLS server.
    Devices { ids: Vec<DeviceId>, serves: bool },
}

/// The files of a certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Office {
    /// `dir` is the certificates directory of a data directory; nothing is read or made yet.
    pub const fn new(dir: PathBuf, sealer: Sealer, now: Now) -> Self {
        Self { dir, sealer, now }
    }

    /// Signs a certificate with the first root, and writes it and its key to `out`.
    ///
    /// # Errors
    /// [`CertsError`]; nothing that exists is overwritten.
    pub fn issue(
        &self,
        wanted: &Wanted,
        life: Duration,
        out: &Path,
    ) -> Result<MadeFiles, CertsError> {
        let stem = wanted.file_stem();
        let files = MadeFiles {
            certificate: out.join(format!("{stem}.crt")),
            key: out.join(format!("{stem}_key.pem")),
        };
        for path in [&files.certificate, &files.key] {
            if is_there(path)? {
                return Err(FileError::Exists(path.clone()).into());
            }
        }
        let authority = self.roots()?.signer(&self.dir)?.lasting(life);
        let pair = wanted.sign(&authority, self.now);
        let pair = pair.map_err(making(&files.certificate))?;
        write_private(&files.key, &pair.key)?;
        let written = write_public(&files.certificate, &pair.certificate);
        // A certificate that is not listed would be no reason to refuse its device the fleet key.
        let listed = written
            .map_err(CertsError::from)
            .and_then(|()| issued::add(&self.dir, &pair, self.now));
        if let Err(error) = listed {
            remove(&files.key)?;
            remove(&files.certificate)?;
            return Err(error);
        }
        Ok(files)
    }

    /// Makes the first root.
    ///
    /// # Errors
    /// [`CertsError::File`] with [`FileError::Exists`] when there is one.
    pub fn make_root(&self, life: Duration) -> Result<PathBuf, CertsError> {
        let path = self.dir.join(ROOTS);
        if self.some_roots()?.is_some() {
            return Err(FileError::Exists(path).into());
        }
        make_private_dir(&self.dir)?;
        Roots::make(&self.dir, &self.sealer, life, self.now)?;
        Ok(path)
    }

    /// Makes a new root, which signs from now on, and a server certificate under it. The roots
    /// that were there stay trusted.
    ///
    /// # Errors
    /// [`CertsError`]; what was there then stays in force.
    pub fn replace_root(&self, life: Duration, hosts: &HostNames) -> Result<(), CertsError> {
        let mut roots = self.roots()?;
        let made = Authority::make_lasting(life, self.now).and_then(|(_, pair)| pair.to_der());
        let (root, key) = made.map_err(making(&self.dir.join(ROOTS)))?;
        roots.put_first(root, Some(key));
        self.file(&roots)?;
        self.renew_server(LEAF_LIFE, hosts)
    }

    /// Ends the trust in all roots but the first, and tells how many there were. What they signed
    /// is worth nothing from then on.
    ///
    /// # Errors
    /// [`CertsError`]; [`CertsError::Unfit`] when the server certificate still stands under an old
    /// root.
    pub fn forget_old_roots(&self) -> Result<usize, CertsError> {
        let mut roots = self.roots()?;
        let forgotten = roots.keep_first();
        if forgotten == 0 {
            return Ok(0);
        }
        self.check_server_under(&roots.certificates)?;
        self.file(&roots)?;
        self.drop_lists_of_others(&roots)?;
        Ok(forgotten)
    }

    /// Makes a new server certificate under the first root, for `hosts` and the names of the one
    /// that is there. The old one stays beside it with the date behind its name.
    ///
    /// # Errors
    /// [`CertsError`]; the old one then stays in force.
    pub fn renew_server(&self, life: Duration, hosts: &HostNames) -> Result<(), CertsError> {
        let path = self.dir.join(SERVER.certificate);
        let mut hosts = hosts.clone();
        if is_there(&path)?
            && let Some(old) = certificates(&path)?.first()
        {
            hosts = hosts.with_those_of(old);
        }
        let authority = self.roots()?.signer(&self.dir)?.lasting(life);
        let pair = authority.gateway(&hosts, self.now).map_err(making(&path))?;
        issued::add(&self.dir, &pair, self.now)?;
        self.replace_pair(&SERVER, &pair)
    }

    fn roots(&self) -> Result<Roots, CertsError> {
        self.some_roots()?
            .ok_or_else(|| CertsError::NoAuthority(self.dir.clone()))
    }

    fn some_roots(&self) -> Result<Option<Roots>, CertsError> {
        Roots::read(&self.dir, &self.sealer)
    }

    fn file(&self, roots: &Roots) -> Result<(), CertsError> {
        let date = self.date();
        keep_copy(&self.dir.join(ROOT_KEYS), &date)?;
        keep_copy(&self.dir.join(ROOTS), &date)?;
        roots.file(&self.dir, &self.sealer)
    }

    fn replace_pair(&self, names: &PairNames, pair: &CertificatePair) -> Result<(), CertsError> {
        let [certificate, key] = [names.certificate, names.key].map(|name| self.dir.join(name));
        let date = self.date();
        keep_copy(&key, &date)?;
        keep_copy(&certificate, &date)?;
        replace_private(&key, &pair.key)?;
        Ok(replace_public(&certificate, &pair.certificate)?)
    }

    /// A revocation list of a root that nobody trusts any more is of no use.
    fn drop_lists_of_others(&self, roots: &Roots) -> Result<(), CertsError> {
        let path = self.dir.join(REVOKED);
        if !is_there(&path)? {
            return Ok(());
        }
        let all = crls(&self.dir, &roots.certificates)?;
        let names = roots.names();
        let ours = all
            .iter()
            .filter(|crl| issuer_of(crl).is_some_and(|issuer| names.contains(&issuer)));
        let pem: String = ours.map(|crl| pem_text("X509 CRL", crl)).collect();
        keep_copy(&path, &self.date())?;
        Ok(replace_public(&path, &pem)?)
    }

    fn date(&self) -> String {
        stamp(i64::from(self.now.unix_seconds()))
    }
}

impl Wanted {
    fn file_stem(&self) -> String {
        match self {
            Self::Client(Role::Client { name, .. }) => name.to_string(),
            // As the master gateways of the vendor name them.
            Self::Client(Role::Tenant(tenant)) if &**tenant == ADMINISTRATOR => "admin".to_owned(),
            Self::Client(Role::Tenant(tenant)) => format!("tenant_{tenant}"),
            Self::Client(Role::MasterGateway { gateway, .. }) => format!("gateway_{gateway}"),
            Self::Client(role) => role.to_string(),
            Self::Devices { ids, .. } => {
                let ids: Vec<_> = ids.iter().map(DeviceId::to_string).collect();
                format!("device_{}", ids.join("_"))
            }
        }
    }

    fn sign(&self, authority: &Authority, now: Now) -> Result<CertificatePair, AuthorityError> {
        match self {
            Self::Client(role) => authority.client(role, now),
            Self::Devices { ids, serves } => authority.device(ids, *serves, now),
        }
    }
}
