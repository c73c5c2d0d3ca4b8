//! What travels in the Connect API, to and from the words of the house.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use tonic::Status as Answer;

use crate::device::{ConnectionMode, DeviceId, Origin, Status};
use crate::event::Change;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect as wire;
use crate::grpc::proto::gsdk::device::Type;
use crate::registry::accept_filter::{AcceptFilter, InvalidFilter};
use crate::registry::hub::{Delivery, TooManySubscribers};
use crate::registry::snapshot::{DeviceView, PendingView};
use crate::registry::{AutoDevice, Command, CommandError};
use crate::time::unix_seconds;

/// Where a device listens unless a request says otherwise.
pub const DEVICE_PORT: u16 = 51211;
/// How many changes wait for a subscriber who asked for 0.
pub const QUEUE_SIZE_DEFAULT: usize = 16;
/// The most that wait for one subscriber, whatever he asked for: a queue is memory.
pub const QUEUE_SIZE_MAX: usize = 65_536;

/// Why a request was refused before anything was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error(
        "{field}.IPAddr is {value:?}; it must be an IPv4 address such as 192.0.2.7, host names are not taken"
    )]
    Address { field: String, value: String },
    #[error("{field}.port is {value}; it must be 0 to 65535, where 0 means {DEVICE_PORT}")]
    Port { field: String, value: i32 },
    #[error("{field} is 0; it must be 1 to 4294967295")]
    DeviceId { field: String },
    #[error("queueSize is {value}; it must be 0, which means {QUEUE_SIZE_DEFAULT}, or more")]
    QueueSize { value: i32 },
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

impl From<CommandError> for Answer {
    fn from(error: CommandError) -> Self {
        let text = error.to_string();
        match error {
            CommandError::CannotConnect(cause) => {
                Self::unavailable(format!("Cannot connect to the device: {cause}"))
            }
            CommandError::LimitReached(_) => Self::resource_exhausted(text),
            CommandError::NotStored(_) | CommandError::ShuttingDown => Self::unavailable(text),
            CommandError::UnknownDevice(_) | CommandError::NotPending(_) => Self::not_found(text),
        }
    }
}

impl From<TooManySubscribers> for Answer {
    fn from(error: TooManySubscribers) -> Self {
        Self::resource_exhausted(error.to_string())
    }
}

/// The command of a `Connect`.
///
/// # Errors
/// [`RequestError`] naming the field.
pub fn connect(info: Option<wire::ConnectInfo>) -> Result<Command, RequestError> {
    let field = "connectInfo";
    let info = info.ok_or(RequestError::Missing { field })?;
    let address = address(field, &info.ip_addr, info.port)?;
    Ok(Command::Connect {
        address,
        use_ssl: info.use_ssl,
    })
}

/// The command of an `AddAsyncConnection`: one entry for each ID, the last one named.
///
/// # Errors
/// [`RequestError`] naming field and index of the first that is wrong; nothing of the request
/// counts then.
pub fn add_async(infos: &[wire::AsyncConnectInfo]) -> Result<Command, RequestError> {
    let mut devices: Vec<AutoDevice> = Vec::with_capacity(infos.len());
    let mut places = HashMap::with_capacity(infos.len());
    for (index, info) in infos.iter().enumerate() {
        let device = auto_device(&format!("connectInfos[{index}]"), info)?;
        let place = *places.entry(device.id).or_insert(devices.len());
        match devices.get_mut(place) {
            Some(earlier) => *earlier = device,
            None => devices.push(device),
        }
    }
    Ok(Command::AddAsync(devices))
}

fn auto_device(field: &str, info: &wire::AsyncConnectInfo) -> Result<AutoDevice, RequestError> {
    let id = DeviceId::new(info.device_id).ok_or_else(|| RequestError::DeviceId {
        field: format!("{field}.deviceID"),
    })?;
    let address = address(field, &info.ip_addr, info.port)?;
    Ok(AutoDevice {
        id,
        address,
        use_ssl: info.use_ssl,
    })
}

