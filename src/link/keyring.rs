//! The link keys and credentials that are active now.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::link_key::LinkKey;
use crate::config::{Credential, CredentialDigest};
use crate::device::DeviceId;
use crate::identity::{Basis, CredentialId, Identity, KeyId, KeyOwner, NameError, Secrets};

/// What the gateway knows of its devices' secrets. It is replaced as a whole, never altered.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<KeyId, (LinkKey, KeyOwner)>,
    /// The newest first.
    fleet: Vec<KeyId>,
    devices: HashMap<DeviceId, KeyId>,
    by_id: HashMap<DeviceId, Stored>,
    by_name: HashMap<Identity, CredentialDigest>,
}

/// The credential of a serial number.
#[derive(Debug)]
struct Stored {
    /// `None`: whatever owner the device names.
    owner: Option<Box<str>>,
    digest: CredentialDigest,
}

/// The link keys of a gateway, as they were read.
#[derive(Debug, Default)]
pub struct LinkKeys {
    /// The newest first: the gateway dials with it.
    pub fleet: Vec<LinkKey>,
    pub devices: Vec<(DeviceId, LinkKey)>,
}

/// Why keys and credentials do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("key {0} stands in two key files, a key has one owner; remove one of them")]
    SharedKey(KeyId),
    #[error("{0} has two keys or credentials, give it one")]
    Twice(String),
    #[error("a [[credential]] has no valid name: {0}")]
    Name(#[from] NameError),
}

impl Keyring {
    /// # Errors
    /// [`KeyringError`] when a key or a device stands there twice, or a name is not allowed.
    pub fn new(keys: LinkKeys, credentials: &[Credential]) -> Result<Self, KeyringError> {
        let mut ring = Self::default();
        for key in keys.fleet {
            let id = ring.insert_key(key, KeyOwner::Fleet)?;
            ring.fleet.push(id);
        }
        for (device, key) in keys.devices {
            let id = ring.insert_key(key, KeyOwner::Device(device))?;
            if ring.devices.insert(device, id).is_some() {
                return Err(KeyringError::Twice(device.to_string()));
            }
        }
        for credential in credentials {
            ring.insert_credential(credential)?;
        }
        Ok(ring)
    }

    /// The key that a peer asks for, and whose it is.
    pub fn link_key(&self, id: KeyId) -> Option<(&LinkKey, KeyOwner)> {
        self.keys.get(&id).map(|(key, owner)| (key, *owner))
    }

    fn insert_key(&mut self, key: LinkKey, owner: KeyOwner) -> Result<KeyId, KeyringError> {
        let id = key.id();
        match self.keys.entry(id) {
            Entry::Occupied(_) => Err(KeyringError::SharedKey(id)),
            Entry::Vacant(vacant) => {
                vacant.insert((key, owner));
                Ok(id)
            }
        }
    }

    fn insert_credential(&mut self, credential: &Credential) -> Result<(), KeyringError> {
        let identity = credential.identity()?;
        let digest = credential.digest.clone();
        let name = identity.to_string();
        let replaced = match identity.serial() {
            Some(id) => {
                let owner = credential.owner.as_deref().map(Box::from);
                self.by_id.insert(id, Stored { owner, digest }).is_some()
            }
            None => self.by_name.insert(identity, digest).is_some(),
        };
        if replaced {
            return Err(KeyringError::Twice(name));
        }
        Ok(())
    }

    fn stored(&self, id: Option<DeviceId>, identity: &Identity) -> Option<&Stored> {
        self.by_id.get(&id.or_else(|| identity.serial())?)
    }
}

impl Secrets for Keyring {
    fn has_device_key(&self, id: DeviceId) -> bool {
        self.devices.contains_key(&id)
    }

    /// Also when the owner is another: a credential of an ID takes the fleet key's proof from
    /// everyone who names that ID.
    fn has_credential(&self, id: Option<DeviceId>, identity: &Identity) -> bool {
        self.stored(id, identity).is_some() || self.by_name.contains_key(identity)
    }

    fn matches_credential(
        &self,
        id: Option<DeviceId>,
        identity: &Identity,
        credential: &[u8],
    ) -> Option<CredentialId> {
        let of_id = self.stored(id, identity).filter(|stored| {
            let owner = stored.owner.as_ref();
            owner.is_none_or(|owner| *owner == identity.owner)
        });
        let of_name = self.by_name.get(identity);
        of_id
            .map(|stored| &stored.digest)
            .into_iter()
            .chain(of_name)
            .find(|digest| digest.matches(credential))
            .map(CredentialDigest::id)
    }

    fn has_certificate(&self, _: DeviceId) -> bool {
        false
    }

    fn still_holds(&self, basis: Basis) -> bool {
        match basis {
            Basis::LinkKey(id) => self.keys.contains_key(&id),
            Basis::Credential(id) => {
                let of_ids = self.by_id.values().map(|stored| &stored.digest);
                let mut all = of_ids.chain(self.by_name.values());
                all.any(|digest| digest.id() == id)
            }
            Basis::Certificate(_) => true,
        }
    }

