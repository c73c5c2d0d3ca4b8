//! Tokens: random texts that clients show, of which only digests are kept.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::access::{Caller, Role, is_caller_name};

/// What every token begins with, so that it is known for one where it should not be.
pub const PREFIX: &str = "gh_";
/// Random bytes in a token.
pub const RANDOM_BYTES: usize = 32;
/// Tokens that there are at once; expired ones count until they are revoked.
pub const TOKENS_MAX: usize = 10_000;

/// A token of a client of the services, as a digest.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// 1 to 64 of `A–Z a–z 0–9 . _ -`.
    pub name: Box<str>,
    pub role: Role,
    /// SHA-256 over the text of the token.
    pub digest: [u8; 32],
    /// Milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// `None`: never.
    pub expires_unix_ms: Option<u64>,
    pub created_by: Box<str>,
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("expires_unix_ms", &self.expires_unix_ms)
            .finish_non_exhaustive()
    }
}

/// The text of a token, which is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// [`PREFIX`] and 64 hex digits.
    pub fn new(random: &[u8; RANDOM_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", hex::encode(random)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
}

/// The digest under which a token is kept.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What a token is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    pub name: Box<str>,
    pub role: Role,
    /// `None`: never.
    pub expires_after: Option<Duration>,
    pub created_by: Box<str>,
}

/// Why a token was not made, taken or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("{0:?} is no name of a token; it is 1 to 64 of A-Z a-z 0-9 . _ -")]
    Name(Box<str>),
    #[error("there is a token named {0} already; revoke it first, or choose another name")]
    Taken(Box<str>),
    #[error("there are {TOKENS_MAX} tokens already, which is the limit; revoke some")]
    Full,
    #[error("there is no token named {0}")]
    NoSuchName(Box<str>),
    #[error("the token is not valid: it was revoked, or never made here")]
    Unknown,
    #[error("the token has expired; have a new one made")]
    Expired,
}

/// The tokens that are valid, by digest and by name. A changed table is a new one; when a token was
/// last used is shared between them.
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    by_name: BTreeMap<Box<str>, Arc<Token>>,
    /// A look-up by digest tells by its time nothing that helps to guess a text.
    by_digest: HashMap<[u8; 32], Arc<Token>>,
}

/// One token of the table.
#[derive(Debug)]
pub struct Token {
    pub stored: StoredToken,
    last_used_unix_ms: AtomicU64,
}

impl Token {
    /// When it was last used since the start, in milliseconds since the Unix epoch; 0: not since
    /// then.
    pub fn last_used_unix_ms(&self) -> u64 {
        self.last_used_unix_ms.load(Ordering::Relaxed)
    }
}

impl StoredToken {
    /// As whom its holder is taken.
    pub fn caller(&self) -> Caller {
        Caller {
            name: format!("token {}", self.name).into(),
            role: self.role,
        }
    }

    pub fn has_expired(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms
            .is_some_and(|expires| expires <= now_unix_ms)
    }
}

impl TokenTable {
    pub fn new(tokens: impl IntoIterator<Item = StoredToken>) -> Self {
        let mut table = Self::default();
        tokens.into_iter().for_each(|token| table.put(token));
        table
    }

    /// Whose token this is; notes that it was used.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`].
    pub fn authenticate(&self, text: &str, now_unix_ms: u64) -> Result<&Token, TokenError> {
        let token = self.by_digest.get(&digest(text));
        let token = token.ok_or(TokenError::Unknown)?;
        if token.stored.has_expired(now_unix_ms) {
            return Err(TokenError::Expired);
        }
        token
            .last_used_unix_ms
            .store(now_unix_ms, Ordering::Relaxed);
        Ok(token)
    }

    /// Whether a token that was taken once still is; not counted as a use.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`].
    pub fn still_holds(&self, digest: &[u8; 32], now_unix_ms: u64) -> Result<(), TokenError> {
        match self.by_digest.get(digest) {
            None => Err(TokenError::Unknown),
            Some(token) if token.stored.has_expired(now_unix_ms) => Err(TokenError::Expired),
            Some(_) => Ok(()),
        }
    }

    /// Makes a token; it counts once it is put into the table.
    ///
    /// # Errors
    /// [`TokenError::Name`], [`TokenError::Taken`], [`TokenError::Full`].
    pub fn make(
        &self,
        new: NewToken,
        random: &[u8; RANDOM_BYTES],
        now_unix_ms: u64,
    ) -> Result<(TokenText, StoredToken), TokenError> {
        if !is_caller_name(&new.name) {
            return Err(TokenError::Name(new.name));
        }
        if self.by_name.contains_key(&new.name) {
            return Err(TokenError::Taken(new.name));
        }
        if self.by_name.len() >= TOKENS_MAX {
            return Err(TokenError::Full);
        }
        let text = TokenText::new(random);
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let expires = |after| now_unix_ms.saturating_add(millis(after));
        let token = StoredToken {
            name: new.name,
            role: new.role,
            digest: digest(text.as_str()),
            created_unix_ms: now_unix_ms,
            expires_unix_ms: new.expires_after.map(expires),
            created_by: new.created_by,
        };
        Ok((text, token))
    }

