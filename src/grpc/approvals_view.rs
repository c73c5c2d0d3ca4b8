//! What travels in the Approvals API, from the words of the house.

use std::cmp::Reverse;

use crate::grpc::convert::device_type;
use crate::grpc::fleet_view::{cause, identity, link, proof};
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::registry::records::Refusal;
use crate::registry::snapshot::{PendingView, Snapshot, UnprovenView};

/// The pending list, the newest try first.
pub fn pending(snapshot: &Snapshot) -> wire::ListPendingResponse {
    let mut views: Vec<&PendingView> = snapshot.pending.values().map(AsRef::as_ref).collect();
    views.sort_by_key(|view| Reverse(view.last_try_unix_ms));
    wire::ListPendingResponse {
        devices: views.into_iter().map(pending_device).collect(),
    }
}

/// The peers without proof, the newest try first.
pub fn unproven(snapshot: &Snapshot) -> wire::ListUnprovenResponse {
    let mut views: Vec<&UnprovenView> = snapshot.unproven.values().map(AsRef::as_ref).collect();
    views.sort_by_key(|view| Reverse(view.last_try_unix_ms));
    wire::ListUnprovenResponse {
        peers: views.into_iter().map(unproven_peer).collect(),
    }
}

/// The refusals that still hold, by ascending ID.
pub fn refused(snapshot: &Snapshot, unix_ms: u64) -> wire::ListRefusedResponse {
    let all = snapshot.refusals.values();
    wire::ListRefusedResponse {
        refusals: all
            .filter(|refusal| refusal.expires_unix_ms > unix_ms)
            .map(|one| refusal(one))
            .collect(),
    }
}

fn pending_device(view: &PendingView) -> wire::PendingDevice {
    wire::PendingDevice {
        device_id: view.id.get(),
        identity: Some(identity(&view.identity)),
        address: view.address.to_canonical().to_string(),
        link: link(view.link).into(),
        proof: proof(view.proof).into(),
        r#type: device_type(view.device_type),
        first_try_unix_ms: view.first_try_unix_ms,
        last_try_unix_ms: view.last_try_unix_ms,
        tries: view.tries,
    }
}

fn unproven_peer(view: &UnprovenView) -> wire::UnprovenPeer {
    wire::UnprovenPeer {
        identity: Some(identity(&view.identity)),
        address: view.address.to_string(),
        link: link(view.link).into(),
        cause: Some(cause(&view.cause)),
        first_try_unix_ms: view.first_try_unix_ms,
        last_try_unix_ms: view.last_try_unix_ms,
        tries: view.tries,
    }
}

fn refusal(refusal: &Refusal) -> wire::Refusal {
    wire::Refusal {
        device_id: refusal.device.get(),
        by: refusal.by.to_string(),
        unix_ms: refusal.unix_ms,
        expires_unix_ms: refusal.expires_unix_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::cause::{Cause, CauseKind};
    use crate::device::{DeviceId, LinkKind};
    use crate::identity::{Identity, Proof};

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).expect("not zero")
    }

    fn door() -> Identity {
        Identity::new("acme", "door-7").expect("a name")
    }

    fn peer() -> IpAddr {
        "::ffff:192.0.2.9".parse().expect("an address")
    }

    fn view(device: u32, last_try_unix_ms: u64) -> PendingView {
        PendingView {
            id: id(device),
            identity: door(),
            address: peer(),
            link: LinkKind::Tls,
            proof: Proof::Credential,
            device_type: 9,
            first_try_unix_ms: 5,
            last_try_unix_ms,
            tries: 3,
        }
    }

    fn wire_door() -> Option<wire::Identity> {
        Some(wire::Identity {
            owner: "acme".to_owned(),
            device: "door-7".to_owned(),
        })
    }

    #[test]
    fn pending_devices_are_told_whole_and_the_newest_try_first() {
        let views = [view(1, 20), view(2, 40), view(3, 30)];
        let snapshot = Snapshot {
            pending: views
                .into_iter()
                .map(|view| (view.id, Arc::new(view)))
                .collect(),
            ..Snapshot::default()
        };
        let told = pending(&snapshot).devices;
        let ids: Vec<u32> = told.iter().map(|device| device.device_id).collect();
        assert_eq!(ids, [2, 3, 1]);
        let whole = wire::PendingDevice {
            device_id: 2,
            identity: wire_door(),
            address: "192.0.2.9".to_owned(),
            link: wire::Link::Tls.into(),
            proof: wire::Proof::Credential.into(),
            r#type: 9,
            first_try_unix_ms: 5,
            last_try_unix_ms: 40,
            tries: 3,
        };
        assert_eq!(told[0], whole);
    }

    #[test]
    fn a_peer_without_proof_is_told_whole() {
        let address = peer().to_canonical();
        let view = UnprovenView {
            identity: door(),
            address,
            link: LinkKind::Plain,
            cause: Cause::new(CauseKind::NotProven, "nothing"),
            first_try_unix_ms: 1,
            last_try_unix_ms: 2,
            tries: 4,
        };
        let snapshot = Snapshot {
            unproven: [((address, door()), Arc::new(view))].into_iter().collect(),
            ..Snapshot::default()
        };
        let whole = wire::UnprovenPeer {
            identity: wire_door(),
            address: "192.0.2.9".to_owned(),
            link: wire::Link::Plain.into(),
            cause: Some(wire::Cause {
                kind: "not_proven".to_owned(),
                detail: "nothing".to_owned(),
            }),
            first_try_unix_ms: 1,
            last_try_unix_ms: 2,
            tries: 4,
        };
        assert_eq!(unproven(&snapshot).peers, [whole]);
    }

    #[test]
    fn a_refusal_that_expired_is_none() {
        let refusals = [(1, 100), (2, 101)].map(|(device, expires_unix_ms)| Refusal {
            device: id(device),
            by: "token ci".into(),
            unix_ms: 1,
            expires_unix_ms,
        });
        let snapshot = Snapshot {
            refusals: refusals
                .into_iter()
                .map(|refusal| (refusal.device, Arc::new(refusal)))
                .collect(),
            ..Snapshot::default()
        };
        let whole = wire::Refusal {
            device_id: 2,
            by: "token ci".to_owned(),
            unix_ms: 1,
            expires_unix_ms: 101,
        };
        assert_eq!(refused(&snapshot, 100).refusals, [whole]);
    }
}