    /// A device with a key of its own is dialled with that alone, for the fleet's prove nothing of
    /// it; any other with the fleet's, the newest first.
    fn dial_keys(&self, id: Option<DeviceId>) -> Vec<KeyId> {
        match id.and_then(|id| self.devices.get(&id)) {
            Some(key) => vec![*key],
            None => self.fleet.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn key(seed: u8) -> LinkKey {
        LinkKey::new([seed; 32])
    }

    fn identity(owner: &str, device: &str) -> Identity {
        Identity::new(owner, device).unwrap()
    }

    fn credential(owner: Option<&str>, device: &str, secret: &str) -> Credential {
        Credential {
            device: device.to_owned(),
            owner: owner.map(str::to_owned),
            digest: CredentialDigest::of(secret.as_bytes()),
        }
    }

    fn ring() -> Keyring {
        let keys = LinkKeys {
            fleet: vec![key(2), key(1)],
            devices: vec![(id(7), key(7))],
        };
        let credentials = [
            credential(None, "1001", "any owner"),
            credential(Some("alice"), "1002", "of alice"),
            credential(Some("alice"), "door", "door of alice"),
            credential(None, "door", "door of none"),
        ];
        Keyring::new(keys, &credentials).unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_id_with_its_owner() {
        let ring = ring();
        assert_eq!(ring.link_key(key(1).id()), Some((&key(1), KeyOwner::Fleet)));
        assert_eq!(
            ring.link_key(key(7).id()),
            Some((&key(7), KeyOwner::Device(id(7))))
        );
        assert_eq!(ring.link_key(key(9).id()), None);
    }

    #[test]
    fn a_device_is_dialled_with_its_own_key_or_the_newest_of_the_fleet() {
        let ring = ring();
        assert_eq!(ring.dial_keys(Some(id(7))), [key(7).id()]);
        let fleet = [key(2).id(), key(1).id()];
        assert_eq!(ring.dial_keys(Some(id(8))), fleet);
        assert_eq!(ring.dial_keys(None), fleet);
        assert!(Keyring::default().dial_keys(None).is_empty());
    }

    #[test]
    fn a_key_has_one_owner() {
        let same = |fleet, devices| Keyring::new(LinkKeys { fleet, devices }, &[]).unwrap_err();
        let shared = KeyringError::SharedKey(key(1).id());
        assert_eq!(same(vec![key(1), key(1)], vec![]), shared);
        assert_eq!(same(vec![key(1)], vec![(id(7), key(1))]), shared);
        let both = vec![(id(7), key(1)), (id(8), key(1))];
        assert_eq!(same(vec![], both), shared);
        let twice = vec![(id(7), key(1)), (id(7), key(2))];
        assert_eq!(same(vec![], twice), KeyringError::Twice("7".to_owned()));
    }

    #[test]
    fn a_device_has_one_credential() {
        let twice = [credential(None, "5", "a"), credential(Some("x"), "5", "b")];
        let error = Keyring::new(LinkKeys::default(), &twice).unwrap_err();
        assert_eq!(error, KeyringError::Twice("x/5".to_owned()));
        let bad = [credential(None, "", "a")];
        let error = Keyring::new(LinkKeys::default(), &bad).unwrap_err();
        assert!(matches!(error, KeyringError::Name(_)));
    }

    #[test]
    fn a_credential_holds_for_its_device_alone() {
        let ring = ring();
        // id, owner, device, credential, has one, matches
        let table = [
            (Some(1001), "", "1001", "any owner", true, true),
            (Some(1001), "bob", "1001", "any owner", true, true),
            (None, "bob", "1001", "any owner", true, true),
            (Some(1001), "", "1001", "of alice", true, false),
            (Some(1001), "", "1001", "", true, false),
            (Some(1002), "alice", "1002", "of alice", true, true),
            (Some(1002), "bob", "1002", "of alice", true, false),
            (Some(1002), "", "1002", "of alice", true, false),
            (None, "alice", "door", "door of alice", true, true),
            (
                Some(0xC000_0000),
                "alice",
                "door",
                "door of alice",
                true,
                true,
            ),
            (None, "alice", "door", "door of none", true, false),
            (None, "", "door", "door of none", true, true),
            (None, "bob", "door", "door of none", false, false),
            (Some(1003), "", "1003", "any owner", false, false),
            // A name that was given the ID of a stored serial number.
            (Some(1001), "", "gate", "any owner", true, true),
        ];
        for (number, owner, device, secret, has, matches) in table {
            let identity = identity(owner, device);
            let number = number.map(id);
            let row = format!("{number:?} {identity} {secret:?}");
            assert_eq!(ring.has_credential(number, &identity), has, "{row}");
            assert_eq!(
                ring.matches_credential(number, &identity, secret.as_bytes())
                    .is_some(),
                matches,
                "{row}"
            );
        }
    }
}
