//! What travels in the Connect API, to and from the words of the house.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tonic::Status as Answer;

use crate::device::{ConnectionMode, DeviceId, Origin, Status};
use crate::event::Change;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect as wire;
use crate::grpc::proto::gsdk::device::Type;
use crate::registry::accept_filter::{AcceptFilter, InvalidFilter};
use crate::registry::hub::{Delivery, TooManySubscribers};
use crate::registry::records::Slaves;
use crate::registry::snapshot::{DeviceView, PendingView};
use crate::registry::{AutoDevice, Command, CommandError, NotStored};
use crate::search::message::Found;
use crate::search::udp::SearchError;
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
    #[error("timeout is {value} ms; it must be 0, which means 5000, to 60000")]
    SearchTime { value: u32 },
    #[error("window_s is {value}; it must be whole minutes, 60 to 600, or 0, which means 600")]
    Window { value: u32 },
    #[error("by is {value}, which is nothing that devices are ranked by; it must be 0 to 5")]
    TopBy { value: i32 },
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
            CommandError::NotStored(error) => not_stored(&error, text),
            CommandError::ShuttingDown => Self::unavailable(text),
            CommandError::UnknownDevice(_) | CommandError::NotPending(_) => Self::not_found(text),
        }
    }
}

/// That a change is not on disk: both say that it may be tried again, and no space says that
/// somebody has to make some first.
pub fn not_stored(error: &NotStored, text: String) -> Answer {
    match error {
        NotStored::NoSpace(_) => Answer::resource_exhausted(text),
        NotStored::Other(_) => Answer::unavailable(text),
    }
}

