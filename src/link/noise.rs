//! The aes link over byte slices: Noise `NNpsk0_25519_AESGCM_SHA256` under a link key.
//!
//! The initiator is who dialled. In clear it first sends 9 bytes, the version and the ID of the
//! key, which both sides bind as the prologue; then each side sends one handshake message without
//! payload, then transport records. Every message is preceded by its length, a big-endian u16.
//! The link is a byte stream: the cut of its records means nothing.
//!
//! ```text
//! initiator                              responder
//! 01 key ID(8) | 0030 message 1(48) ->
//!                                     <- 0030 message 2(48)
//! length(2) record(17..=65535)       <-> length(2) record(17..=65535)
//! ```

mod cipher;
mod transport;

use std::fmt;
use std::sync::LazyLock;

use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};

use self::cipher::{Resolver, TAG_LEN};
pub use self::transport::{RECORD_PLAIN_MAX, Transport};
use super::link_key::LinkKey;
use crate::identity::KeyId;

/// The version of the aes link, its first byte.
pub const VERSION: u8 = 1;

/// Version and key ID in clear.
const HELLO_LEN: usize = 9;
/// An ephemeral public key and the tag of an empty payload.
const HANDSHAKE_LEN: usize = 48;
const LENGTH_LEN: usize = 2;
const FRAMED_HANDSHAKE_LEN: usize = LENGTH_LEN + HANDSHAKE_LEN;
const HANDSHAKE_PREFIX: [u8; LENGTH_LEN] = [0, HANDSHAKE_LEN as u8];

/// Why an aes link ended; after any of these it must be closed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum NoiseError {
    #[error("link version {0} is unknown, this end speaks version {VERSION}")]
    UnknownVersion(u8),
    #[error("a handshake message is announced with another length than {HANDSHAKE_LEN} bytes")]
    HandshakeLength,
    #[error("the handshake message is not complete yet")]
    Incomplete,
    #[error("the handshake does not hold under key {0}, the other end has another key")]
    Handshake(KeyId),
    #[error("a record of {0} bytes is shorter than its tag of {TAG_LEN} bytes")]
    RecordLength(usize),
    #[error("a record does not decrypt, it was altered or replayed or made with another key")]
    Record,
    #[error("the link has failed or its record counter is used up, it must be dialled again")]
    Broken,
    #[error("the noise library refused its own parameters: {0}")]
    Setup(snow::Error),
}

/// The dialling end until the answer to its first message.
pub struct Initiator {
    key_id: KeyId,
    // A handshake state is over a kilobyte.
    handshake: Box<HandshakeState>,
    answer: Collected<FRAMED_HANDSHAKE_LEN>,
}

impl Initiator {
    /// Makes the first bytes to send: the 9 in clear and the framed first message.
    ///
    /// `entropy` becomes the ephemeral private key: fresh from a secure source for every call.
    ///
    /// # Errors
    /// [`NoiseError::Setup`] only, which nothing from outside can cause.
    pub fn start(key: &LinkKey, entropy: [u8; 32]) -> Result<(Self, Vec<u8>), NoiseError> {
        let key_id = key.id();
        let hello = hello(key_id);
        let mut handshake = builder(key, entropy, &hello)
            .and_then(Builder::build_initiator)
            .map_err(NoiseError::Setup)?;
        let mut first = hello.to_vec();
        first.extend(framed_message(&mut handshake)?);
        let initiator = Self {
            key_id,
            handshake: Box::new(handshake),
            answer: Collected::new(),
        };
        Ok((initiator, first))
    }

    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Takes what it needs off the front of `input`; true once the answer is complete. What then
    /// stays in `input` belongs to [`Transport::decrypt`]. Does no cryptography.
    ///
    /// # Errors
    /// [`NoiseError::HandshakeLength`] as soon as the announced length is wrong.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<bool, NoiseError> {
        self.answer.take_from(input);
        check_length(self.answer.bytes())?;
        Ok(self.answer.is_complete())
    }

    /// Verifies the answer. The other end has then shown the key freshly, so the transport counts
    /// its peer as proven from the start.
    ///
    /// # Errors
    /// [`NoiseError::Incomplete`] before [`Self::read`] said true, [`NoiseError::Handshake`] when
    /// the answer was not made with the key.
    pub fn finish(mut self) -> Result<Transport, NoiseError> {
        read_message(&mut self.handshake, &self.answer, 0, self.key_id)?;
        Transport::new(*self.handshake, true)
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// The accepting end until it has answered the first message. It keeps 59 bytes at most.
#[derive(Debug, Default)]
pub struct Responder {
    first: Collected<{ HELLO_LEN + FRAMED_HANDSHAKE_LEN }>,
}

impl Responder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what it needs off the front of `input`; true once the first message is complete, so
    /// that the handshake can be computed by [`Self::respond`]. Does no cryptography.
    ///
    /// # Errors
    /// [`NoiseError::UnknownVersion`] at the first byte, [`NoiseError::HandshakeLength`] as soon
    /// as the announced length is wrong.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<bool, NoiseError> {
        self.first.take_from(input);
        let bytes = self.first.bytes();
        if let Some(&version) = bytes.first()
            && version != VERSION
        {
            return Err(NoiseError::UnknownVersion(version));
        }
        check_length(bytes.get(HELLO_LEN..).unwrap_or_default())?;
        Ok(self.first.is_complete())
    }

    /// Which key the peer asks for, once the 9 bytes in clear are there. A peer that asks for an
    /// unknown one is closed without an answer.
    pub fn key_id(&self) -> Option<KeyId> {
        let id = self.first.bytes().get(1..HELLO_LEN)?;
        id.try_into().ok().map(KeyId)
    }

    /// Verifies the first message and makes the framed answer. The first message may be a replay:
    /// the peer is proven only once a transport record of it decrypts ([`Transport::is_proven`]).
    ///
    /// `entropy` becomes the ephemeral private key: fresh from a secure source for every call.
    ///
    /// # Errors
    /// [`NoiseError::Incomplete`] before [`Self::read`] said true, [`NoiseError::Handshake`] when
    /// the first message was not made with `key`; nothing is to be answered then.
    pub fn respond(
        self,
        key: &LinkKey,
        entropy: [u8; 32],
    ) -> Result<(Transport, Vec<u8>), NoiseError> {
        let key_id = key.id();
        let mut handshake = builder(key, entropy, &hello(key_id))
            .and_then(Builder::build_responder)
            .map_err(NoiseError::Setup)?;
        read_message(&mut handshake, &self.first, HELLO_LEN, key_id)?;
        let answer = framed_message(&mut handshake)?;
        Ok((Transport::new(handshake, false)?, answer))
    }
}

