//! The device end of a link, over TCP or a WebSocket.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::device::LinkKind;
use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::link::noise::{Initiator, NoiseError, Responder, Transport};
use crate::link::random::RandomError;
use crate::sim::tls::{self, Tls};
use crate::sim::websocket::WebSocket;

/// How long the end of a link may take to be said.
const FAREWELL: Duration = Duration::from_secs(1);

/// The most ciphertext that one read takes. It lives on the stack of the reading function, so an
/// idle link has no buffer.
const READ_MAX: usize = 16 * 1024;

/// What secures a simulated device's link.
#[derive(Clone, Debug)]
pub enum Security {
    Plain,
    Aes(LinkKey),
    Tls(Tls),
}

impl Security {
    pub const fn kind(&self) -> LinkKind {
        match self {
            Self::Plain => LinkKind::Plain,
            Self::Aes(_) => LinkKind::Aes,
            Self::Tls(_) => LinkKind::Tls,
        }
    }
}

/// Which end of the TCP connection this is: on an aes link who dialled speaks first. On a tls link
/// the device is the client on both ends, unless it is turned round.
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
    /// Why TLS failed, in words.
    #[error("{0}")]
    Tls(String),
    /// Why no WebSocket came about, or went on, in words.
    #[error("the WebSocket failed: {0}")]
    WebSocket(String),
    #[error("no fresh key could be made: {0}")]
    Random(#[from] RandomError),
}

/// An open link. An idle one keeps the socket and, on an aes link, under 300 bytes; on a tls link
/// some 7 KB, most of which is the buffer of rustls.
#[derive(Debug)]
pub struct Link {
    path: Path,
    /// What came behind the handshake in the same packet, decrypted.
    early: Vec<u8>,
}

