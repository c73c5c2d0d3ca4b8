//! The link keys, credentials and certificates that are active now.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::link_key::LinkKey;
use crate::config::{self, CredentialDigest};
use crate::device::DeviceId;
use crate::identity::{
    Basis, CertificateId, CredentialId, Identity, KeyId, KeyOwner, NameError, Secrets,
};

/// What the gateway knows of its devices' secrets. It is replaced as a whole, never altered.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: HashMap<KeyId, (LinkKey, KeyOwner)>,
    /// The newest first.
    fleet: Vec<KeyId>,
    devices: HashMap<DeviceId, KeyId>,
    provisional: HashMap<DeviceId, KeyId>,
    by_id: HashMap<DeviceId, Stored>,
    by_name: HashMap<Identity, Digests>,
    credentials: HashSet<CredentialId>,
    certificates: Arc<Certificates>,
    /// What a device has been given and has not used yet.
    unused: HashSet<Basis>,
}

/// The credential of a serial number.
#[derive(Debug)]
struct Stored {
    /// `None`: whatever owner the device names.
    owner: Option<Box<str>>,
    digests: Digests,
}

#[derive(Debug)]
struct Digests {
    newest: CredentialDigest,
    previous: Option<CredentialDigest>,
    provisional: bool,
}

impl Digests {
    fn find(&self, credential: &[u8]) -> Option<CredentialId> {
        let mut all = [Some(&self.newest), self.previous.as_ref()]
            .into_iter()
            .flatten();
        all.find(|digest| digest.matches(credential))
            .map(CredentialDigest::id)
    }
}

/// Everything that a [`Keyring`] is made of.
#[derive(Debug, Default)]
pub struct Material {
    pub keys: LinkKeys,
    pub credentials: Vec<Credential>,
    pub certificates: Arc<Certificates>,
}

/// The link keys of a gateway, as they were read.
#[derive(Clone, Debug, Default)]
pub struct LinkKeys {
    /// The newest first: the gateway dials with it.
    pub fleet: Vec<LinkKey>,
    pub devices: Vec<(DeviceId, LinkKey)>,
    /// Keys that devices were given and have not used yet. One opens its device as the device's
    /// own key does, and what opened it before still does.
    pub provisional: Vec<(DeviceId, LinkKey)>,
}

/// A credential that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub identity: Identity,
    /// Whatever owner the device names; for a serial number only.
    pub any_owner: bool,
    pub digest: CredentialDigest,
    /// The one before, where it holds still.
    pub previous: Option<CredentialDigest>,
    /// The device may not have it yet: it proves the device, and the fleet key does so too.
    pub provisional: bool,
}

/// What is known of device certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The devices for which one was made, revoked ones too.
    pub issued: HashSet<DeviceId>,
    pub revoked: HashSet<CertificateId>,
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

/// The credentials of the configuration.
///
/// # Errors
/// [`KeyringError::Name`] for the first whose name is not allowed.
pub fn configured(credentials: &[config::Credential]) -> Result<Vec<Credential>, KeyringError> {
    let read = |credential: &config::Credential| {
        let identity = credential.identity()?;
        Ok(Credential {
            any_owner: credential.owner.is_none() && identity.serial().is_some(),
            identity,
            digest: credential.digest.clone(),
            previous: None,
            provisional: false,
        })
    };
    credentials.iter().map(read).collect()
}

impl Keyring {
    /// # Errors
    /// [`KeyringError`] when a key or a device stands there twice.
    pub fn new(material: Material) -> Result<Self, KeyringError> {
        let mut ring = Self {
            certificates: material.certificates,
            ..Self::default()
        };
        for key in material.keys.fleet {
            let id = ring.insert_key(key, KeyOwner::Fleet)?;
            ring.fleet.push(id);
        }
        for (device, key) in material.keys.devices {
            let id = ring.insert_key(key, KeyOwner::Device(device))?;
            if ring.devices.insert(device, id).is_some() {
                return Err(KeyringError::Twice(device.to_string()));
            }
        }
        for (device, key) in material.keys.provisional {
            let id = ring.insert_key(key, KeyOwner::Device(device))?;
            if ring.provisional.insert(device, id).is_some() {
                return Err(KeyringError::Twice(device.to_string()));
            }
            ring.unused.insert(Basis::LinkKey(id));
        }
        for credential in material.credentials {
            ring.insert_credential(credential)?;
        }
        Ok(ring)
    }

    /// The key that a peer asks for, and whose it is.
    pub fn link_key(&self, id: KeyId) -> Option<(&LinkKey, KeyOwner)> {
        self.keys.get(&id).map(|(key, owner)| (key, *owner))
    }

