//! Secrets at rest: a text that only the gateway's key opens.
//!
//! A sealed text is one line, `gatehouse-sealed-v1:` and hex digits: who sealed it (8 bytes of
//! SHA-256 over the key), what for (8 bytes of SHA-256 over the purpose), the nonce (12 bytes) and
//! the secret under AES-256-GCM. Everything before the secret is bound to it, so that nobody can
//! put one sealed text in the place of another.

use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use sha2::{Digest, Sha256};

/// The length of a sealing key, in bytes.
pub const SEAL_KEY_LEN: usize = 32;
/// The length of a nonce, in bytes. One key must never see the same nonce twice: draw it at random.
pub const NONCE_LEN: usize = 12;

const PREFIX: &str = "gatehouse-sealed-v1:";
/// How every version begins.
const FAMILY: &str = "gatehouse-sealed-";
const MARK_LEN: usize = 8;
const HEAD_LEN: usize = 2 * MARK_LEN;
const TAG_LEN: usize = 16;

/// Seals and unseals under one key. `Debug` hides it.
#[derive(Clone)]
pub struct Sealer {
    cipher: Aes256Gcm,
    mark: [u8; MARK_LEN],
}

/// Why a text was not unsealed. It never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is not sealed, a sealed secret begins with {PREFIX}")]
    NotSealed,
    #[error("it was sealed by a newer version of Gatehouse")]
    Version,
    #[error("it is damaged, bring back a copy of it")]
    Damaged,
    #[error("it was sealed under another gateway key, bring back the key file that sealed it")]
    WrongKey,
    #[error("it holds another secret than its place says, bring back the file that belongs here")]
    WrongPurpose,
}

/// Whether a text claims to be sealed, by whatever version.
pub fn is_sealed(text: &str) -> bool {
    text.trim_start().starts_with(FAMILY)
}

impl Sealer {
    pub fn new(key: [u8; SEAL_KEY_LEN]) -> Self {
        Self {
            cipher: Aes256Gcm::new(&key.into()),
            mark: mark("key", &key),
        }
    }

    /// The secret as one line without its end. `purpose` says what it is and whose, in words that
    /// [`Sealer::unseal`] must be given again.
    pub fn seal(&self, purpose: &str, plain: &[u8], nonce: [u8; NONCE_LEN]) -> String {
        let mut sealed = self.head(purpose).to_vec();
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        self.cipher
            .encrypt_in_place(&nonce.into(), &self.bound(purpose), &mut text)
            .expect("a secret in memory is shorter than the 64 GiB that AES-GCM takes");
        sealed.extend_from_slice(&text);
        format!("{PREFIX}{}", hex::encode(sealed))
    }

    /// The secret; white space around the text is ignored.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn unseal(&self, purpose: &str, text: &str) -> Result<Vec<u8>, SealError> {
        let text = text.trim();
        let Some(digits) = text.strip_prefix(PREFIX) else {
            return Err(if is_sealed(text) {
                SealError::Version
            } else {
                SealError::NotSealed
            });
        };
        let bytes = hex::decode(digits).map_err(|_| SealError::Damaged)?;
        let (head, rest) = bytes
            .split_first_chunk::<HEAD_LEN>()
            .ok_or(SealError::Damaged)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Damaged)?;
        if text.len() < TAG_LEN {
            return Err(SealError::Damaged);
        }
        let expected = self.head(purpose);
        if head[..MARK_LEN] != expected[..MARK_LEN] {
            return Err(SealError::WrongKey);
        }
        if *head != expected {
            return Err(SealError::WrongPurpose);
        }
        let mut text = text.to_vec();
        self.cipher
            .decrypt_in_place(&(*nonce).into(), &self.bound(purpose), &mut text)
            .map_err(|_| SealError::Damaged)?;
        Ok(text)
    }

    fn head(&self, purpose: &str) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..MARK_LEN].copy_from_slice(&self.mark);
        head[MARK_LEN..].copy_from_slice(&mark("purpose", purpose.as_bytes()));
        head
    }

    fn bound(&self, purpose: &str) -> Vec<u8> {
        [PREFIX.as_bytes(), &self.mark, purpose.as_bytes()].concat()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", hex::encode(self.mark))
    }
}

