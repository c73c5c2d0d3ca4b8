//! The fleet as JSON. What is not known is left out.
//!
//! Names and causes come from devices: they are data, and escaped where they are shown.

use std::cmp::Reverse;
use std::net::SocketAddr;

use serde::Serialize;

use crate::cause::Cause;
use crate::device::{ConnectionMode, DeviceId};
use crate::identity::{Identity, Proof};
use crate::registry::hub::Delivery;
use crate::registry::snapshot::{DeviceView, PendingView, SessionView, Snapshot};

/// How an owner without a name is written in a path.
pub const NO_OWNER: &str = "~";
/// The most devices of one page.
pub const PAGE_MAX: usize = 1000;
/// Devices of a page when the request does not say.
pub const PAGE_DEFAULT: usize = 100;

/// Everything that is known of one device.
#[derive(Serialize)]
pub struct DeviceJson {
    id: u32,
    /// `None` until it was first admitted; its number is its name until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityJson>,
    origin: &'static str,
    /// Who opens the connection: `SERVER_TO_DEVICE`, `DEVICE_TO_SERVER`.
    mode: &'static str,
    /// The number of its `device.Type`; 0 is not known.
    r#type: u32,
    address: String,
    use_ssl: bool,
    status: &'static str,
    since_unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionJson>,
    /// Failed tries since it was last connected.
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_unix_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<CauseJson>,
}

#[derive(Serialize)]
pub struct IdentityJson {
    owner: Box<str>,
    device: Box<str>,
}

#[derive(Serialize)]
struct SessionJson {
    link: &'static str,
    proof: &'static str,
    peer: String,
}

#[derive(Serialize)]
struct CauseJson {
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: Box<str>,
}

/// Some devices of one owner.
#[derive(Serialize)]
pub struct PageJson {
    devices: Vec<DeviceJson>,
    /// Where the next page begins; left out with the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u32>,
    /// The page holds every event up to this one.
    event_number: u64,
}

/// One event, with the device as it is now.
#[derive(Serialize)]
pub struct EventJson {
    number: u64,
    unix_ms: u64,
    device: u32,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<&'static str>,
    new: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<CauseJson>,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_unix_ms: Option<u64>,
    /// How many older events of the device were left out because the reader was slow.
    conflated: u64,
    /// Left out when it is not in the managed list now.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_view: Option<DeviceJson>,
}

/// The pending list.
#[derive(Serialize)]
pub struct PendingJson {
    devices: Vec<PendingDeviceJson>,
    event_number: u64,
}

#[derive(Serialize)]
struct PendingDeviceJson {
    id: u32,
    identity: IdentityJson,
    address: String,
    link: &'static str,
    proof: &'static str,
    r#type: u32,
    first_try_unix_ms: u64,
    last_try_unix_ms: u64,
    tries: u32,
}

/// The owner that a path names.
pub fn owner(user: &str) -> &str {
    if user == NO_OWNER { "" } else { user }
}

/// Everything that is known of one device.
pub fn device(view: &DeviceView) -> DeviceJson {
    DeviceJson {
        id: view.id.get(),
        identity: view.identity.as_ref().map(identity),
        origin: view.origin.as_str(),
        mode: mode(view.mode),
        r#type: view.device_type,
        address: address(view.address),
        use_ssl: view.use_ssl,
        status: view.status.as_str(),
        since_unix_ms: view.since_unix_ms,
        session: view.session.as_ref().map(session),
        attempt: view.attempt,
        next_try_unix_ms: view.next_try_unix_ms,
        cause: view.cause.as_ref().map(cause),
    }
}

/// A page of the devices of one owner, by ascending ID. A device that was never admitted has no
/// owner yet.
pub fn page(snapshot: &Snapshot, owner: &str, after: u32, limit: usize) -> PageJson {
    let is_of = |view: &&DeviceView| match &view.identity {
        Some(identity) => *identity.owner == *owner,
        None => owner.is_empty(),
    };
    let first = after.checked_add(1).and_then(DeviceId::new);
    let rest = first.map(|first| snapshot.devices.range(first..));
    let rest = rest.into_iter().flatten().map(|(_, view)| view.as_ref());
    let mut rest = rest.filter(is_of);
    let devices: Vec<DeviceJson> = rest.by_ref().take(limit).map(device).collect();
    let last = devices.last().map(|device| device.id);
    PageJson {
        next_after: rest.next().and(last),
        devices,
        event_number: snapshot.event_number,
    }
}

/// One event, with what a slow reader missed of the same device.
pub fn event(delivery: &Delivery, now: Option<&DeviceView>) -> EventJson {
    let event = &delivery.event;
    EventJson {
        number: event.number,
        unix_ms: event.unix_ms,
        device: event.device.get(),
        change: event.change.as_str(),
        old: event.old.map(|status| status.as_str()),
        new: event.new.as_str(),
        cause: event.cause.as_ref().map(cause),
        attempt: event.attempt,
        next_try_unix_ms: event.next_try_unix_ms,
        conflated: delivery.conflated,
        device_view: now.map(device),
    }
}

/// The pending list, the newest try first.
pub fn pending(snapshot: &Snapshot) -> PendingJson {
    let mut views: Vec<&PendingView> = snapshot.pending.values().map(AsRef::as_ref).collect();
    views.sort_by_key(|view| Reverse(view.last_try_unix_ms));
    PendingJson {
        devices: views.into_iter().map(pending_device).collect(),
        event_number: snapshot.event_number,
    }
}

