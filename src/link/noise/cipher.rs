//! What the Noise library computes with: our AES-256-GCM, its own X25519 and SHA-256, and the
//! caller's randomness.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

/// The length of the authentication tag of AES-GCM, in bytes.
pub const TAG_LEN: usize = 16;

/// Gives one handshake its primitives; `entropy` becomes its ephemeral private key.
pub struct Resolver {
    pub entropy: [u8; 32],
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneDraw(Some(self.entropy))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::AESGCM => Some(Box::new(AesGcm { key: [0; 32] })),
            _ => None,
        }
    }
}

/// Yields its bytes once: one ephemeral key is all that this handshake draws, and the same bytes
/// must never serve twice.
struct OneDraw(Option<[u8; 32]>);

impl Random for OneDraw {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let entropy = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != entropy.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(&entropy);
        Ok(())
    }
}

/// Holds the key alone and expands it for each message: the expanded form takes about a kilobyte,
/// which every idle link would carry twice.
struct AesGcm {
    key: [u8; 32],
}

impl AesGcm {
    fn expanded(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.key.into())
    }
}

/// Noise counts messages in a big-endian u64 behind four zero bytes.
fn nonce_bytes(counter: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    bytes
}

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = *key;
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        let tag = self
            .expanded()
            .encrypt_inout_detached(&nonce_bytes(nonce).into(), authtext, text.into())
            .expect("a Noise message is at most 65535 bytes, AES-GCM takes 64 GiB");
        rest[..TAG_LEN].copy_from_slice(&tag);
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let (sealed, tag) = ciphertext
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Error::Decrypt)?;
        let text = out.get_mut(..sealed.len()).ok_or(Error::Decrypt)?;
        text.copy_from_slice(sealed);
        self.expanded()
            .decrypt_inout_detached(
                &nonce_bytes(nonce).into(),
                authtext,
                text.into(),
                &(*tag).into(),
            )
            .map_err(|_| Error::Decrypt)?;
        Ok(sealed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entropy_is_yielded_once() {
        let mut rng = Resolver { entropy: [7; 32] }.resolve_rng().unwrap();
        let mut drawn = [0; 32];
        rng.try_fill_bytes(&mut drawn).unwrap();
        assert_eq!(drawn, [7; 32]);
        assert_eq!(rng.try_fill_bytes(&mut drawn), Err(Error::Rng));
    }

    #[test]
    fn the_cipher_is_the_published_one() {
        // Test case 14 of the GCM specification: AES-256, zero key, zero nonce, one zero block.
        let cipher = AesGcm { key: [0; 32] };
        let mut out = [0; 32];
        assert_eq!(cipher.encrypt(0, &[], &[0; 16], &mut out), 32);
        assert_eq!(
            hex::encode(out),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
        );
        let mut back = [1; 16];
        assert_eq!(cipher.decrypt(0, &[], &out, &mut back), Ok(16));
        assert_eq!(back, [0; 16]);
    }
}
