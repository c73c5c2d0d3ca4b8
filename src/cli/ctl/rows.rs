//! The messages of the API as rows.

use super::row::{Field, Row, Value};
use crate::grpc::proto::gatehouse::v1::{
    AuditEntry, Cause, Device, Identity, Link, Origin, PendingDevice, Proof, Refusal, Role,
    SecretKind, Session, StoredIdentity, TokenInfo, UnprovenPeer, WhoAmIResponse,
};
use crate::grpc::proto::gsdk::connect::{
    AcceptFilter, ConnectionMode, DeviceInfo, PendingDeviceInfo, SearchDeviceInfo, SlaveDeviceInfo,
    Status,
};
use crate::grpc::proto::gsdk::device::Type;
use crate::grpc::proto::gsdk::network::EthernetBaseband;

/// The name of an enum's number as the API writes it; a number that this program does not know
/// stays a number.
fn named<E: TryFrom<i32>>(number: i32, name: fn(&E) -> &'static str) -> Value {
    match E::try_from(number) {
        Ok(value) => name(&value).into(),
        Err(_) => Value::Text(number.to_string()),
    }
}

pub(super) fn status(number: i32) -> Value {
    named(number, Status::as_str_name)
}

pub(super) fn mode(number: i32) -> Value {
    named(number, ConnectionMode::as_str_name)
}

pub(super) fn baseband(number: i32) -> Value {
    named(number, EthernetBaseband::as_str_name)
}

pub(super) fn device_type(number: i32) -> Value {
    named(number, Type::as_str_name)
}

fn link(number: i32) -> Value {
    named(number, Link::as_str_name)
}

fn proof(number: i32) -> Value {
    named(number, Proof::as_str_name)
}

fn role(number: i32) -> Value {
    named(number, Role::as_str_name)
}

fn owner(identity: Option<&Identity>) -> Value {
    identity.map(|identity| &identity.owner).into()
}

fn name(identity: Option<&Identity>) -> Value {
    identity.map(|identity| &identity.device).into()
}

pub(super) fn cause(cause: Option<&Cause>) -> Value {
    cause.map(|cause| &cause.kind).into()
}

pub(super) fn cause_detail(cause: Option<&Cause>) -> Value {
    cause.map_or(Value::Absent, |cause| Value::text_or_absent(&cause.detail))
}

/// Seconds since the Unix epoch, where 0 means never.
fn seconds(unix: u32) -> Value {
    Value::time_or_absent(u64::from(unix) * 1000)
}

/// An IP address with a port, where 0 means that there is none to tell.
fn endpoint(ip: &str, port: i32) -> Value {
    match port {
        0 => Value::text_or_absent(ip),
        port => Value::Text(format!("{ip}:{port}")),
    }
}

fn session<T: Into<Value>>(device: &Device, read: fn(&Session) -> T) -> Value {
    device.session.as_ref().map(read).into()
}

impl Row for Device {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |device| device.device_id.into()),
        Field::shown("status", 18, |device| status(device.status)),
        Field::shown("since", 24, |device| {
            Value::time_or_absent(device.since_unix_ms)
        }),
        Field::shown("mode", 16, |device| mode(device.connection_mode)),
        Field::shown("address", 21, |device| (&device.address).into()),
        Field::shown("origin", 14, |device| {
            named(device.origin, Origin::as_str_name)
        }),
        Field::detail("use_ssl", |device| Value::Flag(device.use_ssl)),
        Field::shown("type", 12, |device| device_type(device.r#type)),
        Field::detail("owner", |device| owner(device.identity.as_ref())),
        Field::detail("device", |device| name(device.identity.as_ref())),
        Field::shown("link", 9, |device| {
            session(device, |session| link(session.link))
        }),
        Field::detail("proof", |device| {
            session(device, |session| proof(session.proof))
        }),
        Field::detail("peer", |device| {
            session(device, |session| Value::from(&session.peer))
        }),
        Field::detail("attempt", |device| device.attempt.into()),
        Field::detail("next_try", |device| {
            device.next_try_unix_ms.map_or(Value::Absent, Value::Time)
        }),
        Field::shown("cause", 20, |device| cause(device.cause.as_ref())),
        Field::detail("cause_detail", |device| cause_detail(device.cause.as_ref())),
    ];
}

impl Row for DeviceInfo {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |info| info.device_id.into()),
        Field::shown("status", 18, |info| status(info.status)),
        Field::shown("mode", 16, |info| mode(info.connection_mode)),
        Field::shown("address", 21, |info| endpoint(&info.ip_addr, info.port)),
        Field::shown("auto_reconnect", 14, |info| {
            Value::Flag(info.auto_reconnect)
        }),
        Field::shown("use_ssl", 7, |info| Value::Flag(info.use_ssl)),
        Field::shown("type", 12, |info| device_type(info.r#type)),
    ];
}

