//! The certificates of a gateway on disk: made at the first start, used ever after.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{AuthorityError, CertificatePair, ROOT_LIFE};
use super::host_names::HostNames;
use super::issued;
use super::private_file::{
    FileError, make_private_dir, read_list, read_private, read_public, write_private, write_public,
};
use super::revocation::{Crl, RevocationError, check_crls, parse_crls};
use super::role::RoleError;
use super::roots::Roots;
use super::seal::Sealer;
use super::sealed_file::SealedFileError;
use crate::time::Now;

/// The roots, the first of which signs.
pub(super) const ROOTS: &str = "ca.crt";
/// The keys of the roots, sealed.
pub(super) const ROOT_KEYS: &str = "ca_key.pem";
/// What the roots have revoked.
pub(super) const REVOKED: &str = "ca.crl";
pub(super) const SERVER: PairNames = PairNames {
    certificate: "server.crt",
    key: "server_key.pem",
};

/// Why the certificates could not be read or made; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Sealed(#[from] SealedFileError),
    #[error("{} is there but {} is not, bring it back or move the other away too", present.display(), absent.display())]
    HalfPair { present: PathBuf, absent: PathBuf },
    #[error("{} is there but {} is not, bring back the root that signed it or move it away too", server.display(), root.display())]
    NoRoot { server: PathBuf, root: PathBuf },
    #[error("{} holds no root certificate yet, start the gateway once or name its data directory", .0.display())]
    NoAuthority(PathBuf),
    #[error(
        "the key of the root {root} is not in {}, so nothing can be signed; bring the key back, \
         import a certificate that was issued elsewhere, or make a new root: gatehouse certs root \
         --replace",
        path.display()
    )]
    NoRootKey { root: String, path: PathBuf },
    #[error(transparent)]
    Name(#[from] RoleError),
    #[error("{} holds no {what}", path.display())]
    Content { path: PathBuf, what: &'static str },
    #[error("{}: {source}", path.display())]
    Revoked {
        path: PathBuf,
        source: RevocationError,
    },
    #[error("{}: {source}", path.display())]
    Make {
        path: PathBuf,
        source: AuthorityError,
    },
    #[error("{}: {problem}", path.display())]
    Unfit { path: PathBuf, problem: String },
}

/// The certificates that the gateway works with.
#[derive(Debug)]
pub struct Certs {
    /// What a client must trust; more than one while a root is being replaced.
    pub roots: Vec<CertificateDer<'static>>,
    /// What the roots have revoked; a root that has revoked nothing may have no list.
    pub crls: Vec<Crl>,
    /// The server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Certs {
    /// Reads what is there and makes what is not: root and server certificate, for `hosts`.
    /// Warns when an existing server certificate lacks one of them. The key of the root is needed
    /// only to make a server certificate.
    ///
    /// # Errors
    /// [`CertsError`]; nothing that exists is ever overwritten, but a root's key in clear is
    /// sealed in its place.
    pub fn open(
        dir: &Path,
        hosts: &HostNames,
        sealer: &Sealer,
        now: Now,
    ) -> Result<Self, CertsError> {
        make_private_dir(dir)?;
        let server_is_there = SERVER.are_there(dir)?;
        let roots = match Roots::read(dir, sealer)? {
            Some(roots) => roots,
            None if server_is_there => {
                return Err(CertsError::NoRoot {
                    server: dir.join(SERVER.certificate),
                    root: dir.join(ROOTS),
                });
            }
            None => {
                let roots = Roots::make(dir, sealer, ROOT_LIFE, now)?;
                tracing::info!(path = %dir.join(ROOTS).display(), "made a root certificate, clients of the API need it");
                roots
            }
        };
        if !server_is_there {
            let pair = roots.signer(dir)?.gateway(hosts, now);
            let pair = pair.map_err(making(&dir.join(SERVER.certificate)))?;
            SERVER.write(dir, &pair)?;
            issued::add(dir, &pair, now)?;
        }
        let certs = Self::read(dir, roots)?;
        if server_is_there {
            warn_of_missing(dir, &certs, hosts);
        }
        Ok(certs)
    }

    /// The roots as PEM text, as devices and clients are given them.
    pub fn roots_pem(&self) -> String {
        let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let pem = |root: &CertificateDer<'_>| {
            pem::encode_config(&pem::Pem::new("CERTIFICATE", root.as_ref()), lines)
        };
        self.roots.iter().map(pem).collect()
    }

    /// Reads what [`Self::open`] has found or made before, and makes nothing: while somebody moves
    /// files about, one may be missing for a moment.
    ///
    /// # Errors
    /// [`CertsError`], also when a root or the server certificate is not there.
    pub fn reopen(dir: &Path, sealer: &Sealer) -> Result<Self, CertsError> {
        let roots = Roots::read(dir, sealer)?;
        Self::read(
            dir,
            roots.ok_or_else(|| CertsError::NoAuthority(dir.to_owned()))?,
        )
    }

    fn read(dir: &Path, roots: Roots) -> Result<Self, CertsError> {
        Ok(Self {
            crls: crls(dir, &roots.certificates)?,
            roots: roots.certificates,
            chain: certificates(&dir.join(SERVER.certificate))?,
            key: private_key(&dir.join(SERVER.key))?,
        })
    }
}

