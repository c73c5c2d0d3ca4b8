//! What travels in the Fleet API, from the words of the house.

use std::net::SocketAddr;

use crate::cause::Cause;
use crate::device::{DeviceId, LinkKind, Origin};
use crate::event::Change;
use crate::grpc::convert::{QUEUE_SIZE_MAX, RequestError, device_type};
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::identity::{Identity, Proof};
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
        identity: view.identity.as_ref().map(identity),
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
    wire::Session {
        link: link(view.link).into(),
        proof: proof(view.proof).into(),
        peer: address(view.peer),
    }
}

/// The name under which a device connects.
pub fn identity(identity: &Identity) -> wire::Identity {
    wire::Identity {
        owner: identity.owner.to_string(),
        device: identity.device.to_string(),
    }
}

/// What secures the byte path.
pub fn link(link: LinkKind) -> wire::Link {
    match link {
        LinkKind::Plain => wire::Link::Plain,
        LinkKind::Aes => wire::Link::Aes,
        LinkKind::Tls => wire::Link::Tls,
    }
}

/// How a device proved itself.
pub fn proof(proof: Proof) -> wire::Proof {
    match proof {
        Proof::FleetKey => wire::Proof::FleetKey,
        Proof::Credential => wire::Proof::Credential,
        Proof::Certificate => wire::Proof::Certificate,
        Proof::DeviceKey => wire::Proof::DeviceKey,
    }
}

/// Why something happened.
pub fn cause(cause: &Cause) -> wire::Cause {
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
        Change::Approved => wire::Change::Approved,
        Change::Denied => wire::Change::Denied,
    }
}

/// An IPv4 peer of an IPv6 socket is shown as the IPv4 address it has.
pub fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cause::CauseKind;
    use crate::device::{ConnectionMode, Status};
    use crate::event::StatusEvent;
    use crate::identity::{Basis, KeyId};

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).expect("not zero")
    }

    fn view(device: u32) -> DeviceView {
        DeviceView {
            id: id(device),
            identity: Some(Identity::new("acme", "door-7").expect("a name")),
            origin: Origin::Auto,
            mode: ConnectionMode::ServerToDevice,
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
            cause: Some(Cause::new(CauseKind::DialFailed, "refused")),
        }
    }

    fn snapshot(ids: impl IntoIterator<Item = u32>) -> Snapshot {
        Snapshot {
            devices: ids
                .into_iter()
                .map(|device| (id(device), Arc::new(view(device))))
                .collect(),
            event_number: 42,
            ..Snapshot::default()
        }
    }

    fn list(snapshot: &Snapshot, after_device_id: u32, page_size: u32) -> (Vec<u32>, u32) {
        let request = wire::ListRequest {
            after_device_id,
            page_size,
        };
        let page = page(snapshot, request);
        assert_eq!(page.event_number, 42);
        let ids = page.devices.iter().map(|device| device.device_id);
        (ids.collect(), page.next_after_device_id)
    }

    #[test]
    fn pages_follow_each_other_without_a_hole() {
        let snapshot = snapshot([1, 2, 5, 9, u32::MAX]);
        assert_eq!(list(&snapshot, 0, 2), (vec![1, 2], 2));
        assert_eq!(list(&snapshot, 2, 2), (vec![5, 9], 9));
        assert_eq!(list(&snapshot, 9, 2), (vec![u32::MAX], 0));
        assert_eq!(list(&snapshot, u32::MAX, 2), (vec![], 0));
        assert_eq!(list(&snapshot, 0, 5), (vec![1, 2, 5, 9, u32::MAX], 0));
        assert_eq!(list(&snapshot, 3, 0), (vec![5, 9, u32::MAX], 0));
        assert_eq!(
            list(
                &Snapshot {
                    event_number: 42,
                    ..Snapshot::default()
                },
                0,
                0
            ),
            (vec![], 0)
        );
    }

    #[test]
    fn a_page_is_never_longer_than_the_limit() {
        let snapshot = snapshot(1..=5001);
        for page_size in [0, 5000, 5001, u32::MAX] {
            let (ids, next) = list(&snapshot, 0, page_size);
            assert_eq!((ids.len(), next), (5000, 5000));
        }
    }

    #[test]
    fn a_device_is_told_whole() {
        let told = wire::Device {
            device_id: 7,
            identity: Some(wire::Identity {
                owner: "acme".to_owned(),
                device: "door-7".to_owned(),
            }),
            origin: wire::Origin::Auto.into(),
            connection_mode: 0,
            address: "192.0.2.7:51211".to_owned(),
            use_ssl: false,
            status: 1,
            since_unix_ms: 11,
            r#type: 9,
            session: Some(wire::Session {
                link: wire::Link::Aes.into(),
                proof: wire::Proof::DeviceKey.into(),
                peer: "192.0.2.7:51211".to_owned(),
            }),
            attempt: 3,
            next_try_unix_ms: Some(12),
            cause: Some(wire::Cause {
                kind: "dial_failed".to_owned(),
                detail: "refused".to_owned(),
            }),
        };
        assert_eq!(device(&view(7)), told);
    }

    #[test]
    fn an_event_is_told_whole() {
        let delivery = Delivery {
            event: StatusEvent {
                number: 5,
                device: id(7),
                change: Change::Removed,
                old: Some(Status::Disconnected),
                new: Status::Disconnected,
                unix_ms: 6,
                cause: Some(CauseKind::Deleted.into()),
                attempt: 1,
                next_try_unix_ms: Some(9),
            },
            conflated: 2,
        };
        let told = wire::Event {
            number: 5,
            unix_ms: 6,
            device_id: 7,
            change: wire::Change::Removed.into(),
            old_status: Some(0),
            new_status: 0,
            cause: Some(wire::Cause {
                kind: "deleted".to_owned(),
                detail: String::new(),
            }),
            attempt: 1,
            next_try_unix_ms: Some(9),
            conflated: 2,
        };
        assert_eq!(event(&delivery), told);
    }

    #[test]
    fn ids_of_0_are_refused_with_their_index() {
        let error = device_ids("device_ids", &[1, 0]).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "device_ids[1] is 0; it must be 1 to 4294967295"
        );
        assert_eq!(device_ids("device_ids", &[2, 1]), Ok(vec![id(2), id(1)]));
    }

    #[test]
    fn watch_queues_are_bounded() {
        let sizes = [0, 1, u32::MAX].map(watch_queue_size);
        assert_eq!(sizes, [1024, 1, QUEUE_SIZE_MAX]);
    }
}
