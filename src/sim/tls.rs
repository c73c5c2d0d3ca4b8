//! The device end of a tls link: what it trusts, what it shows, and what it remembers.

mod last_session;
#[cfg(test)]
mod tests;
mod verifier;
mod words;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use self::last_session::LastSession;
use self::verifier::{GatewayAsClient, GatewayAsServer};
pub use self::words::words;
use crate::config::TlsVersion;

/// How a device leads its tls links, whatever root it trusts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shown to a gateway that asks for it, and served with where the device is the TLS server.
    pub certificate: Option<Arc<OwnCertificate>>,
    /// At least one.
    pub versions: Vec<TlsVersion>,
    /// `Some`: the device is the TLS server on links that it accepted.
    pub turned: Option<Turned>,
    /// Whether it resumes its last session when it connects again.
    pub resumption: bool,
}

/// What a device that is the TLS server wants of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// No certificate.
    Anyone,
    /// A certificate under the root with the role of a gateway.
    GatewayAlone,
}

impl Default for Options {
    /// Both versions, no certificate of its own, the client on every link, resuming.
    fn default() -> Self {
        Self {
            certificate: None,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            turned: None,
            resumption: true,
        }
    }
}

/// A device's certificate with its key. `Debug` shows neither.
pub struct OwnCertificate {
    /// Its own first.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl OwnCertificate {
    /// Reads both from PEM.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`] or [`TlsError::NoKey`] when a text holds no such thing.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, TlsError> {
        let chain = certificates(certificate).ok_or(TlsError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::NoKey)?;
        Ok(Self { chain, key })
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate").finish_non_exhaustive()
    }
}

/// Why a device cannot make tls links. None quotes a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("this is no root certificate, write it as PEM")]
    NoRoot,
    #[error("the root certificate cannot be trusted: {0}")]
    Root(rustls::Error),
    #[error("the root certificate cannot verify a gateway: {0}")]
    Verifier(#[from] VerifierBuilderError),
    #[error("this is no certificate, write it as PEM")]
    NoCertificate,
    #[error("this is no private key, write it as PEM")]
    NoKey,
    #[error("the device's certificate and key do not serve: {0}")]
    Own(rustls::Error),
    #[error("a device that is the TLS server needs a certificate of its own")]
    NothingToServeWith,
    #[error("no TLS version is allowed, name 1.2 or 1.3")]
    Versions(rustls::Error),
}

/// One device's tls: it remembers the last session, so each device has its own.
#[derive(Clone)]
pub struct Tls {
    root: Arc<str>,
    resumption: bool,
    client: Arc<ClientConfig>,
    /// For links that it accepted, where it is turned round.
    server: Option<Arc<ServerConfig>>,
}

impl Tls {
    /// A device that trusts the certificates in `root`, PEM.
    ///
    /// # Errors
    /// [`TlsError`] when the root or the options do not serve.
    pub fn new(root: &str, options: &Options) -> Result<Self, TlsError> {
        let roots = Arc::new(roots(root)?);
        Ok(Self {
            root: root.into(),
            resumption: options.resumption,
            client: Arc::new(client(&roots, options)?),
            server: match options.turned {
                None => None,
                Some(turned) => Some(Arc::new(server(roots, turned, options)?)),
            },
        })
    }

    /// The same for another device, which remembers sessions of its own. It shares all else, so
    /// that a large fleet reads its root once.
    #[must_use]
    pub fn for_another(&self) -> Self {
        let mut client = ClientConfig::clone(&self.client);
        client.resumption = resumption(self.resumption);
        Self {
            client: Arc::new(client),
            ..self.clone()
        }
    }

    /// What it trusts, PEM.
    pub const fn root(&self) -> &Arc<str> {
        &self.root
    }

    pub(super) const fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    pub(super) const fn server(&self) -> Option<&Arc<ServerConfig>> {
        self.server.as_ref()
    }

    /// Under which the last session is kept. An address, because a client sends none as the
    /// server's name: what counts is the role in the certificate.
    pub(super) fn server_name() -> ServerName<'static> {
        ServerName::from(Ipv4Addr::UNSPECIFIED)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("resumption", &self.resumption)
            .field("is_turned", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

/// The roots in a PEM text.
///
/// # Errors
/// [`TlsError::NoRoot`] when there is none, [`TlsError::Root`] for one that cannot be trusted.
pub fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).ok_or(TlsError::NoRoot)? {
        roots.add(certificate).map_err(TlsError::Root)?;
    }
    Ok(roots)
}

/// `None` when there is none, or something that is none between them.
fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty())
}

fn client(roots: &Arc<RootCertStore>, options: &Options) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(options))
        .map_err(TlsError::Versions)?
        .dangerous()
        // It verifies the chain and the role; the names of hosts are not what a device goes by.
        .with_custom_certificate_verifier(Arc::new(GatewayAsServer::new(roots.clone())));
    let mut config = match &options.certificate {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
            .map_err(TlsError::Own)?,
    };
    config.enable_sni = false;
    config.resumption = resumption(options.resumption);
    Ok(config)
}

fn server(
    roots: Arc<RootCertStore>,
    turned: Turned,
    options: &Options,
) -> Result<ServerConfig, TlsError> {
    let own = options.certificate.as_ref();
    let own = own.ok_or(TlsError::NothingToServeWith)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(options))
        .map_err(TlsError::Versions)?;
    let builder = match turned {
        Turned::Anyone => builder.with_no_client_auth(),
        Turned::GatewayAlone => {
            builder.with_client_cert_verifier(Arc::new(GatewayAsClient::new(roots, provider())?))
        }
    };
    let mut config = builder
        .with_single_cert(own.chain.clone(), own.key.clone_key())
        .map_err(TlsError::Own)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn resumption(resumes: bool) -> Resumption {
    if resumes {
        Resumption::store(Arc::new(LastSession::default()))
    } else {
        Resumption::disabled()
    }
}

fn versions(options: &Options) -> Vec<&'static SupportedProtocolVersion> {
    let of = |version: &TlsVersion| match version {
        TlsVersion::V1_2 => &TLS12,
        TlsVersion::V1_3 => &TLS13,
    };
    options.versions.iter().map(of).collect()
}

/// One for all devices of the process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}
