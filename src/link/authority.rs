//! A root, and what it signs: certificates and lists of revoked ones. ECDSA P-256, X.509 v3.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::CertificateInfo;
use super::host_names::HostNames;
use super::random::{RandomError, random};
use super::revocation::RevokedList;
use super::role::{Role, RoleName};
use crate::device::DeviceId;
use crate::time::Now;

const DAY: Duration = Duration::from_hours(24);
/// Ten years with their leap days, rounded up.
pub const ROOT_LIFE: Duration = Duration::from_hours(3653 * 24);
/// Five years with their leap days, rounded up.
pub const LEAF_LIFE: Duration = Duration::from_hours(1827 * 24);
/// Nobody makes a new list while nothing is revoked: a list is good for as long as a root.
const LIST_LIFE: Duration = ROOT_LIFE;
/// Certificates begin a day early, for clients whose clock is behind.
const BACKDATED: Duration = DAY;
/// A certificate for more devices would not fit the first messages of a TLS handshake well.
pub const DEVICES_MAX: usize = 64;

/// A certificate and its private key, as PEM.
#[derive(Clone)]
pub struct CertificatePair {
    pub certificate: String,
    pub key: String,
}

impl CertificatePair {
    /// The same in DER.
    ///
    /// # Errors
    /// [`AuthorityError::Make`] when either text is no such thing.
    pub fn to_der(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok((certificate, key))
    }
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the key is not the one of the certificate")]
    Key,
    #[error("the certificate is no root, it may not sign others")]
    NoAuthority,
    #[error("the name of the root cannot be written again as it is, so nothing can be signed")]
    Name,
    #[error("a certificate is for 1 to {DEVICES_MAX} devices")]
    Devices,
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The root certificate with its key: it signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// How lists of revoked certificates name its key.
    key_id: KeyIdMethod,
    life: Duration,
}

