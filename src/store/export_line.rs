//! Lines of an export: what stands in each, and what is wrong with one that cannot be.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::Record;
use crate::store::export_log::{AuditLine, CoverageLine, EventLine, LastStatusLine, PointLine};
use crate::store::export_record::{
    CredentialLine, EnrolmentLine, RecordLine, RefusalLine, SlavesLine, TokenLine,
};
use crate::store::property::{Property, PropertyError, decode_value, is_name};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version of the format.
    pub gatehouse_export: u32,
    /// Of the store: how many groups of changes it had acknowledged.
    pub groups: u64,
    /// Event numbers below this may have been given out.
    pub events_reserved: u64,
    /// The schema of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// The time of the newest entry of the logs that are in the export, in milliseconds since the
    /// Unix epoch: a store that has not changed has the same export whenever it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_unix_ms: Option<u64>,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Device(DeviceLine),
    AcceptFilter(FilterLine),
    Identity(IdentityLine),
    Property(PropertyLine),
    Slaves(SlavesLine),
    Credential(CredentialLine),
    Refusal(RefusalLine),
    Enrolment(EnrolmentLine),
    Token(TokenLine),
    Coverage(CoverageLine),
    LastStatus(LastStatusLine),
    Event(EventLine),
    Point(PointLine),
    Audit(AuditLine),
    End(EndLine),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceLine {
    id: u32,
    address: SocketAddrV4,
    use_ssl: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterLine {
    allow_all: bool,
    device_ids: Vec<u32>,
    ip_addrs: Vec<String>,
    subnet_masks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityLine {
    id: u32,
    owner: String,
    device: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertyLine {
    device: u32,
    name: String,
    pson: String,
}

/// The last line: whoever does not find it has a part of the export.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// How many lines stand before this one.
    pub lines: u64,
}

/// A line with its end.
pub fn text(line: &impl Serialize) -> Vec<u8> {
    // Lines hold numbers, flags and strings only, none of which fails to become JSON.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Whether this is meant to be a first line.
pub fn is_head(line: &[u8]) -> bool {
    line.starts_with(b"{\"gatehouse_export\"")
}

/// # Errors
/// A text that names the field.
pub fn head(line: &[u8]) -> Result<Head, String> {
    decode(line)
}

/// # Errors
/// A text that names the field.
pub fn parse(line: &[u8]) -> Result<Line, String> {
    decode(line)
}

fn decode<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let problem = error.into_inner().to_string();
        // Each line is a text of its own to the parser, which counts from 1.
        let problem = problem.replace(" at line 1 column ", ", at character ");
        match path.as_str() {
            "." | "?" => problem,
            path => format!("{path}: {problem}"),
        }
    })?;
    json.end()
        .map_err(|_| "something stands behind the line's end".to_owned())?;
    Ok(read)
}

impl Line {
    /// What stands in it, in the plural.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Device(_) => "devices",
            Self::AcceptFilter(_) => "accept filters",
            Self::Identity(_) => "identities",
            Self::Property(_) => "properties",
            Self::Slaves(_) => "lists of slaves",
            Self::Credential(_) => "credentials",
            Self::Refusal(_) => "refusals",
            Self::Enrolment(_) => "enrolments",
            Self::Token(_) => "tokens",
            Self::Coverage(_) => "coverages",
            Self::LastStatus(_) => "last statuses",
            Self::Event(_) => "events",
            Self::Point(_) => "points",
            Self::Audit(_) => "audit entries",
            Self::End(_) => "ends",
        }
    }

    /// The record of a service in this line.
    ///
    /// # Errors
    /// A text, also where the line is of something else.
    pub fn record(self) -> Result<Record, String> {
        match self {
            Self::Slaves(line) => RecordLine::Slaves(line),
            Self::Credential(line) => RecordLine::Credential(line),
            Self::Refusal(line) => RecordLine::Refusal(line),
            Self::Enrolment(line) => RecordLine::Enrolment(line),
            Self::Token(line) => RecordLine::Token(line),
            _ => return Err("a line of this kind has no place here".to_owned()),
        }
        .record()
    }
}

