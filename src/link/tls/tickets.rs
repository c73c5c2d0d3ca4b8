//! The keys of the TLS session tickets: a device that resumes spares both sides most of the
//! handshake, also over a restart of the gateway.
//!
//! A ticket is `key ID(8) | nonce(12) | sealed`; sealed under AES-256-GCM, with what stands before
//! it as associated data, are the second of its issue, u64 big-endian, and the session.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use sha2::{Digest, Sha256};

const KEY_ID_LEN: usize = 8;
const NONCE_LEN: usize = 12;
const HEAD_LEN: usize = KEY_ID_LEN + NONCE_LEN;
const ISSUED_LEN: usize = 8;

/// A ticket key as it is kept over a restart. `Debug` shows its birth only.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    pub key: [u8; 32],
    /// When it began to encrypt, in seconds since the Unix epoch.
    pub born: u64,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey")
            .field("born", &self.born)
            .finish_non_exhaustive()
    }
}

/// One key that encrypts and older ones that only decrypt. All times are seconds since the Unix
/// epoch.
#[derive(Debug)]
pub struct TicketKeys {
    lifetime: Duration,
    current: Key,
    /// Tickets made with the current key: no nonce is used twice.
    count: u64,
    older: Vec<Key>,
}

struct Key {
    stored: TicketKey,
    id: [u8; KEY_ID_LEN],
}

impl Key {
    fn new(stored: TicketKey) -> Self {
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&Sha256::digest(stored.key)[..KEY_ID_LEN]);
        Self { stored, id }
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.stored.key.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stored.fmt(f)
    }
}

impl TicketKeys {
    /// `fresh` are 32 secret random bytes that were never a ticket key before: its nonces count
    /// from zero. `older` are what [`Self::keys_to_store`] gave; those that no ticket can be of
    /// any more are dropped.
    pub fn new(fresh: [u8; 32], older: Vec<TicketKey>, lifetime: Duration, now: u64) -> Self {
        let older = older.into_iter().map(Key::new).collect();
        let mut keys = Self {
            lifetime,
            current: Key::new(TicketKey {
                key: fresh,
                born: now,
            }),
            count: 0,
            older,
        };
        keys.drop_expired(now);
        keys
    }

    /// Whether the current key has encrypted for a whole lifetime.
    pub fn is_rotation_due(&self, now: u64) -> bool {
        !self.is_within(self.current.stored.born, 1, now)
    }

    /// Encrypts with `fresh` from now on, which is as in [`Self::new`].
    pub fn rotate(&mut self, fresh: [u8; 32], now: u64) {
        let fresh = TicketKey {
            key: fresh,
            born: now,
        };
        let current = std::mem::replace(&mut self.current, Key::new(fresh));
        self.older.push(current);
        self.count = 0;
        self.drop_expired(now);
    }

    /// Makes every ticket of before worthless, as after a change of root or revocations; `fresh`
    /// is as in [`Self::new`].
    pub fn discard_all(&mut self, fresh: [u8; 32], now: u64) {
        *self = Self::new(fresh, Vec::new(), self.lifetime, now);
    }

    /// The keys that open a ticket, the current one first. They are secrets.
    pub fn keys_to_store(&self) -> Vec<TicketKey> {
        let keys = std::iter::once(&self.current).chain(&self.older);
        keys.map(|key| key.stored.clone()).collect()
    }

    /// A ticket; `None` when the key has made all it may.
    pub fn encrypt(&mut self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let count = self.count.checked_add(1)?;
        let mut ticket = self.current.id.to_vec();
        ticket.extend([0; NONCE_LEN - 8]);
        ticket.extend(self.count.to_be_bytes());
        self.count = count;
        let (_, nonce) = ticket.split_first_chunk::<KEY_ID_LEN>()?;
        let msg = [&now.to_be_bytes(), session].concat();
        let payload = Payload {
            msg: &msg,
            aad: &ticket,
        };
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let sealed = self.current.cipher().encrypt(&nonce.into(), payload).ok()?;
        ticket.extend(sealed);
        Some(ticket)
    }

    /// The session of a ticket of ours that is not older than the lifetime.
    pub fn decrypt(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (head, sealed) = ticket.split_first_chunk::<HEAD_LEN>()?;
        let (id, nonce) = head.split_first_chunk::<KEY_ID_LEN>()?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let mut keys = std::iter::once(&self.current).chain(&self.older);
        let key = keys.find(|key| key.id == *id)?;
        let payload = Payload {
            msg: sealed,
            aad: head,
        };
        let opened = key.cipher().decrypt(&nonce.into(), payload).ok()?;
        let (issued, session) = opened.split_first_chunk::<ISSUED_LEN>()?;
        let is_good = self.is_within(u64::from_be_bytes(*issued), 1, now);
        is_good.then(|| session.to_vec())
    }

    /// A key encrypts for a lifetime, and its last ticket is good for another.
    fn drop_expired(&mut self, now: u64) {
        let older = std::mem::take(&mut self.older);
        let is_useful = |key: &Key| self.is_within(key.stored.born, 2, now);
        self.older = older.into_iter().filter(is_useful).collect();
    }

    /// Whether less than so many lifetimes have passed. What lies ahead was stamped by a clock that
    /// was wrong, and nobody knows how old it is.
    fn is_within(&self, then: u64, lifetimes: u64, now: u64) -> bool {
        let max = self.lifetime.as_secs().saturating_mul(lifetimes);
        now.checked_sub(then).is_some_and(|age| age < max)
    }
}

