//! An established aes link: transport records to bytes and back.

use std::fmt;

use snow::{HandshakeState, TransportState};

use super::cipher::TAG_LEN;
use super::{LENGTH_LEN, NoiseError};

/// The most plaintext bytes of one transport record: a Noise message is at most 65535 bytes, its
/// tag takes 16.
pub const RECORD_PLAIN_MAX: usize = 65_535 - TAG_LEN;

/// An established aes link. It keeps the two keys, the two counters, and at most one record that
/// has not arrived whole; idle that is under 256 bytes.
pub struct Transport {
    pub(super) state: TransportState,
    /// The begun record with its length, empty and without memory between records.
    pub(super) partial: Vec<u8>,
    proven: bool,
    broken: bool,
}

impl Transport {
    pub(super) fn new(handshake: HandshakeState, proven: bool) -> Result<Self, NoiseError> {
        Ok(Self {
            state: handshake.into_transport_mode().map_err(NoiseError::Setup)?,
            partial: Vec::new(),
            proven,
            broken: false,
        })
    }

    /// Whether the peer has shown that it holds the key now.
    pub const fn is_proven(&self) -> bool {
        self.proven
    }

    /// The bytes of a begun record that wait for the rest, 0 … 65,536.
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// Appends `plain` to `out` as records of at most [`RECORD_PLAIN_MAX`] bytes each; nothing for
    /// an empty `plain`.
    ///
    /// # Errors
    /// [`NoiseError::Broken`] after an earlier error or once all 2^64 − 1 counters are used.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        if self.broken {
            return Err(NoiseError::Broken);
        }
        for chunk in plain.chunks(RECORD_PLAIN_MAX) {
            let start = out.len();
            out.resize(start + LENGTH_LEN + chunk.len() + TAG_LEN, 0);
            let (length, record) = out[start..].split_at_mut(LENGTH_LEN);
            length.copy_from_slice(&((chunk.len() + TAG_LEN) as u16).to_be_bytes());
            if self.state.write_message(chunk, record).is_err() {
                out.truncate(start);
                self.broken = true;
                return Err(NoiseError::Broken);
            }
        }
        Ok(())
    }

    /// Takes ciphertext cut anywhere and appends the plaintext of each whole record to `out`. An
    /// empty record adds nothing, and proves the peer as any other.
    ///
    /// # Errors
    /// [`NoiseError::RecordLength`] and [`NoiseError::Record`] for what the peer did not make;
    /// what came before it in `input` is in `out`. [`NoiseError::Broken`] ever after.
    pub fn decrypt(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        if self.broken {
            return Err(NoiseError::Broken);
        }
        let result = self.decrypt_records(input, out);
        self.broken = result.is_err();
        result
    }

    fn decrypt_records(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        if !self.partial.is_empty() {
            self.complete_partial(&mut input);
            let partial = std::mem::take(&mut self.partial);
            let Some((record, _)) = split_record(&partial)? else {
                self.partial = partial;
                return Ok(());
            };
            self.decrypt_record(record, out)?;
        }
        while let Some((record, rest)) = split_record(input)? {
            self.decrypt_record(record, out)?;
            input = rest;
        }
        self.partial.extend_from_slice(input);
        Ok(())
    }

    /// Moves to the begun record what it still lacks, its length first.
    fn complete_partial(&mut self, input: &mut &[u8]) {
        move_front(input, &mut self.partial, LENGTH_LEN);
        if let Some((length, _)) = self.partial.split_first_chunk::<LENGTH_LEN>() {
            let whole = LENGTH_LEN + usize::from(u16::from_be_bytes(*length));
            move_front(input, &mut self.partial, whole);
        }
    }

    fn decrypt_record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        out.resize(start + record.len() - TAG_LEN, 0);
        if self.state.read_message(record, &mut out[start..]).is_err() {
            out.truncate(start);
            return Err(NoiseError::Record);
        }
        self.proven = true;
        Ok(())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("buffered", &self.buffered())
            .field("proven", &self.proven)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// A record without its length, and what follows it.
type SplitRecord<'a> = (&'a [u8], &'a [u8]);

/// Splits the first record off `bytes`; `None` while it is cut.
fn split_record(bytes: &[u8]) -> Result<Option<SplitRecord<'_>>, NoiseError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < TAG_LEN {
        return Err(NoiseError::RecordLength(length));
    }
    Ok(rest.split_at_checked(length))
}

/// Fills `to` up to `length` bytes from the front of `input`.
fn move_front(input: &mut &[u8], to: &mut Vec<u8>, length: usize) {
    let count = length.saturating_sub(to.len()).min(input.len());
    let (front, rest) = input.split_at(count);
    to.extend_from_slice(front);
    *input = rest;
}
