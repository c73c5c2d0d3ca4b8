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
//! {"property":{"device":7,"name":"interval","pson":"1e"}}
//! ```
//!
//! The values of properties are PSON v2, in hex, because JSON does not have all of them.
//! Secrets are there as digests only, in hex; the audit log and the events are not part of it.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::store::desired::Desired;
use crate::store::export_record::RecordLine;
use crate::store::property::{Property, PropertyError, decode_value, is_name};

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
    Property {
        property: PropertyLine,
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

#[derive(Serialize, Deserialize)]
struct PropertyLine {
    device: u32,
    name: String,
    pson: String,
}

/// What could be read of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    pub desired: Desired,
    pub properties: Vec<Property>,
    pub bad: Vec<BadLine>,
}

/// A line that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub problem: String,
}

/// The export, but for the properties: a line of each comes behind it.
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

/// The line of a property, with its end.
pub fn property_line(property: &Property) -> Vec<u8> {
    let mut text = Vec::new();
    let property = PropertyLine {
        device: property.device.get(),
        name: property.name.to_string(),
        pson: hex::encode(&property.pson),
    };
    push(&mut text, &Line::Property { property });
    text
}

/// Whether this line of an export is that of a property.
pub fn is_property_line(line: &[u8]) -> bool {
    line.starts_with(b"{\"property\":")
}

/// How many groups of changes the export knows of, by its first line; 0 when it does not say.
pub fn groups(first_line: &[u8]) -> u64 {
    match serde_json::from_slice(first_line) {
        Ok(Line::Head { groups, .. }) => groups,
        _ => 0,
    }
}

/// Reads what can be read, and says which lines could not.
pub fn read(text: &[u8]) -> Import {
    let mut import = Import::default();
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        if let Err(problem) = read_line(line, &mut import) {
            let line = index + 1;
            import.bad.push(BadLine { line, problem });
        }
    }
    import
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

fn read_line(line: &[u8], import: &mut Import) -> Result<(), String> {
    let desired = &mut import.desired;
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
        Line::Property { property } => import.properties.push(property.property()?),
        Line::Record(line) => {
            let record = line.record()?;
            desired.records.insert(record.key(), record);
        }
    }
    Ok(())
}

impl PropertyLine {
    fn property(self) -> Result<Property, String> {
        if !is_name(&self.name) {
            return Err(PropertyError::BadName.to_string());
        }
        let pson = hex::decode(&self.pson);
        let pson = pson.map_err(|error| format!("the value is not in hex: {error}"))?;
        decode_value(&pson).map_err(|error| error.to_string())?;
        Ok(Property {
            device: device_id(self.device)?,
            name: self.name.into(),
            pson,
        })
    }
}

pub(super) fn device_id(id: u32) -> Result<DeviceId, String> {
    DeviceId::new(id).ok_or_else(|| "the device ID is 0 instead of 1 to 4294967295".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::store::desired::tests::any_desired;
    use crate::store::property::tests::any_property;

    proptest! {
        #[test]
        fn an_export_comes_back_as_it_was(
            desired in any_desired(), properties in vec(any_property(), 0..5),
        ) {
            let mut text = write(&desired);
            prop_assert!(!text.split(|byte| *byte == b'\n').any(is_property_line));
            for property in &properties {
                let line = property_line(property);
                prop_assert!(is_property_line(&line));
                text.extend(line);
            }
            let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            prop_assert_eq!(groups(first_line), desired.groups);
            let bad = Vec::new();
            prop_assert_eq!(read(&text), Import { desired, properties, bad });
        }

        #[test]
        fn any_text_is_read_or_reported(text in vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(read(&text).desired, Desired::default());
        }
    }

    #[test]
    fn a_bad_line_costs_itself_alone() {
        let text = b"{\"gatehouse_export\":1,\"groups\":3,\"events_reserved\":5}\n{\"device\":{\"id\":0}}\n\
            garbage\n{\"device\":{\"id\":7,\"address\":\"192.0.2.7:51211\",\"use_ssl\":false}}\n\
            {\"gatehouse_export\":2,\"groups\":3,\"events_reserved\":9}\n\
            {\"property\":{\"device\":7,\"name\":\"a\",\"pson\":\"1e\"}}\n\
            {\"property\":{\"device\":7,\"name\":\"a\",\"pson\":\"1e1\"}}\n\
            {\"property\":{\"device\":7,\"name\":\"a\",\"pson\":\"1e1e\"}}\n\
            {\"property\":{\"device\":7,\"name\":\"\",\"pson\":\"1e\"}}\n\
            {\"property\":{\"device\":0,\"name\":\"a\",\"pson\":\"1e\"}}\n";
        let import = read(text);
        assert_eq!(import.desired.devices.len(), 1);
        assert_eq!(import.desired.events_reserved, 5);
        let lines: Vec<usize> = import.bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3, 5, 7, 8, 9, 10]);
        assert_eq!(import.properties.len(), 1);
    }
}
