//! A bare TLS device, for what the simulator does not do: it shows which certificate and which
//! ticket it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::PATIENCE;

/// What a device shows.
#[derive(Clone)]
pub struct Shown {
    pub certificate: String,
    pub key: String,
}

/// One device. It remembers tickets, so that its next connection resumes.
pub struct Device {
    id: u32,
    config: Arc<ClientConfig>,
}

/// A session that is up for as long as this lives.
pub struct Up {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Device {
    pub fn new(
        id: u32,
        roots: &str,
        shown: &Shown,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            store.add(root.expect("a certificate")).expect("a root");
        }
        let chain = CertificateDer::pem_slice_iter(shown.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("a key");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("the version fits")
            .with_root_certificates(store)
            .with_client_auth_cert(chain, key)
            .expect("the key fits");
        config.resumption = Resumption::in_memory_sessions(8);
        Self {
            id,
            config: Arc::new(config),
        }
    }

    /// Dials, and says its Connect.
    ///
    /// # Errors
    /// When it is not let in, by TLS or by the gateway.
    pub fn connect(&self, to: SocketAddr) -> Result<Up, String> {
        let failed = |error: std::io::Error| error.to_string();
        let socket = TcpStream::connect(to).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let name = "localhost".try_into().expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.config), name).expect("a client");
        let mut stream = StreamOwned::new(tls, socket);
        stream.write_all(&self.connect_frame()).map_err(failed)?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).map_err(failed)?;
        if answer == [0x01, 0x02, 0x08, 0x2a] {
            Ok(Up { stream })
        } else {
            Err(format!("the Connect was answered with {answer:02x?}"))
        }
    }

    /// No owner and no credential, on stream 42.
    fn connect_frame(&self) -> Vec<u8> {
        let id = self.id.to_string();
        let length = u8::try_from(id.len()).expect("short");
        let mut frame = vec![0x03, length + 7, 0x1a, 0xe3, 0x80, 0x80 | length];
        frame.extend(id.as_bytes());
        frame.extend([0x80, 0x08, 0x2a]);
        frame
    }
}

impl Up {
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the gateway showed.
    pub fn gateway(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().expect("a chain");
        chain[0].clone().into_owned()
    }

    /// Reads on until the gateway closes.
    pub fn until_closed(mut self) {
        let mut rest = Vec::new();
        // However it ends, it ends.
        let _ = self.stream.read_to_end(&mut rest);
    }
}
