//! Which device has which ID: serial numbers are their own, names are given one for good.

use std::collections::BTreeMap;

use imbl::OrdMap;

use crate::device::DeviceId;
use crate::identity::Identity;

/// Every device that was ever admitted.
#[derive(Debug, Default)]
pub struct Identities {
    by_id: BTreeMap<DeviceId, Known>,
    /// Names only; a serial number needs no look-up.
    by_name: OrdMap<Identity, DeviceId>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    stored: bool,
}

/// What the books say of an ID that a device claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never admitted.
    New,
    /// Being stored for exactly this device.
    Storing,
    /// Admitted before as exactly this device.
    Stored,
    /// The same device name under another owner.
    OtherOwner,
    /// Given to another device.
    OtherDevice,
}

impl Identities {
    pub fn new(stored: impl IntoIterator<Item = (DeviceId, Identity)>) -> Self {
        let mut identities = Self::default();
        for (id, identity) in stored {
            identities.insert(id, identity, true);
        }
        identities
    }

    /// The ID of this device, if it is a serial number or was given one.
    pub fn find(&self, identity: &Identity) -> Option<DeviceId> {
        identity
            .serial()
            .or_else(|| self.by_name.get(identity).copied())
    }

    /// The IDs of all names; cheap to clone.
    pub const fn names(&self) -> &OrdMap<Identity, DeviceId> {
        &self.by_name
    }

    pub fn get(&self, id: DeviceId) -> Option<&Identity> {
        self.by_id.get(&id).map(|known| &known.identity)
    }

    pub fn standing(&self, id: DeviceId, identity: &Identity) -> Standing {
        match self.by_id.get(&id) {
            None => Standing::New,
            Some(known) if known.identity == *identity && known.stored => Standing::Stored,
            Some(known) if known.identity == *identity => Standing::Storing,
            Some(known) if known.identity.device == identity.device => Standing::OtherOwner,
            Some(_) => Standing::OtherDevice,
        }
    }

    /// The ID that a name without one would get: the same each time it asks, from the top quarter
    /// of the range, and one for which `taken` says no. `None` when the range is full.
    pub fn propose(
        &self,
        identity: &Identity,
        taken: impl Fn(DeviceId) -> bool,
    ) -> Option<DeviceId> {
        const SPAN: u32 = u32::MAX - DeviceId::FIRST_NAMED + 1;
        let start = fnv1a(identity) % SPAN;
        (0..SPAN)
            .map(|step| DeviceId::FIRST_NAMED + (start + step) % SPAN)
            .filter_map(DeviceId::new)
            .find(|id| !self.by_id.contains_key(id) && !taken(*id))
    }

    /// Reserves an ID while it is on its way to the store.
    pub fn reserve(&mut self, id: DeviceId, identity: Identity) {
        self.insert(id, identity, false);
    }

    pub fn mark_stored(&mut self, id: DeviceId) {
        if let Some(known) = self.by_id.get_mut(&id) {
            known.stored = true;
        }
    }

    /// Takes a reservation back that the store refused.
    pub fn release(&mut self, id: DeviceId) {
        if self.by_id.get(&id).is_some_and(|known| !known.stored)
            && let Some(known) = self.by_id.remove(&id)
        {
            self.by_name.remove(&known.identity);
        }
    }

    fn insert(&mut self, id: DeviceId, identity: Identity, stored: bool) {
        if identity.serial().is_none() {
            self.by_name.insert(identity.clone(), id);
        }
        self.by_id.insert(id, Known { identity, stored });
    }
}

/// A hash that is the same on every machine and in every version: it decides what ID a name gets.
fn fnv1a(identity: &Identity) -> u32 {
    let bytes = identity
        .owner
        .bytes()
        .chain([0])
        .chain(identity.device.bytes());
    bytes.fold(0x811C_9DC5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(owner: &str, device: &str) -> Identity {
        Identity::new(owner, device).unwrap()
    }

    #[test]
    fn a_serial_number_is_its_own_id() {
        let books = Identities::default();
        assert_eq!(books.find(&named("", "1001")), DeviceId::new(1001));
        for name in ["0", "01001", "+5", "4294967296", "lamp", "-1"] {
            let identity = Identity::new("", name);
            assert!(
                identity.is_err() || books.find(&identity.unwrap()).is_none(),
                "{name}"
            );
        }
        assert_eq!(
            books.find(&named("", "4294967295")),
            DeviceId::new(u32::MAX)
        );
    }

    #[test]
    fn a_name_gets_the_same_id_each_time_and_keeps_it() {
        let mut books = Identities::default();
        let lamp = named("alice", "lamp");
        let first = books.propose(&lamp, |_| false).unwrap();
        assert!(first.get() >= DeviceId::FIRST_NAMED);
        assert_eq!(books.propose(&lamp, |_| false), Some(first));
        let second = books.propose(&lamp, |id| id == first).unwrap();
        assert_ne!(second, first);
        books.reserve(second, lamp.clone());
        assert_eq!(books.find(&lamp), Some(second));
        assert_eq!(books.standing(second, &lamp), Standing::Storing);
        books.mark_stored(second);
        books.release(second);
        assert_eq!(books.standing(second, &lamp), Standing::Stored);
    }

    #[test]
    fn an_id_belongs_to_one_device_and_owner() {
        let mut books = Identities::new([(DeviceId::new(7).unwrap(), named("alice", "7"))]);
        let seven = DeviceId::new(7).unwrap();
        assert_eq!(
            books.standing(seven, &named("alice", "7")),
            Standing::Stored
        );
        assert_eq!(
            books.standing(seven, &named("bob", "7")),
            Standing::OtherOwner
        );
        let top = DeviceId::new(DeviceId::FIRST_NAMED).unwrap();
        books.reserve(top, named("alice", "lamp"));
        let serial = named("", &top.to_string());
        assert_eq!(books.standing(top, &serial), Standing::OtherDevice);
        books.release(top);
        assert_eq!(books.standing(top, &serial), Standing::New);
        assert_eq!(books.find(&named("alice", "lamp")), None);
    }
}
