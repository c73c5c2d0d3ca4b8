//! The secrets as the handshakes find them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::identity::{KeyId, KeyOwner};
use crate::link::keyring::Keyring;
use crate::link::link_key::LinkKey;
use crate::session::KeyLookup;

/// Always the newest [`Keyring`]; asking it never waits.
#[derive(Debug)]
pub struct LiveSecrets {
    ring: ArcSwap<Keyring>,
}

impl LiveSecrets {
    pub fn new(ring: Arc<Keyring>) -> Self {
        Self {
            ring: ArcSwap::new(ring),
        }
    }

    pub fn current(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    pub(super) fn replace(&self, ring: Arc<Keyring>) {
        self.ring.store(ring);
    }
}

impl KeyLookup for LiveSecrets {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)> {
        self.ring.load().find(id)
    }
}
