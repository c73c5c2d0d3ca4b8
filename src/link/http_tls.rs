//! The TLS of the HTTP face.

use rustls::ServerConfig;
use rustls::pki_types::CertificateRevocationListDer;

use super::certs::Certs;
use super::grpc_tls::{GrpcTlsError, service};
use crate::config::ClientCertificates;

/// TLS 1.2 and 1.3, ALPN `h2` and `http/1.1`. A client need not show a certificate, as most browsers
/// have none; one that it shows is judged as that of a gRPC client.
///
/// # Errors
/// [`GrpcTlsError`].
pub fn http_server(
    certs: &Certs,
    revoked: Vec<CertificateRevocationListDer<'static>>,
) -> Result<ServerConfig, GrpcTlsError> {
    let protocols = ["h2", "http/1.1"];
    service(certs, revoked, ClientCertificates::Optional, &protocols)
}
