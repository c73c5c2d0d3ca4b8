//! What the configuration knows of the secrets of devices: their digests.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::identity::{CREDENTIAL_MAX, CredentialId, Identity};

const PREFIX: &str = "sha256:";
const HIDDEN: &str = "sha256:hidden";

/// One `[[credential]]`: the device that connects with it and the digest of its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// A serial number, or a device name.
    pub device: String,
    /// The user name that the device connects with. For a serial number it may be left out: then
    /// any is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub digest: CredentialDigest,
}

impl Credential {
    /// The device as it names itself.
    ///
    /// # Errors
    /// [`crate::identity::NameError`] when a name has a length or character that is not allowed.
    pub fn identity(&self) -> Result<Identity, crate::identity::NameError> {
        Identity::new(self.owner.as_deref().unwrap_or_default(), &self.device)
    }
}

/// SHA-256 over the credential that a device sends in its Connect. It is fit for random secrets
/// only, as `gatehouse certs device-secret` makes them: a secret that a person chose could be
/// guessed from it. `Debug` and `Serialize` hide it; [`String::from`] tells it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CredentialDigest([u8; 32]);

/// A text that is no digest. It never quotes the text, which may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is \"sha256:\" and 64 hex digits; `gatehouse certs device-secret` makes one")]
pub struct CredentialDigestError;

impl CredentialDigest {
    pub fn of(credential: &[u8]) -> Self {
        Self(Sha256::digest(credential).into())
    }

    /// A digest as it is stored.
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The form in which it is stored; to be told to nobody.
    pub const fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// What names it without telling it.
    pub fn id(&self) -> CredentialId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        CredentialId([a, b, c, d, e, f, g, h])
    }

    /// Whether `credential` is the secret, 1 … 256 bytes; in a time that does not depend on where
    /// they differ. An empty one never is.
    pub fn matches(&self, credential: &[u8]) -> bool {
        let length_fits = (1..=CREDENTIAL_MAX).contains(&credential.len());
        length_fits && bool::from(Self::of(credential).0.ct_eq(&self.0))
    }
}

impl TryFrom<String> for CredentialDigest {
    type Error = CredentialDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix(PREFIX).ok_or(CredentialDigestError)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| CredentialDigestError)?;
        Ok(Self(digest))
    }
}

impl From<CredentialDigest> for String {
    fn from(digest: CredentialDigest) -> Self {
        format!("{PREFIX}{}", hex::encode(digest.0))
    }
}

impl fmt::Debug for CredentialDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for CredentialDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_matches() {
        let digest = CredentialDigest::of(b"secret");
        assert!(digest.matches(b"secret"));
        for other in [b"secreT".as_slice(), b"secret ", b"secre", b""] {
            assert!(!digest.matches(other));
        }
    }

    #[test]
    fn an_empty_or_overlong_credential_never_matches() {
        assert!(!CredentialDigest::of(b"").matches(b""));
        assert!(CredentialDigest::of(&[1; 256]).matches(&[1; 256]));
        assert!(!CredentialDigest::of(&[1; 257]).matches(&[1; 257]));
    }

    #[test]
    fn the_text_goes_round_and_nothing_else_is_taken() {
        let digest = CredentialDigest::of(b"secret");
        let text = String::from(digest.clone());
        assert_eq!(text.len(), 7 + 64);
        assert_eq!(CredentialDigest::try_from(text.clone()), Ok(digest));
        for wrong in [&text[7..], &text[..70], "", "secret", &format!("{text}0")] {
            assert!(
                CredentialDigest::try_from(wrong.to_owned()).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn debug_hides_the_digest() {
        let digest = CredentialDigest::of(b"secret");
        assert_eq!(format!("{digest:?}"), "sha256:hidden");
    }
}
