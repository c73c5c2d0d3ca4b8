//! The tls link: rustls as anyone would use it, both ends in memory.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};

/// A name in every certificate of a gateway.
const NAME: &str = "localhost";
/// Tickets that a client keeps; each handshake takes one and brings one.
const TICKETS_MAX: usize = 8;

/// Whether the handshakes are resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Resumed,
}

/// What both ends are made of.
pub(super) struct Ends {
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

impl Ends {
    /// # Errors
    /// When the roots do not serve.
    pub(super) fn new(server: ServerConfig, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            server: Arc::new(server),
            client,
        })
    }

    /// The rate of one thread. Only the server is timed.
    ///
    /// # Errors
    /// When a handshake fails, or is not of this kind.
    pub(super) fn answered_per_second(
        &self,
        kind: Kind,
        how_long: Duration,
    ) -> Result<f64, Box<dyn Error>> {
        let mut client = self.client.clone();
        client.resumption = match kind {
            Kind::Whole => Resumption::disabled(),
            Kind::Resumed => Resumption::in_memory_sessions(TICKETS_MAX),
        };
        let client = Arc::new(client);
        // The first one brings the first ticket.
        self.handshake(&client)?;
        let mut answered = 0;
        let mut taken = Duration::ZERO;
        while taken < how_long {
            let (done, time) = self.handshake(&client)?;
            if (done == Some(HandshakeKind::Resumed)) != (kind == Kind::Resumed) {
                return Err(format!("a handshake was {done:?}, not {kind:?}").into());
            }
            taken += time;
            answered += 1;
        }
        Ok(f64::from(answered) / taken.as_secs_f64())
    }

    /// One handshake, with the time that the server took for it.
    fn handshake(
        &self,
        client: &Arc<ClientConfig>,
    ) -> Result<(Option<HandshakeKind>, Duration), Box<dyn Error>> {
        let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from(NAME)?)?;
        let started = Instant::now();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        let mut taken = started.elapsed();
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() || server.is_handshaking() {
            while client.wants_write() {
                client.write_tls(&mut to_server)?;
            }
            let started = Instant::now();
            answer(&mut server, &to_server, &mut to_client)?;
            taken += started.elapsed();
            to_server.clear();
            let mut unread = to_client.as_slice();
            while !unread.is_empty() {
                client.read_tls(&mut unread)?;
                client.process_new_packets()?;
            }
            to_client.clear();
        }
        Ok((server.handshake_kind(), taken))
    }
}

fn answer(
    server: &mut ServerConnection,
    mut received: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    while !received.is_empty() {
        server.read_tls(&mut received)?;
        server.process_new_packets()?;
    }
    while server.wants_write() {
        server.write_tls(out)?;
    }
    Ok(())
}