    /// Whether a session that stands on this is the first use of a new secret, so that the one
    /// before can go.
    pub fn is_first_use(&self, basis: Basis) -> bool {
        self.unused.contains(&basis)
    }

    /// Whether any device has been given a secret that it has not used yet.
    pub fn awaits_use(&self) -> bool {
        !self.unused.is_empty()
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

    fn insert_credential(&mut self, credential: Credential) -> Result<(), KeyringError> {
        let name = credential.identity.to_string();
        let newest = credential.digest.id();
        let previous = credential.previous.as_ref().map(CredentialDigest::id);
        self.credentials
            .extend([newest].into_iter().chain(previous));
        if previous.is_some() || credential.provisional {
            self.unused.insert(Basis::Credential(newest));
        }
        let digests = Digests {
            newest: credential.digest,
            previous: credential.previous,
            provisional: credential.provisional,
        };
        let identity = credential.identity;
        let replaced = match identity.serial() {
            Some(id) => {
                let owner = (!credential.any_owner).then_some(identity.owner);
                self.by_id.insert(id, Stored { owner, digests }).is_some()
            }
            None => self.by_name.insert(identity, digests).is_some(),
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
        let of_id = self.stored(id, identity).map(|stored| &stored.digests);
        let of_name = self.by_name.get(identity);
        let mut all = [of_id, of_name].into_iter().flatten();
        all.any(|digests| !digests.provisional)
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
        let mut all = [of_id.map(|stored| &stored.digests), of_name]
            .into_iter()
            .flatten();
        all.find_map(|digests| digests.find(credential))
    }

    fn has_certificate(&self, id: DeviceId) -> bool {
        self.certificates.issued.contains(&id)
    }

    fn still_holds(&self, basis: Basis) -> bool {
        match basis {
            Basis::LinkKey(id) => self.keys.contains_key(&id),
            Basis::Credential(id) => self.credentials.contains(&id),
            Basis::Certificate(id) => !self.certificates.revoked.contains(&id),
        }
    }

    /// A device with a key of its own is dialled with that alone, for the fleet's prove nothing of
    /// it; any other with the fleet's, the newest first. A key that the device may have by now is
    /// tried before these.
    fn dial_keys(&self, id: Option<DeviceId>) -> Vec<KeyId> {
        let own = id.and_then(|id| self.devices.get(&id));
        let provisional = id.and_then(|id| self.provisional.get(&id));
        let before = own.map_or(self.fleet.as_slice(), std::slice::from_ref);
        provisional.into_iter().chain(before).copied().collect()
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
            identity: identity(owner.unwrap_or_default(), device),
            any_owner: owner.is_none(),
            digest: CredentialDigest::of(secret.as_bytes()),
            previous: None,
            provisional: false,
        }
    }

    fn of_keys(keys: LinkKeys) -> Result<Keyring, KeyringError> {
        Keyring::new(Material {
            keys,
            ..Material::default()
        })
    }

    fn of_credentials(credentials: Vec<Credential>) -> Result<Keyring, KeyringError> {
        Keyring::new(Material {
            credentials,
            ..Material::default()
        })
    }

    fn ring() -> Keyring {
        let keys = LinkKeys {
            fleet: vec![key(2), key(1)],
            devices: vec![(id(7), key(7))],
            provisional: vec![],
        };
        let credentials = vec![
            credential(None, "1001", "any owner"),
            credential(Some("alice"), "1002", "of alice"),
            credential(Some("alice"), "door", "door of alice"),
            credential(None, "door", "door of none"),
        ];
        let material = Material {
            keys,
            credentials,
            ..Material::default()
        };
        Keyring::new(material).unwrap()
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
        let same = |fleet, devices, provisional| {
            let keys = LinkKeys {
                fleet,
                devices,
                provisional,
            };
            of_keys(keys).unwrap_err()
        };
        let shared = KeyringError::SharedKey(key(1).id());
        let own = || vec![(id(7), key(1))];
        assert_eq!(same(vec![key(1), key(1)], vec![], vec![]), shared);
        assert_eq!(same(vec![key(1)], own(), vec![]), shared);
        assert_eq!(same(vec![], own(), own()), shared);
        let both = vec![(id(7), key(1)), (id(8), key(1))];
        assert_eq!(same(vec![], both, vec![]), shared);
        let twice = || vec![(id(7), key(1)), (id(7), key(2))];
        let error = KeyringError::Twice("7".to_owned());
        assert_eq!(same(vec![], twice(), vec![]), error);
        assert_eq!(same(vec![], vec![], twice()), error);
    }

    #[test]
    fn a_provisional_key_opens_its_device_and_shuts_nothing() {
        let keys = LinkKeys {
            fleet: vec![key(2), key(1)],
            devices: vec![(id(7), key(7))],
            provisional: vec![(id(7), key(17)), (id(8), key(18))],
        };
        let ring = of_keys(keys).unwrap();
        assert_eq!(
            ring.link_key(key(18).id()),
            Some((&key(18), KeyOwner::Device(id(8))))
        );
        assert!(ring.has_device_key(id(7)));
        assert!(!ring.has_device_key(id(8)));
        let [new, old] = [17, 7].map(|seed| key(seed).id());
        assert_eq!(ring.dial_keys(Some(id(7))), [new, old]);
        let fleet = [18, 2, 1].map(|seed| key(seed).id());
        assert_eq!(ring.dial_keys(Some(id(8))), fleet);
        assert!(ring.awaits_use());
        for (seed, first_use) in [(1, false), (7, false), (17, true), (18, true)] {
            let basis = Basis::LinkKey(key(seed).id());
            assert!(ring.still_holds(basis), "key {seed}");
            assert_eq!(ring.is_first_use(basis), first_use, "key {seed}");
        }
        assert!(!ring.still_holds(Basis::LinkKey(key(9).id())));
    }

    #[test]
    fn a_previous_credential_holds_beside_the_newest() {
        let rotated = Credential {
            previous: Some(CredentialDigest::of(b"old")),
            ..credential(None, "5", "new")
        };
        let ring = of_credentials(vec![rotated]).unwrap();
        let device = identity("", "5");
        let matched = |secret: &[u8]| ring.matches_credential(None, &device, secret);
        let [new, old] = [b"new", b"old"].map(|secret| CredentialDigest::of(secret).id());
        assert_eq!(matched(b"new"), Some(new));
        assert_eq!(matched(b"old"), Some(old));
        assert_eq!(matched(b"older"), None);
        assert!(ring.has_credential(None, &device));
        let [new, old] = [new, old].map(Basis::Credential);
        assert!(ring.still_holds(new) && ring.still_holds(old));
        assert!(ring.is_first_use(new) && !ring.is_first_use(old));
    }

    #[test]
    fn a_provisional_credential_matches_and_shuts_nothing() {
        let credentials = [("", "5"), ("alice", "door")].map(|(owner, device)| Credential {
            provisional: true,
            ..credential(Some(owner), device, "new")
        });
        let ring = of_credentials(credentials.into()).unwrap();
        for device in [identity("", "5"), identity("alice", "door")] {
            assert!(!ring.has_credential(None, &device), "{device}");
            let matched = ring.matches_credential(None, &device, b"new").unwrap();
            assert!(ring.is_first_use(Basis::Credential(matched)), "{device}");
        }
        assert!(!of_credentials(vec![]).unwrap().awaits_use());
    }

    #[test]
    fn a_certificate_is_known_by_device_and_shut_by_revocation() {
        let [good, revoked] = [1, 2].map(|seed| CertificateId([seed; 16]));
        let certificates = Arc::new(Certificates {
            issued: [id(7)].into(),
            revoked: [revoked].into(),
        });
        let ring = Keyring::new(Material {
            certificates,
            ..Material::default()
        });
        let ring = ring.unwrap();
        assert!(ring.has_certificate(id(7)) && !ring.has_certificate(id(8)));
        assert!(ring.still_holds(Basis::Certificate(good)));
        assert!(!ring.still_holds(Basis::Certificate(revoked)));
    }

    #[test]
    fn a_device_has_one_credential() {
        let twice = vec![credential(None, "5", "a"), credential(Some("x"), "5", "b")];
        let error = of_credentials(twice).unwrap_err();
        assert_eq!(error, KeyringError::Twice("x/5".to_owned()));
    }

    #[test]
    fn the_configuration_names_its_owners_or_takes_any() {
        let stanza = |owner: Option<&str>, device: &str| config::Credential {
            device: device.to_owned(),
            owner: owner.map(str::to_owned),
            digest: CredentialDigest::of(b"secret"),
        };
        let table = [
            (None, "5", identity("", "5"), true),
            (Some(""), "5", identity("", "5"), false),
            (Some("alice"), "5", identity("alice", "5"), false),
            (None, "door", identity("", "door"), false),
        ];
        for (owner, device, identity, any_owner) in table {
            let read = configured(&[stanza(owner, device)]).unwrap().remove(0);
            assert_eq!((read.identity, read.any_owner), (identity, any_owner));
        }
        let error = configured(&[stanza(None, "")]).unwrap_err();
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
