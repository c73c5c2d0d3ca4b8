//! What readers see: published by the registry after each batch of changes, read without asking it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use imbl::OrdMap;

use crate::cause::Cause;
use crate::device::{ConnectionMode, DeviceId, LinkKind, Origin, Status};
use crate::identity::{Basis, Identity, Proof};
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::counts::Counts;
use crate::registry::pending::UnprovenKey;
use crate::registry::records::{Refusal, Slaves};
use crate::registry::trouble::TroubleView;

/// The whole state of the registry at one instant. Cheap to clone: the maps share their parts.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub devices: OrdMap<DeviceId, Arc<DeviceView>>,
    /// The IDs of devices that are not named by a serial number, listed or not.
    pub names: OrdMap<Identity, DeviceId>,
    pub pending: OrdMap<DeviceId, Arc<PendingView>>,
    /// Peers without a proof that holds: anybody can cause an entry.
    pub unproven: OrdMap<UnprovenKey, Arc<UnprovenView>>,
    /// Those that are forgotten with the next try of their device are among them: look at
    /// [`Refusal::expires_unix_ms`].
    pub refusals: OrdMap<DeviceId, Arc<Refusal>>,
    pub accept_filter: Arc<AcceptFilter>,
    /// By ascending parent, which need not be listed any more.
    pub slaves: Arc<Vec<Slaves>>,
    pub counts: Counts,
    /// What went wrong lately, and with whom.
    pub trouble: Arc<TroubleView>,
    /// The number of the newest event that this snapshot contains; 0 before the first.
    pub event_number: u64,
}

impl Snapshot {
    /// The listed device of this owner and name. One that was never admitted has no owner yet and
    /// is found by its serial number without one.
    pub fn find(&self, identity: &Identity) -> Option<&Arc<DeviceView>> {
        let known = || self.names.get(identity).copied();
        let view = self.devices.get(&identity.serial().or_else(known)?)?;
        let is_it = match &view.identity {
            Some(own) => own == identity,
            None => identity.owner.is_empty(),
        };
        is_it.then_some(view)
    }
}

/// One device of the managed list.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceView {
    pub id: DeviceId,
    /// `None` until it was first admitted.
    pub identity: Option<Identity>,
    pub origin: Origin,
    pub mode: ConnectionMode,
    /// Where it is dialled, or where it dialled from.
    pub address: SocketAddr,
    pub use_ssl: bool,
    pub status: Status,
    /// Milliseconds since the Unix epoch of the last change of `status`.
    pub since_unix_ms: u64,
    /// The number of its `device.Type`, once it has told; 0 is `UNDEFINED`.
    pub device_type: u32,
    /// Link and proof of the session that is up.
    pub session: Option<SessionView>,
    /// Failed tries since it was last connected.
    pub attempt: u32,
    /// When the next try is due, in milliseconds since the Unix epoch.
    pub next_try_unix_ms: Option<u64>,
    /// Why the last try failed or the last session ended.
    pub cause: Option<Cause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    pub link: LinkKind,
    /// Who dialled it.
    pub mode: ConnectionMode,
    pub proof: Proof,
    /// What the proof stands on.
    pub basis: Basis,
    pub peer: SocketAddr,
}

/// One proven device that was refused by the accept filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    pub id: DeviceId,
    pub identity: Identity,
    pub address: IpAddr,
    pub link: LinkKind,
    pub proof: Proof,
    pub device_type: u32,
    /// Milliseconds since the Unix epoch.
    pub first_try_unix_ms: u64,
    pub last_try_unix_ms: u64,
    pub tries: u32,
}

/// One peer that showed no proof that holds for the name it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnprovenView {
    pub identity: Identity,
    pub address: IpAddr,
    pub link: LinkKind,
    /// Why its proof does not hold, at its last try.
    pub cause: Cause,
    /// Milliseconds since the Unix epoch.
    pub first_try_unix_ms: u64,
    pub last_try_unix_ms: u64,
    pub tries: u32,
}
