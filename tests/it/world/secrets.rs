//! The keys and credentials of a world: what the gateway knows of them, and who truly holds what.

use std::collections::BTreeMap;

use gatehouse::device::DeviceId;
use gatehouse::identity::{Basis, CredentialId, Identity, KeyId, KeyOwner, Secrets};
use gatehouse::link::link_key::LinkKey;
use gatehouse::session::KeyLookup;

/// A second fleet key, as while keys are rotated.
pub const FLEET_KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const STRANGE_KEY: [u8; 32] = [3; 32];

#[derive(Clone, Debug, Default)]
pub struct Safe {
    device_keys: BTreeMap<KeyId, (DeviceId, [u8; 32])>,
    /// By the name of the device.
    credentials: BTreeMap<String, String>,
    fleet: Vec<KeyId>,
}

/// The link key that a device was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// One of [`FLEET_KEYS`].
    Fleet(usize),
    /// The key of this device.
    Own(DeviceId),
    /// A key that the gateway does not know.
    Strange,
}

impl Held {
    pub fn key(self) -> LinkKey {
        LinkKey::new(match self {
            Self::Fleet(index) => FLEET_KEYS[index],
            Self::Own(id) => key_of(id),
            Self::Strange => STRANGE_KEY,
        })
    }
}

impl Safe {
    pub fn new() -> Self {
        Self {
            fleet: FLEET_KEYS.map(|key| LinkKey::new(key).id()).into(),
            ..Self::default()
        }
    }

    pub fn give_key(&mut self, id: DeviceId) {
        let key = key_of(id);
        self.device_keys.insert(LinkKey::new(key).id(), (id, key));
    }

    pub fn give_credential(&mut self, device: &str) {
        let right = right_credential(device);
        self.credentials.insert(device.to_owned(), right);
    }

    pub fn has_credential_for(&self, device: &str) -> bool {
        self.credentials.contains_key(device)
    }

    /// How strong the proof truly is that a device with these secrets has for `id`, found apart
    /// from the gateway's judgement; `None` when it has none.
    pub fn strength(
        &self,
        id: Option<DeviceId>,
        device: &str,
        key: Option<Held>,
        credential: &str,
    ) -> Option<u8> {
        let stored = self.credentials.get(device);
        let owns = id.is_some_and(|id| self.has_device_key(id));
        match key {
            Some(Held::Own(of)) if id == Some(of) && owns => Some(3),
            _ if stored.is_some_and(|right| right == credential) => Some(1),
            Some(Held::Fleet(_)) if stored.is_none() && !owns => Some(0),
            _ => None,
        }
    }
}

pub fn right_credential(device: &str) -> String {
    format!("the credential of {device}")
}

fn key_of(id: DeviceId) -> [u8; 32] {
    let mut key = [9; 32];
    key[..4].copy_from_slice(&id.get().to_be_bytes());
    key
}

impl Secrets for Safe {
    fn has_device_key(&self, id: DeviceId) -> bool {
        self.device_keys.values().any(|(owner, _)| *owner == id)
    }

    fn has_credential(&self, _: Option<DeviceId>, identity: &Identity) -> bool {
        self.has_credential_for(&identity.device)
    }

    fn matches_credential(
        &self,
        _: Option<DeviceId>,
        identity: &Identity,
        credential: &[u8],
    ) -> Option<CredentialId> {
        let stored = self.credentials.get(&*identity.device);
        stored
            .filter(|right| right.as_bytes() == credential)
            .map(|_| CredentialId([1; 8]))
    }

    fn has_certificate(&self, _: DeviceId) -> bool {
        false
    }

    fn still_holds(&self, _: Basis) -> bool {
        true
    }

    fn dial_keys(&self, id: Option<DeviceId>) -> Vec<KeyId> {
        match id.filter(|id| self.has_device_key(*id)) {
            Some(id) => vec![Held::Own(id).key().id()],
            None => self.fleet.clone(),
        }
    }
}

impl KeyLookup for Safe {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)> {
        if let Some((owner, key)) = self.device_keys.get(&id) {
            return Some((LinkKey::new(*key), KeyOwner::Device(*owner)));
        }
        let index = self.fleet.iter().position(|fleet| *fleet == id)?;
        Some((LinkKey::new(FLEET_KEYS[index]), KeyOwner::Fleet))
    }
}
