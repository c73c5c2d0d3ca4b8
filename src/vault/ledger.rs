//! The books of the vault: where every secret of a device stands, and what a change of it takes.

mod credentials;
mod keys;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::device::DeviceId;
use crate::identity::{Basis, Identity};
use crate::link::keyring::{Certificates, Credential, Keyring, KeyringError, LinkKeys, Material};
use crate::link::link_key::LinkKey;
use crate::registry::records::StoredCredential;
use crate::vault::{SecretKind, StoredIdentity, VaultError};

use self::keys::DeviceKeys;
pub use self::plan::{FileStep, Plan};

/// What stands in files.
#[derive(Debug, Default)]
pub struct InFiles {
    pub keys: LinkKeys,
    /// Until when the key before a provisional one holds, in milliseconds since the Unix epoch.
    pub graces: HashMap<DeviceId, u64>,
    /// Those of the configuration.
    pub credentials: Vec<Credential>,
    pub certificates: Arc<Certificates>,
}

/// Every secret by which a device may prove itself. A change is made on a copy, which takes the
/// place of the original once its [`Plan`] is carried out.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    fleet: Vec<LinkKey>,
    keys: BTreeMap<DeviceId, DeviceKeys>,
    configured: Vec<Credential>,
    certificates: Arc<Certificates>,
    stored: BTreeMap<Name, StoredCredential>,
}

/// One device has one credential: a serial number whatever the owner, a name with its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Serial(DeviceId),
    Named(Identity),
}

impl Name {
    fn of(identity: &Identity) -> Self {
        match identity.serial() {
            Some(id) => Self::Serial(id),
            None => Self::Named(identity.clone()),
        }
    }
}

impl Ledger {
    pub fn new(files: InFiles, stored: Vec<StoredCredential>) -> Self {
        let named = |credential: StoredCredential| (Name::of(&credential.identity), credential);
        let mut ledger = Self {
            stored: stored.into_iter().map(named).collect(),
            ..Self::default()
        };
        ledger.replace_files(files);
        ledger
    }

    /// Takes what stands in files now in the place of what stood there before.
    pub fn replace_files(&mut self, files: InFiles) {
        self.fleet = files.keys.fleet;
        self.keys = keys::of_devices(files.keys.devices, files.keys.provisional, &files.graces);
        self.configured = files.credentials;
        self.certificates = files.certificates;
    }

    /// The secrets that hold at `unix_ms`.
    ///
    /// # Errors
    /// [`KeyringError`] when they do not go together.
    pub fn ring(&self, unix_ms: u64) -> Result<Keyring, KeyringError> {
        let stored = self.stored.values();
        let stored = stored.map(|credential| credentials::active(credential, unix_ms));
        Keyring::new(Material {
            keys: keys::active(&self.fleet, &self.keys, unix_ms),
            credentials: self.configured.iter().cloned().chain(stored).collect(),
            certificates: Arc::clone(&self.certificates),
        })
    }

    /// Every proof that a device has of its own, by name.
    pub fn list(&self) -> Vec<StoredIdentity> {
        let configured = self.configured.iter().map(credentials::view_configured);
        let stored = self.stored.values().map(credentials::view);
        let keys = self.keys.iter().map(|(id, keys)| keys.view(*id));
        let mut all: Vec<_> = configured.chain(stored).chain(keys).collect();
        all.sort();
        all
    }

    /// When the first of the old secrets ceases to hold, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        let keys = self.keys.values().filter_map(DeviceKeys::old_holds_until);
        let stored = self.stored.values();
        let credentials = stored.filter_map(until);
        keys.chain(credentials).min()
    }

    /// Takes these away, of this kind or of both; sound only as a whole.
    ///
    /// # Errors
    /// [`VaultError::NotThere`] for the first that has none, [`VaultError::Configured`].
    pub fn remove(
        &mut self,
        identities: &[Identity],
        kind: Option<SecretKind>,
    ) -> Result<Plan, VaultError> {
        let mut plan = Plan::default();
        let mut seen = HashSet::new();
        for identity in identities {
            if !seen.insert(identity) {
                continue;
            }
            let removed = match kind {
                Some(SecretKind::Credential) => self.remove_credential(identity, &mut plan)?,
                Some(SecretKind::LinkKey) => self.remove_key(identity, &mut plan),
                None => {
                    self.remove_credential(identity, &mut plan)?
                        | self.remove_key(identity, &mut plan)
                }
            };
            if !removed {
                return Err(VaultError::NotThere {
                    identity: identity.clone(),
                    what: match kind {
                        Some(SecretKind::Credential) => "credential",
                        Some(SecretKind::LinkKey) => "link key",
                        None => "credential or link key",
                    },
                });
            }
        }
        Ok(plan)
    }

    /// Devices have proved themselves by these: where one is the first use of a new secret, the
    /// one before goes.
    pub fn used(&mut self, bases: &HashSet<Basis>) -> Plan {
        let mut plan = Plan::default();
        self.settle_keys(&mut plan, |key| bases.contains(&Basis::LinkKey(key.id)));
        self.settle_credentials(&mut plan, |credential| {
            bases.contains(&Basis::Credential(credentials::id(credential)))
        });
        plan
    }

    /// The old secrets whose time has passed go.
    pub fn expire(&mut self, unix_ms: u64) -> Plan {
        let mut plan = Plan::default();
        self.settle_keys(&mut plan, |key| key.is_over(unix_ms));
        self.expire_credentials(&mut plan, unix_ms);
        plan
    }
}

fn until(credential: &StoredCredential) -> Option<u64> {
    let previous = credential.previous.as_ref()?;
    Some(previous.holds_until_unix_ms)
}
