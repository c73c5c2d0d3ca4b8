//! What a request says, as the commands of the registry.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::errors::RequestError;
use super::{DEVICE_PORT, QUEUE_SIZE_DEFAULT, QUEUE_SIZE_MAX};
use crate::device::DeviceId;
use crate::grpc::proto::gsdk::connect as wire;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::Slaves;
use crate::registry::{AutoDevice, Command};

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

/// The IDs of a request that passes over unknown ones; 0 is no device, so it is never known.
pub fn known_ids(ids: &[u32]) -> Vec<DeviceId> {
    ids.iter().copied().filter_map(DeviceId::new).collect()
}

/// The filter of a `SetAcceptFilter`, kept word for word; a missing one is the empty one.
///
/// # Errors
/// [`RequestError::Filter`] for the first address or mask that is wrong.
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
    use tonic::{Code, Status as Answer};

    use super::super::{accept_filter_info, slave_info};
    use super::*;

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
}