/// A message of known length that arrives in pieces.
#[derive(Debug)]
struct Collected<const LEN: usize> {
    bytes: [u8; LEN],
    filled: u8,
}

impl<const LEN: usize> Default for Collected<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LEN: usize> Collected<LEN> {
    const fn new() -> Self {
        assert!(LEN <= u8::MAX as usize, "its length is counted in a byte");
        Self {
            bytes: [0; LEN],
            filled: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.filled)]
    }

    fn is_complete(&self) -> bool {
        usize::from(self.filled) == LEN
    }

    fn take_from(&mut self, input: &mut &[u8]) {
        let free = &mut self.bytes[usize::from(self.filled)..];
        let (front, rest) = input.split_at(free.len().min(input.len()));
        free[..front.len()].copy_from_slice(front);
        self.filled += front.len() as u8;
        *input = rest;
    }
}

fn hello(key_id: KeyId) -> [u8; HELLO_LEN] {
    let mut hello = [VERSION; HELLO_LEN];
    hello[1..].copy_from_slice(&key_id.0);
    hello
}

fn builder<'a>(
    key: &'a LinkKey,
    entropy: [u8; 32],
    prologue: &'a [u8],
) -> Result<Builder<'a>, snow::Error> {
    static PATTERN: LazyLock<Result<NoiseParams, snow::Error>> =
        LazyLock::new(|| "Noise_NNpsk0_25519_AESGCM_SHA256".parse());
    let params = PATTERN.as_ref().map_err(|_| snow::Error::Input)?.clone();
    Builder::with_resolver(params, Box::new(Resolver { entropy }))
        .psk(0, key.as_bytes())?
        .prologue(prologue)
}

/// Compares what there is of an announced length with the only right one.
fn check_length(framed: &[u8]) -> Result<(), NoiseError> {
    let seen = framed.len().min(LENGTH_LEN);
    if framed[..seen] == HANDSHAKE_PREFIX[..seen] {
        Ok(())
    } else {
        Err(NoiseError::HandshakeLength)
    }
}

fn framed_message(handshake: &mut HandshakeState) -> Result<Vec<u8>, NoiseError> {
    let mut framed = vec![0; FRAMED_HANDSHAKE_LEN];
    let (length, message) = framed.split_at_mut(LENGTH_LEN);
    length.copy_from_slice(&HANDSHAKE_PREFIX);
    handshake
        .write_message(&[], message)
        .map_err(NoiseError::Setup)?;
    Ok(framed)
}

fn read_message<const LEN: usize>(
    handshake: &mut HandshakeState,
    collected: &Collected<LEN>,
    at: usize,
    key_id: KeyId,
) -> Result<(), NoiseError> {
    if !collected.is_complete() {
        return Err(NoiseError::Incomplete);
    }
    let message = &collected.bytes()[at + LENGTH_LEN..];
    match handshake.read_message(message, &mut []) {
        Ok(_) => Ok(()),
        Err(_) => Err(NoiseError::Handshake(key_id)),
    }
}

#[cfg(test)]
mod tests;
