//! Who asked to come in and was turned away: those that were proven and that the accept filter
//! does not let in, and apart from them those without a proof.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;

use crate::cause::Cause;
use crate::device::DeviceId;
use crate::identity::{Claim, Identity, Proof};
use crate::registry::snapshot::{PendingView, UnprovenView};
use crate::registry::tries::Tries;

/// The pending list. Bounded: see [`Tries`] for who goes when it is full.
#[derive(Debug)]
pub struct PendingList {
    views: OrdMap<DeviceId, Arc<PendingView>>,
    tries: Tries<DeviceId>,
    /// Those that no event told of yet.
    untold: BTreeSet<DeviceId>,
}

impl PendingList {
    pub fn new(max: usize) -> Self {
        Self {
            views: OrdMap::new(),
            tries: Tries::new(max),
            untold: BTreeSet::new(),
        }
    }

    /// Records a refused try. Returns whether an event may tell of the device: none has, and it is
    /// no newcomer to a full list, so that a flood of names that try once tells nothing.
    pub fn record(&mut self, id: DeviceId, claim: &Claim, proof: Proof, unix_ms: u64) -> bool {
        let recorded = self.tries.record(&id);
        if let Some(evicted) = recorded.evicted {
            self.forget(evicted);
        }
        let known = self.views.get(&id);
        if known.is_none() {
            self.untold.insert(id);
        }
        let view = PendingView {
            id,
            identity: claim.identity.clone(),
            address: claim.peer.ip(),
            link: claim.link,
            proof,
            device_type: known.map_or(0, |known| known.device_type),
            first_try_unix_ms: known.map_or(unix_ms, |known| known.first_try_unix_ms),
            last_try_unix_ms: unix_ms,
            tries: recorded.tries,
        };
        self.views.insert(id, Arc::new(view));
        !recorded.is_newcomer && self.untold.contains(&id)
    }

    /// Makes room for another number of devices.
    pub fn set_max(&mut self, max: usize) {
        for evicted in self.tries.set_max(max) {
            self.forget(evicted);
        }
    }

    fn forget(&mut self, evicted: DeviceId) {
        self.views.remove(&evicted);
        self.untold.remove(&evicted);
    }

    /// An event tells of it.
    pub fn mark_told(&mut self, id: DeviceId) {
        self.untold.remove(&id);
    }

    pub fn remove(&mut self, id: DeviceId) -> Option<Arc<PendingView>> {
        self.tries.remove(&id);
        self.untold.remove(&id);
        self.views.remove(&id)
    }

    pub fn get(&self, id: DeviceId) -> Option<&PendingView> {
        self.views.get(&id).map(Arc::as_ref)
    }

    /// Whether this ID stands here for another device than `identity`.
    pub fn is_another(&self, id: DeviceId, identity: &Identity) -> bool {
        self.get(id).is_some_and(|view| view.identity != *identity)
    }

    /// All of them; cheap to clone.
    pub fn views(&self) -> &OrdMap<DeviceId, Arc<PendingView>> {
        &self.views
    }
}

/// What names a peer without proof: from where it came, and the name it gave.
pub type UnprovenKey = (IpAddr, Identity);

/// The peers without a proof that holds. Bounded as the pending list is.
#[derive(Debug)]
pub struct UnprovenList {
    views: OrdMap<UnprovenKey, Arc<UnprovenView>>,
    tries: Tries<UnprovenKey>,
}

impl UnprovenList {
    pub fn new(max: usize) -> Self {
        Self {
            views: OrdMap::new(),
            tries: Tries::new(max),
        }
    }

    /// Makes room for another number of peers.
    pub fn set_max(&mut self, max: usize) {
        for evicted in self.tries.set_max(max) {
            self.views.remove(&evicted);
        }
    }

