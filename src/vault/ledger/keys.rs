//! The link keys of devices.

use std::collections::{BTreeMap, HashMap};

use super::{FileStep, Ledger, Plan};
use crate::device::DeviceId;
use crate::identity::{Identity, KeyId};
use crate::link::keyring::LinkKeys;
use crate::link::link_key::LinkKey;
use crate::vault::{SecretKind, StoredIdentity, VaultError};

/// What one device may make its aes link with; one of the two at least.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceKeys {
    own: Option<LinkKey>,
    provisional: Option<Provisional>,
}

/// A key that the device was given and has not used yet.
#[derive(Clone, Debug)]
pub(super) struct Provisional {
    pub(super) id: KeyId,
    key: LinkKey,
    /// Milliseconds since the Unix epoch; without an end when the gateway wrote the key to the
    /// device itself and is not sure that it arrived.
    old_holds_until: Option<u64>,
}

impl Provisional {
    fn new(key: LinkKey, old_holds_until: Option<u64>) -> Self {
        Self {
            id: key.id(),
            key,
            old_holds_until,
        }
    }

    pub(super) fn is_over(&self, unix_ms: u64) -> bool {
        self.old_holds_until.is_some_and(|until| until <= unix_ms)
    }
}

impl DeviceKeys {
    pub(super) fn old_holds_until(&self) -> Option<u64> {
        self.provisional.as_ref()?.old_holds_until
    }

    pub(super) fn view(&self, id: DeviceId) -> StoredIdentity {
        StoredIdentity {
            identity: named_by(id),
            kind: SecretKind::LinkKey,
            created_unix_ms: 0,
            in_file: false,
            rotating: self.provisional.is_some(),
        }
    }

    /// The steps that write these to an empty directory.
    fn written(&self, id: DeviceId) -> Vec<FileStep> {
        let own = self.own.clone().map(|key| FileStep::Write(id, key));
        let provisional = self.provisional.clone().map(|new| {
            let Provisional {
                key,
                old_holds_until,
                ..
            } = new;
            FileStep::WriteProvisional(id, key, old_holds_until)
        });
        own.into_iter().chain(provisional).collect()
    }
}

/// The name of a device that has nothing but its ID.
fn named_by(id: DeviceId) -> Identity {
    Identity {
        owner: Box::default(),
        device: id.to_string().into(),
    }
}

pub(super) fn of_devices(
    own: Vec<(DeviceId, LinkKey)>,
    provisional: Vec<(DeviceId, LinkKey)>,
    graces: &HashMap<DeviceId, u64>,
) -> BTreeMap<DeviceId, DeviceKeys> {
    let mut keys: BTreeMap<_, DeviceKeys> = BTreeMap::new();
    for (id, key) in own {
        keys.entry(id).or_default().own = Some(key);
    }
    for (id, key) in provisional {
        let provisional = Provisional::new(key, graces.get(&id).copied());
        keys.entry(id).or_default().provisional = Some(provisional);
    }
    keys
}

/// The keys that hold at `unix_ms`.
pub(super) fn active(
    fleet: &[LinkKey],
    devices: &BTreeMap<DeviceId, DeviceKeys>,
    unix_ms: u64,
) -> LinkKeys {
    let mut active = LinkKeys {
        fleet: fleet.to_vec(),
        ..LinkKeys::default()
    };
    for (id, keys) in devices {
        match &keys.provisional {
            Some(new) if new.is_over(unix_ms) => active.devices.push((*id, new.key.clone())),
            new => {
                let own = keys.own.iter().map(|key| (*id, key.clone()));
                active.devices.extend(own);
                let new = new.iter().map(|new| (*id, new.key.clone()));
                active.provisional.extend(new);
            }
        }
    }
    active
}

/// The ID that a link key is of.
fn serial(identity: &Identity) -> Result<DeviceId, VaultError> {
    identity
        .serial()
        .ok_or_else(|| VaultError::NoSerial(identity.clone()))
}

