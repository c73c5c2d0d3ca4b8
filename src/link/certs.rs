//! The certificates of a gateway on disk: made at the first start, used ever after.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, AuthorityError, CertificatePair};
use super::host_names::HostNames;
use super::private_file::{
    FileError, make_private_dir, read_private, read_public, write_private, write_public,
};
use super::role::{Role, RoleError};
use crate::time::Now;

const ROOT: Names = Names {
    certificate: "ca.crt",
    key: "ca_key.pem",
};
const SERVER: Names = Names {
    certificate: "server.crt",
    key: "server_key.pem",
};

/// Why the certificates could not be read or made; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is there but {} is not, bring it back or move the other away too", present.display(), absent.display())]
    HalfPair { present: PathBuf, absent: PathBuf },
    #[error("{} is there but {} is not, bring back the root that signed it or move it away too", server.display(), root.display())]
    NoRoot { server: PathBuf, root: PathBuf },
    #[error("{} holds no root certificate yet, start the gateway once or name its data directory", .0.display())]
    NoAuthority(PathBuf),
    #[error(transparent)]
    Name(#[from] RoleError),
    #[error("{} holds no {what}", path.display())]
    Content { path: PathBuf, what: &'static str },
    #[error("{}: {source}", path.display())]
    Make {
        path: PathBuf,
        source: AuthorityError,
    },
}

/// The certificates that the gateway works with.
#[derive(Debug)]
pub struct Certs {
    /// What a client must trust; more than one while a root is being replaced.
    pub roots: Vec<CertificateDer<'static>>,
    /// The server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Certs {
    /// Reads what is there and makes what is not: root and server certificate, for `hosts`.
    /// Warns when an existing server certificate lacks one of them.
    ///
    /// # Errors
    /// [`CertsError`]; nothing that exists is ever overwritten.
    pub fn open(dir: &Path, hosts: &HostNames, now: Now) -> Result<Self, CertsError> {
        make_private_dir(dir)?;
        let server_is_there = SERVER.are_there(dir)?;
        if !ROOT.are_there(dir)? {
            if server_is_there {
                return Err(CertsError::NoRoot {
                    server: dir.join(SERVER.certificate),
                    root: dir.join(ROOT.certificate),
                });
            }
            let (_, pair) = Authority::make(now).map_err(ROOT.making(dir))?;
            ROOT.write(dir, &pair)?;
            tracing::info!(path = %dir.join(ROOT.certificate).display(), "made a root certificate, clients of the API need it");
        }
        if !server_is_there {
            let pair = authority(dir)?.gateway(hosts, now);
            SERVER.write(dir, &pair.map_err(SERVER.making(dir))?)?;
        }
        let certs = Self::read(dir)?;
        if server_is_there {
            warn_of_missing(dir, &certs, hosts);
        }
        Ok(certs)
    }

    fn read(dir: &Path) -> Result<Self, CertsError> {
        let key_path = dir.join(SERVER.key);
        let key = read_private(&key_path)?;
        Ok(Self {
            roots: certificates(&dir.join(ROOT.certificate))?,
            chain: certificates(&dir.join(SERVER.certificate))?,
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
                CertsError::Content {
                    path: key_path,
                    what: "private key in PEM",
                }
            })?,
        })
    }
}

/// The root of the gateway, to sign with. It is not made here: a mistyped directory would get a
/// root that nobody trusts.
///
/// # Errors
/// [`CertsError`] when its files are not there or do not hold what they should.
pub fn authority(dir: &Path) -> Result<Authority, CertsError> {
    if !ROOT.are_there(dir)? {
        return Err(CertsError::NoAuthority(dir.to_owned()));
    }
    let certificate = read_public(&dir.join(ROOT.certificate))?;
    let key = read_private(&dir.join(ROOT.key))?;
    Authority::from_pem(&certificate, &key).map_err(ROOT.making(dir))
}

/// Signs a certificate for an operator with the root in `dir`, and writes `<name>.crt` and
/// `<name>_key.pem` to `out`, whose paths it gives back.
///
/// # Errors
/// [`CertsError`]; nothing that exists is ever overwritten.
pub fn make_operator(
    dir: &Path,
    name: &str,
    out: &Path,
    now: Now,
) -> Result<(PathBuf, PathBuf), CertsError> {
    let role = Role::operator(name)?;
    let certificate = out.join(format!("{name}.crt"));
    let key = out.join(format!("{name}_key.pem"));
    let pair = authority(dir)?
        .operator(&role, now)
        .map_err(|source| CertsError::Make {
            path: certificate.clone(),
            source,
        })?;
    write_private(&key, &pair.key)?;
    write_public(&certificate, &pair.certificate)?;
    Ok((certificate, key))
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

/// The files of one certificate.
struct Names {
    certificate: &'static str,
    key: &'static str,
}

impl Names {
    /// # Errors
    /// [`CertsError::HalfPair`] when one of the two is there.
    fn are_there(&self, dir: &Path) -> Result<bool, CertsError> {
        let [certificate, key] = [self.certificate, self.key].map(|name| dir.join(name));
        let is_there = |path: &Path| fs::exists(path).map_err(FileError::io(path, "read"));
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

    fn making(&self, dir: &Path) -> impl FnOnce(AuthorityError) -> CertsError {
        let path = dir.join(self.certificate);
        move |source| CertsError::Make { path, source }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertsError> {
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
             them will refuse it; move it and its key away and start again to have a new one made"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock;

    fn open(dir: &Path) -> Result<Certs, CertsError> {
        Certs::open(dir, &HostNames::loopback(), clock::now())
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
        let names = ["ca.crt", "ca_key.pem", "server.crt", "server_key.pem"];
        let modes = [0o644, 0o600, 0o644, 0o600];
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
        for gone in ["ca.crt", "ca_key.pem", "server.crt", "server_key.pem"] {
            let dir = tempfile::tempdir().unwrap();
            open(dir.path()).unwrap();
            fs::remove_file(dir.path().join(gone)).unwrap();
            let error = open(dir.path()).unwrap_err();
            assert!(matches!(error, CertsError::HalfPair { .. }), "{error}");
            assert!(
                error.to_string().contains(&format!("{gone} is not")),
                "{error}"
            );
            assert_eq!(files(dir.path()).len(), 3);
        }
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
    fn an_operator_is_signed_by_the_root_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        let make = |name| make_operator(dir.path(), name, out.path(), clock::now());
        let error = make("alice").unwrap_err();
        assert!(matches!(error, CertsError::NoAuthority(_)), "{error}");
        open(dir.path()).unwrap();
        let (certificate, key) = make("alice").unwrap();
        assert!(certificate.ends_with("alice.crt") && key.ends_with("alice_key.pem"));
        let expected = [
            ("alice.crt".to_owned(), 0o644),
            ("alice_key.pem".to_owned(), 0o600),
        ];
        assert_eq!(files(out.path()), expected);
        assert!(matches!(make("alice"), Err(CertsError::File(_))));
        assert!(matches!(make("../alice"), Err(CertsError::Name(_))));
        assert_eq!(files(out.path()).len(), 2);
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