/// The revocation lists in a directory; none when there is no file.
///
/// # Errors
/// [`CertsError::Revoked`] when one does not parse, or a root did not sign its own.
pub fn crls(dir: &Path, roots: &[CertificateDer<'_>]) -> Result<Vec<Crl>, CertsError> {
    let path = dir.join(REVOKED);
    let checked = |pem: &str| {
        let crls = parse_crls(pem)?;
        check_crls(&crls, roots).map(|()| crls)
    };
    checked(&read_list(&path)?).map_err(|source| CertsError::Revoked { path, source })
}

/// Those of `hosts` that a certificate in DER does not name; all when it does not parse.
pub fn missing_names(certificate: &[u8], hosts: &HostNames) -> Vec<String> {
    let parsed = X509Certificate::from_der(certificate).ok();
    let extension = parsed
        .as_ref()
        .and_then(|(_, certificate)| certificate.subject_alternative_name().ok().flatten());
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let has_dns = |host: &String| {
        names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(host)))
    };
    let has_address = |address: &IpAddr| {
        names.iter().any(|name| match (name, address) {
            (GeneralName::IPAddress(bytes), IpAddr::V4(v4)) => **bytes == v4.octets(),
            (GeneralName::IPAddress(bytes), IpAddr::V6(v6)) => **bytes == v6.octets(),
            _ => false,
        })
    };
    let dns = hosts.dns.iter().filter(|host| !has_dns(host)).cloned();
    let addresses = hosts.addresses.iter().filter(|host| !has_address(host));
    dns.chain(addresses.map(IpAddr::to_string)).collect()
}

/// The files of a certificate and its key.
pub(super) struct PairNames {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

impl PairNames {
    /// # Errors
    /// [`CertsError::HalfPair`] when one of the two is there.
    pub(super) fn are_there(&self, dir: &Path) -> Result<bool, CertsError> {
        let [certificate, key] = [self.certificate, self.key].map(|name| dir.join(name));
        match (is_there(&certificate)?, is_there(&key)?) {
            (true, false) => Err(CertsError::HalfPair {
                present: certificate,
                absent: key,
            }),
            (false, true) => Err(CertsError::HalfPair {
                present: key,
                absent: certificate,
            }),
            (both, _) => Ok(both),
        }
    }

