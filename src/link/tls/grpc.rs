//! Certificates to rustls: the server side of the API.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::config::ClientCertificates;
use crate::link::certs::Certs;
use crate::link::role::{Role, roles};

/// Why the certificates do not make a TLS server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("server.crt and server_key.pem do not serve: {0}")]
    Server(rustls::Error),
    #[error("ca.crt cannot be trusted: {0}")]
    Root(rustls::Error),
    #[error("ca.crt cannot verify clients: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// The TLS of the gRPC API: 1.2 and 1.3, ALPN `h2`; with [`ClientCertificates::Required`] only
/// certificates under the root with the role of an operator come in.
///
/// # Errors
/// [`TlsError`].
pub fn grpc_server(certs: &Certs, clients: ClientCertificates) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .map_err(TlsError::Server)?;
    let verifier = match clients {
        ClientCertificates::Optional => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Required => Arc::new(OperatorVerifier::new(certs, provider)?),
    };
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs.chain.clone(), certs.key.clone_key())
        .map_err(TlsError::Server)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes a chain to the root, as usual, and wants an operator at its end: the root signs devices
/// and gateways too.
#[derive(Debug)]
struct OperatorVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl OperatorVerifier {
    fn new(certs: &Certs, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in &certs.roots {
            roots.add(root.clone()).map_err(TlsError::Root)?;
        }
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { chain })
    }
}

impl ClientCertVerifier for OperatorVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        let roles = roles(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if roles.iter().any(|role| matches!(role, Role::Operator(_))) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, ClientConnection, ServerConnection, SupportedProtocolVersion};

    use super::*;
    use crate::clock;
    use crate::link::authority::{Authority, CertificatePair};
    use crate::link::host_names::HostNames;

    /// A root with the server certificate that it signed.
    struct House {
        authority: Authority,
        certs: Certs,
        server: CertificatePair,
    }

    fn house() -> House {
        let now = clock::now();
        let (authority, root) = Authority::make(now).unwrap();
        let server = authority.gateway(&HostNames::loopback(), now).unwrap();
        let certs = Certs {
            roots: vec![certificate(&root)],
            chain: vec![certificate(&server)],
            key: key(&server),
        };
        House {
            authority,
            certs,
            server,
        }
    }

    impl House {
        fn operator(&self) -> CertificatePair {
            let role = Role::operator("alice").unwrap();
            self.authority.operator(&role, clock::now()).unwrap()
        }
    }

    fn certificate(pair: &CertificatePair) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
    }

    fn key(pair: &CertificatePair) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
    }

    struct Client<'a> {
        trusts: &'a House,
        version: &'static SupportedProtocolVersion,
        name: &'static str,
        shows: Option<&'a CertificatePair>,
    }

    impl<'a> Client<'a> {
        fn of(trusts: &'a House) -> Self {
            Self {
                trusts,
                version: &TLS13,
                name: "localhost",
                shows: None,
            }
        }

        fn connection(&self) -> ClientConnection {
            let mut roots = RootCertStore::empty();
            roots.add(self.trusts.certs.roots[0].clone()).unwrap();
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[self.version])
                .unwrap()
                .with_root_certificates(roots);
            let mut config = match self.shows {
                None => builder.with_no_client_auth(),
                Some(pair) => builder
                    .with_client_auth_cert(vec![certificate(pair)], key(pair))
                    .unwrap(),
            };
            config.alpn_protocols = vec![b"h2".to_vec()];
            ClientConnection::new(Arc::new(config), self.name.try_into().unwrap()).unwrap()
        }

        /// Hands bytes to and fro until both are done, or one refuses.
        fn handshake(
            &self,
            server: &House,
            clients: ClientCertificates,
        ) -> Result<ServerConnection, rustls::Error> {
            let config = grpc_server(&server.certs, clients).unwrap();
            let mut server = ServerConnection::new(Arc::new(config)).unwrap();
            let mut client = self.connection();
            while client.wants_write() || server.wants_write() {
                let mut bytes = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut bytes).unwrap();
                }
                let mut bytes = bytes.as_slice();
                while !bytes.is_empty() {
                    server.read_tls(&mut bytes).unwrap();
                    server.process_new_packets()?;
                }
                let mut bytes = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut bytes).unwrap();
                }
                let mut bytes = bytes.as_slice();
                while !bytes.is_empty() {
                    client.read_tls(&mut bytes).unwrap();
                    client.process_new_packets()?;
                }
            }
            assert!(!client.is_handshaking() && !server.is_handshaking());
            Ok(server)
        }
    }

    const OFF: ClientCertificates = ClientCertificates::Optional;
    const REQUIRED: ClientCertificates = ClientCertificates::Required;

    #[test]
    fn a_client_with_the_root_alone_gets_in_over_both_versions() {
        let house = house();
        for version in [&TLS12, &TLS13] {
            for name in ["localhost", "127.0.0.1", "::1"] {
                let client = Client {
                    version,
                    name,
                    ..Client::of(&house)
                };
                let server = client.handshake(&house, OFF).unwrap();
                assert_eq!(server.protocol_version(), Some(version.version));
                assert_eq!(server.alpn_protocol(), Some(b"h2".as_slice()));
                assert!(server.peer_certificates().is_none());
            }
        }
    }

    #[test]
    fn a_client_refuses_another_root_and_another_name() {
        let (ours, other) = (house(), house());
        assert!(Client::of(&other).handshake(&ours, OFF).is_err());
        let client = Client {
            name: "gate.example.org",
            ..Client::of(&ours)
        };
        assert!(client.handshake(&ours, OFF).is_err());
    }

    #[test]
    fn an_operator_gets_in_where_certificates_are_required() {
        let house = house();
        let operator = house.operator();
        for version in [&TLS12, &TLS13] {
            let client = Client {
                version,
                shows: Some(&operator),
                ..Client::of(&house)
            };
            let server = client.handshake(&house, REQUIRED).unwrap();
            let shown = server.peer_certificates().unwrap();
            assert_eq!(shown, [certificate(&operator)]);
        }
    }

    #[test]
    fn nobody_else_gets_in_where_certificates_are_required() {
        let (ours, other) = (house(), house());
        let stranger = other.operator();
        for version in [&TLS12, &TLS13] {
            let refused = |shows| {
                let client = Client {
                    version,
                    shows,
                    ..Client::of(&ours)
                };
                client.handshake(&ours, REQUIRED).unwrap_err()
            };
            assert_eq!(refused(None), rustls::Error::NoCertificatesPresented);
            assert!(matches!(
                refused(Some(&stranger)),
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
            ));
            // Under the root and fit for a client, but of another role.
            let error = refused(Some(&ours.server));
            let expected = CertificateError::ApplicationVerificationFailure;
            assert_eq!(error, expected.into());
        }
    }

    #[test]
    fn a_key_of_another_certificate_does_not_serve() {
        let mut mixed = house();
        mixed.certs.key = key(&house().server);
        let error = grpc_server(&mixed.certs, OFF).unwrap_err();
        assert!(error.to_string().contains("server_key.pem"), "{error}");
    }
}
