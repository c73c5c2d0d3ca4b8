//! Bytes of the connection to messages and back: what secures them, and which dialect they speak.

use std::sync::Arc;

use crate::cause::{Cause, CauseKind};
use crate::codec::dialect::{Dialect, Refusal, detect};
use crate::codec::error::DecodeError;
use crate::codec::frame::{FrameError, Split, split};
use crate::codec::message::Message;
use crate::codec::message::{decode, encode};
use crate::device::LinkKind;
use crate::identity::{DeviceCertificate, KeyId, KeyOwner};
use crate::link::noise::{Initiator, NoiseError, Responder, Transport};
use crate::link::tls::device::DeviceTls;
use crate::link::tls::error::TlsLinkError;
use crate::link::tls::hello::Hello;
use crate::link::tls::stream::TlsStream;
use crate::session::{KeyLookup, LiveTls};

/// The byte path of one session. Idle, it holds no buffer.
pub struct Wire {
    link: Link,
    /// The key that the aes link is made with, and whose it is.
    link_key: Option<(KeyId, KeyOwner)>,
    /// Fixed by the first frame of the device.
    dialect: Option<Dialect>,
    /// What was received, unsecured, and not decoded yet.
    received: Vec<u8>,
    /// How much of it is decoded.
    decoded: usize,
}

// What a plain or an established link does not need lies behind a box.
enum Link {
    Plain,
    /// Secured below the bytes that come here, by the TLS of the HTTP server.
    Secured,
    Responder(Box<Responder>),
    Initiator(Box<Initiator>),
    Aes(Box<Transport>),
    /// The server role until the first message of the peer is whole.
    Hello(Box<Hello>),
    Tls(Box<TlsStream>),
    /// Its handshake failed.
    Broken,
}

/// How far the bytes have brought the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    /// [`Wire::respond`] can compute the answer to the peer's first message.
    HandshakeReady,
    /// The link is up since this moment.
    Secured,
}

