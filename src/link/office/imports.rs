//! Roots and server certificates that were issued elsewhere.

use std::path::Path;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::super::authority::{Authority, CertificatePair, LEAF_LIFE};
use super::super::certificate::CertificateInfo;
use super::super::certs::{
    CertsError, SERVER, certificates, is_there, making, missing_names, private_key,
};
use super::super::host_names::HostNames;
use super::super::private_file::{make_private_dir, read_private, read_public};
use super::super::role::Role;
use super::super::roots::Roots;
use super::Office;

/// What an imported server certificate lacks; it works without, for some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Names and addresses of this machine.
    pub hosts: Vec<String>,
    /// The role by which devices know a gateway.
    pub role: bool,
}

impl Office {
    /// Takes a root that was made elsewhere as the one that signs, in front of those that are
    /// there. With its key a new server certificate is made under it, if there is one already.
    ///
    /// # Errors
    /// [`CertsError`] when it is no root or the key is another's; nothing is changed then.
    pub fn import_root(
        &self,
        certificate: &Path,
        key: Option<&Path>,
        hosts: &HostNames,
    ) -> Result<(), CertsError> {
        let root = first(certificate)?;
        let info = CertificateInfo::read(&root)?;
        if !info.is_authority {
            return Err(CertsError::Unfit {
                path: certificate.to_owned(),
                problem: "it is no root, its basic constraints do not allow it to sign; name a \
                          certificate with CA:TRUE"
                    .to_owned(),
            });
        }
        if let Some(key) = key {
            let pem = super::super::roots::certificate_pem(&root);
            Authority::from_pem(&pem, &read_private(key)?).map_err(making(key))?;
        }
        let root_key = key.map(private_key).transpose()?;
        make_private_dir(&self.dir)?;
        let mut roots = self.some_roots()?.unwrap_or_else(Roots::none);
        roots.put_first(root, root_key);
        self.file(&roots)?;
        if key.is_some() && is_there(&self.dir.join(SERVER.certificate))? {
            self.renew_server(LEAF_LIFE, hosts)?;
        }
        Ok(())
    }

    /// Takes a server certificate that was issued elsewhere, with its chain, in the place of the
    /// one that is there, and tells what it lacks.
    ///
    /// # Errors
    /// [`CertsError::Unfit`] when the key is another's or the chain ends at no root of `ca.crt`;
    /// nothing is changed then.
    pub fn import_server(
        &self,
        certificate: &Path,
        key: &Path,
        hosts: &HostNames,
    ) -> Result<Lacks, CertsError> {
        let chain = certificates(certificate)?;
        check_key(&chain, key)?;
        let roots = self.roots()?;
        check_chain(&chain, &roots.certificates, self.unix_time())
            .map_err(|problem| unfit(certificate, &problem))?;
        let server = first(certificate)?;
        let info = CertificateInfo::read(&server)?;
        let pair = CertificatePair {
            certificate: read_public(certificate)?,
            key: read_private(key)?,
        };
        self.replace_pair(&SERVER, &pair)?;
        Ok(Lacks {
            hosts: missing_names(&server, hosts),
            role: !info.roles.contains(&Role::Gateway),
        })
    }

    /// # Errors
    /// [`CertsError::Unfit`] when there is a server certificate that stands under none of these.
    pub(super) fn check_server_under(
        &self,
        roots: &[CertificateDer<'static>],
    ) -> Result<(), CertsError> {
        let path = self.dir.join(SERVER.certificate);
        if !is_there(&path)? {
            return Ok(());
        }
        check_chain(&certificates(&path)?, roots, self.unix_time()).map_err(|problem| {
            let mend = "make a new one first: gatehouse certs server";
            unfit(&path, &format!("{problem}; {mend}"))
        })
    }

    fn unix_time(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_millis(self.now.unix_ms))
    }
}

fn first(path: &Path) -> Result<CertificateDer<'static>, CertsError> {
    let mut all = certificates(path)?;
    Ok(all.swap_remove(0))
}

fn check_key(chain: &[CertificateDer<'static>], key: &Path) -> Result<(), CertsError> {
    let certified =
        CertifiedKey::from_der(chain.to_vec(), private_key(key)?, &ring::default_provider());
    certified.map(|_| ()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unfit(key, "it is the key of another certificate"),
        other => unfit(key, &other.to_string()),
    })
}

/// As a client would check it, but for the host name.
fn check_chain(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    now: UnixTime,
) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let (server, between) = chain.split_first().ok_or("it holds no certificate")?;
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let verified = ParsedCertificate::try_from(server).and_then(|server| {
        verify_server_cert_signed_by_trust_anchor(&server, &store, between, now, algorithms)
    });
    verified.map_err(|error| format!("clients that trust ca.crt would refuse it: {error}"))
}

fn unfit(path: &Path, problem: &str) -> CertsError {
    CertsError::Unfit {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
