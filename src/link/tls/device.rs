//! The TLS of devices: which versions and certificates, and who verifies them.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use super::certificate::device_certificate;
use super::tickets::Tickets;
use crate::config::{DeviceCertificates, DialRole, Tls, TlsVersion};

/// The certificates that the tls link works with.
#[derive(Debug)]
pub struct Material {
    /// What a device's certificate must stand under; at least one.
    pub roots: Vec<CertificateDer<'static>>,
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// The gateway's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// Why certificates and settings make no tls link.
#[derive(Debug, thiserror::Error)]
pub enum DeviceTlsError {
    #[error("the gateway's certificate and its key do not go together: {0}")]
    Certificate(Error),
    #[error("a root certificate cannot be trusted: {0}")]
    Root(Error),
    #[error("the root and its revocation list cannot verify devices: {0}")]
    Verifier(#[from] VerifierBuilderError),
    #[error("tls.versions cannot be served: {0}")]
    Versions(Error),
}

/// The tls link as it is now: replaced as a whole when certificates, revocations or settings
/// change, so that the change counts from the next handshake on.
pub struct DeviceTls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    verifier: Arc<DeviceVerifier>,
    time: Arc<dyn TimeProvider>,
    dial_role: DialRole,
}

impl DeviceTls {
    /// `tickets` go from one `DeviceTls` to the next, so that devices can resume over a change
    /// that leaves root and revocations alone.
    ///
    /// # Errors
    /// [`DeviceTlsError`].
    pub fn new(
        material: &Material,
        settings: &Tls,
        tickets: Arc<Tickets>,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, DeviceTlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = DeviceVerifier::new(material, settings.device_certificates, &provider)?;
        let verifier = Arc::new(verifier);
        let maker = Maker {
            material,
            verifier: Arc::clone(&verifier),
            provider,
            time: Arc::clone(&time),
            versions: settings.versions.iter().map(supported).collect(),
        };
        let tickets = settings.resumption.then_some(tickets);
        Ok(Self {
            server: Arc::new(maker.server(tickets)?),
            client: Arc::new(maker.client()?),
            verifier,
            time,
            dial_role: settings.dial_role,
        })
    }

    /// What the gateway is in TLS when it dials.
    pub const fn dial_role(&self) -> DialRole {
        self.dial_role
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// Verifies what a session showed when it began, which a ticket brings back: root,
    /// revocations, settings and time may have changed since.
    ///
    /// # Errors
    /// As in a full handshake.
    pub(super) fn verify_resumed(&self, shown: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some((leaf, intermediates)) = shown.split_first() else {
            return if self.verifier.client_auth_mandatory() {
                Err(Error::NoCertificatesPresented)
            } else {
                Ok(())
            };
        };
        let now = self
            .time
            .current_time()
            .ok_or(Error::FailedToGetCurrentTime)?;
        self.verifier
            .verify_client_cert(leaf, intermediates, now)
            .map(|_| ())
    }
}

impl fmt::Debug for DeviceTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTls")
            .field("dial_role", &self.dial_role)
            .finish_non_exhaustive()
    }
}

const fn supported(version: &TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &TLS12,
        TlsVersion::V1_3 => &TLS13,
    }
}

/// Makes both sides of the same material.
struct Maker<'a> {
    material: &'a Material,
    verifier: Arc<DeviceVerifier>,
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Maker<'_> {
    fn server(&self, tickets: Option<Arc<Tickets>>) -> Result<ServerConfig, DeviceTlsError> {
        let (provider, time) = (Arc::clone(&self.provider), Arc::clone(&self.time));
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&self.versions)
            .map_err(DeviceTlsError::Versions)?
            .with_client_cert_verifier(Arc::clone(&self.verifier) as Arc<dyn ClientCertVerifier>)
            .with_single_cert(self.material.chain.clone(), self.material.key.clone_key())
            .map_err(DeviceTlsError::Certificate)?;
        // Sessions that the gateway remembers would be memory for each device, and could not be
        // discarded together with the tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = usize::from(tickets.is_some());
        if let Some(tickets) = tickets {
            config.ticketer = tickets;
        }
        Ok(config)
    }

    fn client(&self) -> Result<ClientConfig, DeviceTlsError> {
        let (provider, time) = (Arc::clone(&self.provider), Arc::clone(&self.time));
        let mut config = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&self.versions)
            .map_err(DeviceTlsError::Versions)?
            .dangerous()
            .with_custom_certificate_verifier(
                Arc::clone(&self.verifier) as Arc<dyn ServerCertVerifier>
            )
            .with_client_auth_cert(self.material.chain.clone(), self.material.key.clone_key())
            .map_err(DeviceTlsError::Certificate)?;
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Takes a chain to the root that is not revoked, with a device at its end: the root signs gateways
/// and operators too.
#[derive(Debug)]
struct DeviceVerifier {
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

impl DeviceVerifier {
    fn new(
        material: &Material,
        wanted: DeviceCertificates,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, DeviceTlsError> {
        let mut roots = RootCertStore::empty();
        for root in &material.roots {
            roots.add(root.clone()).map_err(DeviceTlsError::Root)?;
        }
        let roots = Arc::new(roots);
        // Unknown is the status under a root that has no list yet.
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .with_crls(material.crls.iter().cloned())
                .allow_unknown_revocation_status();
        let clients = match wanted {
            DeviceCertificates::Optional => clients.allow_unauthenticated(),
            DeviceCertificates::Required => clients,
        };
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(material.crls.iter().cloned())
            .allow_unknown_revocation_status();
        Ok(Self {
            clients: clients.build()?,
            servers: servers.build()?,
        })
    }
}

fn check_role(leaf: &CertificateDer<'_>) -> Result<(), Error> {
    let certificate = device_certificate(leaf).map_err(|_| CertificateError::BadEncoding)?;
    if certificate.devices.is_empty() {
        return Err(CertificateError::ApplicationVerificationFailure.into());
    }
    Ok(())
}

impl ClientCertVerifier for DeviceVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.clients.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .clients
            .verify_client_cert(end_entity, intermediates, now)?;
        check_role(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// A device that is the TLS server has no host name: it is known by the device ID in its
/// certificate, which the registry compares with the one that it dialled.
impl ServerCertVerifier for DeviceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, when everything else holds.
        let verified = self.servers.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        check_role(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.servers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}
