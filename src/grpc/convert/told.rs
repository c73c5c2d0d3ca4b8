//! What is told: devices, the pending list, changes, what a search found.

use crate::device::{ConnectionMode, DeviceId, Origin, Status};
use crate::event::Change;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect as wire;
use crate::grpc::proto::gsdk::device::Type;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::hub::Delivery;
use crate::registry::records::Slaves;
use crate::registry::snapshot::{DeviceView, PendingView};
use crate::search::message::Found;
use crate::time::unix_seconds;

/// The slaves of one device.
pub fn slave_info(slaves: &Slaves) -> wire::SlaveDeviceInfo {
    let ids = |ids: &[DeviceId]| ids.iter().map(|id| id.get()).collect();
    wire::SlaveDeviceInfo {
        device_id: slaves.parent.get(),
        rs485_slave_device_i_ds: ids(&slaves.rs485),
        wiegand_slave_device_i_ds: ids(&slaves.wiegand),
    }
}

/// One device that a search found.
pub fn search_info(found: Found) -> wire::SearchDeviceInfo {
    wire::SearchDeviceInfo {
        device_id: found.id,
        r#type: device_type(found.device_type),
        use_dhcp: found.use_dhcp,
        connection_mode: found.mode as i32,
        ip_addr: found.address.to_string(),
        port: found.port.into(),
        use_ssl: found.use_ssl,
        server_addr: found.server_addr,
    }
}

/// The filter as it was set.
pub fn accept_filter_info(filter: &AcceptFilter) -> wire::AcceptFilter {
    wire::AcceptFilter {
        allow_all: filter.allow_all,
        device_i_ds: filter.device_ids.clone(),
        ip_addrs: filter.ip_addrs.clone(),
        subnet_masks: filter.subnet_masks.clone(),
    }
}

/// One device of the managed list.
pub fn device_info(view: &DeviceView, generation: Generation) -> wire::DeviceInfo {
    let port = match view.mode {
        ConnectionMode::ServerToDevice => i32::from(view.address.port()),
        // The port a device dials from is chance, and nothing can be dialled there.
        ConnectionMode::DeviceToServer => 0,
    };
    wire::DeviceInfo {
        device_id: view.id.get(),
        connection_mode: view.mode as i32,
        ip_addr: view.address.ip().to_canonical().to_string(),
        port,
        status: status_for(generation, view.status).wire(),
        auto_reconnect: view.origin == Origin::Auto,
        use_ssl: view.use_ssl,
        r#type: device_type(view.device_type),
    }
}

/// One device of the pending list.
pub fn pending_info(view: &PendingView) -> wire::PendingDeviceInfo {
    wire::PendingDeviceInfo {
        device_id: view.id.get(),
        ip_addr: view.address.to_canonical().to_string(),
        last_try: unix_seconds(view.last_try_unix_ms),
        r#type: device_type(view.device_type),
    }
}

/// What a subscriber of the Connect API is told of an event, if anything: statuses, not list
/// membership, and to clients of the bare generation nothing of dials in progress.
///
/// An event that swallowed older ones is always told: one of those may have been a change.
pub fn status_change(delivery: &Delivery, generation: Generation) -> Option<wire::StatusChange> {
    let event = &delivery.event;
    let status = match event.change {
        Change::Removed => Status::Disconnected,
        Change::Added | Change::Changed | Change::Refused => event.new,
        Change::Approved | Change::Denied => return None,
    };
    let told = status_for(generation, status);
    if delivery.conflated == 0 && (!event.is_status_change() || told != status) {
        return None;
    }
    Some(wire::StatusChange {
        device_id: event.device.get(),
        status: told.wire(),
        timestamp: unix_seconds(event.unix_ms),
    })
}

/// The number of a `device.Type`; protobuf's enums are signed.
pub fn device_type(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(Type::Unknown as i32)
}

