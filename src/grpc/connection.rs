//! One client's connection: TLS that is up, and can be cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::callers::client_certificate::ClientCertificate;
use crate::callers::peer::Peer;
use crate::grpc::stop::Stop;
use crate::metrics::Counted;

/// What every HTTP/2 client says first.
pub const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Makes the handshake and waits for a client that speaks HTTP/2: a peer that says nothing after its handshake would
/// otherwise keep a connection for ever.
pub async fn secure(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream).await?;
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if preface != PREFACE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client does not speak HTTP/2",
        ));
    }
    Ok(stream)
}

/// The certificate that a client showed in its handshake.
///
/// # Errors
/// When it does not parse, though TLS took it: nobody could say whose it is.
pub fn shown_certificate(
    stream: &TlsStream<TcpStream>,
) -> io::Result<Option<Arc<ClientCertificate>>> {
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let read = |der| {
        let unreadable =
            || io::Error::new(io::ErrorKind::InvalidData, "the certificate is unreadable");
        ClientCertificate::read(der)
            .map(Arc::new)
            .ok_or_else(unreadable)
    };
    shown.map(|der| read(der.as_ref())).transpose()
}

/// The place of a client among those that are connected.
pub type Slot = (OwnedSemaphorePermit, Counted);

/// What tonic reads and writes.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// What was read of the client already and must be read again.
    preface: &'static [u8],
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
    _slot: Slot,
}

impl Connection {
    /// A connection on which [`secure`] has ended well; `slot` is held until it is gone.
    pub fn new(stream: TlsStream<TcpStream>, peer: Peer, slot: Slot, mut cut: Stop) -> Self {
        Self {
            stream,
            peer,
            preface: &PREFACE,
            is_cut: false,
            cut: Box::pin(async move { cut.requested().await }),
            _slot: slot,
        }
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

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_cut(context) {
            return Poll::Ready(Err(error));
        }
        if !self.preface.is_empty() {
            let (now, later) = self
                .preface
                .split_at(self.preface.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.preface = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
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
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