/// The IDs of a request that passes over unknown ones; 0 is no device, so it is never known.
pub fn known_ids(ids: &[u32]) -> Vec<DeviceId> {
    ids.iter().copied().filter_map(DeviceId::new).collect()
}

/// The filter of a `SetAcceptFilter`, kept word for word; a missing one is the empty one.
///
/// # Errors
/// [`InvalidFilter`] for the first address or mask that is wrong.
pub fn accept_filter(filter: Option<wire::AcceptFilter>) -> Result<AcceptFilter, RequestError> {
    let filter = filter.unwrap_or_default();
    let filter = AcceptFilter {
        allow_all: filter.allow_all,
        device_ids: filter.device_i_ds,
        ip_addrs: filter.ip_addrs,
        subnet_masks: filter.subnet_masks,
    };
    filter.validate()?;
    Ok(filter)
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

/// How many changes may wait for a subscriber.
///
/// # Errors
/// [`RequestError::QueueSize`] when it is negative.
pub fn queue_size(value: i32) -> Result<usize, RequestError> {
    match usize::try_from(value) {
        Ok(0) => Ok(QUEUE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(QUEUE_SIZE_MAX)),
        Err(_) => Err(RequestError::QueueSize { value }),
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

fn address(field: &str, ip: &str, port: i32) -> Result<SocketAddrV4, RequestError> {
    let ip: Ipv4Addr = ip.parse().map_err(|_| RequestError::Address {
        field: field.to_owned(),
        value: ip.to_owned(),
    })?;
    let port = match u16::try_from(port) {
        Ok(0) => DEVICE_PORT,
        Ok(port) => port,
        Err(_) => {
            return Err(RequestError::Port {
                field: field.to_owned(),
                value: port,
            });
        }
    };
    Ok(SocketAddrV4::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tonic::Code;

    use super::*;
    use crate::cause::{Cause, CauseKind};
    use crate::device::LinkKind;
    use crate::event::StatusEvent;
    use crate::identity::{Identity, Proof};

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).expect("not zero")
    }

    fn async_info(id: u32, ip: &str, port: i32) -> wire::AsyncConnectInfo {
        wire::AsyncConnectInfo {
            device_id: id,
            ip_addr: ip.to_owned(),
            port,
            use_ssl: false,
        }
    }

    fn auto(device: u32, address: &str) -> AutoDevice {
        AutoDevice {
            id: id(device),
            address: address.parse().expect("an address"),
            use_ssl: false,
        }
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

    fn refusal(infos: &[wire::AsyncConnectInfo]) -> String {
        add_async(infos).expect_err("refused").to_string()
    }

    #[test]
    fn addresses_are_ipv4_literals() {
        let good = async_info(1, "192.0.2.1", 51211);
        for ip in [
            "",
            "door",
            "::1",
            "192.0.2",
            "192.0.2.1:80",
            " 192.0.2.1",
            "192.0.2.01",
        ] {
            assert_eq!(
                refusal(&[good.clone(), async_info(2, ip, 51211)]),
                format!(
                    "connectInfos[1].IPAddr is {ip:?}; it must be an IPv4 address such as 192.0.2.7, host names are not taken"
                )
            );
        }
    }

    #[test]
    fn port_zero_is_the_default_port() {
        for (port, dialled) in [(0, 51211), (1, 1), (65535, 65535)] {
            let command = add_async(&[async_info(1, "192.0.2.1", port)]);
            let device = auto(1, &format!("192.0.2.1:{dialled}"));
            assert_eq!(command, Ok(Command::AddAsync(vec![device])));
        }
        for port in [-1, 65536, i32::MIN, i32::MAX] {
            assert_eq!(
                refusal(&[async_info(1, "192.0.2.1", port)]),
                format!(
                    "connectInfos[0].port is {port}; it must be 0 to 65535, where 0 means 51211"
                )
            );
        }
    }

    #[test]
    fn of_one_id_the_last_entry_counts() {
        let command = add_async(&[
            async_info(1, "192.0.2.1", 1),
            async_info(2, "192.0.2.2", 2),
            async_info(1, "192.0.2.3", 3),
        ]);
        let devices = vec![auto(1, "192.0.2.3:3"), auto(2, "192.0.2.2:2")];
        assert_eq!(command, Ok(Command::AddAsync(devices)));
        assert_eq!(add_async(&[]), Ok(Command::AddAsync(Vec::new())));
    }

    #[test]
    fn no_device_has_the_id_0() {
        let text = refusal(&[async_info(1, "192.0.2.1", 1), async_info(0, "192.0.2.1", 1)]);
        assert_eq!(
            text,
            "connectInfos[1].deviceID is 0; it must be 1 to 4294967295"
        );
        assert_eq!(known_ids(&[3, 0, 3]), [id(3), id(3)]);
    }

    #[test]
    fn tls_is_a_failed_precondition_and_the_rest_invalid() {
        let info = wire::ConnectInfo {
            ip_addr: "192.0.2.1".to_owned(),
            port: 0,
            use_ssl: true,
        };
        let answer = Answer::from(connect(Some(info)).expect_err("no tls"));
        assert_eq!(answer.code(), Code::FailedPrecondition);
        assert!(
            answer
                .message()
                .starts_with("connectInfo.useSSL is true, but")
        );
        let answer = Answer::from(connect(None).expect_err("nothing to dial"));
        assert_eq!(answer.code(), Code::InvalidArgument);
        assert_eq!(answer.message(), "connectInfo is missing");
    }

    #[test]
    fn command_errors_have_their_codes() {
        let cause = Cause::new(CauseKind::DialFailed, "connection refused");
        for (error, code, text) in [
            (
                CommandError::CannotConnect(cause),
                Code::Unavailable,
                "Cannot connect to the device: dial_failed: connection refused",
            ),
            (
                CommandError::LimitReached("full".to_owned()),
                Code::ResourceExhausted,
                "full",
            ),
            (
                CommandError::NotStored("no space".to_owned()),
                Code::Unavailable,
                "the change could not be stored: no space",
            ),
            (
                CommandError::UnknownDevice(id(7)),
                Code::NotFound,
                "device 7 is not in the managed list",
            ),
            (
                CommandError::ShuttingDown,
                Code::Unavailable,
                "the gateway is shutting down",
            ),
        ] {
            let answer = Answer::from(error);
            assert_eq!((answer.code(), answer.message()), (code, text));
        }
    }

    #[test]
    fn queue_sizes_are_bounded() {
        assert_eq!(queue_size(0), Ok(16));
        assert_eq!(queue_size(1), Ok(1));
        assert_eq!(queue_size(i32::MAX), Ok(QUEUE_SIZE_MAX));
        assert_eq!(queue_size(-1), Err(RequestError::QueueSize { value: -1 }));
    }

    #[test]
    fn the_filter_keeps_its_words() {
        let filter = wire::AcceptFilter {
            allow_all: false,
            device_i_ds: vec![3, 3, 0, 1],
            ip_addrs: vec!["192.0.2.1".to_owned(), "10.0.0.0".to_owned()],
            subnet_masks: vec![String::new(), "255.0.0.0".to_owned()],
        };
        let kept = accept_filter(Some(filter.clone())).expect("valid");
        assert_eq!(accept_filter_info(&kept), filter);
        assert_eq!(accept_filter(None), Ok(AcceptFilter::default()));
        let wrong = wire::AcceptFilter {
            subnet_masks: vec!["255.0.0.1".to_owned()],
            ..filter
        };
        assert!(accept_filter(Some(wrong)).is_err());
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
