//! The first message of a TLS client, before any of it is computed with.

use super::error::TlsLinkError;
use super::stream::{HELD_MAX, RECORD_HEADER_LEN, RECORD_MAX};

const HANDSHAKE_HEADER_LEN: usize = 4;

pub(super) const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;

/// The server role until the first message of the peer is there: no cryptography is done for whoever
/// does not speak TLS, and none that is not bounded by permits.
#[derive(Debug, Default)]
pub struct Hello {
    pub(super) received: Vec<u8>,
}

impl Hello {
    /// Takes bytes cut anywhere; true once the ClientHello is whole, so that
    /// [`super::stream::TlsStream::accept`] can compute the answer.
    ///
    /// # Errors
    /// [`TlsLinkError::NotTls`] as soon as it can be told, [`TlsLinkError::TooLong`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<bool, TlsLinkError> {
        self.received.extend_from_slice(bytes);
        let is_whole = is_whole_hello(&self.received)?;
        if self.received.len() > HELD_MAX {
            return Err(TlsLinkError::TooLong);
        }
        Ok(is_whole)
    }

    pub const fn retained(&self) -> usize {
        self.received.capacity()
    }
}

/// Whether `bytes` begin with a whole ClientHello, over however many records it is spread.
fn is_whole_hello(mut bytes: &[u8]) -> Result<bool, TlsLinkError> {
    let mut begin = [0; HANDSHAKE_HEADER_LEN];
    let mut length = 0;
    while let Some((&first, _)) = bytes.split_first() {
        check_first_byte(first, &[HANDSHAKE])?;
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_LEN>() else {
            return Ok(false);
        };
        let record = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[1] != 3 || !(1..=RECORD_MAX).contains(&record) {
            return Err(TlsLinkError::NotTls(
                "what came begins like TLS and is none",
            ));
        }
        let Some((payload, rest)) = rest.split_at_checked(record) else {
            return Ok(false);
        };
        for (to, from) in begin.iter_mut().skip(length).zip(payload) {
            *to = *from;
        }
        length += payload.len();
        if begin[0] != CLIENT_HELLO {
            return Err(TlsLinkError::NotTls(
                "the first TLS message is no ClientHello",
            ));
        }
        let whole = u32::from_be_bytes([0, begin[1], begin[2], begin[3]]) as usize;
        if length >= HANDSHAKE_HEADER_LEN && length - HANDSHAKE_HEADER_LEN >= whole {
            return Ok(true);
        }
        bytes = rest;
    }
    Ok(false)
}

/// Tells apart, for whoever has to find out why a device does not get in, what else may knock.
pub(super) fn check_first_byte(first: u8, allowed: &[u8]) -> Result<(), TlsLinkError> {
    if allowed.contains(&first) {
        return Ok(());
    }
    Err(TlsLinkError::NotTls(match first {
        0x01 => "an aes handshake came on the tls link, aes has a port of its own",
        0x03 | 0x08 => "an IOTMP Connect came in clear on the tls link",
        b'A'..=b'Z' => "an HTTP request came on the tls link",
        _ => "what came on the tls link is no TLS handshake",
    }))
}
