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
    #[error(
        "{field}.useSSL is true, but the tls link is not built yet in this version; set it to false"
    )]
    NoTls { field: String },
}

impl From<RequestError> for Answer {
    fn from(error: RequestError) -> Self {
        let text = error.to_string();
        match error {
            RequestError::NoTls { .. } => Self::failed_precondition(text),
            _ => Self::invalid_argument(text),
        }
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
            CommandError::UnknownDevice(_) => Self::not_found(text),
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
    no_tls(field, info.use_ssl)?;
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
    no_tls(field, info.use_ssl)?;
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

fn no_tls(field: &str, use_ssl: bool) -> Result<(), RequestError> {
    if use_ssl {
        return Err(RequestError::NoTls {
            field: field.to_owned(),
        });
    }
    Ok(())
}
