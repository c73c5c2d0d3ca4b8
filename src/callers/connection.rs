//! One client's connection: it holds its place as long as anything goes over it, and can be cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::callers::accept::{Newcomer, Place};
use crate::callers::client_certificate::ClientCertificate;
use crate::callers::peer::Peer;

/// What every HTTP/2 client says first.
pub const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is expected of a client after its TLS handshake.
#[derive(Clone, Copy, Debug)]
pub enum Speaks {
    /// HTTP/2, whatever it negotiated.
    Http2,
    /// HTTP/2 when it negotiated that.
    AsNegotiated,
}

/// Why a client was not secured.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    #[error("the handshake was not done in time")]
    Slow,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The bytes of a connection, also after it became a WebSocket.
pub struct Connection<S> {
    stream: S,
    peer: Peer,
    is_http2: bool,
    /// What was read of the client already and must be read again.
    preface: &'static [u8],
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
    _place: Place,
}

impl Newcomer {
    /// Its connection without TLS.
    pub fn plain(self, cut: &CancellationToken) -> Connection<TcpStream> {
        let peer = Peer {
            address: self.address,
            certificate: None,
        };
        Connection::new(self.stream, peer, self.place, cut)
    }

    /// Makes the handshake. Of a client that speaks HTTP/2 it also waits for the first words: hyper
    /// would wait for ever for one that says nothing more.
    ///
    /// # Errors
    /// [`SecureError`].
    pub async fn secure(
        self,
        tls: &TlsAcceptor,
        speaks: Speaks,
        deadline: Duration,
        cut: &CancellationToken,
    ) -> Result<Connection<TlsStream<TcpStream>>, SecureError> {
        let Self {
            stream,
            address,
            place,
            handshake: _handshake,
        } = self;
        let securing = async {
            let stream = tls.accept(stream).await?;
            let certificate = shown_certificate(&stream)?;
            let (_, session) = stream.get_ref();
            let is_http2 = match speaks {
                Speaks::Http2 => true,
                Speaks::AsNegotiated => session.alpn_protocol() == Some(b"h2"),
            };
            let peer = Peer {
                address,
                certificate,
            };
            let mut connection = Connection::new(stream, peer, place, cut);
            if is_http2 {
                connection.read_preface().await?;
            }
            Ok(connection)
        };
        let secured = tokio::time::timeout(deadline, securing).await;
        secured.map_err(|_| SecureError::Slow)?
    }
}

/// The certificate that a client showed in its handshake.
///
/// # Errors
/// When it does not parse, though TLS took it: nobody could say whose it is.
fn shown_certificate(stream: &TlsStream<TcpStream>) -> io::Result<Option<Arc<ClientCertificate>>> {
    let (_, session) = stream.get_ref();
    let Some(shown) = session.peer_certificates().and_then(<[_]>::first) else {
        return Ok(None);
    };
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "the certificate is unreadable");
    let certificate = ClientCertificate::read(shown).ok_or_else(unreadable)?;
    Ok(Some(Arc::new(certificate)))
}

impl<S> Connection<S> {
    fn new(stream: S, peer: Peer, place: Place, cut: &CancellationToken) -> Self {
        Self {
            stream,
            peer,
            is_http2: false,
            preface: &[],
            cut: Box::pin(cut.clone().cancelled_owned()),
            is_cut: false,
            _place: place,
        }
    }

    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the client has said that it speaks HTTP/2.
    pub const fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Ready with an error once the connection is cut. Every poll asks it, so that the cut wakes
    /// whatever the connection is waiting for.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.is_cut {
            ready!(self.cut.as_mut().poll(context));
            self.is_cut = true;
        }
        Poll::Ready(io::ErrorKind::ConnectionAborted.into())
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    async fn read_preface(&mut self) -> io::Result<()> {
        let mut preface = [0; PREFACE.len()];
        self.read_exact(&mut preface).await?;
        if preface != PREFACE {
            let kind = io::ErrorKind::InvalidData;
            return Err(io::Error::new(kind, "the client does not speak HTTP/2"));
        }
        self.preface = &PREFACE;
        self.is_http2 = true;
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        if !self.preface.is_empty() {
            let count = self.preface.len().min(buffer.remaining());
            let (now, later) = self.preface.split_at(count);
            buffer.put_slice(now);
            self.preface = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