impl Ledger {
    /// Gives a device its first link key.
    ///
    /// # Errors
    /// [`VaultError::NoSerial`], [`VaultError::AlreadyThere`].
    pub fn add_key(&mut self, identity: &Identity, key: LinkKey) -> Result<Plan, VaultError> {
        let id = serial(identity)?;
        if self.keys.contains_key(&id) {
            return Err(VaultError::AlreadyThere {
                identity: identity.clone(),
                kind: SecretKind::LinkKey,
            });
        }
        let own = Some(key.clone());
        let provisional = None;
        self.keys.insert(id, DeviceKeys { own, provisional });
        let mut plan = Plan::default();
        plan.file(FileStep::Write(id, key));
        Ok(plan)
    }

    /// Puts a new key beside the old one, which holds until `until_unix_ms` or the first use of the
    /// new one. A key that was made so before and never used is forgotten.
    ///
    /// # Errors
    /// [`VaultError::NoSerial`], [`VaultError::NotThere`]; [`VaultError::Enrolling`] when the
    /// device may have another new key already.
    pub fn rotate_key(
        &mut self,
        identity: &Identity,
        key: LinkKey,
        unix_ms: u64,
        until_unix_ms: u64,
    ) -> Result<Plan, VaultError> {
        let id = serial(identity)?;
        let Some(keys) = self.keys.get_mut(&id) else {
            return Err(VaultError::NotThere {
                identity: identity.clone(),
                what: "link key",
            });
        };
        let new = keys.provisional.as_ref();
        if new.is_some_and(|new| new.old_holds_until.is_none()) {
            return Err(VaultError::Enrolling(id));
        }
        let mut plan = Plan::default();
        settle(id, keys, &mut plan, |new| new.is_over(unix_ms));
        let until = Some(until_unix_ms);
        keys.provisional = Some(Provisional::new(key.clone(), until));
        plan.file(FileStep::WriteProvisional(id, key, until));
        Ok(plan)
    }

    /// The key that a device is to be given next, if it may have got it already.
    pub fn offered_key(&self, id: DeviceId) -> Option<LinkKey> {
        let new = self.keys.get(&id)?.provisional.as_ref()?;
        Some(new.key.clone())
    }

    pub fn has_key(&self, id: DeviceId) -> bool {
        self.keys.get(&id).is_some_and(|keys| keys.own.is_some())
    }

    /// Puts a key beside what opens the device now, until [`Self::accept_key`] or its first use.
    pub fn offer_key(&mut self, id: DeviceId, key: LinkKey) -> Plan {
        let provisional = Provisional::new(key.clone(), None);
        self.keys.entry(id).or_default().provisional = Some(provisional);
        let mut plan = Plan::default();
        plan.file(FileStep::WriteProvisional(id, key, None));
        plan
    }

    /// The device has this key: it is its own from now on. Nothing happens when that is so already.
    pub fn accept_key(&mut self, id: DeviceId, key: KeyId) -> Plan {
        let mut plan = Plan::default();
        if let Some(keys) = self.keys.get_mut(&id) {
            settle(id, keys, &mut plan, |new| new.id == key);
        }
        plan
    }

    /// The device did not take this key. Nothing happens when it is not on offer any more.
    pub fn retract_key(&mut self, id: DeviceId, key: KeyId) -> Plan {
        let mut plan = Plan::default();
        let Some(keys) = self.keys.get_mut(&id) else {
            return plan;
        };
        if keys.provisional.take_if(|new| new.id == key).is_some() {
            plan.file(FileStep::DropProvisional(id));
        }
        if keys.own.is_none() && keys.provisional.is_none() {
            self.keys.remove(&id);
        }
        plan
    }

    pub(super) fn remove_key(&mut self, identity: &Identity, plan: &mut Plan) -> bool {
        let id = identity.serial();
        let Some((id, keys)) = id.and_then(|id| Some((id, self.keys.remove(&id)?))) else {
            return false;
        };
        plan.reversible(FileStep::Remove(id), keys.written(id));
        true
    }

    pub(super) fn settle_keys(&mut self, plan: &mut Plan, is_due: impl Fn(&Provisional) -> bool) {
        for (id, keys) in &mut self.keys {
            settle(*id, keys, plan, &is_due);
        }
    }
}

fn settle(
    id: DeviceId,
    keys: &mut DeviceKeys,
    plan: &mut Plan,
    is_due: impl Fn(&Provisional) -> bool,
) {
    if let Some(new) = keys.provisional.take_if(|new| is_due(new)) {
        keys.own = Some(new.key);
        plan.file(FileStep::Promote(id));
    }
}
