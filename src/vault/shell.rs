//! The vault at work: makes secrets, carries out what the books say, and tells who must know.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, Notify};

use crate::clock;
use crate::config::CredentialDigest;
use crate::device::DeviceId;
use crate::identity::{Basis, Identity};
use crate::link::key_files::{self, KeyFileError};
use crate::link::keyring::{Certificates, Credential, Keyring};
use crate::link::link_key::LinkKey;
use crate::registry::records::StoredCredential;
use crate::registry::{NotStored, StoreChange};
use crate::vault::carry_out::{Inner, run_to_end};
use crate::vault::key_store::{KeyStore, Loaded};
use crate::vault::ledger::{InFiles, Ledger, Plan};
use crate::vault::{LiveSecrets, SecretKind, StoredIdentity, VaultError};

/// How long what opened a device before `EnableSSL` holds, unless the device uses the new
/// credential earlier.
const TLS_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The length of a credential, in random bytes; its text is twice as long.
const CREDENTIAL_LEN: usize = 32;

/// Has a change written, and answers once it is on disk, or with a text why not.
pub type Commit =
    Box<dyn Fn(StoreChange) -> BoxFuture<'static, Result<(), NotStored>> + Send + Sync>;
/// Told of every new keyring, in order, after the handshakes have it.
pub type OnChange = Box<dyn Fn(Arc<Keyring>) + Send + Sync>;

/// What the vault reaches, handed over at start-up.
pub struct Surroundings {
    pub keys: Arc<dyn KeyStore>,
    pub commit: Commit,
    pub on_change: OnChange,
}

/// Cheap to clone; every clone is the same vault. Changes are made one after the other, each to
/// its end, also when the caller goes away. It needs a tokio runtime around it.
#[derive(Clone)]
pub struct Vault {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault with the link keys of the key store, the credentials of the configuration, the
    /// certificates, and what the store held. Blocks while it reads the key files. Nobody is told
    /// of this first keyring; [`Self::live`] has it.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`], [`VaultError::Material`].
    pub fn open(
        surroundings: Surroundings,
        credentials: Vec<Credential>,
        certificates: Arc<Certificates>,
        stored: Vec<StoredCredential>,
    ) -> Result<Self, VaultError> {
        let files = in_files(surroundings.keys.load()?, credentials, certificates);
        let ledger = Ledger::new(files, stored);
        let ring = ledger.ring(clock::now().unix_ms)?;
        Ok(Self {
            inner: Arc::new(Inner {
                ledger: Mutex::new(ledger),
                live: Arc::new(LiveSecrets::new(Arc::new(ring))),
                surroundings,
                changed: Notify::new(),
            }),
        })
    }

    /// What the handshakes ask.
    pub fn live(&self) -> Arc<LiveSecrets> {
        Arc::clone(&self.inner.live)
    }

    /// Every proof that a device has of its own, by name.
    pub async fn list(&self) -> Vec<StoredIdentity> {
        self.inner.ledger.lock().await.list()
    }