/// Tells keys and purposes apart; the words keep it from being the digest of anything else.
fn mark(of: &str, bytes: &[u8]) -> [u8; MARK_LEN] {
    let digest = Sha256::new()
        .chain_update("gatehouse seal ")
        .chain_update(of)
        .chain_update([0])
        .chain_update(bytes)
        .finalize();
    let mut mark = [0; MARK_LEN];
    mark.copy_from_slice(&digest[..MARK_LEN]);
    mark
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NONCE: [u8; 12] = [3; 12];

    fn sealed() -> String {
        Sealer::new(KEY).seal("link key of device 7", b"a secret", NONCE)
    }

    #[test]
    fn another_key_another_purpose_and_damage_are_told_apart() {
        let ours = Sealer::new(KEY);
        let text = sealed();
        let of = "link key of device 7";
        assert_eq!(ours.unseal(of, &text).unwrap(), b"a secret");
        let other = Sealer::new([8; 32]).unseal(of, &text);
        assert_eq!(other, Err(SealError::WrongKey));
        let other = ours.unseal("link key of device 8", &text);
        assert_eq!(other, Err(SealError::WrongPurpose));
        assert_eq!(ours.unseal(of, "abcdef"), Err(SealError::NotSealed));
        let newer = text.replace("-v1:", "-v2:");
        assert_eq!(ours.unseal(of, &newer), Err(SealError::Version));
        let no_hex = text.replace("v1:", "v1:x");
        assert_eq!(ours.unseal(of, &no_hex), Err(SealError::Damaged));
    }

    #[test]
    fn every_byte_counts() {
        let ours = Sealer::new(KEY);
        let text = sealed();
        let bytes = hex::decode(&text[PREFIX.len()..]).unwrap();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            let text = format!("{PREFIX}{}", hex::encode(bytes));
            let error = ours.unseal("link key of device 7", &text).unwrap_err();
            let expected = match place {
                0..8 => SealError::WrongKey,
                8..16 => SealError::WrongPurpose,
                _ => SealError::Damaged,
            };
            assert_eq!(error, expected, "byte {place}");
        }
    }

    #[test]
    fn a_text_that_was_cut_is_refused_wherever_it_was_cut() {
        let ours = Sealer::new(KEY);
        let text = sealed();
        for end in 0..text.len() {
            assert!(
                ours.unseal("link key of device 7", &text[..end]).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn the_form_is_one_line_that_shows_neither_key_nor_secret() {
        let text = sealed();
        assert!(is_sealed(&text) && !is_sealed(&"ab".repeat(32)));
        assert!(!text.contains('\n'));
        assert!(!text.contains(&hex::encode(b"a secret")));
        let shown = format!("{:?}", Sealer::new(KEY));
        assert!(
            !shown.contains("0707") && !shown.contains("7, 7"),
            "{shown}"
        );
    }

    /// The form is kept for good: what was sealed yesterday must open tomorrow.
    #[test]
    fn a_text_of_version_1_opens() {
        let text = "gatehouse-sealed-v1:7699fd12b7123038cc300afb3a7a2ce1030303030303030303030303\
                    44ded066395a3b36d6d8644ed51e610cbe251bed58c496df";
        let opened = Sealer::new(KEY).unseal("link key of device 7", text);
        assert_eq!(opened.unwrap(), b"a secret");
        assert_eq!(text, sealed());
    }

    proptest! {
        #[test]
        fn sealing_goes_round(
            key: [u8; 32],
            nonce: [u8; 12],
            purpose: String,
            plain in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let sealer = Sealer::new(key);
            let text = sealer.seal(&purpose, &plain, nonce);
            prop_assert_eq!(sealer.unseal(&purpose, &format!(" {text}\r\n")), Ok(plain));
        }

        #[test]
        fn no_text_panics(text: String, digits in "[0-9a-f]{0,120}") {
            let sealer = Sealer::new(KEY);
            let _ = sealer.unseal("", &text);
            let _ = sealer.unseal("", &format!("{PREFIX}{digits}"));
        }
    }
}