impl Authority {
    /// A new root, valid for ten years.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn make(now: Now) -> Result<(Self, CertificatePair), AuthorityError> {
        Self::make_lasting(ROOT_LIFE, now)
    }

    /// A new root with another life than usual.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn make_lasting(
        life: Duration,
        now: Now,
    ) -> Result<(Self, CertificatePair), AuthorityError> {
        let serial = serial()?;
        // Two roots that a client trusts at the same time must not have the same name.
        let name = format!("Gatehouse root {}", hex::encode(&serial[4..]));
        let mut params = params(&name, &serial, life, now);
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
        let authority = Self::from_pem(&pair.certificate, &pair.key)?;
        Ok((authority, pair))
    }

    /// A root that was made before, perhaps by another program.
    ///
    /// # Errors
    /// [`AuthorityError`] when either text is no such thing or they do not go together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Self::from_der(&certificate, KeyPair::from_pem(key)?)
    }

    /// As [`Authority::from_pem`].
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn from_der(
        certificate: &CertificateDer<'_>,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let info = CertificateInfo::read(certificate)
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        if !info.is_authority {
            return Err(AuthorityError::NoAuthority);
        }
        if *info.public_key != *key.der_bytes() {
            return Err(AuthorityError::Key);
        }
        let authority = Self {
            key_id: key_id(certificate),
            issuer: Issuer::from_ca_cert_der(certificate, key)?,
            life: LEAF_LIFE,
        };
        authority.check_name(&info)?;
        Ok(authority)
    }

    /// The same root; what it signs from now on is valid for so long.
    #[must_use]
    pub const fn lasting(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// A certificate for the gateway under these names. It serves, and can be shown as a client
    /// too.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn gateway(&self, hosts: &HostNames, now: Now) -> Result<CertificatePair, AuthorityError> {
        let mut names = sans(&Role::Gateway)?;
        for name in &hosts.dns {
            names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        names.extend(hosts.addresses.iter().copied().map(SanType::IpAddress));
        self.leaf("Gatehouse gateway", names, Serves::Too, now)
    }

    /// A certificate for whoever shows it as a client: of the gateway's services, or of a master
    /// gateway.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn client(&self, role: &Role, now: Now) -> Result<CertificatePair, AuthorityError> {
        self.leaf(&role.to_string(), sans(role)?, Serves::Not, now)
    }

    /// A certificate for a device, or for the few devices that share a key. With `serves` it is
    /// good for a device that is the TLS server when the gateway dials it.
    ///
    /// # Errors
    /// [`AuthorityError`], [`AuthorityError::Devices`] for none or too many.
    pub fn device(
        &self,
        ids: &[DeviceId],
        serves: bool,
        now: Now,
    ) -> Result<CertificatePair, AuthorityError> {
        let first = ids.first().filter(|_| ids.len() <= DEVICES_MAX);
        let first = Role::Device(*first.ok_or(AuthorityError::Devices)?);
        let mut names = Vec::new();
        for id in ids {
            names.extend(sans(&Role::Device(*id))?);
        }
        let serves = if serves { Serves::Too } else { Serves::Not };
        self.leaf(&first.to_string(), names, serves, now)
    }

    /// The list of all certificates of this root that are revoked, in PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Make`], also when the root may not sign lists.
    pub fn revocation_list(&self, list: &RevokedList, now: Now) -> Result<String, AuthorityError> {
        let revoked = list.entries.iter().map(|(serial, since)| {
            let since = Duration::from_secs(u64::try_from(*since).unwrap_or(0));
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: date_time_ymd(1970, 1, 1) + since,
                reason_code: None,
                invalidity_date: None,
            }
        });
        let today = date_time_ymd(1970, 1, 1) + Duration::from_millis(now.unix_ms);
        let params = CertificateRevocationListParams {
            this_update: today - BACKDATED,
            next_update: today + LIST_LIFE,
            crl_number: SerialNumber::from(list.number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: self.key_id.clone(),
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    fn leaf(
        &self,
        name: &str,
        names: Vec<SanType>,
        serves: Serves,
        now: Now,
    ) -> Result<CertificatePair, AuthorityError> {
        let mut params = params(name, &serial()?, self.life, now);
        params.subject_alt_names = names;
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = serves.usages();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(CertificatePair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Signs something to see whether our issuer's name is, byte for byte, the root's own: else
    /// nobody would find the root by it.
    fn check_name(&self, root: &CertificateInfo) -> Result<(), AuthorityError> {
        let mut params = params("check", &[1; 8], DAY, Now::default());
        params.not_before = date_time_ymd(1970, 1, 1);
        let key = KeyPair::generate()?;
        let signed = params.signed_by(&key, &self.issuer)?;
        let signed = CertificateInfo::read(signed.der()).map_err(|_| AuthorityError::Name)?;
        if signed.issuer == root.subject {
            Ok(())
        } else {
            Err(AuthorityError::Name)
        }
    }
}

/// Whether a certificate is good for a TLS server; for a client each is.
#[derive(Clone, Copy)]
enum Serves {
    Not,
    Too,
}

impl Serves {
    fn usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        match self {
            Self::Not => vec![client],
            Self::Too => vec![ExtendedKeyUsagePurpose::ServerAuth, client],
        }
    }
}

/// The key identifier that stands in the root; ours where it has none.
fn key_id(certificate: &CertificateDer<'_>) -> KeyIdMethod {
    let parsed = X509Certificate::from_der(certificate).ok();
    let id = parsed.as_ref().and_then(|(_, certificate)| {
        certificate
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
    });
    id.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
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
fn serial() -> Result<[u8; 8], RandomError> {
    let mut serial = random::<8>()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

fn sans(role: &Role) -> Result<Vec<SanType>, rcgen::Error> {
    let names = role.names().into_iter().map(|name| {
        Ok(match name {
            RoleName::Uri(uri) => SanType::URI(uri.try_into()?),
            RoleName::Mail(mail) => SanType::Rfc822Name(mail.try_into()?),
        })
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;
    use crate::link::role::{ADMINISTRATOR, caller_of, devices_of, roles};

    const NOW: Now = Now {
        instant: crate::time::Instant::ZERO,
        unix_ms: 1_800_000_000_000,
    };

    fn der(pair: &CertificatePair) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
    }

    fn parsed<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
        X509Certificate::from_der(der).unwrap().1
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
    fn whoever_only_calls_is_a_client_alone() {
        let (_, pair) = Authority::make(NOW).unwrap();
        let authority = Authority::from_pem(&pair.certificate, &pair.key).unwrap();
        for role in [
            Role::operator("alice").unwrap(),
            Role::client(crate::access::Role::Admin, "anna").unwrap(),
            Role::tenant(ADMINISTRATOR).unwrap(),
            Role::master_gateway("acme", "gate-1").unwrap(),
        ] {
            let der = der(&authority.client(&role, NOW).unwrap());
            assert_eq!(usages(&der), (false, true), "{role}");
            assert_eq!(roles(&der), Ok(vec![role]));
        }
    }

    fn usages(der: &CertificateDer<'_>) -> (bool, bool) {
        let (_, leaf) = X509Certificate::from_der(der).unwrap();
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        (extended.server_auth, extended.client_auth)
    }

    #[test]
    fn the_names_of_a_gateway_certificate_are_those_of_the_master_api() {
        let (authority, _) = Authority::make(NOW).unwrap();
        let role = Role::master_gateway("acme", "gate-1").unwrap();
        let der = der(&authority.client(&role, NOW).unwrap());
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let expected = ["Gateway Certificate", "acme", "gate-1"];
        let expected = expected.map(GeneralName::RFC822Name);
        assert_eq!(names.value.general_names, expected);
    }

    #[test]
    fn a_device_serves_only_when_it_is_made_for_it() {
        let (authority, _) = Authority::make(NOW).unwrap();
        let ids = [1001, 1002].map(|id| DeviceId::new(id).unwrap());
        for serves in [false, true] {
            let der = der(&authority.device(&ids, serves, NOW).unwrap());
            assert_eq!(usages(&der), (serves, true));
            assert_eq!(*devices_of(&parsed(&der)).unwrap(), ids);
            assert_eq!(caller_of(&parsed(&der)), None);
        }
        for wrong in [&[][..], &[ids[0]; DEVICES_MAX + 1]] {
            let error = authority.device(wrong, false, NOW);
            assert!(matches!(error, Err(AuthorityError::Devices)));
        }
    }

    #[test]
    fn a_caller_is_who_the_certificate_names() {
        let (authority, _) = Authority::make(NOW).unwrap();
        let role = Role::client(crate::access::Role::Viewer, "wall").unwrap();
        let der = der(&authority.client(&role, NOW).unwrap());
        let caller = caller_of(&parsed(&der)).unwrap();
        assert_eq!(&*caller.name, "certificate wall");
        assert_eq!(caller.role, crate::access::Role::Viewer);
    }

    #[test]
    fn the_life_can_be_set() {
        let life = Duration::from_hours(30 * 24);
        let (authority, root) = Authority::make_lasting(life, NOW).unwrap();
        let certificate = der(&root);
        let (_, root) = X509Certificate::from_der(&certificate).unwrap();
        assert_eq!(life_days(&root), 30);
        let authority = authority.lasting(2 * DAY);
        let certificate = der(&authority.gateway(&HostNames::loopback(), NOW).unwrap());
        let (_, leaf) = X509Certificate::from_der(&certificate).unwrap();
        assert_eq!(life_days(&leaf), 2);
    }

    #[test]
    fn what_is_no_root_is_refused() {
        let (authority, pair) = Authority::make(NOW).unwrap();
        let (_, other) = Authority::make(NOW).unwrap();
        assert!(Authority::from_pem("", &pair.key).is_err());
        assert!(Authority::from_pem(&pair.certificate, "").is_err());
        let error = Authority::from_pem(&pair.certificate, &other.key).err();
        assert!(matches!(error, Some(AuthorityError::Key)));
        let leaf = authority.gateway(&HostNames::loopback(), NOW).unwrap();
        let error = Authority::from_pem(&leaf.certificate, &leaf.key).err();
        assert!(matches!(error, Some(AuthorityError::NoAuthority)));
    }
}