    /// Makes the first credential of a device and tells it, this once.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn add_credential(&self, identity: Identity) -> Result<String, VaultError> {
        let (text, digest) = new_credential()?;
        let now = clock::now().unix_ms;
        self.change(move |ledger| ledger.add_credential(identity, &digest, now))
            .await?;
        Ok(text)
    }

    /// Makes the first link key of a device and tells it, this once: 64 hex digits.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn add_link_key(&self, identity: Identity) -> Result<String, VaultError> {
        let key = key_files::generate()?;
        let text = key.to_hex();
        self.change(move |ledger| ledger.add_key(&identity, key))
            .await?;
        Ok(text)
    }

    /// Makes a new secret and tells it, this once. The old one holds for `grace`, or until the
    /// device has used the new one.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn rotate(
        &self,
        identity: Identity,
        kind: SecretKind,
        grace: Duration,
    ) -> Result<String, VaultError> {
        let now = clock::now().unix_ms;
        let until = after(now, grace);
        match kind {
            SecretKind::Credential => {
                let (text, digest) = new_credential()?;
                self.change(move |ledger| ledger.rotate_credential(&identity, &digest, now, until))
                    .await?;
                Ok(text)
            }
            SecretKind::LinkKey => {
                let key = key_files::generate()?;
                let text = key.to_hex();
                self.change(move |ledger| ledger.rotate_key(&identity, key, now, until))
                    .await?;
                Ok(text)
            }
        }
    }

    /// Takes secrets away, of one kind or of both. Key files go before the change is stored, and
    /// come back when it is not; a crash between the two leaves the key files gone.
    ///
    /// # Errors
    /// [`VaultError`]; nothing is taken away then.
    pub async fn remove(
        &self,
        identities: Vec<Identity>,
        kind: Option<SecretKind>,
    ) -> Result<(), VaultError> {
        self.change(move |ledger| ledger.remove(&identities, kind))
            .await
    }

    /// Reads the key files again, and takes these in the place of those before. `put_in_force` is
    /// called when nothing can fail any more and nobody was told yet: who is closed because of a
    /// change, and comes back, finds all of it.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`], [`VaultError::Material`]; everything stays as it was then.
    pub async fn reload_files(
        &self,
        credentials: Vec<Credential>,
        certificates: Arc<Certificates>,
        put_in_force: impl FnOnce() + Send + 'static,
    ) -> Result<(), VaultError> {
        let inner = Arc::clone(&self.inner);
        run_to_end(async move {
            // Read under the lock, so that no change of a key file falls between.
            let mut ledger = inner.ledger.lock().await;
            let loaded = inner.with_keys(|keys| keys.load()).await?;
            let mut next = ledger.clone();
            next.replace_files(in_files(loaded, credentials, certificates));
            let ring = next.ring(clock::now().unix_ms)?;
            put_in_force();
            inner.install(&mut ledger, next, ring);
            Ok(())
        })
        .await
    }

    /// Makes the credential that `EnableSSL` is about to write to a device. It proves the device
    /// from now on; what proved it before still does: the credential before for 30 days, or the
    /// fleet key. `None` when the device has one in the configuration, which stays.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn begin_tls_credential(
        &self,
        identity: Identity,
    ) -> Result<Option<String>, VaultError> {
        let (text, digest) = new_credential()?;
        let now = clock::now().unix_ms;
        let until = after(now, TLS_GRACE);
        let begun = self.change(move |ledger| ledger.begin_tls(identity, &digest, now, until));
        match begun.await {
            Ok(()) => Ok(Some(text)),
            Err(VaultError::Configured(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The device answered that it has the credential: the fleet key opens it no longer. An answer
    /// that never came is neither confirmed nor abandoned: the first use of the credential says
    /// that it arrived.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn confirm_tls_credential(&self, identity: Identity) -> Result<(), VaultError> {
        self.change(move |ledger| ledger.confirm_tls(&identity))
            .await
    }

    /// The device refused the credential: what was before is again.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn abandon_tls_credential(&self, identity: Identity) -> Result<(), VaultError> {
        self.change(move |ledger| Ok(ledger.abandon_tls(&identity)))
            .await
    }

    /// Takes the credential away if `EnableSSL` made it; one that somebody made by hand stays. A
    /// session that stands on it is closed.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn withdraw_tls_credential(&self, identity: Identity) -> Result<(), VaultError> {
        self.change(move |ledger| Ok(ledger.withdraw_tls(&identity)))
            .await
    }

    /// Devices have proved themselves by these: where one is the first use of a new secret, the
    /// one before goes.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn used(&self, bases: HashSet<Basis>) -> Result<(), VaultError> {
        self.change(move |ledger| Ok(ledger.used(&bases))).await
    }

    /// The old secrets whose time has passed at `unix_ms` go.
    ///
    /// # Errors
    /// [`VaultError`]. They hold no longer all the same.
    pub async fn expire(&self, unix_ms: u64) -> Result<(), VaultError> {
        let inner = Arc::clone(&self.inner);
        run_to_end(async move {
            let mut ledger = inner.ledger.lock().await;
            if ledger.next_expiry().is_none_or(|due| unix_ms < due) {
                return Ok(());
            }
            let mut next = ledger.clone();
            let plan = next.expire(unix_ms);
            let ring = next.ring(unix_ms)?;
            // What has expired holds no longer, whatever the disk says to it.
            inner.announce(ring);
            inner.carry_out(plan).await?;
            *ledger = next;
            inner.changed.notify_one();
            Ok(())
        })
        .await
    }

    /// When the first of the old secrets ceases to hold, in milliseconds since the Unix epoch.
    pub(super) async fn next_expiry(&self) -> Option<u64> {
        self.inner.ledger.lock().await.next_expiry()
    }

    /// The key that a device may have got by an enrolment that was not answered, or a fresh one
    /// put beside what opens the device now; and whether it is fresh.
    pub(super) async fn offer_key(&self, id: DeviceId) -> Result<(LinkKey, bool), VaultError> {
        let fresh = key_files::generate()?;
        let inner = Arc::clone(&self.inner);
        run_to_end(async move {
            let mut ledger = inner.ledger.lock().await;
            if let Some(offered) = ledger.offered_key(id) {
                return Ok((offered, false));
            }
            let key = fresh.clone();
            inner
                .change(&mut ledger, move |ledger| Ok(ledger.offer_key(id, key)))
                .await?;
            Ok((fresh, true))
        })
        .await
    }

    pub(super) async fn has_key(&self, id: DeviceId) -> bool {
        self.inner.ledger.lock().await.has_key(id)
    }

    /// Makes a change to its end: on a copy of the books, then on disk, then for everybody.
    pub(super) async fn change(
        &self,
        edit: impl FnOnce(&mut Ledger) -> Result<Plan, VaultError> + Send + 'static,
    ) -> Result<(), VaultError> {
        let inner = Arc::clone(&self.inner);
        run_to_end(async move {
            let mut ledger = inner.ledger.lock().await;
            inner.change(&mut ledger, edit).await
        })
        .await
    }
}

fn in_files(
    loaded: Loaded,
    credentials: Vec<Credential>,
    certificates: Arc<Certificates>,
) -> InFiles {
    InFiles {
        keys: loaded.keys,
        graces: loaded.graces,
        credentials,
        certificates,
    }
}

fn new_credential() -> Result<(String, CredentialDigest), KeyFileError> {
    let text = hex::encode(key_files::random::<CREDENTIAL_LEN>()?);
    let digest = CredentialDigest::of(text.as_bytes());
    Ok((text, digest))
}

fn after(unix_ms: u64, grace: Duration) -> u64 {
    let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    unix_ms.saturating_add(millis)
}