#[derive(Debug)]
enum Path {
    Plain(TcpStream),
    Aes(TcpStream, Box<Transport>),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocket>, &'static str),
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
        match (security, role) {
            (Security::Plain, _) => Ok(Self::new(Path::Plain(stream))),
            (Security::Aes(key), Role::Dialled) => initiate(stream, key).await,
            (Security::Aes(key), Role::Accepted) => respond(stream, key).await,
            (Security::Tls(tls), role) => Ok(Self::new(Path::Tls(
                secure(stream, tls, role).await.map_err(told)?,
            ))),
        }
    }

    /// Makes the handshakes of a WebSocket, over a connection that this end dialled. They have no
    /// deadline of their own.
    ///
    /// # Errors
    /// Any [`LinkError`]; the connection is closed with it.
    pub async fn open_websocket(stream: TcpStream, security: &Security) -> Result<Self, LinkError> {
        let host = stream.peer_addr()?.to_string();
        let (socket, kind) = match security {
            Security::Plain => (WebSocket::open(Box::new(stream), &host).await?, "websocket"),
            Security::Tls(tls) => {
                let stream = secure(stream, tls, Role::Dialled).await.map_err(told)?;
                (WebSocket::open(stream, &host).await?, "websocket, tls")
            }
            Security::Aes(_) => {
                let why = "it carries no aes link".to_owned();
                return Err(LinkError::WebSocket(why));
            }
        };
        Ok(Self::new(Path::WebSocket(Box::new(socket), kind)))
    }

    /// What secures it, in a few words: `tls 1.3, resumed`.
    pub fn kind(&self) -> &'static str {
        match &self.path {
            Path::WebSocket(_, kind) => kind,
            Path::Plain(_) => "plain",
            Path::Aes(..) => "aes",
            Path::Tls(stream) => kind_of(stream),
        }
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
        let before = plain.len();
        while plain.len() == before {
            poll_fn(|context| self.poll_read(context, plain)).await?;
        }
        Ok(())
    }

    /// Sends `plain` whole. If the future is dropped the link must be dropped too: a record may
    /// have been cut.
    ///
    /// # Errors
    /// What broke the link.
    pub async fn write(&mut self, plain: &[u8]) -> Result<(), LinkError> {
        match &mut self.path {
            Path::Plain(stream) => stream.write_all(plain).await?,
            Path::Aes(stream, cipher) => {
                let mut records = Vec::new();
                cipher.encrypt(plain, &mut records)?;
                stream.write_all(&records).await?;
            }
            Path::Tls(stream) => {
                stream.write_all(plain).await.map_err(told)?;
                stream.flush().await.map_err(told)?;
            }
            Path::WebSocket(socket, _) => socket.write(plain).await?,
        }
        Ok(())
    }

    /// Ends the link: on tls and WebSockets the other end is told so, if it listens.
    pub async fn close(self) {
        // Whoever does not take it finds the end of the stream.
        let _ = match self.path {
            Path::Tls(mut stream) => timeout(FAREWELL, stream.shutdown()).await,
            Path::WebSocket(socket, _) => timeout(FAREWELL, socket.close()).await,
            Path::Plain(_) | Path::Aes(..) => return,
        };
    }

    const fn new(path: Path) -> Self {
        Self {
            path,
            early: Vec::new(),
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
    ) -> Poll<Result<(), LinkError>> {
        let mut buffer = [MaybeUninit::uninit(); READ_MAX];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        let read = match &mut self.path {
            Path::Plain(stream) | Path::Aes(stream, _) => {
                Pin::new(stream).poll_read(context, &mut buffer)
            }
            Path::Tls(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Path::WebSocket(socket, _) => return socket.poll_read(context, plain),
        };
        ready!(read).map_err(told)?;
        let bytes = buffer.filled();
        match &mut self.path {
            _ if bytes.is_empty() => return Poll::Ready(Err(LinkError::Closed)),
            Path::Plain(_) | Path::Tls(_) | Path::WebSocket(..) => plain.extend_from_slice(bytes),
            Path::Aes(_, cipher) => cipher.decrypt(bytes, plain)?,
        }
        Poll::Ready(Ok(()))
    }
}

async fn initiate(mut stream: TcpStream, key: &LinkKey) -> Result<Link, LinkError> {
    let (mut initiator, first) = Initiator::start(key, key_files::random()?)?;
    stream.write_all(&first).await?;
    let rest = receive_until(&stream, |input| initiator.read(input)).await?;
    established(stream, initiator.finish()?, &rest)
}

async fn respond(mut stream: TcpStream, key: &LinkKey) -> Result<Link, LinkError> {
    let mut responder = Responder::new();
    let rest = receive_until(&stream, |input| responder.read(input)).await?;
    if let Some(asked) = responder.key_id().filter(|id| *id != key.id()) {
        return Err(LinkError::UnknownKey(asked));
    }
    let (transport, answer) = responder.respond(key, key_files::random()?)?;
    stream.write_all(&answer).await?;
    established(stream, transport, &rest)
}

fn established(
    stream: TcpStream,
    mut transport: Transport,
    rest: &[u8],
) -> Result<Link, LinkError> {
    let mut early = Vec::new();
    transport.decrypt(rest, &mut early)?;
    Ok(Link {
        path: Path::Aes(stream, Box::new(transport)),
        early,
    })
}

async fn secure(stream: TcpStream, tls: &Tls, role: Role) -> io::Result<Box<TlsStream<TcpStream>>> {
    let secured = match tls.server().filter(|_| role == Role::Accepted) {
        Some(server) => TlsAcceptor::from(server.clone())
            .accept(stream)
            .await
            .map(TlsStream::Server),
        None => TlsConnector::from(tls.client().clone())
            .connect(Tls::server_name(), stream)
            .await
            .map(TlsStream::Client),
    };
    secured.map(Box::new)
}

fn kind_of(stream: &TlsStream<TcpStream>) -> &'static str {
    let (_, state) = stream.get_ref();
    let is_resumed = state.handshake_kind() == Some(HandshakeKind::Resumed);
    let is_1_3 = state.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    match (is_1_3, is_resumed) {
        (false, false) => "tls 1.2",
        (false, true) => "tls 1.2, resumed",
        (true, false) => "tls 1.3",
        (true, true) => "tls 1.3, resumed",
    }
}

/// What is wrong with TLS comes wrapped in what is wrong with the stream.
fn told(error: io::Error) -> LinkError {
    // So ends a stream without the words that TLS has for its end.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return LinkError::Closed;
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(failure) => LinkError::Tls(tls::words(failure)),
        None => LinkError::Io(error),
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
