//! The credentials that are stored.

use super::{Ledger, Name, Plan, until};
use crate::config::CredentialDigest;
use crate::identity::{CredentialId, Identity};
use crate::link::keyring::Credential;
use crate::registry::records::{PreviousDigest, StoredCredential};
use crate::vault::{SecretKind, StoredIdentity, VaultError};

/// The credential as it holds at `unix_ms`.
pub(super) fn active(credential: &StoredCredential, unix_ms: u64) -> Credential {
    let previous = credential.previous.as_ref();
    let previous = previous.filter(|previous| unix_ms < previous.holds_until_unix_ms);
    let identity = credential.identity.clone();
    Credential {
        any_owner: identity.owner.is_empty() && identity.serial().is_some(),
        identity,
        digest: CredentialDigest::from_bytes(credential.digest),
        previous: previous.map(|previous| CredentialDigest::from_bytes(previous.digest)),
        provisional: !credential.confirmed,
    }
}

pub(super) fn id(credential: &StoredCredential) -> CredentialId {
    CredentialDigest::from_bytes(credential.digest).id()
}

pub(super) fn view(credential: &StoredCredential) -> StoredIdentity {
    StoredIdentity {
        identity: credential.identity.clone(),
        kind: SecretKind::Credential,
        created_unix_ms: credential.created_unix_ms,
        in_file: false,
        rotating: credential.previous.is_some() || !credential.confirmed,
    }
}

pub(super) fn view_configured(credential: &Credential) -> StoredIdentity {
    StoredIdentity {
        identity: credential.identity.clone(),
        kind: SecretKind::Credential,
        created_unix_ms: 0,
        in_file: true,
        rotating: false,
    }
}

impl Ledger {
    /// Gives a device its first credential.
    ///
    /// # Errors
    /// [`VaultError::AlreadyThere`], also when it stands in the configuration.
    pub fn add_credential(
        &mut self,
        identity: Identity,
        digest: &CredentialDigest,
        unix_ms: u64,
    ) -> Result<Plan, VaultError> {
        if self.is_configured(&identity) || self.stored.contains_key(&Name::of(&identity)) {
            return Err(VaultError::AlreadyThere {
                identity,
                kind: SecretKind::Credential,
            });
        }
        Ok(self.put_new(identity, digest, unix_ms, false))
    }

    /// Puts a new credential in the place of the old one, which holds until `until_unix_ms` or the
    /// first use of the new one. One that was made so before and never used is forgotten.
    ///
    /// # Errors
    /// [`VaultError::NotThere`], [`VaultError::Configured`].
    pub fn rotate_credential(
        &mut self,
        identity: &Identity,
        digest: &CredentialDigest,
        unix_ms: u64,
        until_unix_ms: u64,
    ) -> Result<Plan, VaultError> {
        let credential = self.credential_mut(identity)?;
        replace(credential, digest, unix_ms, until_unix_ms);
        // Somebody keeps it by hand now.
        credential.made_for_tls = false;
        let mut plan = Plan::default();
        plan.put(credential);
        Ok(plan)
    }

    /// Makes the credential that `EnableSSL` is about to write to the device. What opened the
    /// device before still does: the credential before, or the fleet key.
    ///
    /// # Errors
    /// [`VaultError::Configured`].
    pub fn begin_tls(
        &mut self,
        identity: Identity,
        digest: &CredentialDigest,
        unix_ms: u64,
        until_unix_ms: u64,
    ) -> Result<Plan, VaultError> {
        if let Some(credential) = self.stored.get_mut(&Name::of(&identity)) {
            replace(credential, digest, unix_ms, until_unix_ms);
            let mut plan = Plan::default();
            plan.put(credential);
            return Ok(plan);
        }
        if self.is_configured(&identity) {
            return Err(VaultError::Configured(identity));
        }
        Ok(self.put_new(identity, digest, unix_ms, true))
    }

    /// The device has the credential: the fleet key opens it no longer. The credential before
    /// holds until the first use of the new one, for the session that is up may stand on it.
    ///
    /// # Errors
    /// [`VaultError::NotThere`] when it was taken away meanwhile.
    pub fn confirm_tls(&mut self, identity: &Identity) -> Result<Plan, VaultError> {
        let stored = self.stored.get_mut(&Name::of(identity));
        let credential = stored.ok_or_else(|| not_there(identity))?;
        let mut plan = Plan::default();
        if !credential.confirmed {
            credential.confirmed = true;
            plan.put(credential);
        }
        Ok(plan)
    }

