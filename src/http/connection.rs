//! One client's connection: it holds its place as long as anything goes over it, and can be cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::metrics::Counted;

/// The place of a client among those that are connected.
pub type Place = (OwnedSemaphorePermit, Counted);

/// What every HTTP/2 client says first.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of a connection, also after it became a WebSocket.
pub struct Connection<S> {
    stream: S,
    /// What was read of the client already and must be read again.
    preface: &'static [u8],
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
    _place: Place,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `place` is held until the connection is gone.
    pub fn new(stream: S, place: Place, cut: &CancellationToken) -> Self {
        Self {
            stream,
            preface: &[],
            is_cut: false,
            cut: Box::pin(cut.clone().cancelled_owned()),
            _place: place,
        }
    }

    /// Waits for a client that speaks HTTP/2: hyper would wait for ever.
    ///
    /// # Errors
    /// When it speaks something else, or closes.
    pub async fn read_preface(&mut self) -> io::Result<()> {
        let mut preface = [0; PREFACE.len()];
        self.read_exact(&mut preface).await?;
        if preface != PREFACE {
            let kind = io::ErrorKind::InvalidData;
            return Err(io::Error::new(kind, "the client does not speak HTTP/2"));
        }
        self.preface = &PREFACE;
        Ok(())
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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