/// Draws the 32 secret bytes of a new key; `None` when the system gives none.
pub type FreshKey = Box<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;

/// The ticket keys of a gateway that runs, shared by all its sessions.
pub struct Tickets {
    keys: Mutex<TicketKeys>,
    time: Arc<dyn TimeProvider>,
    fresh: FreshKey,
}

impl Tickets {
    pub fn new(keys: TicketKeys, time: Arc<dyn TimeProvider>, fresh: FreshKey) -> Self {
        Self {
            keys: Mutex::new(keys),
            time,
            fresh,
        }
    }

    /// As [`TicketKeys::keys_to_store`]. They change as the gateway runs, once a lifetime and with
    /// [`Self::discard_all`]; a ticket of a key that was not stored opens nothing after a restart.
    pub fn keys_to_store(&self) -> Vec<TicketKey> {
        self.keys().keys_to_store()
    }

    /// As [`TicketKeys::discard_all`]. False when the system gave no randomness or time: the old
    /// tickets still open then.
    #[must_use]
    pub fn discard_all(&self) -> bool {
        let (Some(fresh), Some(now)) = ((self.fresh)(), self.now()) else {
            return false;
        };
        self.keys().discard_all(fresh, now);
        true
    }

    fn now(&self) -> Option<u64> {
        Some(self.time.current_time()?.as_secs())
    }

    fn keys(&self) -> MutexGuard<'_, TicketKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.keys().lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let mut keys = self.keys();
        if keys.is_rotation_due(now) {
            keys.rotate((self.fresh)()?, now);
        }
        keys.encrypt(plain, now)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        self.keys().decrypt(cipher, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const START: u64 = 1_800_000_000;

    fn keys() -> TicketKeys {
        TicketKeys::new([1; 32], Vec::new(), HOUR, START)
    }

    #[test]
    fn a_ticket_is_good_for_its_lifetime() {
        let mut keys = keys();
        let ticket = keys.encrypt(b"session", START + 10).unwrap();
        let opened = |now| keys.decrypt(&ticket, now);
        assert_eq!(opened(START + 10).as_deref(), Some(&b"session"[..]));
        assert!(opened(START + 10 + 3599).is_some());
        assert_eq!(opened(START + 10 + 3600), None);
        assert_eq!(opened(START + 9), None, "it comes from the future");
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let mut keys = keys();
        let tickets: Vec<_> = (0..3).map(|_| keys.encrypt(b"", START).unwrap()).collect();
        assert_ne!(tickets[0][..HEAD_LEN], tickets[1][..HEAD_LEN]);
        keys.rotate([2; 32], START);
        let ticket = keys.encrypt(b"", START).unwrap();
        assert_ne!(ticket[..HEAD_LEN], tickets[0][..HEAD_LEN]);
    }

    #[test]
    fn older_keys_decrypt_and_are_dropped_in_time() {
        let mut before = keys();
        let ticket = before.encrypt(b"session", START + 3599).unwrap();
        let stored = before.keys_to_store();
        let restarted = |now| TicketKeys::new([2; 32], stored.clone(), HOUR, now);
        let mut after = restarted(START + 3700);
        assert!(after.decrypt(&ticket, START + 3700).is_some());
        assert_eq!(after.keys_to_store().len(), 2);
        let fresh = after.encrypt(b"", START + 3700).unwrap();
        assert_eq!(before.decrypt(&fresh, START + 3700), None);
        assert_eq!(restarted(START + 7200).keys_to_store().len(), 1);
        let from_the_future = restarted(START - 1);
        assert_eq!(from_the_future.keys_to_store().len(), 1);
    }

    #[test]
    fn a_key_is_replaced_after_its_lifetime() {
        let mut keys = keys();
        let ticket = keys.encrypt(b"session", START + 3599).unwrap();
        assert!(!keys.is_rotation_due(START + 3599));
        assert!(keys.is_rotation_due(START + 3600));
        keys.rotate([2; 32], START + 3600);
        assert!(!keys.is_rotation_due(START + 3600));
        assert!(keys.decrypt(&ticket, START + 3600).is_some());
        keys.rotate([3; 32], START + 7200);
        assert_eq!(keys.keys_to_store().len(), 2);
    }

    #[test]
    fn what_was_discarded_opens_no_more() {
        let mut keys = keys();
        let ticket = keys.encrypt(b"session", START).unwrap();
        keys.discard_all([2; 32], START);
        assert_eq!(keys.decrypt(&ticket, START), None);
        assert_eq!(keys.keys_to_store().len(), 1);
    }

    #[test]
    fn an_altered_ticket_opens_nothing() {
        let mut keys = keys();
        let ticket = keys.encrypt(b"session", START).unwrap();
        for at in 0..ticket.len() {
            assert_eq!(keys.decrypt(&ticket[..at], START), None);
            let mut altered = ticket.clone();
            altered[at] ^= 1;
            assert_eq!(keys.decrypt(&altered, START), None);
        }
    }

    #[test]
    fn no_key_is_shown() {
        let keys = TicketKeys::new([0xab; 32], vec![], HOUR, START);
        let shown = format!("{keys:?}");
        assert!(!shown.contains("171") && !shown.contains("ab,"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_ticket_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(keys().decrypt(&bytes, START), None);
        }
    }
}
