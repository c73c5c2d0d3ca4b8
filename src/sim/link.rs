//! The device end of a link, over TCP.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::link::noise::{Initiator, NoiseError, Responder, Transport};

/// The most ciphertext that one read takes. It lives on the stack of the reading function, so an
/// idle link has no buffer.
const READ_MAX: usize = 16 * 1024;

/// What secures a simulated device's link.
#[derive(Clone, Debug)]
pub enum Security {
    Plain,
    Aes(LinkKey),
}

/// Which end of the TCP connection this is: on an aes link who dialled speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Dialled,
    Accepted,
}

/// Why a link could not be made or went on no longer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the other end closed the connection")]
    Closed,
    #[error("the other end asks for key {0}, which this device does not have")]
    UnknownKey(crate::identity::KeyId),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Noise(#[from] NoiseError),
    #[error("no fresh key could be made: {0}")]
    Random(#[from] key_files::KeyFileError),
}

/// An open link. An idle one keeps the socket and, if it is encrypted, under 300 bytes.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    cipher: Option<Box<Transport>>,
    /// What came behind the handshake in the same packet, decrypted.
    early: Vec<u8>,
}

impl Link {
    /// Makes the handshake. It has no deadline of its own.
    ///
    /// # Errors
    /// Any [`LinkError`]; the connection is closed with it, without an answer.
    pub async fn open(
        stream: TcpStream,
        security: &Security,
        role: Role,
    ) -> Result<Self, LinkError> {
        let mut link = Self {
            stream,
            cipher: None,
            early: Vec::new(),
        };
        if let Security::Aes(key) = security {
            match role {
                Role::Dialled => link.initiate(key).await?,
                Role::Accepted => link.respond(key).await?,
            }
        }
        Ok(link)
    }

    /// Appends what the other end says to `plain`. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`LinkError::Closed`] at the end of the stream, or what broke it.
    pub async fn read(&mut self, plain: &mut Vec<u8>) -> Result<(), LinkError> {
        if !self.early.is_empty() {
            plain.append(&mut std::mem::take(&mut self.early));
            return Ok(());
        }
        loop {
            self.stream.readable().await?;
            match self.try_read(plain) {
                Err(LinkError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Sends `plain` whole. If the future is dropped the link must be dropped too: a record may
    /// have been cut.
    ///
    /// # Errors
    /// What broke the link.
    pub async fn write(&mut self, plain: &[u8]) -> Result<(), LinkError> {
        match &mut self.cipher {
            None => self.stream.write_all(plain).await?,
            Some(cipher) => {
                let mut records = Vec::new();
                cipher.encrypt(plain, &mut records)?;
                self.stream.write_all(&records).await?;
            }
        }
        Ok(())
    }

    fn try_read(&mut self, plain: &mut Vec<u8>) -> Result<(), LinkError> {
        let mut buffer = [0; READ_MAX];
        let count = self.stream.try_read(&mut buffer)?;
        let bytes = &buffer[..count];
        match &mut self.cipher {
            _ if count == 0 => return Err(LinkError::Closed),
            None => plain.extend_from_slice(bytes),
            Some(cipher) => cipher.decrypt(bytes, plain)?,
        }
        Ok(())
    }

    async fn initiate(&mut self, key: &LinkKey) -> Result<(), LinkError> {
        let (mut initiator, first) = Initiator::start(key, key_files::random()?)?;
        self.stream.write_all(&first).await?;
        let rest = receive_until(&self.stream, |input| initiator.read(input)).await?;
        self.establish(initiator.finish()?, &rest)
    }

    async fn respond(&mut self, key: &LinkKey) -> Result<(), LinkError> {
        let mut responder = Responder::new();
        let rest = receive_until(&self.stream, |input| responder.read(input)).await?;
        if let Some(asked) = responder.key_id().filter(|id| *id != key.id()) {
            return Err(LinkError::UnknownKey(asked));
        }
        let (transport, answer) = responder.respond(key, key_files::random()?)?;
        self.stream.write_all(&answer).await?;
        self.establish(transport, &rest)
    }

    fn establish(&mut self, mut transport: Transport, rest: &[u8]) -> Result<(), LinkError> {
        transport.decrypt(rest, &mut self.early)?;
        self.cipher = Some(Box::new(transport));
        Ok(())
    }
}

/// Feeds `read` until it has what it needs; answers with what it left over.
async fn receive_until(
    stream: &TcpStream,
    mut read: impl FnMut(&mut &[u8]) -> Result<bool, NoiseError>,
) -> Result<Vec<u8>, LinkError> {
    loop {
        stream.readable().await?;
        // A handshake message is 59 bytes at most.
        let mut buffer = [0; 128];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(count) => {
                let mut input = &buffer[..count];
                if read(&mut input)? {
                    return Ok(input.to_vec());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
