//! Bytes between a socket and a session, without a buffer for each.

use std::cell::RefCell;
use std::io;
use std::task::{self, Poll, ready};

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::net::TcpStream;

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

/// Takes an accepted socket over into the runtime of this thread.
pub fn adopt(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// Writes as much as the socket takes now, and has the task woken when it takes more.
pub fn write(stream: &TcpStream, bytes: &[u8], task: &mut task::Context<'_>) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() && stream.poll_write_ready(task)?.is_ready() {
        match stream.try_write(&bytes[written..]) {
            Ok(count) => written += count,
            // The readiness was stale; the next poll says when to go on.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Reads once; pending until the task is woken when nothing is there.
pub fn poll_read(
    stream: &TcpStream,
    to: &mut [u8],
    task: &mut task::Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(task))?;
        match stream.try_read(to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read),
        }
    }
}
