//! The pre-shared key of an aes link.

use std::fmt;

use sha2::{Digest, Sha256};

use super::seal::is_sealed;
use crate::identity::KeyId;

/// The length of a link key, in bytes.
pub const LINK_KEY_LEN: usize = 32;

/// The 32 random bytes that both ends of an aes link know. `Debug` shows its ID only.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey([u8; LINK_KEY_LEN]);

/// A text that is no link key. It never quotes the text, which may be a mistyped secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkKeyError {
    #[error("a link key is 64 hex digits, this is {0} bytes of text")]
    Length(usize),
    #[error("a link key is 64 hex digits, character {0} is none")]
    NotHex(usize),
    #[error(
        "the link key is sealed, print it in clear with: gatehouse certs show-key --data-dir DIR"
    )]
    Sealed,
}

impl LinkKey {
    pub const fn new(bytes: [u8; LINK_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hex digits of either case; white space around them is ignored.
    ///
    /// # Errors
    /// [`LinkKeyError`] for another length or another character.
    pub fn from_hex(text: &str) -> Result<Self, LinkKeyError> {
        let digits = text.trim();
        if is_sealed(digits) {
            return Err(LinkKeyError::Sealed);
        }
        if digits.len() != 2 * LINK_KEY_LEN {
            return Err(LinkKeyError::Length(digits.len()));
        }
        let mut bytes = [0; LINK_KEY_LEN];
        hex::decode_to_slice(digits, &mut bytes).map_err(|error| match error {
            hex::FromHexError::InvalidHexCharacter { index, .. } => LinkKeyError::NotHex(index + 1),
            _ => LinkKeyError::Length(digits.len()),
        })?;
        Ok(Self(bytes))
    }

    /// The form of a key file: 64 lower-case hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The name of the key on the wire: the first 8 bytes of SHA-256 over its raw bytes.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::digest(self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }

    pub const fn as_bytes(&self) -> &[u8; LINK_KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_id_is_the_head_of_sha256_over_the_raw_bytes() {
        // SHA-256 of 32 zero bytes begins 66687aadf862bd77.
        assert_eq!(LinkKey::new([0; 32]).id().to_string(), "66687aadf862bd77");
    }

    #[test]
    fn debug_hides_the_key() {
        let shown = format!("{:?}", LinkKey::new([0xab; 32]));
        assert!(!shown.contains("abab"), "{shown}");
        assert!(!shown.contains("171"), "{shown}");
    }

    #[test]
    fn a_text_that_is_no_key_is_told_without_quoting_it() {
        let long = "ab".repeat(33);
        assert_eq!(LinkKey::from_hex(&long), Err(LinkKeyError::Length(66)));
        assert_eq!(LinkKey::from_hex(""), Err(LinkKeyError::Length(0)));
        let sealed = LinkKey::from_hex("gatehouse-sealed-v1:00\n");
        assert_eq!(sealed, Err(LinkKeyError::Sealed));
        let bad = format!("{}x{}", "a".repeat(9), "b".repeat(54));
        let error = LinkKey::from_hex(&bad).unwrap_err();
        assert_eq!(error, LinkKeyError::NotHex(10));
        assert!(!error.to_string().contains("aaa"));
    }

    proptest! {
        #[test]
        fn hex_goes_round(bytes: [u8; 32], before in "[ \t\r\n]{0,3}", after in "[ \t\r\n]{0,3}") {
            let key = LinkKey::new(bytes);
            let text = format!("{before}{}{after}", key.to_hex());
            prop_assert_eq!(LinkKey::from_hex(&text), Ok(key.clone()));
            prop_assert_eq!(LinkKey::from_hex(&text.to_uppercase()), Ok(key));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = LinkKey::from_hex(&text);
        }
    }
}
