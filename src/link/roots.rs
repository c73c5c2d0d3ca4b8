//! The roots of a gateway with their keys: `ca.crt` and `ca_key.pem`.
//!
//! The first root signs; those behind it are still trusted, until they are forgotten. A key belongs
//! to the root with its public key, wherever the two stand.

use std::path::Path;
use std::time::Duration;

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::Authority;
use super::certificate::CertificateInfo;
use super::certs::{CertsError, ROOT_KEYS, ROOTS, certificates, is_there, making};
use super::private_file::{replace_public, write_public};
use super::seal::{SealError, Sealer};
use super::sealed_file::{self, Found, SealedFileError, seal_in_place};
use crate::time::Now;

const PURPOSE: &str = "keys of the root certificates";
const NO_KEY: &str = "private key in PKCS #8; convert another form with: openssl pkcs8 -topk8 \
                      -nodes";

/// As they were read.
pub struct Roots {
    /// At least one.
    pub certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
}

impl Roots {
    /// `None` when there is neither a root nor a key of one. A key in clear is sealed in its place.
    ///
    /// # Errors
    /// [`CertsError`], [`CertsError::HalfPair`] for a key without a root.
    pub fn read(dir: &Path, sealer: &Sealer) -> Result<Option<Self>, CertsError> {
        let (roots, keys) = (dir.join(ROOTS), dir.join(ROOT_KEYS));
        match (is_there(&roots)?, is_there(&keys)?) {
            (false, false) => Ok(None),
            (false, true) => Err(CertsError::HalfPair {
                present: keys,
                absent: roots,
            }),
            (true, has_keys) => Ok(Some(Self {
                certificates: certificates(&roots)?,
                keys: if has_keys {
                    read_keys(&keys, sealer)?
                } else {
                    Vec::new()
                },
            })),
        }
    }

    /// Makes the first root and files it.
    ///
    /// # Errors
    /// [`CertsError`].
    pub fn make(dir: &Path, sealer: &Sealer, life: Duration, now: Now) -> Result<Self, CertsError> {
        let path = dir.join(ROOTS);
        let (_, pair) = Authority::make_lasting(life, now).map_err(making(&path))?;
        let key = pair.key.as_bytes();
        sealed_file::write(&dir.join(ROOT_KEYS), PURPOSE, key, sealer)?;
        write_public(&path, &pair.certificate)?;
        Self::read(dir, sealer)?.ok_or_else(|| CertsError::NoAuthority(dir.to_owned()))
    }

    /// The first root, to sign with.
    ///
    /// # Errors
    /// [`CertsError::NoRootKey`] when its key is elsewhere.
    pub fn signer(&self, dir: &Path) -> Result<Authority, CertsError> {
        let first = self.certificates.first();
        let first = first.ok_or_else(|| CertsError::NoAuthority(dir.to_owned()))?;
        self.authority(first, dir)
    }

    /// The root with this name in DER, to sign with; `None` when it is none of these.
    ///
    /// # Errors
    /// [`CertsError::NoRootKey`] when its key is elsewhere.
    pub fn named(&self, name: &[u8], dir: &Path) -> Result<Option<Authority>, CertsError> {
        let is_it = |root: &&CertificateDer<'_>| {
            CertificateInfo::read(root).is_ok_and(|info| *info.subject == *name)
        };
        let root = self.certificates.iter().find(is_it);
        root.map(|root| self.authority(root, dir)).transpose()
    }

    /// The names of the roots in DER, in their order.
    pub fn names(&self) -> Vec<Box<[u8]>> {
        let roots = self.certificates.iter();
        roots
            .filter_map(|root| CertificateInfo::read(root).ok())
            .map(|info| info.subject)
            .collect()
    }

    /// Puts a root before the others, where it signs; it is not filed yet.
    pub fn put_first(
        &mut self,
        root: CertificateDer<'static>,
        key: Option<PrivateKeyDer<'static>>,
    ) {
        self.certificates.retain(|other| *other != root);
        self.certificates.insert(0, root);
        if let Some(key) = key {
            self.keys.retain(|other| other != &key);
            self.keys.insert(0, key);
        }
    }

    /// Leaves the first root alone, and tells how many others there were; it is not filed yet.
    pub fn keep_first(&mut self) -> usize {
        let others = self.certificates.len().saturating_sub(1);
        self.certificates.truncate(1);
        others
    }

    /// No roots yet, to put the first one in.
    pub const fn none() -> Self {
        Self {
            certificates: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Files the roots and those keys that belong to them, in the place of what was there. The
    /// keys come first: one too many does no harm.
    ///
    /// # Errors
    /// [`CertsError`].
    pub fn file(&self, dir: &Path, sealer: &Sealer) -> Result<(), CertsError> {
        let roots = self.certificates.iter();
        let keys = roots.clone().filter_map(|root| self.key_of(root));
        let keys: String = keys.map(|key| key.serialize_pem()).collect();
        let path = dir.join(ROOT_KEYS);
        if !keys.is_empty() || is_there(&path)? {
            sealed_file::replace(&path, PURPOSE, keys.as_bytes(), sealer)?;
        }
        let pem: String = roots.map(|root| certificate_pem(root)).collect();
        Ok(replace_public(&dir.join(ROOTS), &pem)?)
    }

    fn authority(&self, root: &CertificateDer<'_>, dir: &Path) -> Result<Authority, CertsError> {
        let Some(key) = self.key_of(root) else {
            let name = CertificateInfo::read(root).map(|info| info.name);
            return Err(CertsError::NoRootKey {
                root: name.unwrap_or_default(),
                path: dir.join(ROOT_KEYS),
            });
        };
        Authority::from_der(root, key).map_err(making(&dir.join(ROOTS)))
    }

    fn key_of(&self, root: &CertificateDer<'_>) -> Option<KeyPair> {
        let info = CertificateInfo::read(root).ok()?;
        let mut keys = self.keys.iter().filter_map(key_pair);
        keys.find(|key| *key.der_bytes() == *info.public_key)
    }
}

pub(super) fn certificate_pem(certificate: &[u8]) -> String {
    pem_text("CERTIFICATE", certificate)
}

/// DER as PEM with line ends of Unix.
pub(super) fn pem_text(tag: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config)
}

fn key_pair(key: &PrivateKeyDer<'_>) -> Option<KeyPair> {
    KeyPair::try_from(key.secret_der()).ok()
}

fn read_keys(path: &Path, sealer: &Sealer) -> Result<Vec<PrivateKeyDer<'static>>, CertsError> {
    match sealed_file::read(path, PURPOSE, sealer)? {
        Found::Sealed(plain) => parse_keys(&plain).ok_or_else(|| {
            let (path, source) = (path.to_owned(), SealError::Damaged);
            SealedFileError::Seal { path, source }.into()
        }),
        Found::Clear(pem) => {
            let keys = parse_keys(pem.as_bytes()).filter(|keys| !keys.is_empty());
            let keys = keys.ok_or_else(|| CertsError::Content {
                path: path.to_owned(),
                what: NO_KEY,
            })?;
            seal_in_place(path, PURPOSE, pem.as_bytes(), sealer);
            Ok(keys)
        }
    }
}

/// All keys of a PEM text; `None` when one of them cannot sign.
fn parse_keys(pem: &[u8]) -> Option<Vec<PrivateKeyDer<'static>>> {
    let keys = PrivateKeyDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    keys.ok()
        .filter(|keys| keys.iter().all(|key| key_pair(key).is_some()))
}
