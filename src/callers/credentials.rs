//! The tokens that clients show, stored before they count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::access::Role;
use crate::access::tokens::{
    NewToken, RANDOM_BYTES, StoredToken, TokenError, TokenTable, TokenText,
};
use crate::clock;
use crate::identity::CertificateId;
use crate::registry::records::{Record, RecordKey};
use crate::registry::{NotStored, StoreChange};
use crate::store::Store;

/// Why a token was not made or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the change could not be stored: {0}")]
    NotStored(NotStored),
}

/// What callers may show now: the tokens, and which certificates were revoked. Whoever judges a
/// caller for longer than an instant follows [`Self::changes`].
#[derive(Debug)]
pub struct Credentials {
    table: ArcSwap<TokenTable>,
    revoked: ArcSwap<HashSet<CertificateId>>,
    store: Store,
    /// Held while a change is on its way to the disk, so that no two make one name.
    changing: Mutex<()>,
    changed: watch::Sender<()>,
}

impl Credentials {
    /// `tokens`: those that the store held.
    pub fn new(store: Store, tokens: impl IntoIterator<Item = StoredToken>) -> Self {
        Self {
            table: ArcSwap::from_pointee(TokenTable::new(tokens)),
            revoked: ArcSwap::default(),
            store,
            changing: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The tokens as they are now.
    pub fn tokens(&self) -> Arc<TokenTable> {
        self.table.load_full()
    }

    /// Whether this certificate was revoked since it was verified.
    pub fn is_revoked(&self, certificate: CertificateId) -> bool {
        self.revoked.load().contains(&certificate)
    }

    /// Replaces the list of revoked certificates: calls and streams of those lose their access at
    /// once, on connections that are up as well.
    pub fn set_revoked(&self, revoked: HashSet<CertificateId>) {
        self.revoked.store(Arc::new(revoked));
        self.changed.send_replace(());
    }

    /// Told after each change that may end somebody's access.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Makes a token from a random number, and stores it. It counts once it is on disk.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn create(
        &self,
        new: NewToken,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<TokenText, TokensError> {
        let _alone = self.changing.lock().await;
        let table = self.table.load_full();
        let (text, token) = table.make(new, random, clock::now().unix_ms)?;
        let record = Record::Token(token.clone());
        self.commit(StoreChange::PutRecords(vec![record])).await?;
        let mut table = TokenTable::clone(&table);
        table.put(token);
        self.table.store(Arc::new(table));
        Ok(text)
    }

    /// Makes an admin's token that never expires.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn create_admin(
        &self,
        name: &str,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<TokenText, TokensError> {
        let new = NewToken {
            name: name.into(),
            role: Role::Admin,
            expires_after: None,
            created_by: "gateway".into(),
        };
        self.create(new, random).await
    }

    /// Revokes a token. It ends for good once that is on disk.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn revoke(&self, name: &str) -> Result<(), TokensError> {
        let _alone = self.changing.lock().await;
        let mut table = TokenTable::clone(&self.table.load());
        if !table.remove(name) {
            return Err(TokenError::NoSuchName(name.into()).into());
        }
        let key = RecordKey::Token(name.into());
        self.commit(StoreChange::DeleteRecords(vec![key])).await?;
        self.table.store(Arc::new(table));
        self.changed.send_replace(());
        Ok(())
    }

    async fn commit(&self, change: StoreChange) -> Result<(), TokensError> {
        let stored = self.store.commit(change).await;
        stored.map_err(TokensError::NotStored)
    }
}

/// The tokens among records of the store.
pub fn of_records(records: &[Record]) -> Vec<StoredToken> {
    let token = |record: &Record| match record {
        Record::Token(token) => Some(token.clone()),
        _ => None,
    };
    records.iter().filter_map(token).collect()
}

/// How long a token that is asked for by its seconds lives; `None` for 0: for ever.
pub fn expires_after(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
