//! The fleet as JSON.
//!
//! Names and causes come from devices: they are data, and escaped where they are shown.

use std::cmp::Reverse;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::cause::Cause;
use crate::device::{ConnectionMode, DeviceId};
use crate::event::Change;
use crate::identity::{Identity, Proof};
use crate::registry::hub::Delivery;
use crate::registry::snapshot::{DeviceView, PendingView, Snapshot};

/// How an owner without a name is written in a path.
pub const NO_OWNER: &str = "~";
/// The most devices of one page.
pub const PAGE_MAX: usize = 1000;
/// Devices of a page when the request does not say.
pub const PAGE_DEFAULT: usize = 100;

/// The columns of a row of the fleet, in their order.
pub const COLUMNS: [&str; 17] = [
    "id",
    "user",
    "device",
    "status",
    "since_unix_ms",
    "type",
    "origin",
    "direction",
    "address",
    "use_ssl",
    "link",
    "proof",
    "peer",
    "attempt",
    "next_try_unix_ms",
    "cause",
    "cause_detail",
];

/// The owner that a path names.
pub fn owner(user: &str) -> &str {
    if user == NO_OWNER { "" } else { user }
}

/// The name of a device's owner as a path writes it.
pub fn user(identity: Option<&Identity>) -> &str {
    match identity {
        Some(identity) if !identity.owner.is_empty() => &identity.owner,
        _ => NO_OWNER,
    }
}

/// Everything that is known of one device.
pub fn device(view: &DeviceView) -> Value {
    json!({
        "id": view.id.get(),
        "user": user(view.identity.as_ref()),
        "device": name(view),
        "status": view.status.as_str(),
        "connected": view.status.is_connected(),
        "since_unix_ms": view.since_unix_ms,
        "type": view.device_type,
        "origin": view.origin.as_str(),
        "direction": direction(view.mode),
        "address": address(view.address),
        "use_ssl": view.use_ssl,
        "session": view.session.as_ref().map(|session| json!({
            "link": session.link.as_str(),
            "proof": proof(session.proof),
            "peer": address(session.peer),
        })),
        "attempt": view.attempt,
        "next_try_unix_ms": view.next_try_unix_ms,
        "cause": view.cause.as_ref().map(cause),
    })
}

/// The same as a row of [`COLUMNS`].
pub fn row(view: &DeviceView) -> Value {
    let session = view.session.as_ref();
    json!([
        view.id.get(),
        user(view.identity.as_ref()),
        name(view),
        view.status.as_str(),
        view.since_unix_ms,
        view.device_type,
        view.origin.as_str(),
        direction(view.mode),
        address(view.address),
        view.use_ssl,
        session.map(|session| session.link.as_str()),
        session.map(|session| proof(session.proof)),
        session.map(|session| address(session.peer)),
        view.attempt,
        view.next_try_unix_ms,
        view.cause.as_ref().map(|cause| cause.kind.as_str()),
        view.cause.as_ref().map(|cause| &*cause.detail),
    ])
}

/// A page of the devices of one owner, by ascending ID.
pub fn page(snapshot: &Snapshot, owner: &str, after: u32, limit: usize) -> Value {
    let is_of = |view: &&DeviceView| match &view.identity {
        Some(identity) => *identity.owner == *owner,
        None => owner.is_empty(),
    };
    let first = after.checked_add(1).and_then(DeviceId::new);
    let rest = first.map(|first| snapshot.devices.range(first..));
    let rest = rest.into_iter().flatten().map(|(_, view)| view.as_ref());
    let mut rest = rest.filter(is_of);
    let devices: Vec<&DeviceView> = rest.by_ref().take(limit).collect();
    let last = devices.last().map(|view| view.id.get());
    json!({
        "devices": devices.into_iter().map(device).collect::<Vec<_>>(),
        "next_after": rest.next().and(last),
        "event_number": snapshot.event_number,
    })
}

/// One event, with what a slow reader missed of the same device, and the device as it is now.
pub fn event(delivery: &Delivery, now: Option<&DeviceView>) -> Value {
    let event = &delivery.event;
    json!({
        "number": event.number,
        "unix_ms": event.unix_ms,
        "id": event.device.get(),
        "change": change(event.change),
        "old_status": event.old.map(|status| status.as_str()),
        "new_status": event.new.as_str(),
        "cause": event.cause.as_ref().map(cause),
        "attempt": event.attempt,
        "next_try_unix_ms": event.next_try_unix_ms,
        "conflated": delivery.conflated,
        "row": now.map(row),
    })
}

/// The pending list, the newest try first.
pub fn pending(snapshot: &Snapshot) -> Value {
    let mut views: Vec<&PendingView> = snapshot.pending.values().map(AsRef::as_ref).collect();
    views.sort_by_key(|view| Reverse(view.last_try_unix_ms));
    json!({
        "devices": views.into_iter().map(pending_device).collect::<Vec<_>>(),
        "event_number": snapshot.event_number,
    })
}

fn pending_device(view: &PendingView) -> Value {
    json!({
        "id": view.id.get(),
        "user": user(Some(&view.identity)),
        "device": view.identity.device,
        "address": view.address.to_canonical().to_string(),
        "link": view.link.as_str(),
        "proof": proof(view.proof),
        "type": view.device_type,
        "first_try_unix_ms": view.first_try_unix_ms,
        "last_try_unix_ms": view.last_try_unix_ms,
        "tries": view.tries,
    })
}

/// A device that was never admitted is known by its serial number.
fn name(view: &DeviceView) -> String {
    let named = view.identity.as_ref();
    named.map_or_else(
        || view.id.to_string(),
        |identity| identity.device.to_string(),
    )
}

fn cause(cause: &Cause) -> Value {
    json!({ "kind": cause.kind.as_str(), "detail": &*cause.detail })
}

const fn direction(mode: ConnectionMode) -> &'static str {
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

const fn change(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
        Change::Refused => "refused",
        Change::Approved => "approved",
        Change::Denied => "denied",
    }
}

/// An IPv4 peer of an IPv6 socket is shown as the IPv4 address it has.
fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
