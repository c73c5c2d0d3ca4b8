//! The server end of a link as anyone would make it: on tls it is tokio-rustls.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::link::link_key::LinkKey;
use crate::sim::link::{Link, LinkError, Role, Security};

/// The most that one read takes. It lives on the stack, so an idle link has no buffer of ours.
const READ_MAX: usize = 2048;

/// What secures it.
#[derive(Clone)]
pub(super) enum BareSecurity {
    Plain,
    Aes(LinkKey),
    Tls(Arc<ServerConfig>),
}

/// An open link.
pub(super) enum BareLink {
    /// The end that dialled and the one that accepted are made of the same.
    Simulated(Link),
    Tls(Box<TlsStream<TcpStream>>),
}

impl BareLink {
    /// Makes the handshake.
    ///
    /// # Errors
    /// What ends the link.
    pub(super) async fn open(stream: TcpStream, security: BareSecurity) -> Result<Self, LinkError> {
        let security = match security {
            BareSecurity::Plain => Security::Plain,
            BareSecurity::Aes(key) => Security::Aes(key),
            BareSecurity::Tls(config) => {
                let stream = TlsAcceptor::from(config).accept(stream).await?;
                return Ok(Self::Tls(Box::new(stream)));
            }
        };
        let link = Link::open(stream, &security, Role::Accepted).await?;
        Ok(Self::Simulated(link))
    }

    /// Appends what the other end says to `plain`.
    ///
    /// # Errors
    /// What ends the link.
    pub(super) async fn read(&mut self, plain: &mut Vec<u8>) -> Result<(), LinkError> {
        match self {
            Self::Simulated(link) => link.read(plain).await,
            Self::Tls(stream) => match poll_fn(|task| poll_read(stream, plain, task)).await? {
                0 => Err(LinkError::Closed),
                _ => Ok(()),
            },
        }
    }

    /// Sends `plain` whole.
    ///
    /// # Errors
    /// What ends the link.
    pub(super) async fn write(&mut self, plain: &[u8]) -> Result<(), LinkError> {
        match self {
            Self::Simulated(link) => link.write(plain).await,
            Self::Tls(stream) => {
                stream.write_all(plain).await?;
                Ok(stream.flush().await?)
            }
        }
    }
}

fn poll_read(
    stream: &mut TlsStream<TcpStream>,
    plain: &mut Vec<u8>,
    task: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut buffer = [0; READ_MAX];
    let mut buffer = ReadBuf::new(&mut buffer);
    ready!(Pin::new(stream).poll_read(task, &mut buffer))?;
    plain.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}
