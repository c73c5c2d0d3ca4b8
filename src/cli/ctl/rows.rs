//! The messages of the API as rows.

use super::row::{Field, Row, Value};
use crate::grpc::proto::gatehouse::v1::{
    AuditEntry, Cause, Device, Identity, Link, LogLevel, Losses, Origin, PendingDevice, Proof,
    Refusal, Role, SecretKind, Session, StoredIdentity, Tally, TokenInfo, TopDevice, TopPeer,
    UnprovenPeer, WhoAmIResponse,
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

fn count(tally: Option<&Tally>) -> Value {
    Value::Number(tally.map_or(0, |tally| tally.count))
}

fn missed(tally: Option<&Tally>) -> Value {
    Value::Number(tally.map_or(0, |tally| tally.missed_at_most))
}

fn last_time(tally: Option<&Tally>) -> Value {
    Value::time_or_absent(tally.map_or(0, |tally| tally.last_unix_ms))
}

fn last_cause(tally: Option<&Tally>) -> Value {
    tally.map_or(Value::Absent, |tally| {
        Value::text_or_absent(&tally.last_cause)
    })
}

/// How many of the losses were of one kind.
fn losses(top: &TopDevice, read: fn(&Losses) -> u64) -> Value {
    Value::Number(top.losses_by_kind.as_ref().map_or(0, read))
}

/// What the managed list says of it.
fn listed(top: &TopDevice, read: fn(&Device) -> Value) -> Value {
    top.device.as_ref().map_or(Value::Absent, read)
}

impl Row for TopDevice {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |top| top.device_id.into()),
        Field::shown("owner", 10, |top| owner(top.identity.as_ref())),
        Field::shown("device", 10, |top| name(top.identity.as_ref())),
        Field::shown("status", 18, |top| {
            listed(top, |device| status(device.status))
        }),
        Field::shown("since", 24, |top| {
            listed(top, |device| Value::time_or_absent(device.since_unix_ms))
        }),
        Field::shown("losses", 6, |top| count(top.losses.as_ref())),
        Field::shown("last_loss", 20, |top| last_cause(top.losses.as_ref())),
        Field::shown("failed", 6, |top| count(top.failed.as_ref())),
        Field::shown("last_failure", 20, |top| last_cause(top.failed.as_ref())),
        Field::shown("refused", 7, |top| count(top.refused.as_ref())),
        Field::detail("last_refusal", |top| last_cause(top.refused.as_ref())),
        Field::shown("takeovers", 9, |top| count(top.takeovers.as_ref())),
        Field::detail("slow", |top| count(top.slow.as_ref())),
        Field::shown("slowest_ms", 10, |top| match top.slow {
            Some(_) => Value::Number(top.slowest_ms),
            None => Value::Absent,
        }),
        Field::detail("slow_sum_ms", |top| Value::Number(top.slow_sum_ms)),
        Field::detail("slow_connects", |top| Value::Number(top.slow_connects)),
        Field::shown("peer", 21, |top| Value::text_or_absent(&top.peer)),
        Field::detail("lost_silent", |top| losses(top, |losses| losses.silent)),
        Field::detail("lost_closed", |top| losses(top, |losses| losses.closed)),
        Field::detail("lost_broken", |top| losses(top, |losses| losses.broken)),
        Field::detail("lost_taken_over", |top| {
            losses(top, |losses| losses.taken_over)
        }),
        Field::detail("losses_missed", |top| missed(top.losses.as_ref())),
        Field::detail("failed_missed", |top| missed(top.failed.as_ref())),
        Field::detail("refused_missed", |top| missed(top.refused.as_ref())),
        Field::detail("takeovers_missed", |top| missed(top.takeovers.as_ref())),
        Field::detail("slow_missed_ms", |top| missed(top.slow.as_ref())),
        Field::detail("lost_at", |top| last_time(top.losses.as_ref())),
        Field::detail("failed_at", |top| last_time(top.failed.as_ref())),
        Field::detail("refused_at", |top| last_time(top.refused.as_ref())),
        Field::detail("taken_over_at", |top| last_time(top.takeovers.as_ref())),
        Field::detail("slow_at", |top| last_time(top.slow.as_ref())),
    ];
}

impl Row for TopPeer {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("owner", 10, |peer| owner(peer.identity.as_ref())),
        Field::shown("device", 10, |peer| name(peer.identity.as_ref())),
        Field::shown("address", 21, |peer| (&peer.address).into()),
        Field::shown("refused", 7, |peer| count(peer.refused.as_ref())),
        Field::shown("last_refusal", 20, |peer| last_cause(peer.refused.as_ref())),
        Field::shown("refused_at", 24, |peer| last_time(peer.refused.as_ref())),
        Field::detail("refused_missed", |peer| missed(peer.refused.as_ref())),
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

impl Row for LogLevel {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("level", 20, |log| (&log.level).into()),
        Field::shown("configured", 20, |log| (&log.configured).into()),
        Field::shown("returns_after_ms", 16, |log| match log.returns_after_ms {
            0 => Value::Absent,
            left => Value::Number(left),
        }),
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
        check_names::<TopDevice>();
        check_names::<TopPeer>();
        check_names::<Refusal>();
        check_names::<StoredIdentity>();
        check_names::<TokenInfo>();
        check_names::<WhoAmIResponse>();
        check_names::<AuditEntry>();
        check_names::<LogLevel>();
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
    fn a_device_with_trouble_is_told_with_its_words_escaped() {
        let tally = |count, last_cause: &str| {
            Some(Tally {
                count,
                missed_at_most: 1,
                last_unix_ms: 1_700_000_000_000,
                last_cause: last_cause.to_owned(),
            })
        };
        let top = TopDevice {
            device_id: 1001,
            identity: Some(Identity {
                owner: "acme".to_owned(),
                device: "\x1b[31m".to_owned(),
            }),
            peer: "192.0.2.7:51211".to_owned(),
            losses: tally(4, "keep_alive_timeout"),
            slow: tally(1, ""),
            slowest_ms: 1500,
            ..TopDevice::default()
        };
        let table = render(std::slice::from_ref(&top), Output::Table);
        let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "1001",
                "acme",
                "\\u{1b}[31m",
                "4",
                "keep_alive_timeout",
                "0",
                "0",
                "0",
                "1500",
                "192.0.2.7:51211"
            ]
        );
        for output in [Output::Csv, Output::Json, Output::Jsonl] {
            let text = render(std::slice::from_ref(&top), output);
            assert!(!text.contains('\x1b'), "{output:?}");
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
