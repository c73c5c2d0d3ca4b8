//! Devices that do not begin as they should.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::conversation::CLOSED;
use crate::link::key_files;
use crate::link::noise::Initiator;
use crate::sim::device::garbage;
use crate::sim::link::{LinkError, Role, Security};
use crate::sim::spec::{Opening, Spec};

/// What it says in place of a proper beginning; `None` where it begins properly.
pub(super) fn first_bytes(
    spec: &Spec,
    security: &Security,
    role: Role,
    seed: u64,
) -> Option<Vec<u8>> {
    match spec.opening {
        Opening::Proper => None,
        Opening::Silence => Some(Vec::new()),
        Opening::Garbage => Some(garbage(seed)),
        Opening::Half => Some(half_of_the_first_message(security, role)),
    }
}

/// Says this much and no more, whatever the other end says.
pub(super) async fn say_and_wait(mut stream: TcpStream, bytes: &[u8]) -> String {
    if stream.write_all(bytes).await.is_err() {
        return CLOSED.to_owned();
    }
    loop {
        let mut ignored = [0; 1024];
        let read = match stream.readable().await {
            Ok(()) => stream.try_read(&mut ignored),
            Err(error) => Err(error),
        };
        match read {
            Ok(0) => return CLOSED.to_owned(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return LinkError::Io(error).to_string(),
        }
    }
}

/// The beginning of what this end would say first: on an aes link the 9 bytes in clear and a part
/// of its handshake message, on a tls link a part of a Client Hello, on a plain one of a Connect.
fn half_of_the_first_message(security: &Security, role: Role) -> Vec<u8> {
    const CONNECT_CUT: [u8; 6] = [0x03, 0x20, 0x08, 0x05, 0x1a, 0xe3];
    /// A handshake record of 250 bytes that holds a Client Hello of 246, version 1.2.
    const CLIENT_HELLO_CUT: [u8; 11] = [22, 3, 1, 0, 250, 1, 0, 0, 246, 3, 3];
    const CLEAR_AND_A_PART: usize = 9 + 2 + 24;
    let key = match security {
        Security::Plain => return CONNECT_CUT.to_vec(),
        Security::Tls(_) => return CLIENT_HELLO_CUT.to_vec(),
        Security::Aes(key) => key,
    };
    let first = key_files::random()
        .ok()
        .and_then(|entropy| Initiator::start(key, entropy).ok());
    let mut bytes = first.map_or_else(Vec::new, |(_, first)| first);
    bytes.truncate(CLEAR_AND_A_PART);
    match role {
        Role::Dialled => bytes,
        // The answer has no part in clear.
        Role::Accepted => bytes.split_off(bytes.len().min(9)),
    }
}
