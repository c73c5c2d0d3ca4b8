//! Bytes between a socket and a session, without a buffer for each.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::link::listen::Incoming;
use crate::link::websocket::WebSocket;

/// The buffer that the sessions of a thread read into, in bytes.
const SCRATCH_LEN: usize = 64 * 1024;

thread_local! {
    pub static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LEN].into());
}

/// Fresh secret bytes from the operating system.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// The bytes of an open connection.
pub enum Stream {
    Tcp(TcpStream),
    WebSocket(Box<WebSocket>),
}

/// Takes an accepted connection over into the runtime of this thread.
pub fn adopt(stream: Incoming) -> io::Result<Stream> {
    match stream {
        Incoming::Tcp(stream) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(TcpStream::from_std(stream)?))
        }
        Incoming::WebSocket(stream) => Ok(Stream::WebSocket(stream)),
    }
}

impl Stream {
    /// The address of the gateway on this connection.
    pub fn local(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::WebSocket(stream) => stream.local(),
        }
    }

    /// Writes as much as the connection takes now, and has the task woken when it takes more.
    pub fn write(&mut self, bytes: &[u8], task: &mut task::Context<'_>) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.poll_write(&bytes[written..], task)? {
                Poll::Ready(count) => written += count,
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    fn poll_write(
        &mut self,
        bytes: &[u8],
        task: &mut task::Context<'_>,
    ) -> io::Result<Poll<usize>> {
        let written = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(task, bytes),
            Self::WebSocket(stream) => Pin::new(stream).poll_write(task, bytes),
        };
        Ok(match written {
            Poll::Ready(count) => Poll::Ready(count?),
            Poll::Pending => Poll::Pending,
        })
    }

    /// Sends on what was written and still waits inside; nothing does in TCP.
    pub fn flush(&mut self, task: &mut task::Context<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::WebSocket(stream) => match Pin::new(stream).poll_flush(task) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => Ok(()),
            },
        }
    }

    pub fn poll_shutdown(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(task),
            Self::WebSocket(stream) => Pin::new(stream).poll_shutdown(task),
        }
    }

    /// Reads once; pending until the task is woken when nothing is there.
    pub fn poll_read(
        &mut self,
        to: &mut [u8],
        task: &mut task::Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut to = ReadBuf::new(to);
        ready!(match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(task, &mut to),
            Self::WebSocket(stream) => Pin::new(stream).poll_read(task, &mut to),
        })?;
        Poll::Ready(Ok(to.filled().len()))
    }
}
