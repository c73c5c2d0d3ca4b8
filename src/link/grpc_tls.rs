//! The TLS of the gRPC API.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::certs::Certs;
use crate::config::ClientCertificates;

/// Why the certificates do not make a TLS server.
#[derive(Debug, thiserror::Error)]
pub enum GrpcTlsError {
    #[error("server.crt and server_key.pem do not serve: {0}")]
    Server(rustls::Error),
    #[error("ca.crt cannot be trusted: {0}")]
    Root(rustls::Error),
    #[error("ca.crt and the revocation lists cannot verify clients: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// TLS 1.2 and 1.3, ALPN `h2`. A client is asked for a certificate, and one that it shows must
/// stand under a root and not be revoked, or the handshake fails; with
/// [`ClientCertificates::Required`] it fails without one as well. Whom a certificate stands for is
/// judged call by call: the root signs devices and gateways too.
///
/// Sessions are not resumed, so that every connection is a new judgement.
///
/// # Errors
/// [`GrpcTlsError`].
pub fn grpc_server(
    certs: &Certs,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    clients: ClientCertificates,
) -> Result<ServerConfig, GrpcTlsError> {
    service(certs, revoked, clients, &["h2"])
}

/// The TLS of a service that speaks these protocols.
///
/// # Errors
/// [`GrpcTlsError`].
pub(super) fn service(
    certs: &Certs,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    clients: ClientCertificates,
    protocols: &[&str],
) -> Result<ServerConfig, GrpcTlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(certs, revoked, clients, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12, &TLS13])
        .map_err(GrpcTlsError::Server)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs.chain.clone(), certs.key.clone_key())
        .map_err(GrpcTlsError::Server)?;
    let protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn verifier(
    certs: &Certs,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    clients: ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, GrpcTlsError> {
    let mut roots = RootCertStore::empty();
    for root in &certs.roots {
        roots.add(root.clone()).map_err(GrpcTlsError::Root)?;
    }
    // While a root is being replaced not every one has a list.
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .with_crls(revoked)
        .only_check_end_entity_revocation()
        .allow_unknown_revocation_status();
    let builder = match clients {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    Ok(builder.build()?)
}