    fn write(&self, dir: &Path, pair: &CertificatePair) -> Result<(), CertsError> {
        write_private(&dir.join(self.key), &pair.key)?;
        write_public(&dir.join(self.certificate), &pair.certificate)?;
        Ok(())
    }
}

/// Whether a directory holds a root.
///
/// # Errors
/// [`CertsError::File`] when that cannot be seen.
pub fn has_roots(dir: &Path) -> Result<bool, CertsError> {
    Ok(is_there(&dir.join(ROOTS))?)
}

pub(super) fn is_there(path: &Path) -> Result<bool, FileError> {
    fs::exists(path).map_err(FileError::io(path, "read"))
}

pub(super) fn making(path: &Path) -> impl FnOnce(AuthorityError) -> CertsError {
    let path = path.to_owned();
    move |source| CertsError::Make { path, source }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertsError> {
    let pem = read_public(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(CertsError::Content {
            path: path.to_owned(),
            what: "certificate in PEM",
        });
    }
    Ok(certificates)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertsError> {
    let pem = read_private(path)?;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertsError::Content {
        path: path.to_owned(),
        what: "private key in PEM",
    })
}

fn warn_of_missing(dir: &Path, certs: &Certs, hosts: &HostNames) {
    let Some(server) = certs.chain.first() else {
        return;
    };
    let missing = missing_names(server, hosts);
    if !missing.is_empty() {
        tracing::warn!(
            path = %dir.join(SERVER.certificate).display(),
            missing = missing.join(" "),
            "the server certificate lacks names or addresses of this machine, clients that use \
             them will refuse it; make a new one with: gatehouse certs server"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock;

    fn open(dir: &Path) -> Result<Certs, CertsError> {
        let sealer = Sealer::new([5; 32]);
        Certs::open(dir, &HostNames::loopback(), &sealer, clock::now())
    }

    fn files(dir: &Path) -> Vec<(String, u32)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn the_first_start_makes_them_and_the_next_uses_them() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("certs");
        let first = open(&dir).unwrap();
        let names = [
            "ca.crt",
            "ca_key.pem",
            "issued.jsonl",
            "server.crt",
            "server_key.pem",
        ];
        let modes = [0o644, 0o600, 0o644, 0o644, 0o600];
        let expected: Vec<_> = names.map(str::to_owned).into_iter().zip(modes).collect();
        assert_eq!(files(&dir), expected);
        let second = open(&dir).unwrap();
        assert_eq!(first.chain, second.chain);
        assert_eq!(first.roots, second.roots);
    }

    #[test]
    fn a_server_certificate_is_made_anew_under_the_old_root() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        fs::remove_file(dir.path().join("server.crt")).unwrap();
        fs::remove_file(dir.path().join("server_key.pem")).unwrap();
        let second = open(dir.path()).unwrap();
        assert_eq!(first.roots, second.roots);
        assert_ne!(first.chain, second.chain);
    }

    #[test]
    fn half_a_pair_is_told_and_nothing_made() {
        for gone in ["ca.crt", "server.crt", "server_key.pem"] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path()).unwrap();
            fs::remove_file(dir.path().join(gone)).unwrap();
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, CertsError::HalfPair { .. }), "{error}");
            assert!(
                error.to_string().contains(&format!("{gone} is not")),
                "{error}"
            );
            assert_eq!(files(dir.path()).len(), 4);
        }
    }

    #[test]
    fn the_key_of_the_root_is_needed_only_to_sign() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        fs::remove_file(dir.path().join("ca_key.pem")).unwrap();
        assert_eq!(open(dir.path()).unwrap().chain, first.chain);
        fs::remove_file(dir.path().join("server.crt")).unwrap();
        fs::remove_file(dir.path().join("server_key.pem")).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, CertsError::NoRootKey { .. }), "{error}");
        assert!(error.to_string().contains("Gatehouse root"), "{error}");
    }

    #[test]
    fn a_revocation_list_is_read_and_a_broken_one_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).unwrap().crls.is_empty());
        fs::write(dir.path().join("ca.crl"), "nothing of the kind").unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("ca.crl"), "{error}");
    }

    #[test]
    fn a_server_certificate_without_its_root_is_told() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).unwrap();
        fs::remove_file(dir.path().join("ca.crt")).unwrap();
        fs::remove_file(dir.path().join("ca_key.pem")).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, CertsError::NoRoot { .. }), "{error}");
    }

    #[test]
    fn what_holds_no_certificate_is_told_by_name() {
        for (name, what) in [
            ("server.crt", "no certificate"),
            ("server_key.pem", "no private key"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path()).unwrap();
            fs::write(dir.path().join(name), "nothing").unwrap();
            let error = open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_exposed_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).unwrap();
        let key = dir.path().join("server_key.pem");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_name_that_the_certificate_lacks_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let certs = open(dir.path()).unwrap();
        let mut hosts = HostNames::loopback();
        assert!(missing_names(&certs.chain[0], &hosts).is_empty());
        hosts.dns.push("gate.example.org".to_owned());
        hosts.addresses.push("192.0.2.1".parse().unwrap());
        hosts.addresses.push("2001:db8::1".parse().unwrap());
        let missing = missing_names(&certs.chain[0], &hosts);
        assert_eq!(missing, ["gate.example.org", "192.0.2.1", "2001:db8::1"]);
        assert_eq!(missing_names(b"no certificate", &hosts).len(), 6);
    }
}
