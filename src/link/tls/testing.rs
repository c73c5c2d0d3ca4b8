//! For tests: a root with what it signs and revokes, and both ends of the tls link in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::device::{DeviceTls, Material};
use super::tickets::{TicketKey, TicketKeys, Tickets};
use crate::config::Tls;

/// The time of all these tests, in seconds since the Unix epoch.
pub const NOW: u64 = 1_800_000_000;
/// Until when certificates are valid here.
pub const EXPIRY: u64 = NOW + 86_400;

/// A root.
pub struct House {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    serial: AtomicU64,
}

/// A certificate and its key.
pub struct Leaf {
    pub der: CertificateDer<'static>,
    pub pem: String,
    serial: Vec<u8>,
    key: Vec<u8>,
}

impl Leaf {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl House {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&format!("root {:?}", &key.public_key_raw()[1..9]));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            root,
            serial: AtomicU64::new(1 << 62),
        }
    }

    pub fn device(&self, id: u32) -> Leaf {
        self.leaf(&[&format!("urn:gatehouse:device:{id}")])
    }

    pub fn leaf(&self, uris: &[&str]) -> Leaf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.leaf_with_serial(uris, &serial.to_be_bytes())
    }

    pub fn leaf_with_serial(&self, uris: &[&str], serial: &[u8]) -> Leaf {
        let mut params = params("leaf");
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = uris.collect();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            serial: serial.to_vec(),
            key: key.serialize_der(),
        }
    }

    pub fn crl(&self, revoked: &[&Leaf]) -> CertificateRevocationListDer<'static> {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&leaf.serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2036, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().clone()
    }

    pub fn material(&self) -> Material {
        let gateway = self.leaf(&["urn:gatehouse:gateway"]);
        Material {
            roots: vec![self.root.clone()],
            crls: Vec::new(),
            key: gateway.key(),
            chain: vec![gateway.der],
        }
    }

    fn trust(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        roots
    }

    /// A device that is the TLS client.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shows: Option<&Leaf>,
    ) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let time = Arc::new(Clock(Arc::new(NOW.into())));
        // The name is that of the gateway's role, which these devices leave unverified.
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName(self.trust())));
        match shows {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(vec![leaf.der.clone()], leaf.key())
                .unwrap(),
        }
    }

    /// A device that is the TLS server and insists on the gateway's certificate.
    pub fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shows: &Leaf,
    ) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let time = Arc::new(Clock(Arc::new(NOW.into())));
        let roots = Arc::new(self.trust());
        let gateways =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(gateways.unwrap())
            .with_single_cert(vec![shows.der.clone()], shows.key())
            .unwrap()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let at = |unix| date_time_ymd(1970, 1, 1) + Duration::from_secs(unix);
    params.not_before = at(NOW - 86_400);
    params.not_after = at(EXPIRY);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Verifies the chain of a gateway and not its name.
#[derive(Debug)]
struct AnyName(RootCertStore);

mod any_name {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::ServerName;
    use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

    use super::{AnyName, Arc, CertificateDer, UnixTime, ring};

    impl AnyName {
        fn inner(&self) -> Arc<WebPkiServerVerifier> {
            let provider = Arc::new(ring::default_provider());
            let roots = Arc::new(self.0.clone());
            WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .unwrap()
        }
    }

    impl ServerCertVerifier for AnyName {
        fn verify_server_cert(
            &self,
            leaf: &CertificateDer<'_>,
            rest: &[CertificateDer<'_>],
            name: &ServerName<'_>,
            ocsp: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            match self.inner().verify_server_cert(leaf, rest, name, ocsp, now) {
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            }
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner().verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner().verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner().supported_verify_schemes()
        }
    }
}

/// Stands still until it is set.
#[derive(Clone, Debug)]
pub struct Clock(pub Arc<AtomicU64>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(NOW.into()))
    }

    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

/// The tls link of a gateway under `material` at [`NOW`].
pub fn device_tls(material: &Material, settings: &Tls) -> Arc<DeviceTls> {
    let clock = Clock::new();
    let tickets = tickets([1; 32], Vec::new(), &clock);
    Arc::new(DeviceTls::new(material, settings, tickets, Arc::new(clock)).unwrap())
}

/// Ticket keys of a day; a fresh one is drawn from nothing but the time.
pub fn tickets(fresh: [u8; 32], older: Vec<TicketKey>, clock: &Clock) -> Arc<Tickets> {
    let now = clock.0.load(Ordering::Relaxed);
    let keys = TicketKeys::new(fresh, older, Duration::from_hours(24), now);
    let next = AtomicU64::new(now);
    let draw = move || {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Some(key)
    };
    Arc::new(Tickets::new(keys, Arc::new(clock.clone()), Box::new(draw)))
}
