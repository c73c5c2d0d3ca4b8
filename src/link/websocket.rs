//! IOTMP over a WebSocket, as stock devices speak it: a WebSocket as a stream of bytes.

pub mod frames;

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::Frames;

/// Finds the end of the first message in bytes that are to be sent; `None` when it is not whole.
pub type MessageEnd = fn(&[u8]) -> Option<usize>;

/// What carries a WebSocket.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// The server's end of a WebSocket after its upgrade.
///
/// What the peer sends is read as one stream, whatever its frames are. What is written leaves in one
/// binary frame for each message: some devices take a short read for a whole message.
pub struct WebSocket {
    carrier: Box<dyn Carrier>,
    local: Option<IpAddr>,
    frames: Frames,
    message_end: MessageEnd,
    /// The beginning of a message.
    partial: Vec<u8>,
    /// Frames that the carrier did not take yet.
    out: Vec<u8>,
    /// The carrier has taken something that it may still hold.
    unflushed: bool,
}

impl WebSocket {
    /// `local` is the address of the gateway on this connection, and `message_max` the largest
    /// message that is taken from the peer, in bytes.
    pub fn new(
        carrier: impl Carrier + 'static,
        local: Option<IpAddr>,
        message_max: usize,
        message_end: MessageEnd,
    ) -> Self {
        Self {
            carrier: Box::new(carrier),
            local,
            frames: Frames::new(message_max),
            message_end,
            partial: Vec::new(),
            out: Vec::new(),
            unflushed: false,
        }
    }

    pub const fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// Ready once the carrier has taken all frames.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.carrier).poll_write(context, &self.out))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.out.drain(..count);
        }
        self.out = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(end) = (self.message_end)(&self.partial[at..]) {
            let message = &self.partial[at..at + end];
            self.frames.message(message, &mut self.out);
            at += end;
        }
        if at == self.partial.len() {
            self.partial = Vec::new();
        } else {
            self.partial.drain(..at);
        }
    }

    /// What does not go now goes with the next flush.
    fn flush_now(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(self).poll_flush(context) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.frames.is_closed() {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.carrier).poll_read(context, buffer))?;
            let came = &mut buffer.filled_mut()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let received = this.frames.receive(came, &mut this.out);
            let sent = this.flush_now(context);
            let count = received
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            sent?;
            buffer.set_filled(before + count);
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        this.frame(bytes);
        this.flush_now(context)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        if this.unflushed {
            ready!(Pin::new(&mut this.carrier).poll_flush(context))?;
            this.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.frames.close(&mut this.out);
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.carrier).poll_shutdown(context)
    }
}