    /// Adds a token, or puts it in the place of the one of its name.
    pub fn put(&mut self, stored: StoredToken) {
        self.remove(&stored.name);
        let token = Arc::new(Token {
            stored,
            last_used_unix_ms: AtomicU64::new(0),
        });
        self.by_digest
            .insert(token.stored.digest, Arc::clone(&token));
        self.by_name.insert(token.stored.name.clone(), token);
    }

    /// Takes a token out; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let removed = self.by_name.remove(name);
        if let Some(token) = &removed {
            self.by_digest.remove(&token.stored.digest);
        }
        removed.is_some()
    }

    pub fn get(&self, name: &str) -> Option<&Token> {
        self.by_name.get(name).map(Arc::as_ref)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.by_name.values().map(Arc::as_ref)
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(name: &str, expires_after: Option<Duration>) -> NewToken {
        NewToken {
            name: name.into(),
            role: Role::Operator,
            expires_after,
            created_by: "anonymous".into(),
        }
    }

    fn table(name: &str, expires_after: Option<Duration>) -> (TokenTable, TokenText) {
        let mut table = TokenTable::default();
        let made = table.make(new(name, expires_after), &[7; 32], 1000);
        let (text, token) = made.expect("made");
        table.put(token);
        (table, text)
    }

    #[test]
    fn a_token_is_taken_until_it_is_revoked() {
        let (mut table, text) = table("ci", None);
        assert_eq!(text.as_str().len(), 67);
        assert!(text.as_str().starts_with("gh_0707"));
        let before = table.clone();
        let found = table.authenticate(text.as_str(), 5000).expect("valid");
        let caller = Caller {
            name: "token ci".into(),
            role: Role::Operator,
        };
        assert_eq!(found.stored.caller(), caller);
        // An older table knows as well.
        let used = before.get("ci").map(Token::last_used_unix_ms);
        assert_eq!(used, Some(5000));
        assert!(table.still_holds(&digest(text.as_str()), 6000).is_ok());
        assert_eq!(table.get("ci").map(Token::last_used_unix_ms), Some(5000));

        assert!(table.remove("ci") && !table.remove("ci"));
        let revoked = table.authenticate(text.as_str(), 5000).map(|_| ());
        assert_eq!(revoked, Err(TokenError::Unknown));
        let revoked = table.still_holds(&digest(text.as_str()), 5000);
        assert_eq!(revoked, Err(TokenError::Unknown));
    }

    #[test]
    fn a_token_expires() {
        let (table, text) = table("ci", Some(Duration::from_secs(2)));
        assert!(table.authenticate(text.as_str(), 2999).is_ok());
        let expired = table.authenticate(text.as_str(), 3000).map(|_| ());
        assert_eq!(expired, Err(TokenError::Expired));
        let expired = table.still_holds(&digest(text.as_str()), 3000);
        assert_eq!(expired, Err(TokenError::Expired));
    }

    #[test]
    fn names_are_checked_and_used_once() {
        let (table, _) = table("ci", None);
        let make = |name| table.make(new(name, None), &[8; 32], 0).map(|_| ());
        assert_eq!(make("ci"), Err(TokenError::Taken("ci".into())));
        assert_eq!(make("c i"), Err(TokenError::Name("c i".into())));
        assert_eq!(make(""), Err(TokenError::Name("".into())));
        assert_eq!(make("ci2"), Ok(()));
    }

    #[test]
    fn an_endless_expiry_does_not_wrap() {
        let (table, text) = table("ci", Some(Duration::MAX));
        assert!(table.authenticate(text.as_str(), u64::MAX - 1).is_ok());
    }

    #[test]
    fn debug_tells_neither_text_nor_digest() {
        let (table, text) = table("ci", None);
        let shown = format!("{text:?} {:?}", table.get("ci"));
        assert!(
            !shown.contains("0707") && !shown.contains("digest"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn no_other_text_is_taken(text in ".{0,80}", cut in 0..67usize) {
            let (table, right) = table("ci", None);
            prop_assert_eq!(table.authenticate(&text, 0).map(|_| ()), Err(TokenError::Unknown));
            let cut = &right.as_str()[..cut];
            prop_assert_eq!(table.authenticate(cut, 0).map(|_| ()), Err(TokenError::Unknown));
        }
    }
}