impl Row for SearchDeviceInfo {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |info| info.device_id.into()),
        Field::shown("type", 12, |info| device_type(info.r#type)),
        Field::shown("address", 21, |info| endpoint(&info.ip_addr, info.port)),
        Field::shown("mode", 16, |info| mode(info.connection_mode)),
        Field::shown("use_ssl", 7, |info| Value::Flag(info.use_ssl)),
        Field::shown("use_dhcp", 8, |info| Value::Flag(info.use_dhcp)),
        Field::shown("server_address", 21, |info| {
            Value::text_or_absent(&info.server_addr)
        }),
    ];
}

impl Row for SlaveDeviceInfo {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |info| info.device_id.into()),
        Field::shown("rs485", 20, |info| {
            Value::Ids(info.rs485_slave_device_i_ds.clone())
        }),
        Field::shown("wiegand", 20, |info| {
            Value::Ids(info.wiegand_slave_device_i_ds.clone())
        }),
    ];
}

impl Row for AcceptFilter {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("allow_all", 9, |filter| Value::Flag(filter.allow_all)),
        Field::shown("device_ids", 20, |filter| {
            Value::Ids(filter.device_i_ds.clone())
        }),
        Field::shown("addresses", 20, |filter| {
            Value::Texts(filter.ip_addrs.clone())
        }),
        Field::shown("subnet_masks", 20, |filter| {
            Value::Texts(filter.subnet_masks.clone())
        }),
    ];
}

impl Row for PendingDeviceInfo {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |info| info.device_id.into()),
        Field::shown("address", 21, |info| (&info.ip_addr).into()),
        Field::shown("last_try", 24, |info| seconds(info.last_try)),
        Field::shown("type", 12, |info| device_type(info.r#type)),
    ];
}

impl Row for PendingDevice {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |device| device.device_id.into()),
        Field::shown("owner", 10, |device| owner(device.identity.as_ref())),
        Field::shown("device", 10, |device| name(device.identity.as_ref())),
        Field::shown("address", 21, |device| (&device.address).into()),
        Field::shown("link", 9, |device| link(device.link)),
        Field::shown("proof", 18, |device| proof(device.proof)),
        Field::shown("type", 12, |device| device_type(device.r#type)),
        Field::detail("first_try", |device| {
            Value::time_or_absent(device.first_try_unix_ms)
        }),
        Field::shown("last_try", 24, |device| {
            Value::time_or_absent(device.last_try_unix_ms)
        }),
        Field::shown("tries", 5, |device| device.tries.into()),
    ];
}

impl Row for UnprovenPeer {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("owner", 10, |peer| owner(peer.identity.as_ref())),
        Field::shown("device", 10, |peer| name(peer.identity.as_ref())),
        Field::shown("address", 21, |peer| (&peer.address).into()),
        Field::shown("link", 9, |peer| link(peer.link)),
        Field::shown("cause", 20, |peer| cause(peer.cause.as_ref())),
        Field::detail("cause_detail", |peer| cause_detail(peer.cause.as_ref())),
        Field::detail("first_try", |peer| {
            Value::time_or_absent(peer.first_try_unix_ms)
        }),
        Field::shown("last_try", 24, |peer| {
            Value::time_or_absent(peer.last_try_unix_ms)
        }),
        Field::shown("tries", 5, |peer| peer.tries.into()),
    ];
}

impl Row for Refusal {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |refusal| refusal.device_id.into()),
        Field::shown("by", 20, |refusal| (&refusal.by).into()),
        Field::shown("refused", 24, |refusal| {
            Value::time_or_absent(refusal.unix_ms)
        }),
        Field::shown("expires", 24, |refusal| {
            Value::time_or_absent(refusal.expires_unix_ms)
        }),
    ];
}

impl Row for StoredIdentity {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("owner", 10, |stored| owner(stored.identity.as_ref())),
        Field::shown("device", 10, |stored| name(stored.identity.as_ref())),
        Field::shown("kind", 22, |stored| secret_kind(stored.kind)),
        Field::shown("created", 24, |stored| {
            Value::time_or_absent(stored.created_unix_ms)
        }),
        Field::shown("in_file", 7, |stored| Value::Flag(stored.in_file)),
        Field::shown("rotating", 8, |stored| Value::Flag(stored.rotating)),
    ];
}

pub(super) fn secret_kind(number: i32) -> Value {
    named(number, SecretKind::as_str_name)
}

impl Row for TokenInfo {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("name", 20, |token| (&token.name).into()),
        Field::shown("role", 13, |token| role(token.role)),
        Field::shown("created", 24, |token| {
            Value::time_or_absent(token.created_unix_ms)
        }),
        Field::shown("expires", 24, |token| {
            Value::time_or_absent(token.expires_unix_ms)
        }),
        Field::shown("last_used", 24, |token| {
            Value::time_or_absent(token.last_used_unix_ms)
        }),
        Field::shown("created_by", 20, |token| (&token.created_by).into()),
    ];
}

