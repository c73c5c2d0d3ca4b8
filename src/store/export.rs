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

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::Record;
use crate::store::desired::Desired;
use crate::store::export_line::{
    self, DeviceLine, FilterLine, Head, IdentityLine, Line, PropertyLine,
};
use crate::store::export_record::RecordLine;
use crate::store::property::Property;

/// The version of the format.
const FORMAT: u32 = 1;

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
    let head = Head {
        gatehouse_export: FORMAT,
        groups: desired.groups,
        events_reserved: desired.events_reserved,
        schema: None,
        newest_unix_ms: None,
    };
    let mut text = export_line::text(&head);
    for device in desired.devices.values() {
        text.extend(device_line(device));
    }
    text.extend(filter_line(&desired.accept_filter));
    for (id, identity) in &desired.identities {
        text.extend(identity_line(*id, identity));
    }
    for record in desired.records.values() {
        text.extend(record_line(record));
    }
    text
}

/// The line of a device, with its end, as those that follow.
pub fn device_line(device: &AutoDevice) -> Vec<u8> {
    export_line::text(&Line::Device(DeviceLine::of(device)))
}

pub fn filter_line(filter: &AcceptFilter) -> Vec<u8> {
    export_line::text(&Line::AcceptFilter(FilterLine::of(filter)))
}

pub fn identity_line(id: DeviceId, identity: &Identity) -> Vec<u8> {
    export_line::text(&Line::Identity(IdentityLine::of(id, identity)))
}

pub fn record_line(record: &Record) -> Vec<u8> {
    export_line::text(&RecordLine::of(record))
}

pub fn property_line(property: &Property) -> Vec<u8> {
    export_line::text(&Line::Property(PropertyLine::of(property)))
}

/// Whether this line of an export is that of a property.
pub fn is_property_line(line: &[u8]) -> bool {
    line.starts_with(b"{\"property\":")
}

/// How many groups of changes the export knows of, by its first line; 0 when it does not say.
pub fn groups(first_line: &[u8]) -> u64 {
    export_line::head(first_line).map_or(0, |head| head.groups)
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

fn read_line(line: &[u8], import: &mut Import) -> Result<(), String> {
    let desired = &mut import.desired;
    if export_line::is_head(line) {
        let head = export_line::head(line)?;
        if head.gatehouse_export != FORMAT {
            let found = head.gatehouse_export;
            return Err(format!("the format is {found} instead of {FORMAT}"));
        }
        desired.groups = head.groups;
        desired.events_reserved = head.events_reserved;
        return Ok(());
    }
    match export_line::parse(line)? {
        Line::Property(property) => import.properties.push(property.property()?),
        line => take(line, desired)?,
    }
    Ok(())
}

/// Takes a line of the desired state.
///
/// # Errors
/// A text, also where the same is there already or the line is of something else.
pub fn take(line: Line, desired: &mut Desired) -> Result<(), String> {
    let twice = |what: &dyn std::fmt::Display| Err(format!("{what} is there a second time"));
    match line {
        Line::Device(device) => {
            let device = device.device()?;
            if desired.devices.insert(device.id, device).is_some() {
                return twice(&format_args!("device {}", device.id));
            }
        }
        Line::AcceptFilter(filter) => desired.accept_filter = filter.filter(),
        Line::Identity(identity) => {
            let (id, identity) = identity.identity()?;
            if desired.identities.insert(id, identity).is_some() {
                return twice(&format_args!("the identity of device {id}"));
            }
        }
        line => {
            let record = line.record()?;
            let key = record.key();
            if desired.records.insert(key.clone(), record).is_some() {
                return twice(&format_args!("{key:?}"));
            }
        }
    }
    Ok(())
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
