//! Reads forward over bytes that are all there.

use crate::codec::error::DecodeError;
use crate::codec::varint;

/// The bytes that are left of a body or of a container in it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that were not read yet.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, left where it is.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// # Errors
    /// [`DecodeError::Truncated`] when fewer than `N` bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::VarintTooLong`].
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let read = varint::read(self.rest).map_err(|varint::TooLong| DecodeError::VarintTooLong)?;
        let (value, len) = read.ok_or(DecodeError::Truncated)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    /// The next `announced` bytes.
    ///
    /// # Errors
    /// [`DecodeError::CountTooLarge`] when fewer are left.
    pub fn take(&mut self, announced: u64) -> Result<&'a [u8], DecodeError> {
        let len = self.check_count(announced, 1)?;
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// An announced number of things of at least `bytes_each` bytes, if so many can be left.
    ///
    /// # Errors
    /// [`DecodeError::CountTooLarge`].
    pub fn check_count(&self, announced: u64, bytes_each: usize) -> Result<usize, DecodeError> {
        let left = self.left();
        usize::try_from(announced)
            .ok()
            .filter(|count| *count <= left / bytes_each)
            .ok_or(DecodeError::CountTooLarge { announced, left })
    }
}
