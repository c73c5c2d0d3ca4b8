//! The tls link over byte slices, in both roles: rustls without buffers of its own, so that an idle
//! link keeps none.
//!
//! What rustls draws of randomness it draws itself; all else is as the bytes say.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, HandshakeKind};

use super::certificate::device_certificate;
use super::device::DeviceTls;
use super::error::TlsLinkError;
use super::hello::{HANDSHAKE, Hello, check_first_byte};
use crate::identity::DeviceCertificate;

/// The most bytes of the peer that wait for the rest of their record or handshake message: the
/// largest record of TLS 1.2 with its header.
pub const HELD_MAX: usize = RECORD_HEADER_LEN + RECORD_MAX;

pub(super) const RECORD_HEADER_LEN: usize = 5;
pub(super) const RECORD_MAX: usize = 16_384 + 2048;
const PLAIN_MAX: usize = 16_384;
/// What a record adds to its plaintext is less.
const RECORD_OVERHEAD: usize = 64;

const ALERT: u8 = 0x15;

/// A tls link from the first computation on. It keeps at most one record or handshake message that
/// has not arrived whole, [`HELD_MAX`] bytes; idle nothing beside what rustls needs, about 3.3 KB and
/// the peer's certificate.
pub struct TlsStream {
    connection: Connection,
    /// What rustls has not taken yet: a begun record.
    incoming: Vec<u8>,
    /// By what the handshake is judged; none once it has been.
    handshake: Option<Arc<DeviceTls>>,
    certificate: Option<Arc<DeviceCertificate>>,
    has_heard: bool,
    /// Something was said over the link: what fails now is no handshake any more.
    has_spoken: bool,
    peer_closed: bool,
    broken: bool,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Connection {
    fn is_handshaking(&self) -> bool {
        match self {
            Self::Server(server) => server.is_handshaking(),
            Self::Client(client) => client.is_handshaking(),
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Self::Server(server) => server.wants_write(),
            Self::Client(client) => client.wants_write(),
        }
    }

    fn is_resumed(&self) -> bool {
        let kind = match self {
            Self::Server(server) => server.handshake_kind(),
            Self::Client(client) => client.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    fn shown(&self) -> &[CertificateDer<'static>] {
        let shown = match self {
            Self::Server(server) => server.peer_certificates(),
            Self::Client(client) => client.peer_certificates(),
        };
        shown.unwrap_or_default()
    }
}

/// What is to be done once rustls lets us write.
enum Ask<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

enum Step {
    Again,
    PeerClosed,
    /// Nothing is left to do before the peer says more.
    Blocked,
}

impl TlsStream {
    /// The server role: answers a whole ClientHello. Bytes for the peer go to `out`, also with an
    /// error: they tell it why.
    ///
    /// # Errors
    /// [`TlsLinkError`].
    pub fn accept(
        hello: Hello,
        tls: Arc<DeviceTls>,
        out: &mut Vec<u8>,
    ) -> Result<Self, TlsLinkError> {
        let server =
            UnbufferedServerConnection::new(tls.server()).map_err(TlsLinkError::Handshake)?;
        let mut stream = Self::new(Connection::Server(server), tls);
        // Nothing can be said in the first flight but the handshake.
        stream.receive(&hello.received, &mut Vec::new(), out)?;
        Ok(stream)
    }

    /// The client role: says the ClientHello.
    ///
    /// # Errors
    /// [`TlsLinkError`], which nothing from outside can cause.
    pub fn connect(tls: Arc<DeviceTls>, out: &mut Vec<u8>) -> Result<Self, TlsLinkError> {
        // Neither sent nor verified: a device has no host name.
        let name = ServerName::try_from("device").map_err(|_| TlsLinkError::NotUp)?;
        let client =
            UnbufferedClientConnection::new(tls.client(), name).map_err(TlsLinkError::Handshake)?;
        let mut stream = Self::new(Connection::Client(client), tls);
        stream.pump(&mut Ask::Nothing, &mut Vec::new(), out)?;
        Ok(stream)
    }

    const fn new(connection: Connection, tls: Arc<DeviceTls>) -> Self {
        Self {
            connection,
            incoming: Vec::new(),
            handshake: Some(tls),
            certificate: None,
            has_heard: false,
            has_spoken: false,
            peer_closed: false,
            broken: false,
        }
    }

    /// Whether the handshake is over and was judged good.
    pub const fn is_up(&self) -> bool {
        self.handshake.is_none() && !self.broken
    }

    /// Whether the peer has said that nothing more will come.
    pub const fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The certificate that the handshake proved, if the device showed one.
    pub const fn certificate(&self) -> Option<&Arc<DeviceCertificate>> {
        self.certificate.as_ref()
    }

    /// The same in DER.
    pub fn certificate_der(&self) -> Option<&[u8]> {
        self.certificate.as_ref()?;
        self.connection.shown().first().map(|der| &**der)
    }

    /// The memory of what has not arrived whole, in bytes.
    pub const fn retained(&self) -> usize {
        self.incoming.capacity()
    }

    /// Takes bytes cut anywhere. Appends what the peer said to `plain`, once the handshake was
    /// judged good and not before, and what it must be told to `out`, also with an error.
    ///
    /// # Errors
    /// [`TlsLinkError`].
    pub fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsLinkError> {
        if let (false, Some(&first)) = (self.has_heard, bytes.first()) {
            check_first_byte(first, &[HANDSHAKE, ALERT])?;
            self.has_heard = true;
        }
        self.incoming.extend_from_slice(bytes);
        self.pump(&mut Ask::Nothing, plain, out)?;
        if self.incoming.len() > HELD_MAX {
            return Err(TlsLinkError::TooLong);
        }
        Ok(())
    }

    /// Appends `plain` to `out` as records.
    ///
    /// # Errors
    /// [`TlsLinkError::NotUp`] before the handshake and when the keys are used up.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsLinkError> {
        self.say(Ask::Encrypt(plain), out)
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// As [`Self::encrypt`].
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), TlsLinkError> {
        self.say(Ask::Close, out)
    }

    fn say(&mut self, mut ask: Ask<'_>, out: &mut Vec<u8>) -> Result<(), TlsLinkError> {
        // What came was taken by `receive`: there is nothing to read.
        self.pump(&mut ask, &mut Vec::new(), out)?;
        match ask {
            Ask::Nothing => Ok(()),
            Ask::Encrypt(_) | Ask::Close => Err(TlsLinkError::NotUp),
        }
    }

    /// Lets rustls work until it waits for the peer. After an error it may still have an alert to
    /// send.
    fn pump(
        &mut self,
        ask: &mut Ask<'_>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsLinkError> {
        if self.broken {
            return Err(TlsLinkError::NotUp);
        }
        let before = plain.len();
        let mut taken = 0;
        let result = self.work(ask, &mut taken, plain, out);
        if let Err(error) = &result {
            self.broken = true;
            self.tell_why(error, &mut taken, out);
            plain.truncate(before);
        }
        self.has_spoken |= plain.len() > before;
        self.forget(taken);
        result.map_err(|error| match error {
            TlsLinkError::Handshake(error) if self.has_spoken => TlsLinkError::Record(error),
            error => error,
        })
    }

    fn work(
        &mut self,
        ask: &mut Ask<'_>,
        taken: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsLinkError> {
        let before = plain.len();
        loop {
            let step = self.turn(ask, taken, plain, out)?;
            self.peer_closed |= matches!(step, Step::PeerClosed);
            self.judge(plain.len() > before)?;
            if let Step::Blocked = step {
                return Ok(());
            }
        }
    }

    fn turn(
        &mut self,
        ask: &mut Ask<'_>,
        taken: &mut usize,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Step, TlsLinkError> {
        let incoming = &mut self.incoming[*taken..];
        let (discard, step) = match &mut self.connection {
            Connection::Server(server) => {
                step(server.process_tls_records(incoming), ask, plain, out)
            }
            Connection::Client(client) => {
                step(client.process_tls_records(incoming), ask, plain, out)
            }
        };
        *taken += discard;
        step
    }

    /// Sends the alert of rustls; a handshake that was good for rustls and not for us ends with a
    /// plain end. What more came is dropped.
    fn tell_why(&mut self, error: &TlsLinkError, taken: &mut usize, out: &mut Vec<u8>) {
        let dropped = &mut Vec::new();
        if let TlsLinkError::Resumed(_) = error {
            self.handshake = None;
            // It is on its way out already.
            let _ = self.work(&mut Ask::Close, taken, dropped, out);
            return;
        }
        // No further: rustls would look at the same record again.
        while self.connection.wants_write() {
            if self.turn(&mut Ask::Nothing, taken, dropped, out).is_err() {
                break;
            }
        }
    }

    /// Judges the handshake once it is over, before anything that came after it is heard.
    fn judge(&mut self, has_plain: bool) -> Result<(), TlsLinkError> {
        let Some(tls) = &self.handshake else {
            return Ok(());
        };
        if self.connection.is_handshaking() {
            return if has_plain {
                Err(TlsLinkError::Handshake(Error::HandshakeNotComplete))
            } else {
                Ok(())
            };
        }
        let shown = self.connection.shown();
        if self.connection.is_resumed() {
            tls.verify_resumed(shown).map_err(TlsLinkError::Resumed)?;
        }
        if let Some(leaf) = shown.first() {
            self.certificate = Some(Arc::new(device_certificate(leaf)?));
        }
        self.handshake = None;
        Ok(())
    }

    fn forget(&mut self, taken: usize) {
        if taken == self.incoming.len() {
            self.incoming = Vec::new();
        } else if taken > 0 {
            self.incoming.drain(..taken);
            self.incoming.shrink_to_fit();
        }
    }
}

/// Carries out what rustls asks for.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    ask: &mut Ask<'_>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, TlsLinkError>) {
    let UnbufferedStatus { discard, state } = status;
    let step = match state {
        Ok(state) => carry_out(state, ask, plain, out),
        Err(error) => Err(TlsLinkError::Handshake(error)),
    };
    (discard, step)
}

fn carry_out<Data>(
    state: ConnectionState<'_, '_, Data>,
    ask: &mut Ask<'_>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Step, TlsLinkError> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                plain.extend_from_slice(record.map_err(TlsLinkError::Record)?.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut data) => {
            append(out, 0, |room| match data.encode(room) {
                Ok(length) => Ok(length),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            })?;
        }
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::PeerClosed => return Ok(Step::PeerClosed),
        ConnectionState::WriteTraffic(mut traffic) => match std::mem::replace(ask, Ask::Nothing) {
            Ask::Nothing => return Ok(Step::Blocked),
            Ask::Encrypt(data) => {
                let records = data.len() / PLAIN_MAX + 1;
                let room = data.len() + records * RECORD_OVERHEAD;
                append(out, room, |room| {
                    traffic.encrypt(data, room).map_err(insufficient)
                })?;
            }
            Ask::Close => append(out, RECORD_OVERHEAD, |room| {
                traffic.queue_close_notify(room).map_err(insufficient)
            })?,
        },
        // Early data is never offered.
        ConnectionState::BlockedHandshake
        | ConnectionState::Closed
        | ConnectionState::ReadEarlyData(_) => return Ok(Step::Blocked),
        _ => return Err(TlsLinkError::NotUp),
    }
    Ok(Step::Again)
}

fn insufficient(error: EncryptError) -> Option<InsufficientSizeError> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Appends what `write` writes into the room that it is given, with more room if it asks for it.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), TlsLinkError> {
    let start = out.len();
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(length) => {
                out.truncate(start + length);
                return Ok(());
            }
            Err(Some(size)) if size.required_size > room => room = size.required_size,
            Err(_) => {
                out.truncate(start);
                return Err(TlsLinkError::NotUp);
            }
        }
    }
}

#[cfg(test)]
mod tests;