impl DeviceLine {
    pub fn of(device: &AutoDevice) -> Self {
        Self {
            id: device.id.get(),
            address: device.address,
            use_ssl: device.use_ssl,
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn device(self) -> Result<AutoDevice, String> {
        Ok(AutoDevice {
            id: device_id(self.id)?,
            address: self.address,
            use_ssl: self.use_ssl,
        })
    }
}

impl FilterLine {
    pub fn of(filter: &AcceptFilter) -> Self {
        Self {
            allow_all: filter.allow_all,
            device_ids: filter.device_ids.clone(),
            ip_addrs: filter.ip_addrs.clone(),
            subnet_masks: filter.subnet_masks.clone(),
        }
    }

    pub fn filter(self) -> AcceptFilter {
        AcceptFilter {
            allow_all: self.allow_all,
            device_ids: self.device_ids,
            ip_addrs: self.ip_addrs,
            subnet_masks: self.subnet_masks,
        }
    }
}

impl IdentityLine {
    pub fn of(id: DeviceId, identity: &Identity) -> Self {
        Self {
            id: id.get(),
            owner: identity.owner.to_string(),
            device: identity.device.to_string(),
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn identity(self) -> Result<(DeviceId, Identity), String> {
        let identity = Identity::new(&self.owner, &self.device);
        let identity = identity.map_err(|error| error.to_string())?;
        Ok((device_id(self.id)?, identity))
    }
}

impl PropertyLine {
    pub fn of(property: &Property) -> Self {
        Self {
            device: property.device.get(),
            name: property.name.to_string(),
            pson: hex::encode(&property.pson),
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn property(self) -> Result<Property, String> {
        if !is_name(&self.name) {
            return Err(PropertyError::BadName.to_string());
        }
        let pson = from_hex("property.pson", &self.pson)?;
        decode_value(&pson).map_err(|error| format!("property.pson: {error}"))?;
        Ok(Property {
            device: device_id(self.device)?,
            name: self.name.into(),
            pson,
        })
    }
}

pub(super) fn from_hex(field: &str, text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|error| format!("{field}: the value is not in hex: {error}"))
}

pub(super) fn device_id(id: u32) -> Result<DeviceId, String> {
    DeviceId::new(id).ok_or_else(|| "the device ID is 0 instead of 1 to 4294967295".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_by_field() {
        for (line, problem) in [
            (
                r#"{"device":{"id":7,"address":"door","use_ssl":false}}"#,
                "device.address: invalid IPv4 socket address syntax",
            ),
            (
                r#"{"device":{"id":-7,"address":"192.0.2.7:1","use_ssl":false}}"#,
                "device.id: invalid value: integer `-7`, expected u32",
            ),
            (
                r#"{"device":{"id":7,"address":"192.0.2.7:1"}}"#,
                "device: missing field `use_ssl`",
            ),
            (
                r#"{"credential":{"owner":"","device":"a","digest":"00","created_unix_ms":0,"made_for_tls":1}}"#,
                "credential.made_for_tls: invalid type: integer `1`, expected a boolean",
            ),
            (
                r#"{"slaves":{"parent":1,"rs485":[2,"x"],"wiegand":[]}}"#,
                "slaves.rs485[1]: invalid type: string \"x\", expected u32",
            ),
            (
                r#"{"enrolment":{"device":1}} {}"#,
                "something stands behind the line's end",
            ),
        ] {
            let parsed = parse(line.as_bytes());
            let told = parsed.err().unwrap_or_default();
            let (told, place) = told.split_once(", at character ").unwrap_or((&told, ""));
            assert_eq!(told, problem, "{line}");
            assert_eq!(place.is_empty(), told.starts_with("something"), "{line}");
        }
        let unknown = parse(br#"{"door":{}}"#).err().unwrap_or_default();
        assert!(unknown.contains("unknown variant `door`"), "{unknown}");
    }
}