    /// Records a try; `cause` says why the proof does not hold.
    pub fn record(&mut self, claim: &Claim, cause: &Cause, unix_ms: u64) {
        let address = claim.peer.ip().to_canonical();
        let key = (address, claim.identity.clone());
        let recorded = self.tries.record(&key);
        if let Some(evicted) = recorded.evicted {
            self.views.remove(&evicted);
        }
        let known = self.views.get(&key);
        let view = UnprovenView {
            identity: claim.identity.clone(),
            address,
            link: claim.link,
            cause: cause.clone(),
            first_try_unix_ms: known.map_or(unix_ms, |known| known.first_try_unix_ms),
            last_try_unix_ms: unix_ms,
            tries: recorded.tries,
        };
        self.views.insert(key, Arc::new(view));
    }

    /// All of them; cheap to clone.
    pub fn views(&self) -> &OrdMap<UnprovenKey, Arc<UnprovenView>> {
        &self.views
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::CauseKind;
    use crate::device::{ConnectionMode, LinkKind};
    use crate::identity::Evidence;
    use std::time::Duration;

    fn claim(device: u32) -> Claim {
        Claim {
            identity: Identity::new("", &device.to_string()).unwrap(),
            evidence: Evidence::default(),
            link: LinkKind::Aes,
            mode: ConnectionMode::DeviceToServer,
            peer: ([10, 0, 0, 1], 4000).into(),
            keep_alive: Duration::from_secs(60),
        }
    }

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn knock(list: &mut PendingList, device: u32, unix_ms: u64) -> bool {
        list.record(id(device), &claim(device), Proof::FleetKey, unix_ms)
    }

    #[test]
    fn a_second_try_updates_and_makes_no_second_entry() {
        let mut list = PendingList::new(10);
        assert!(knock(&mut list, 7, 1_000));
        list.mark_told(id(7));
        assert!(!knock(&mut list, 7, 2_000));
        let view = list.get(id(7)).unwrap();
        assert_eq!(
            (view.first_try_unix_ms, view.last_try_unix_ms, view.tries),
            (1_000, 2_000, 2)
        );
    }

    #[test]
    fn a_newcomer_to_a_full_list_is_told_with_its_second_try() {
        let mut list = PendingList::new(2);
        assert!(knock(&mut list, 1, 1_000));
        assert!(knock(&mut list, 2, 1_000));
        for device in 10..1_000 {
            assert!(!knock(&mut list, device, 2_000));
        }
        assert!(knock(&mut list, 999, 3_000));
        assert!(knock(&mut list, 999, 3_000), "until it was told");
        list.mark_told(id(999));
        assert!(!knock(&mut list, 999, 3_000));
        assert_eq!(list.views().len(), 2);
        assert_eq!(list.untold, [id(1)].into());
    }

    #[test]
    fn an_entry_that_was_taken_out_begins_again() {
        let mut list = PendingList::new(2);
        knock(&mut list, 1, 1_000);
        list.mark_told(id(1));
        assert!(list.remove(id(1)).is_some());
        assert!(list.remove(id(1)).is_none());
        assert!(knock(&mut list, 1, 2_000));
        assert_eq!(list.get(id(1)).unwrap().tries, 1);
    }

    #[test]
    fn peers_without_proof_are_told_apart_by_address_and_name() {
        let mut list = UnprovenList::new(3);
        let cause = Cause::from(CauseKind::NotProven);
        let mut other = claim(7);
        other.peer = "[::ffff:10.0.0.2]:9".parse().unwrap();
        for (claim, unix_ms) in [(claim(7), 1), (other, 2), (claim(8), 3), (claim(7), 4)] {
            list.record(&claim, &cause, unix_ms);
        }
        let seen: Vec<_> = list
            .views()
            .values()
            .map(|view| (view.address.to_string(), &*view.identity.device, view.tries))
            .collect();
        assert_eq!(
            seen,
            [
                ("10.0.0.1".to_owned(), "7", 2),
                ("10.0.0.1".to_owned(), "8", 1),
                ("10.0.0.2".to_owned(), "7", 1),
            ]
        );
        (20..90).for_each(|device| list.record(&claim(device), &cause, 5));
        assert_eq!(list.views().len(), 3);
    }
}
