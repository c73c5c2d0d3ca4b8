//! The keys of TLS session tickets, kept over a restart in `keys/tickets`, sealed.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::private_file::{FileError, make_private_dir};
use super::seal::{SealError, Sealer};
use super::sealed_file::{self, Found, SealedFileError};

const NAME: &str = "tickets";
const PURPOSE: &str = "keys of session tickets";

/// A key that encrypts session tickets, or still decrypts them. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKeyRecord {
    pub key: [u8; 32],
    /// When it was made, in milliseconds since the Unix epoch.
    pub born_unix_ms: u64,
}

impl fmt::Debug for TicketKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeyRecord")
            .field("born_unix_ms", &self.born_unix_ms)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    born_unix_ms: u64,
}

/// Reads the keys in the order in which they were stored; none when there is no file. Tickets only
/// save work: whoever gets an error can go on without them, and stores over what is there.
///
/// # Errors
/// [`SealedFileError`].
pub fn load_tickets(
    keys_dir: &Path,
    sealer: &Sealer,
) -> Result<Vec<TicketKeyRecord>, SealedFileError> {
    let path = keys_dir.join(NAME);
    if !fs::exists(&path).map_err(FileError::io(&path, "read"))? {
        return Ok(Vec::new());
    }
    let damaged = |source| SealedFileError::Seal {
        path: path.clone(),
        source,
    };
    match sealed_file::read(&path, PURPOSE, sealer)? {
        Found::Sealed(plain) => parse(&plain).ok_or_else(|| damaged(SealError::Damaged)),
        // Nobody writes these by hand.
        Found::Clear(_) => Err(damaged(SealError::NotSealed)),
    }
}

/// Writes the keys in the place of those that were stored.
///
/// # Errors
/// [`SealedFileError`].
pub fn store_tickets(
    keys_dir: &Path,
    sealer: &Sealer,
    tickets: &[TicketKeyRecord],
) -> Result<(), SealedFileError> {
    make_private_dir(keys_dir)?;
    let lines: Vec<_> = tickets
        .iter()
        .map(|ticket| Line {
            key: hex::encode(ticket.key),
            born_unix_ms: ticket.born_unix_ms,
        })
        .collect();
    let plain = serde_json::json!(lines).to_string();
    sealed_file::replace(&keys_dir.join(NAME), PURPOSE, plain.as_bytes(), sealer)
}

fn parse(plain: &[u8]) -> Option<Vec<TicketKeyRecord>> {
    let lines: Vec<Line> = serde_json::from_slice(plain).ok()?;
    let records = lines.into_iter().map(|line| {
        let mut key = [0; 32];
        hex::decode_to_slice(&line.key, &mut key).ok()?;
        Some(TicketKeyRecord {
            key,
            born_unix_ms: line.born_unix_ms,
        })
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(seed: u8) -> TicketKeyRecord {
        TicketKeyRecord {
            key: [seed; 32],
            born_unix_ms: u64::from(seed) << 40,
        }
    }

    #[test]
    fn the_keys_come_back_in_their_order_and_sealed() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("keys");
        let sealer = Sealer::new([1; 32]);
        assert_eq!(load_tickets(&dir, &sealer).unwrap(), []);
        store_tickets(&dir, &sealer, &[ticket(0xab)]).unwrap();
        let both = [ticket(3), ticket(0xab)];
        store_tickets(&dir, &sealer, &both).unwrap();
        assert_eq!(load_tickets(&dir, &sealer).unwrap(), both);
        let text = fs::read_to_string(dir.join(NAME)).unwrap();
        assert!(!text.contains("abab"), "{text}");
        assert!(!format!("{both:?}").contains("171"));
        store_tickets(&dir, &sealer, &[]).unwrap();
        assert_eq!(load_tickets(&dir, &sealer).unwrap(), []);
    }

    #[test]
    fn another_key_and_damage_are_told() {
        let dir = tempfile::tempdir().unwrap();
        store_tickets(dir.path(), &Sealer::new([1; 32]), &[ticket(1)]).unwrap();
        let error = load_tickets(dir.path(), &Sealer::new([2; 32])).unwrap_err();
        assert!(error.to_string().contains("another gateway key"), "{error}");
        let sealer = Sealer::new([1; 32]);
        let path = dir.path().join(NAME);
        sealed_file::replace(&path, PURPOSE, b"[{}]", &sealer).unwrap();
        let error = load_tickets(dir.path(), &sealer).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        fs::write(&path, "[]").unwrap();
        assert!(load_tickets(dir.path(), &sealer).is_err());
    }
}