/// Why a peer is not listened to any further. Nothing of it is answered, but by the alert of TLS.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum WireError {
    #[error("link {0} is not active here")]
    UnknownKey(KeyId),
    #[error("{0}")]
    NotAes(&'static str),
    #[error("{0}")]
    Handshake(NoiseError),
    #[error("data came before the answer to the first message")]
    Early,
    #[error("{0}")]
    Record(NoiseError),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Body(#[from] DecodeError),
    #[error("{0}")]
    Tls(#[from] TlsLinkError),
    #[error("{0}")]
    Internal(NoiseError),
}

impl WireError {
    const fn kind(&self) -> CauseKind {
        match self {
            Self::UnknownKey(_) => CauseKind::UnknownKey,
            Self::NotAes(_) | Self::Handshake(_) | Self::Early => CauseKind::HandshakeFailed,
            Self::Record(_) | Self::Refused(_) | Self::Frame(_) | Self::Body(_) => {
                CauseKind::ProtocolError
            }
            Self::Tls(TlsLinkError::NotUp) | Self::Internal(_) => CauseKind::Internal,
            Self::Tls(TlsLinkError::Record(_)) => CauseKind::ProtocolError,
            Self::Tls(_) => CauseKind::HandshakeFailed,
        }
    }
}

impl From<WireError> for Cause {
    fn from(error: WireError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl Wire {
    pub const fn plain() -> Self {
        Self::new(Link::Plain, None)
    }

    /// The end of a connection whose bytes TLS protected on their way here.
    pub const fn secured() -> Self {
        Self::new(Link::Secured, None)
    }

    /// The end of an aes link that was accepted.
    pub fn responder() -> Self {
        Self::new(Link::Responder(Box::default()), None)
    }

    /// The end of an aes link that was dialled. Its first bytes go to `out`.
    ///
    /// # Errors
    /// [`WireError::UnknownKey`] when the key was withdrawn since the dial was ordered.
    pub fn initiator(
        key_id: KeyId,
        keys: &dyn KeyLookup,
        entropy: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        let (key, owner) = keys.find(key_id).ok_or(WireError::UnknownKey(key_id))?;
        let (initiator, first) = Initiator::start(&key, entropy).map_err(WireError::Internal)?;
        out.extend(first);
        let link = Link::Initiator(Box::new(initiator));
        Ok(Self::new(link, Some((key_id, owner))))
    }

    /// The end of a tls link where the device is the TLS client and speaks first.
    pub fn tls_server() -> Self {
        Self::new(Link::Hello(Box::default()), None)
    }

    /// The end of a tls link where the device is the TLS server. Its first bytes go to `out`.
    ///
    /// # Errors
    /// [`WireError::Tls`], which nothing from outside can cause.
    pub fn tls_client(tls: Arc<DeviceTls>, out: &mut Vec<u8>) -> Result<Self, WireError> {
        let stream = TlsStream::connect(tls, out)?;
        Ok(Self::new(Link::Tls(Box::new(stream)), None))
    }

    const fn new(link: Link, link_key: Option<(KeyId, KeyOwner)>) -> Self {
        Self {
            link,
            link_key,
            dialect: None,
            received: Vec::new(),
            decoded: 0,
        }
    }

    pub const fn kind(&self) -> LinkKind {
        match self.link {
            Link::Plain => LinkKind::Plain,
            Link::Responder(_) | Link::Initiator(_) | Link::Aes(_) | Link::Broken => LinkKind::Aes,
            Link::Secured | Link::Hello(_) | Link::Tls(_) => LinkKind::Tls,
        }
    }

    /// Whether messages go over it from the first byte on, without a handshake.
    pub const fn is_open(&self) -> bool {
        matches!(self.link, Link::Plain | Link::Secured)
    }

    /// The certificate that the tls link proved, with its DER.
    pub fn certificate(&self) -> Option<(&Arc<DeviceCertificate>, &[u8])> {
        match &self.link {
            Link::Tls(stream) => Some((stream.certificate()?, stream.certificate_der()?)),
            _ => None,
        }
    }

    /// Whether the peer has said, by TLS, that nothing more will come.
    pub fn peer_closed(&self) -> bool {
        matches!(&self.link, Link::Tls(stream) if stream.peer_closed())
    }

    pub const fn link_key(&self) -> Option<(KeyId, KeyOwner)> {
        self.link_key
    }

    /// Bytes that wait to be decoded.
    pub fn held(&self) -> usize {
        self.received.len() - self.decoded
    }

    #[cfg(test)]
    pub fn retained(&self) -> usize {
        let link = match &self.link {
            Link::Hello(hello) => hello.retained(),
            Link::Tls(stream) => stream.retained(),
            _ => 0,
        };
        self.received.capacity() + link
    }

    /// Takes bytes of the connection, cut anywhere. What the link itself has to say to them goes to
    /// `out`, also with an error.
    ///
    /// # Errors
    /// [`WireError`]; the link must not be used any more.
    pub fn receive(
        &mut self,
        mut bytes: &[u8],
        keys: &dyn KeyLookup,
        out: &mut Vec<u8>,
    ) -> Result<Progress, WireError> {
        match &mut self.link {
            Link::Plain | Link::Secured => self.received.extend_from_slice(bytes),
            Link::Aes(transport) => decrypt(transport, bytes, &mut self.received)?,
            Link::Responder(responder) => {
                let complete = read_first(responder, &mut bytes)?;
                if let (None, Some(id)) = (self.link_key, responder.key_id()) {
                    let (_, owner) = keys.find(id).ok_or(WireError::UnknownKey(id))?;
                    self.link_key = Some((id, owner));
                }
                return match (complete, bytes.is_empty()) {
                    (true, true) => Ok(Progress::HandshakeReady),
                    (true, false) => Err(WireError::Early),
                    (false, _) => Ok(Progress::More),
                };
            }
            Link::Initiator(initiator) => {
                if !initiator.read(&mut bytes).map_err(WireError::Handshake)? {
                    return Ok(Progress::More);
                }
                return self.finish(bytes);
            }
            Link::Hello(hello) => {
                let is_whole = hello.read(bytes)?;
                return Ok(if is_whole {
                    Progress::HandshakeReady
                } else {
                    Progress::More
                });
            }
            Link::Tls(stream) => {
                let was_up = stream.is_up();
                stream.receive(bytes, &mut self.received, out)?;
                if !was_up && stream.is_up() {
                    return Ok(Progress::Secured);
                }
            }
            Link::Broken => {}
        }
        Ok(Progress::More)
    }

    /// Computes the answer to the peer's first message. It goes to `out`, and so does what a peer
    /// with which the handshake failed must be told.
    ///
    /// # Errors
    /// [`WireError::Handshake`] and [`WireError::Tls`] when the message does not hold,
    /// [`WireError::UnknownKey`] when the key was withdrawn meanwhile.
    pub fn respond(
        &mut self,
        keys: &dyn KeyLookup,
        tls: &dyn LiveTls,
        entropy: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Progress, WireError> {
        match std::mem::replace(&mut self.link, Link::Broken) {
            Link::Responder(responder) => self.respond_aes(*responder, keys, entropy, out),
            Link::Hello(hello) => {
                let stream = TlsStream::accept(*hello, tls.current(), out)?;
                self.link = Link::Tls(Box::new(stream));
                Ok(Progress::More)
            }
            _ => Err(WireError::Internal(NoiseError::Broken)),
        }
    }

    fn respond_aes(
        &mut self,
        responder: Responder,
        keys: &dyn KeyLookup,
        entropy: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Progress, WireError> {
        let id = responder
            .key_id()
            .ok_or(WireError::Handshake(NoiseError::Incomplete))?;
        let (key, owner) = keys.find(id).ok_or(WireError::UnknownKey(id))?;
        let (transport, answer) = responder
            .respond(&key, entropy)
            .map_err(WireError::Handshake)?;
        self.link = Link::Aes(Box::new(transport));
        self.link_key = Some((id, owner));
        out.extend(answer);
        Ok(Progress::Secured)
    }

    /// The next message, if it is complete; its body may have up to `body_max` bytes. The first
    /// one fixes the dialect.
    ///
    /// # Errors
    /// [`WireError::Refused`] for a first frame that is no Connect, else that it is malformed.
    pub fn next(&mut self, body_max: usize) -> Result<Option<Message>, WireError> {
        let bytes = &self.received[self.decoded..];
        let dialect = match self.dialect {
            Some(dialect) => Some(dialect),
            None => detect(bytes)?,
        };
        let (Some(dialect), Split::Frame(frame)) = (dialect, split(bytes, body_max)?) else {
            self.forget_decoded();
            return Ok(None);
        };
        let message = decode(dialect, frame.message_type, &bytes[frame.body.clone()])?;
        self.dialect = Some(dialect);
        self.decoded += frame.body.end;
        Ok(Some(message))
    }

    /// Whether the peer speaks one of the dialects of 2020.
    pub fn is_2020(&self) -> bool {
        self.dialect.is_some_and(Dialect::is_2020)
    }

    /// A message as a frame of the peer's dialect.
    pub fn encode(&self, message: &Message) -> Vec<u8> {
        let mut frame = Vec::new();
        // Nothing is said before the Connect, which has fixed the dialect.
        if let Some(dialect) = self.dialect {
            encode(dialect, message, &mut frame);
        }
        frame
    }

    /// A frame as bytes of the connection.
    ///
    /// # Errors
    /// [`WireError::Internal`] when the link is not up or has used up its counters.
    pub fn seal(&mut self, frame: Vec<u8>) -> Result<Vec<u8>, WireError> {
        match &mut self.link {
            Link::Plain | Link::Secured => Ok(frame),
            Link::Aes(transport) => {
                let mut sealed = Vec::new();
                transport
                    .encrypt(&frame, &mut sealed)
                    .map_err(WireError::Internal)?;
                Ok(sealed)
            }
            Link::Tls(stream) => {
                let mut sealed = Vec::new();
                stream.encrypt(&frame, &mut sealed)?;
                Ok(sealed)
            }
            Link::Responder(_) | Link::Initiator(_) | Link::Hello(_) | Link::Broken => {
                Err(WireError::Internal(NoiseError::Broken))
            }
        }
    }

    /// The last frame as bytes of the connection, and after it what ends the link properly.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_last(&mut self, frame: Vec<u8>) -> Result<Vec<u8>, WireError> {
        let mut sealed = self.seal(frame)?;
        if let Link::Tls(stream) = &mut self.link {
            stream.close(&mut sealed)?;
        }
        Ok(sealed)
    }

    /// Verifies the answer to our first message; `rest` are records that came with it.
    fn finish(&mut self, rest: &[u8]) -> Result<Progress, WireError> {
        let Link::Initiator(initiator) = std::mem::replace(&mut self.link, Link::Broken) else {
            return Ok(Progress::More);
        };
        let mut transport = initiator.finish().map_err(WireError::Handshake)?;
        decrypt(&mut transport, rest, &mut self.received)?;
        self.link = Link::Aes(Box::new(transport));
        Ok(Progress::Secured)
    }

    fn forget_decoded(&mut self) {
        if self.held() == 0 {
            self.received = Vec::new();
        } else if self.decoded > 0 {
            self.received.drain(..self.decoded);
            // Of a large batch, only the begun frame at its end is kept.
            self.received.shrink_to_fit();
        }
        self.decoded = 0;
    }
}

/// A record that does not decrypt before the first one that does is a handshake that did not hold:
/// its first message may have been a replay.
fn decrypt(transport: &mut Transport, bytes: &[u8], to: &mut Vec<u8>) -> Result<(), WireError> {
    let was_proven = transport.is_proven();
    transport.decrypt(bytes, to).map_err(|error| {
        if was_proven {
            WireError::Record(error)
        } else {
            WireError::Handshake(error)
        }
    })
}

/// Tells apart, for whoever has to find out why a device does not get in, what else may knock.
fn read_first(responder: &mut Responder, bytes: &mut &[u8]) -> Result<bool, WireError> {
    responder.read(bytes).map_err(|error| match error {
        NoiseError::UnknownVersion(0x16) => {
            WireError::NotAes("a TLS handshake came on the aes link, TLS has a port of its own")
        }
        NoiseError::UnknownVersion(b'A'..=b'Z') => {
            WireError::NotAes("an HTTP request came on the aes link")
        }
        NoiseError::UnknownVersion(0x03 | 0x08) => {
            WireError::NotAes("an IOTMP Connect came in clear on the aes link")
        }
        error => WireError::Handshake(error),
    })
}