/// The status as the clients of a generation know it.
fn status_for(generation: Generation, status: Status) -> Status {
    match (generation, status) {
        (Generation::Bare, Status::TryToConnect) => Status::Disconnected,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::device::LinkKind;
    use crate::event::StatusEvent;
    use crate::identity::{Identity, Proof};

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).expect("not zero")
    }

    fn view(origin: Origin, mode: ConnectionMode, address: &str) -> DeviceView {
        DeviceView {
            id: id(7),
            identity: None,
            origin,
            mode,
            address: address.parse().expect("an address"),
            use_ssl: false,
            status: Status::TcpConnected,
            since_unix_ms: 0,
            device_type: 9,
            session: None,
            attempt: 0,
            next_try_unix_ms: None,
            cause: None,
        }
    }

    fn delivery(change: Change, old: Option<Status>, new: Status, conflated: u64) -> Delivery {
        Delivery {
            event: StatusEvent {
                number: 1,
                device: id(7),
                change,
                old,
                new,
                unix_ms: 1_700_000_000_999,
                cause: None,
                attempt: 0,
                next_try_unix_ms: None,
            },
            conflated,
        }
    }

    #[test]
    fn a_device_is_listed_as_it_came() {
        let generation = Generation::Prefixed;
        for origin in [Origin::Direct, Origin::Auto] {
            let view = view(origin, ConnectionMode::ServerToDevice, "192.0.2.1:4000");
            let info = wire::DeviceInfo {
                device_id: 7,
                connection_mode: 0,
                ip_addr: "192.0.2.1".to_owned(),
                port: 4000,
                status: 1,
                auto_reconnect: origin == Origin::Auto,
                use_ssl: false,
                r#type: 9,
            };
            assert_eq!(device_info(&view, generation), info);
        }
        let mode = ConnectionMode::DeviceToServer;
        let info = device_info(
            &view(Origin::Inbound, mode, "[::ffff:192.0.2.1]:4000"),
            generation,
        );
        assert_eq!((info.connection_mode, info.port), (1, 0));
        assert_eq!(
            (info.ip_addr.as_str(), info.auto_reconnect),
            ("192.0.2.1", false)
        );
    }

    #[test]
    fn a_type_beyond_the_wire_is_unknown() {
        assert_eq!(device_type(36), 36);
        assert_eq!(device_type(u32::MAX), 255);
    }

    #[test]
    fn a_pending_device_tells_its_last_try_in_seconds() {
        let peer: SocketAddr = "[::ffff:192.0.2.9]:1".parse().expect("an address");
        let view = PendingView {
            id: id(7),
            identity: Identity::new("", "7").expect("a name"),
            address: peer.ip(),
            link: LinkKind::Aes,
            proof: Proof::FleetKey,
            device_type: 0,
            first_try_unix_ms: 1_000,
            last_try_unix_ms: 2_999,
            tries: 2,
        };
        let info = wire::PendingDeviceInfo {
            device_id: 7,
            ip_addr: "192.0.2.9".to_owned(),
            last_try: 2,
            r#type: 0,
        };
        assert_eq!(pending_info(&view), info);
    }

    #[test]
    fn the_bare_generation_never_hears_of_a_dial() {
        for status in Status::ALL {
            let mut view = view(Origin::Auto, ConnectionMode::ServerToDevice, "192.0.2.1:1");
            view.status = status;
            let listed = |generation| device_info(&view, generation).status;
            assert_eq!(listed(Generation::Prefixed), status.wire());
            let bare = match status {
                Status::TryToConnect => Status::Disconnected,
                other => other,
            };
            assert_eq!(listed(Generation::Bare), bare.wire());

            let change = delivery(Change::Changed, Some(Status::Disconnected), status, 0);
            let told = |generation| status_change(&change, generation).map(|told| told.status);
            assert_eq!(told(Generation::Prefixed), Some(status.wire()));
            let bare = (status != Status::TryToConnect).then_some(status.wire());
            assert_eq!(told(Generation::Bare), bare);
        }
    }

    #[test]
    fn membership_alone_is_no_change() {
        let told = |delivery| {
            status_change(&delivery, Generation::Prefixed).map(|told| (told.status, told.timestamp))
        };
        let (down, up) = (Status::Disconnected, Status::TcpConnected);
        assert_eq!(told(delivery(Change::Added, None, down, 0)), None);
        assert_eq!(
            told(delivery(Change::Added, None, up, 0)),
            Some((1, 1_700_000_000))
        );
        assert_eq!(told(delivery(Change::Removed, Some(down), down, 0)), None);
        for decision in [Change::Approved, Change::Denied] {
            assert_eq!(told(delivery(decision, None, up, 1)), None);
        }
        assert_eq!(
            told(delivery(Change::Removed, Some(up), down, 0)),
            Some((0, 1_700_000_000))
        );
    }

    #[test]
    fn what_swallowed_a_change_is_told() {
        let (down, dialling) = (Status::Disconnected, Status::TryToConnect);
        let removed = delivery(Change::Removed, Some(down), down, 1);
        let told =
            |delivery, generation| status_change(delivery, generation).map(|told| told.status);
        assert_eq!(told(&removed, Generation::Prefixed), Some(0));
        let dialled = delivery(Change::Changed, Some(down), dialling, 1);
        assert_eq!(told(&dialled, Generation::Prefixed), Some(4));
        assert_eq!(told(&dialled, Generation::Bare), Some(0));
    }
}