impl Row for WhoAmIResponse {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("name", 20, |answer| (&answer.name).into()),
        Field::shown("role", 13, |answer| role(answer.role)),
    ];
}

impl Row for AuditEntry {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("number", 10, |entry| Value::Number(entry.number)),
        Field::shown("time", 24, |entry| Value::Time(entry.unix_ms)),
        Field::shown("caller", 20, |entry| (&entry.caller).into()),
        Field::shown("peer", 21, |entry| (&entry.peer).into()),
        Field::shown("call", 40, |entry| (&entry.call).into()),
        Field::shown("result", 17, |entry| (&entry.result).into()),
        Field::shown("arguments", 30, |entry| (&entry.arguments).into()),
    ];
}

#[cfg(test)]
mod tests {
    use super::super::output::{Output, render, render_one};
    use super::*;

    /// Every name that a row has, for the check that scripts find them.
    fn names<R: Row>() -> Vec<&'static str> {
        R::FIELDS.iter().map(|field| field.name).collect()
    }

    fn check_names<R: Row>() {
        let names = names::<R>();
        let is_snake = |name: &&str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        assert!(names.iter().all(is_snake), "{names:?}");
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
    }

    #[test]
    fn field_names_are_snake_case_and_told_once() {
        check_names::<Device>();
        check_names::<DeviceInfo>();
        check_names::<SearchDeviceInfo>();
        check_names::<SlaveDeviceInfo>();
        check_names::<AcceptFilter>();
        check_names::<PendingDeviceInfo>();
        check_names::<PendingDevice>();
        check_names::<UnprovenPeer>();
        check_names::<Refusal>();
        check_names::<StoredIdentity>();
        check_names::<TokenInfo>();
        check_names::<WhoAmIResponse>();
        check_names::<AuditEntry>();
    }

    #[test]
    fn a_device_is_told_as_the_help_says() {
        let device = Device {
            device_id: 1001,
            identity: Some(Identity {
                owner: String::new(),
                device: "1001".to_owned(),
            }),
            origin: Origin::Auto.into(),
            address: "192.0.2.7:51211".to_owned(),
            status: Status::TcpCannotConnect.into(),
            since_unix_ms: 1_700_000_000_000,
            r#type: 9999,
            attempt: 3,
            next_try_unix_ms: Some(1_700_000_030_000),
            cause: Some(Cause {
                kind: "dial_failed".to_owned(),
                detail: "connection refused".to_owned(),
            }),
            ..Device::default()
        };
        assert_eq!(
            render_one(&device, Output::Jsonl),
            "{\"id\":1001,\"status\":\"TCP_CANNOT_CONNECT\",\"since\":\"2023-11-14T22:13:20.000Z\",\
             \"mode\":\"SERVER_TO_DEVICE\",\"address\":\"192.0.2.7:51211\",\"origin\":\"ORIGIN_AUTO\",\
             \"use_ssl\":false,\"type\":\"9999\",\"owner\":\"\",\"device\":\"1001\",\"link\":null,\
             \"proof\":null,\"peer\":null,\"attempt\":3,\"next_try\":\"2023-11-14T22:13:50.000Z\",\
             \"cause\":\"dial_failed\",\"cause_detail\":\"connection refused\"}\n"
        );
    }

    #[test]
    fn what_comes_from_a_device_is_escaped() {
        let pending = PendingDevice {
            device_id: 7,
            identity: Some(Identity {
                owner: "\x1b[31m".to_owned(),
                device: "7".to_owned(),
            }),
            ..PendingDevice::default()
        };
        for output in [Output::Table, Output::Csv, Output::Json, Output::Jsonl] {
            assert!(
                !render(std::slice::from_ref(&pending), output).contains('\x1b'),
                "{output:?}"
            );
        }
    }

    #[test]
    fn an_entry_of_the_audit_log_is_one_line() {
        let entry = AuditEntry {
            number: 12,
            unix_ms: 1_700_000_000_000,
            caller: "token ci".to_owned(),
            peer: "127.0.0.1:5".to_owned(),
            call: "gsdk.connect.Connect/Disconnect".to_owned(),
            arguments: "devices 1001".to_owned(),
            result: "OK".to_owned(),
        };
        assert_eq!(
            render(&[entry], Output::Csv),
            "number,time,caller,peer,call,result,arguments\n\
             12,2023-11-14T22:13:20.000Z,token ci,127.0.0.1:5,gsdk.connect.Connect/Disconnect,OK,devices 1001\n"
        );
    }
}