fn pending_device(view: &PendingView) -> PendingDeviceJson {
    PendingDeviceJson {
        id: view.id.get(),
        identity: identity(&view.identity),
        address: view.address.to_canonical().to_string(),
        link: view.link.as_str(),
        proof: proof(view.proof),
        r#type: view.device_type,
        first_try_unix_ms: view.first_try_unix_ms,
        last_try_unix_ms: view.last_try_unix_ms,
        tries: view.tries,
    }
}

/// The name under which a device connects.
pub fn identity(identity: &Identity) -> IdentityJson {
    IdentityJson {
        owner: identity.owner.clone(),
        device: identity.device.clone(),
    }
}

fn session(view: &SessionView) -> SessionJson {
    SessionJson {
        link: view.link.as_str(),
        proof: proof(view.proof),
        peer: address(view.peer),
    }
}

fn cause(cause: &Cause) -> CauseJson {
    CauseJson {
        kind: cause.kind.as_str(),
        detail: cause.detail.as_ref().into(),
    }
}

const fn mode(mode: ConnectionMode) -> &'static str {
    match mode {
        ConnectionMode::ServerToDevice => "SERVER_TO_DEVICE",
        ConnectionMode::DeviceToServer => "DEVICE_TO_SERVER",
    }
}

const fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::FleetKey => "fleet_key",
        Proof::Credential => "credential",
        Proof::Certificate => "certificate",
        Proof::DeviceKey => "device_key",
    }
}

/// An IPv4 peer of an IPv6 socket is shown as the IPv4 address it has.
pub fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cause::CauseKind;
    use crate::device::{LinkKind, Origin, Status};
    use crate::event::Change;
    use crate::event::StatusEvent;
    use crate::identity::{Basis, KeyId};

    fn view(id: u32, owner: &str) -> DeviceView {
        DeviceView {
            id: DeviceId::new(id).expect("not zero"),
            identity: Some(Identity::new(owner, "door-7").expect("a name")),
            origin: Origin::Inbound,
            mode: ConnectionMode::DeviceToServer,
            address: "[::ffff:192.0.2.7]:51211".parse().expect("an address"),
            use_ssl: false,
            status: Status::TcpConnected,
            since_unix_ms: 11,
            device_type: 9,
            session: Some(SessionView {
                link: LinkKind::Aes,
                mode: crate::device::ConnectionMode::ServerToDevice,
                proof: Proof::DeviceKey,
                basis: Basis::LinkKey(KeyId([7; 8])),
                peer: "192.0.2.7:51211".parse().expect("an address"),
            }),
            attempt: 3,
            next_try_unix_ms: Some(12),
            cause: Some(Cause::new(CauseKind::DialFailed, "<b>\u{1b}[31m")),
        }
    }

    fn whole() -> serde_json::Value {
        json!({
            "id": 7,
            "identity": { "owner": "acme", "device": "door-7" },
            "origin": "inbound",
            "mode": "DEVICE_TO_SERVER",
            "type": 9,
            "address": "192.0.2.7:51211",
            "use_ssl": false,
            "status": "TCP_CONNECTED",
            "since_unix_ms": 11,
            "session": { "link": "aes", "proof": "device_key", "peer": "192.0.2.7:51211" },
            "attempt": 3,
            "next_try_unix_ms": 12,
            "cause": { "kind": "dial_failed", "detail": "<b>\u{1b}[31m" },
        })
    }

    #[test]
    fn a_device_is_told_whole() {
        let told = serde_json::to_value(device(&view(7, "acme")));
        assert_eq!(told.expect("JSON"), whole());
    }

    #[test]
    fn an_event_comes_with_the_device_as_it_is_now() {
        let delivery = Delivery {
            event: StatusEvent {
                number: 5,
                device: DeviceId::new(7).expect("not zero"),
                change: Change::Removed,
                old: Some(Status::TlsConnected),
                new: Status::Disconnected,
                unix_ms: 4,
                cause: Some(CauseKind::Deleted.into()),
                attempt: 0,
                next_try_unix_ms: None,
            },
            conflated: 2,
        };
        let mut expected = json!({
            "number": 5,
            "unix_ms": 4,
            "device": 7,
            "change": "removed",
            "old": "TLS_CONNECTED",
            "new": "DISCONNECTED",
            "cause": { "kind": "deleted" },
            "attempt": 0,
            "conflated": 2,
        });
        let told = serde_json::to_value(event(&delivery, None));
        assert_eq!(told.expect("JSON"), expected);
        expected["device_view"] = whole();
        let told = serde_json::to_value(event(&delivery, Some(&view(7, "acme"))));
        assert_eq!(told.expect("JSON"), expected);
    }

    #[test]
    fn a_page_holds_the_devices_of_one_owner() {
        let views = [
            view(1, "acme"),
            view(2, ""),
            view(3, "acme"),
            view(5, "acme"),
        ];
        let views = views.into_iter().map(|view| (view.id, Arc::new(view)));
        let snapshot = Snapshot {
            devices: views.collect(),
            event_number: 42,
            ..Snapshot::default()
        };
        let told = |owner, after, limit| {
            let page = page(&snapshot, owner, after, limit);
            let ids: Vec<u32> = page.devices.iter().map(|device| device.id).collect();
            (ids, page.next_after)
        };
        assert_eq!(told("acme", 0, 2), (vec![1, 3], Some(3)));
        assert_eq!(told("acme", 3, 2), (vec![5], None));
        assert_eq!(told(owner(NO_OWNER), 0, 2), (vec![2], None));
        assert_eq!(told("other", 0, 2), (vec![], None));
    }
}