impl From<SearchError> for Answer {
    fn from(error: SearchError) -> Self {
        let text = error.to_string();
        match error {
            SearchError::TooMany => Self::resource_exhausted(text),
            SearchError::Socket(_) | SearchError::NotSent { .. } | SearchError::NowhereToSend => {
                Self::unavailable(text)
            }
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
    let id = device_id(format!("{field}.deviceID"), info.device_id)?;
    let address = address(field, &info.ip_addr, info.port)?;
    Ok(AutoDevice {
        id,
        address,
        use_ssl: info.use_ssl,
    })
}

/// The device that a request names in `field`.
///
/// # Errors
/// [`RequestError::DeviceId`] for 0.
pub fn device_id(field: impl Into<String>, id: u32) -> Result<DeviceId, RequestError> {
    DeviceId::new(id).ok_or_else(|| RequestError::DeviceId {
        field: field.into(),
    })
}

/// The IDs of slaves in `list`, each once.
///
/// # Errors
/// [`RequestError::DeviceId`] naming the index of the first that is 0.
pub fn slave_ids(list: &str, ids: impl IntoIterator<Item = u32>) -> Result<Vec<u32>, RequestError> {
    let mut slaves = Vec::new();
    for (index, id) in ids.into_iter().enumerate() {
        let id = device_id(format!("{list}[{index}].deviceID"), id)?.get();
        if !slaves.contains(&id) {
            slaves.push(id);
        }
    }
    Ok(slaves)
}

/// The command of a `SetSlaveDevice`: one entry for each parent, the last one named.
///
/// # Errors
/// [`RequestError::DeviceId`] for the first ID that is 0.
pub fn set_slaves(infos: &[wire::SlaveDeviceInfo]) -> Result<Command, RequestError> {
    let mut parents = BTreeMap::new();
    for (index, info) in infos.iter().enumerate() {
        let field = format!("slaveDeviceInfos[{index}]");
        let ids = |bus: &str, ids: &[u32]| {
            let id = |id: &u32| device_id(format!("{field}.{bus}"), *id);
            ids.iter().map(id).collect::<Result<Vec<_>, _>>()
        };
        let parent = device_id(format!("{field}.deviceID"), info.device_id)?;
        let slaves = Slaves {
            parent,
            rs485: ids("rs485SlaveDeviceIDs", &info.rs485_slave_device_i_ds)?,
            wiegand: ids("wiegandSlaveDeviceIDs", &info.wiegand_slave_device_i_ds)?,
        };
        parents.insert(parent, slaves);
    }
    Ok(Command::SetSlaves(parents.into_values().collect()))
}

/// The slaves of one device.
pub fn slave_info(slaves: &Slaves) -> wire::SlaveDeviceInfo {
    let ids = |ids: &[DeviceId]| ids.iter().map(|id| id.get()).collect();
    wire::SlaveDeviceInfo {
        device_id: slaves.parent.get(),
        rs485_slave_device_i_ds: ids(&slaves.rs485),
        wiegand_slave_device_i_ds: ids(&slaves.wiegand),
    }
}

/// How long to search for; 0 means 5 s.
///
/// # Errors
/// [`RequestError::SearchTime`] above 60 s.
pub fn search_time(value: u32) -> Result<Duration, RequestError> {
    match value {
        0 => Ok(Duration::from_secs(5)),
        1..=60_000 => Ok(Duration::from_millis(value.into())),
        _ => Err(RequestError::SearchTime { value }),
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
    fn a_connect_says_what_to_dial() {
        for use_ssl in [false, true] {
            let info = wire::ConnectInfo {
                ip_addr: "192.0.2.1".to_owned(),
                port: 0,
                use_ssl,
            };
            let command = Command::Connect {
                address: SocketAddrV4::new([192, 0, 2, 1].into(), DEVICE_PORT),
                use_ssl,
            };
            assert_eq!(connect(Some(info)), Ok(command));
        }
        let answer = Answer::from(connect(None).expect_err("nothing to dial"));
        assert_eq!(answer.code(), Code::InvalidArgument);
        assert_eq!(answer.message(), "connectInfo is missing");
    }

    #[test]
    fn of_one_parent_the_last_list_counts() {
        let info = |parent, slaves: &[u32]| wire::SlaveDeviceInfo {
            device_id: parent,
            rs485_slave_device_i_ds: slaves.to_vec(),
            wiegand_slave_device_i_ds: vec![9],
        };
        let Ok(Command::SetSlaves(slaves)) =
            set_slaves(&[info(2, &[5]), info(1, &[]), info(2, &[6])])
        else {
            panic!("no command");
        };
        let back: Vec<_> = slaves.iter().map(slave_info).collect();
        assert_eq!(back, [info(1, &[]), info(2, &[6])]);
        for (infos, field) in [
            (vec![info(0, &[])], "slaveDeviceInfos[0].deviceID"),
            (
                vec![info(1, &[]), info(2, &[3, 0])],
                "slaveDeviceInfos[1].rs485SlaveDeviceIDs",
            ),
        ] {
            let error = set_slaves(&infos).expect_err("0 is no device");
            assert_eq!(
                error.to_string(),
                format!("{field} is 0; it must be 1 to 4294967295")
            );
        }
        assert_eq!(slave_ids("slaveInfos", [3, 1, 3]), Ok(vec![3, 1]));
    }

    #[test]
    fn a_search_has_a_bounded_time() {
        assert_eq!(search_time(0), Ok(Duration::from_secs(5)));
        assert_eq!(search_time(1), Ok(Duration::from_millis(1)));
        assert_eq!(search_time(60_000), Ok(Duration::from_mins(1)));
        for value in [60_001, u32::MAX] {
            assert_eq!(search_time(value), Err(RequestError::SearchTime { value }));
        }
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
                CommandError::NotStored(NotStored::NoSpace("no space".to_owned())),
                Code::ResourceExhausted,
                "the change could not be stored: no space",
            ),
            (
                CommandError::LimitReached("full".to_owned()),
                Code::ResourceExhausted,
                "full",
            ),
            (
                CommandError::NotStored("broken".into()),
                Code::Unavailable,
                "the change could not be stored: broken",
            ),
            (
                CommandError::UnknownDevice(id(7)),
                Code::NotFound,
                "device 7 is not in the managed list",
            ),
            (
                CommandError::NotPending(id(7)),
                Code::NotFound,
                "device 7 is not pending",
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