    /// The device did not take the credential: what was before is again.
    pub fn abandon_tls(&mut self, identity: &Identity) -> Plan {
        let mut plan = Plan::default();
        let name = Name::of(identity);
        let Some(credential) = self.stored.get_mut(&name) else {
            return plan;
        };
        if let Some(previous) = credential.previous.take() {
            credential.digest = previous.digest;
            plan.put(credential);
        } else if !credential.confirmed {
            plan.delete(credential);
            self.stored.remove(&name);
        }
        plan
    }

    /// Takes the credential away if `EnableSSL` made it.
    pub fn withdraw_tls(&mut self, identity: &Identity) -> Plan {
        let mut plan = Plan::default();
        let name = Name::of(identity);
        if let Some(credential) = self.stored.get(&name).filter(|stored| stored.made_for_tls) {
            plan.delete(credential);
            self.stored.remove(&name);
        }
        plan
    }

    pub(super) fn remove_credential(
        &mut self,
        identity: &Identity,
        plan: &mut Plan,
    ) -> Result<bool, VaultError> {
        match self.credential_mut(identity) {
            Ok(credential) => plan.delete(credential),
            Err(VaultError::NotThere { .. }) => return Ok(false),
            Err(other) => return Err(other),
        }
        self.stored.remove(&Name::of(identity));
        Ok(true)
    }

    pub(super) fn settle_credentials(
        &mut self,
        plan: &mut Plan,
        is_used: impl Fn(&StoredCredential) -> bool,
    ) {
        for credential in self.stored.values_mut() {
            let is_new = credential.previous.is_some() || !credential.confirmed;
            if is_new && is_used(credential) {
                credential.previous = None;
                credential.confirmed = true;
                plan.put(credential);
            }
        }
    }

    pub(super) fn expire_credentials(&mut self, plan: &mut Plan, unix_ms: u64) {
        for credential in self.stored.values_mut() {
            if until(credential).is_some_and(|until| until <= unix_ms) {
                credential.previous = None;
                plan.put(credential);
            }
        }
    }

    fn put_new(
        &mut self,
        identity: Identity,
        digest: &CredentialDigest,
        created_unix_ms: u64,
        for_tls: bool,
    ) -> Plan {
        let credential = StoredCredential {
            identity,
            digest: digest.to_bytes(),
            previous: None,
            created_unix_ms,
            made_for_tls: for_tls,
            confirmed: !for_tls,
        };
        let mut plan = Plan::default();
        plan.put(&credential);
        self.stored
            .insert(Name::of(&credential.identity), credential);
        plan
    }

    /// The stored credential of this device; an empty owner means whatever owner it is stored with.
    fn credential_mut(&mut self, identity: &Identity) -> Result<&mut StoredCredential, VaultError> {
        if self.is_configured(identity) {
            return Err(VaultError::Configured(identity.clone()));
        }
        let found = self.stored.get_mut(&Name::of(identity));
        let fits = |stored: &&mut StoredCredential| {
            identity.owner.is_empty() || stored.identity.owner == identity.owner
        };
        found.filter(fits).ok_or_else(|| not_there(identity))
    }

    fn is_configured(&self, identity: &Identity) -> bool {
        let name = Name::of(identity);
        let mut all = self.configured.iter();
        all.any(|credential| Name::of(&credential.identity) == name)
    }
}

fn not_there(identity: &Identity) -> VaultError {
    VaultError::NotThere {
        identity: identity.clone(),
        what: "credential",
    }
}

/// The older one is kept where two hold: it is the one that the device has used.
fn replace(
    credential: &mut StoredCredential,
    digest: &CredentialDigest,
    unix_ms: u64,
    until_unix_ms: u64,
) {
    let held = credential.previous.take();
    let held = held.filter(|previous| unix_ms < previous.holds_until_unix_ms);
    let digest_before = std::mem::replace(&mut credential.digest, digest.to_bytes());
    credential.previous = Some(PreviousDigest {
        digest: held.map_or(digest_before, |previous| previous.digest),
        holds_until_unix_ms: until_unix_ms,
    });
    credential.created_unix_ms = unix_ms;
}
