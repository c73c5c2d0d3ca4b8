//! Variable-length integers: base 128, least significant group first, top bit for "more follows".
//!
//! Unsigned, 64 bits, at most ten bytes. Longer forms than needed are read and never written.

/// The longest varint: 64 bits in groups of seven.
pub const LEN_MAX: usize = 10;

/// The varint is longer than [`LEN_MAX`] bytes or its value is above 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a varint is above 64 bits")]
pub struct TooLong;

/// The varint at the beginning of `bytes` and its length; `None` when more bytes are needed.
///
/// # Errors
/// [`TooLong`] as soon as the bytes that are there cannot become a 64-bit value.
pub fn read(bytes: &[u8]) -> Result<Option<(u64, usize)>, TooLong> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        let is_last_group = index + 1 == LEN_MAX;
        if is_last_group && byte > 1 {
            return Err(TooLong);
        }
        value |= group << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

/// Appends the shortest form of `value`.
pub fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(value, &mut bytes);
        bytes
    }

    #[test]
    fn three_hundred_is_two_bytes() {
        assert_eq!(bytes_of(300), [0xac, 0x02]);
    }

    #[test]
    fn overlong_form_is_read() {
        assert_eq!(read(&[0x85, 0x00, 0x07]), Ok(Some((5, 2))));
    }

    #[test]
    fn above_64_bits_is_refused() {
        assert_eq!(bytes_of(u64::MAX).len(), LEN_MAX);
        let ten = [0xff; LEN_MAX];
        assert_eq!(read(&ten[..9]), Ok(None));
        assert_eq!(read(&ten), Err(TooLong));
        let mut bit_64 = [0x80; LEN_MAX];
        bit_64[9] = 0x02;
        assert_eq!(read(&bit_64), Err(TooLong));
    }

    proptest! {
        #[test]
        fn round_trip_and_truncation(value: u64) {
            let bytes = bytes_of(value);
            prop_assert_eq!(read(&bytes), Ok(Some((value, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut]), Ok(None));
            }
        }
    }
}
