//! The logical export: the desired state as JSON lines, which people and other programs can read,
//! for the day on which the store itself cannot be opened.
//!
//! ```json
//! {"gatehouse_export":1,"groups":9,"events_reserved":1000001}
//! {"device":{"id":7,"address":"192.0.2.7:51211","use_ssl":false}}
//! {"accept_filter":{"allow_all":false,"device_ids":[7],"ip_addrs":[],"subnet_masks":[]}}
//! {"identity":{"id":3221225472,"owner":"","device":"lamp"}}
//! {"slaves":{"parent":7,"rs485":[71,72],"wiegand":[]}}
//! {"enrolment":{"device":9}}
//! ```
//!
//! Secrets are there as digests only, in hex; the audit log and the events are not part of it.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::store::desired::Desired;
use crate::store::export_record::RecordLine;

/// The version of the format.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Head {
        gatehouse_export: u32,
        groups: u64,
        events_reserved: u64,
    },
    Device {
        device: DeviceLine,
    },
    AcceptFilter {
        accept_filter: FilterLine,
    },
    Identity {
        identity: IdentityLine,
    },
    Record(RecordLine),
}

#[derive(Serialize, Deserialize)]
struct DeviceLine {
    id: u32,
    address: SocketAddrV4,
    use_ssl: bool,
}

#[derive(Serialize, Deserialize)]
struct FilterLine {
    allow_all: bool,
    device_ids: Vec<u32>,
    ip_addrs: Vec<String>,
    subnet_masks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct IdentityLine {
    id: u32,
    owner: String,
    device: String,
}

/// A line that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub problem: String,
}

/// The whole export.
pub fn write(desired: &Desired) -> Vec<u8> {
    let mut text = Vec::new();
    push(
        &mut text,
        &Line::Head {
            gatehouse_export: FORMAT,
            groups: desired.groups,
            events_reserved: desired.events_reserved,
        },
    );
    for device in desired.devices.values() {
        push(&mut text, &device_line(device));
    }
    push(&mut text, &filter_line(&desired.accept_filter));
    for (id, identity) in &desired.identities {
        push(&mut text, &identity_line(*id, identity));
    }
    for record in desired.records.values() {
        push(&mut text, &Line::Record(RecordLine::of(record)));
    }
    text
}

/// How many groups of changes the export knows of, by its first line; 0 when it does not say.
pub fn groups(first_line: &[u8]) -> u64 {
    match serde_json::from_slice(first_line) {
        Ok(Line::Head { groups, .. }) => groups,
        _ => 0,
    }
}

/// Reads what can be read, and says which lines could not.
pub fn read(text: &[u8]) -> (Desired, Vec<BadLine>) {
    let mut desired = Desired::default();
    let mut bad = Vec::new();
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        if let Err(problem) = read_line(line, &mut desired) {
            let line = index + 1;
            bad.push(BadLine { line, problem });
        }
    }
    (desired, bad)
}

fn push(text: &mut Vec<u8>, line: &Line) {
    // Lines hold numbers, flags and strings only, none of which fails to become JSON.
    if serde_json::to_writer(&mut *text, line).is_ok() {
        text.push(b'\n');
    }
}

fn device_line(device: &AutoDevice) -> Line {
    Line::Device {
        device: DeviceLine {
            id: device.id.get(),
            address: device.address,
            use_ssl: device.use_ssl,
        },
    }
}

fn filter_line(filter: &AcceptFilter) -> Line {
    Line::AcceptFilter {
        accept_filter: FilterLine {
            allow_all: filter.allow_all,
            device_ids: filter.device_ids.clone(),
            ip_addrs: filter.ip_addrs.clone(),
            subnet_masks: filter.subnet_masks.clone(),
        },
    }
}

fn identity_line(id: DeviceId, identity: &Identity) -> Line {
    Line::Identity {
        identity: IdentityLine {
            id: id.get(),
            owner: identity.owner.to_string(),
            device: identity.device.to_string(),
        },
    }
}

fn read_line(line: &[u8], desired: &mut Desired) -> Result<(), String> {
    match serde_json::from_slice(line).map_err(|error| error.to_string())? {
        Line::Head {
            gatehouse_export: FORMAT,
            groups,
            events_reserved,
        } => {
            desired.groups = groups;
            desired.events_reserved = events_reserved;
        }
        Line::Head {
            gatehouse_export, ..
        } => {
            return Err(format!(
                "the format is {gatehouse_export} instead of {FORMAT}"
            ));
        }
        Line::Device { device } => {
            let id = device_id(device.id)?;
            let (address, use_ssl) = (device.address, device.use_ssl);
            let device = AutoDevice {
                id,
                address,
                use_ssl,
            };
            desired.devices.insert(id, device);
        }
        Line::AcceptFilter { accept_filter } => {
            desired.accept_filter = AcceptFilter {
                allow_all: accept_filter.allow_all,
                device_ids: accept_filter.device_ids,
                ip_addrs: accept_filter.ip_addrs,
                subnet_masks: accept_filter.subnet_masks,
            };
        }
        Line::Identity { identity } => {
            let id = device_id(identity.id)?;
            let identity = Identity::new(&identity.owner, &identity.device);
            let identity = identity.map_err(|error| error.to_string())?;
            desired.identities.insert(id, identity);
        }
        Line::Record(line) => {
            let record = line.record()?;
            desired.records.insert(record.key(), record);
        }
    }
    Ok(())
}

pub(super) fn device_id(id: u32) -> Result<DeviceId, String> {
    DeviceId::new(id).ok_or_else(|| "the device ID is 0 instead of 1 to 4294967295".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::desired::tests::any_desired;

    proptest! {
        #[test]
        fn an_export_comes_back_as_it_was(desired in any_desired()) {
            let text = write(&desired);
            let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            prop_assert_eq!(groups(first_line), desired.groups);
            prop_assert_eq!(read(&text), (desired, Vec::new()));
        }

        #[test]
        fn any_text_is_read_or_reported(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (desired, _) = read(&text);
            prop_assert_eq!(desired, Desired::default());
        }
    }

    #[test]
    fn a_bad_line_costs_itself_alone() {
        let text = b"{\"gatehouse_export\":1,\"groups\":3,\"events_reserved\":5}\n{\"device\":{\"id\":0}}\n\
            garbage\n{\"device\":{\"id\":7,\"address\":\"192.0.2.7:51211\",\"use_ssl\":false}}\n\
            {\"gatehouse_export\":2,\"groups\":3,\"events_reserved\":9}\n";
        let (desired, bad) = read(text);
        assert_eq!(desired.devices.len(), 1);
        assert_eq!(desired.events_reserved, 5);
        let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3, 5]);
    }
}
