//! The root of a gateway, and the certificates that it signs: ECDSA P-256, X.509 v3.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use super::host_names::HostNames;
use super::key_files::{KeyFileError, random};
use super::role::Role;
use crate::time::Now;

const DAY: Duration = Duration::from_hours(24);
/// Ten years with their leap days, rounded up.
const ROOT_LIFE: Duration = Duration::from_hours(3653 * 24);
/// Five years with their leap days, rounded up.
const LEAF_LIFE: Duration = Duration::from_hours(1827 * 24);
/// Certificates begin a day early, for clients whose clock is behind.
const BACKDATED: Duration = DAY;

/// A certificate and its private key, as PEM.
#[derive(Clone)]
pub struct CertificatePair {
    pub certificate: String,
    pub key: String,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Random(#[from] KeyFileError),
}

/// The root certificate with its key: it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new root, valid for ten years.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn make(now: Now) -> Result<(Self, CertificatePair), AuthorityError> {
        let serial = serial()?;
        // Two roots that a client trusts at the same time must not have the same name.
        let name = format!("Gatehouse root {}", hex::encode(&serial[4..]));
        let mut params = params(&name, &serial, ROOT_LIFE, now);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let key = KeyPair::generate()?;
        let pair = CertificatePair {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        };
        let issuer = Issuer::new(params, key);
        Ok((Self { issuer }, pair))
    }

    /// A root that was made before.
    ///
    /// # Errors
    /// [`AuthorityError::Make`] when either text is no such thing.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key)?;
        Ok(Self { issuer })
    }

    /// A certificate for the gateway under these names, valid for five years. It serves, and can
    /// be shown as a client too.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn gateway(&self, hosts: &HostNames, now: Now) -> Result<CertificatePair, AuthorityError> {
        let mut names = vec![uri(&Role::Gateway)?];
        for name in &hosts.dns {
            names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        names.extend(hosts.addresses.iter().copied().map(SanType::IpAddress));
        let usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.leaf("Gatehouse gateway", names, usages, now)
    }

    /// A certificate for a client of the API, valid for five years.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn operator(&self, role: &Role, now: Now) -> Result<CertificatePair, AuthorityError> {
        let name = role.uri();
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(&name, vec![uri(role)?], usages, now)
    }

    fn leaf(
        &self,
        name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        now: Now,
    ) -> Result<CertificatePair, AuthorityError> {
        let mut params = params(name, &serial()?, LEAF_LIFE, now);
        params.subject_alt_names = names;
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(CertificatePair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn params(name: &str, serial: &[u8; 8], life: Duration, now: Now) -> CertificateParams {
    let mut params = CertificateParams::default();
    let today = date_time_ymd(1970, 1, 1) + Duration::from_millis(now.unix_ms);
    params.not_before = today - BACKDATED;
    params.not_after = today + life;
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A random serial number from 2^62 to 2^63 − 1: it fits the signed 64 bits in which the API tells
/// serial numbers.
fn serial() -> Result<[u8; 8], KeyFileError> {
    let mut serial = random::<8>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

fn uri(role: &Role) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(role.uri().as_str().try_into()?))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;
    use crate::link::role::roles;

    const NOW: Now = Now {
        instant: crate::time::Instant::ZERO,
        unix_ms: 1_800_000_000_000,
    };

    fn der(pair: &CertificatePair) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
    }

    fn life_days(certificate: &X509Certificate) -> i64 {
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), 1_800_000_000 - 86_400);
        (validity.not_after.timestamp() - 1_800_000_000) / 86_400
    }

    #[test]
    fn the_root_may_sign_for_ten_years() {
        let (_, pair) = Authority::make(NOW).unwrap();
        let der = der(&pair);
        let (_, root) = X509Certificate::from_der(&der).unwrap();
        let constraints = root.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        let usage = root.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_cert_sign() && usage.crl_sign());
        assert_eq!(life_days(&root), 3653);
        assert_eq!(root.subject(), root.issuer());
        assert!(root.subject_alternative_name().unwrap().is_none());
    }

    #[test]
    fn serials_are_positive_and_fit_63_bits() {
        for _ in 0..100 {
            let serial = i64::from_be_bytes(serial().unwrap());
            assert!(serial >= 1 << 62);
        }
        let (_, pair) = Authority::make(NOW).unwrap();
        let der = der(&pair);
        let (_, root) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(root.raw_serial().len(), 8);
    }

    #[test]
    fn the_gateway_serves_under_its_names_for_five_years() {
        let (authority, root) = Authority::make(NOW).unwrap();
        let mut hosts = HostNames::loopback();
        hosts.dns.push("gate.example.org".to_owned());
        let der = der(&authority.gateway(&hosts, NOW).unwrap());
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(life_days(&leaf), 1827);
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let names = &names.value.general_names;
        assert!(names.contains(&GeneralName::DNSName("localhost")));
        assert!(names.contains(&GeneralName::DNSName("gate.example.org")));
        assert!(names.contains(&GeneralName::IPAddress(&[127, 0, 0, 1])));
        assert_eq!(roles(&der), Ok(vec![Role::Gateway]));
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth);

        let root = self::der(&root);
        let (_, root) = X509Certificate::from_der(&root).unwrap();
        assert_eq!(leaf.issuer(), root.subject());
        let issuer_known = leaf.extensions().iter().any(|extension| {
            matches!(
                extension.parsed_extension(),
                ParsedExtension::AuthorityKeyIdentifier(_)
            )
        });
        assert!(issuer_known);
    }

    #[test]
    fn an_operator_is_a_client_alone() {
        let (_, pair) = Authority::make(NOW).unwrap();
        let authority = Authority::from_pem(&pair.certificate, &pair.key).unwrap();
        let role = Role::operator("alice").unwrap();
        let der = der(&authority.operator(&role, NOW).unwrap());
        assert_eq!(roles(&der), Ok(vec![role]));
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
    }

    #[test]
    fn what_is_no_root_is_refused() {
        let (_, pair) = Authority::make(NOW).unwrap();
        assert!(Authority::from_pem("", &pair.key).is_err());
        assert!(Authority::from_pem(&pair.certificate, "").is_err());
    }
}
