//! What travels in the Fleet API, from the words of the house.

use std::net::SocketAddr;

use crate::cause::Cause;
use crate::device::{DeviceId, LinkKind, Origin};
use crate::event::Change;
use crate::grpc::convert::{QUEUE_SIZE_MAX, RequestError, device_type};
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::identity::Proof;
use crate::registry::hub::Delivery;
use crate::registry::snapshot::{DeviceView, SessionView, Snapshot};

/// How many events wait for a watcher who asked for 0.
pub const WATCH_QUEUE_SIZE_DEFAULT: usize = 1024;
/// The most devices of one page: with long names and causes it still fits the 4 MiB that gRPC
/// clients take by default.
pub const PAGE_SIZE_MAX: usize = 5000;

/// How many events may wait for a watcher.
pub fn watch_queue_size(value: u32) -> usize {
    match usize::try_from(value) {
        Ok(0) => WATCH_QUEUE_SIZE_DEFAULT,
        Ok(size) => size.min(QUEUE_SIZE_MAX),
        Err(_) => QUEUE_SIZE_MAX,
    }
}

/// An ID that must be one.
///
/// # Errors
/// [`RequestError::DeviceId`] for 0.
pub fn device_id(field: &str, id: u32) -> Result<DeviceId, RequestError> {
    DeviceId::new(id).ok_or_else(|| RequestError::DeviceId {
        field: field.to_owned(),
    })
}

/// IDs that must all be one.
///
/// # Errors
/// [`RequestError::DeviceId`] naming the index of the first 0.
pub fn device_ids(field: &str, ids: &[u32]) -> Result<Vec<DeviceId>, RequestError> {
    ids.iter()
        .enumerate()
        .map(|(index, id)| device_id(&format!("{field}[{index}]"), *id))
        .collect()
}

/// One page of the managed list.
pub fn page(snapshot: &Snapshot, request: wire::ListRequest) -> wire::ListResponse {
    let size = match usize::try_from(request.page_size) {
        Ok(size @ 1..PAGE_SIZE_MAX) => size,
        _ => PAGE_SIZE_MAX,
    };
    let mut rest = match request.after_device_id.checked_add(1).map(DeviceId::new) {
        Some(Some(first)) => snapshot.devices.range(first..),
        _ => {
            return wire::ListResponse {
                event_number: snapshot.event_number,
                ..Default::default()
            };
        }
    };
    let devices: Vec<_> = rest
        .by_ref()
        .take(size)
        .map(|(_, view)| device(view))
        .collect();
    let more = rest.next().is_some();
    let last = devices.last().map_or(0, |device| device.device_id);
    wire::ListResponse {
        devices,
        next_after_device_id: if more { last } else { 0 },
        event_number: snapshot.event_number,
    }
}

/// Everything that is known of one device.
pub fn device(view: &DeviceView) -> wire::Device {
    wire::Device {
        device_id: view.id.get(),
        identity: view.identity.as_ref().map(|identity| wire::Identity {
            owner: identity.owner.to_string(),
            device: identity.device.to_string(),
        }),
        origin: origin(view.origin).into(),
        connection_mode: view.mode as i32,
        address: address(view.address),
        use_ssl: view.use_ssl,
        status: view.status.wire(),
        since_unix_ms: view.since_unix_ms,
        r#type: device_type(view.device_type),
        session: view.session.as_ref().map(session),
        attempt: view.attempt,
        next_try_unix_ms: view.next_try_unix_ms,
        cause: view.cause.as_ref().map(cause),
    }
}

/// One event, with what a slow reader missed of the same device.
pub fn event(delivery: &Delivery) -> wire::Event {
    let event = &delivery.event;
    wire::Event {
        number: event.number,
        unix_ms: event.unix_ms,
        device_id: event.device.get(),
        change: change(event.change).into(),
        old_status: event.old.map(|status| status.wire()),
        new_status: event.new.wire(),
        cause: event.cause.as_ref().map(cause),
        attempt: event.attempt,
        next_try_unix_ms: event.next_try_unix_ms,
        conflated: delivery.conflated,
    }
}

fn session(view: &SessionView) -> wire::Session {
    let link = match view.link {
        LinkKind::Plain => wire::Link::Plain,
        LinkKind::Aes => wire::Link::Aes,
        LinkKind::Tls => wire::Link::Tls,
    };
    let proof = match view.proof {
        Proof::FleetKey => wire::Proof::FleetKey,
        Proof::Credential => wire::Proof::Credential,
        Proof::Certificate => wire::Proof::Certificate,
        Proof::DeviceKey => wire::Proof::DeviceKey,
    };
    wire::Session {
        link: link.into(),
        proof: proof.into(),
        peer: address(view.peer),
    }
}

fn cause(cause: &Cause) -> wire::Cause {
    wire::Cause {
        kind: cause.kind.as_str().to_owned(),
        detail: cause.detail.to_string(),
    }
}

fn origin(origin: Origin) -> wire::Origin {
    match origin {
        Origin::Direct => wire::Origin::Direct,
        Origin::Auto => wire::Origin::Auto,
        Origin::Inbound => wire::Origin::Inbound,
    }
}

fn change(change: Change) -> wire::Change {
    match change {
        Change::Added => wire::Change::Added,
        Change::Changed => wire::Change::Changed,
        Change::Removed => wire::Change::Removed,
        Change::Refused => wire::Change::Refused,
    }
}

/// An IPv4 peer of an IPv6 socket is shown as the IPv4 address it has.
fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
