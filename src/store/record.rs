//! Records to bytes and back. Bytes that say what cannot be do not decode.

use std::net::{Ipv4Addr, SocketAddrV4};

use prost::Message;

use crate::cause::{Cause, CauseKind};
use crate::device::{DeviceId, Status};
use crate::event::{Change, StatusEvent};
use crate::identity::{Identity, NameError};
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::store::coverage::Run;

pub(super) mod proto {
    tonic::include_proto!("gatehouse.store");
}

/// Why a record does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the bytes are no record of this kind: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("the key has {0} bytes instead of {1}")]
    Key(usize, usize),
    #[error("the device ID is 0 instead of 1 to 4294967295")]
    NoDevice,
    #[error("the key belongs to device {key}, the record to device {record}")]
    OtherDevice { key: DeviceId, record: DeviceId },
    #[error("the port is {0} instead of 0 to 65535")]
    Port(u32),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0} is no number of a status")]
    Status(i32),
    #[error("{0} is no number of a change")]
    Change(i32),
    #[error("{0:?} is no name of a cause")]
    Cause(String),
    #[error("the events of the batch are none, or not in the order of their numbers")]
    Order,
    #[error("the runs are not in the order of their numbers")]
    Runs,
    #[error("the digest has {0} bytes instead of 32")]
    Digest(usize),
    #[error("{0:?} is no name of a role")]
    Role(String),
    #[error("the token's name is not 1 to 64 of A-Z a-z 0-9 . _ -")]
    TokenName,
    #[error("it is neither a refusal nor an enrolment")]
    NoKind,
    #[error("the key belongs to another record")]
    OtherRecord,
    #[error("the name is not 1 to 64 characters, or has a control character in it")]
    FunctionName,
    #[error("the value is no PSON: {0}")]
    Value(#[from] crate::codec::error::DecodeError),
    #[error("{0} bytes are behind the value")]
    Trailing(usize),
    #[error("the key is not that of a batch of points")]
    BatchKey,
    #[error("the batch has no points, or fewer than are noted")]
    NoPoints,
    #[error("there is no note of the batch, so that nobody finds it")]
    NoNote,
}

/// The key of a device in every tree.
pub fn device_key(id: DeviceId) -> [u8; 4] {
    id.get().to_be_bytes()
}

/// The key of a batch of events: the number of its first one.
pub fn batch_key(first: u64) -> [u8; 8] {
    first.to_be_bytes()
}

/// # Errors
/// [`RecordError::Key`], [`RecordError::NoDevice`].
pub fn device_of_key(key: &[u8]) -> Result<DeviceId, RecordError> {
    let bytes = key.try_into().map_err(|_| RecordError::Key(key.len(), 4))?;
    device_id(u32::from_be_bytes(bytes))
}

pub fn encode_device(device: &AutoDevice) -> Vec<u8> {
    proto::Device {
        id: device.id.get(),
        ipv4: device.address.ip().to_bits(),
        port: device.address.port().into(),
        use_ssl: device.use_ssl,
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError`], also when the key is that of another device.
pub fn decode_device(key: &[u8], bytes: &[u8]) -> Result<AutoDevice, RecordError> {
    let record = proto::Device::decode(bytes)?;
    let port = u16::try_from(record.port).map_err(|_| RecordError::Port(record.port))?;
    Ok(AutoDevice {
        id: same_device(key, record.id)?,
        address: SocketAddrV4::new(Ipv4Addr::from_bits(record.ipv4), port),
        use_ssl: record.use_ssl,
    })
}

pub fn encode_accept_filter(filter: &AcceptFilter) -> Vec<u8> {
    proto::AcceptFilter {
        allow_all: filter.allow_all,
        device_ids: filter.device_ids.clone(),
        ip_addrs: filter.ip_addrs.clone(),
        subnet_masks: filter.subnet_masks.clone(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError::Malformed`].
pub fn decode_accept_filter(bytes: &[u8]) -> Result<AcceptFilter, RecordError> {
    let record = proto::AcceptFilter::decode(bytes)?;
    Ok(AcceptFilter {
        allow_all: record.allow_all,
        device_ids: record.device_ids,
        ip_addrs: record.ip_addrs,
        subnet_masks: record.subnet_masks,
    })
}

pub fn encode_identity(id: DeviceId, identity: &Identity) -> Vec<u8> {
    proto::Identity {
        id: id.get(),
        owner: identity.owner.to_string(),
        device: identity.device.to_string(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError`], also when the key is that of another device.
pub fn decode_identity(key: &[u8], bytes: &[u8]) -> Result<(DeviceId, Identity), RecordError> {
    let record = proto::Identity::decode(bytes)?;
    let id = same_device(key, record.id)?;
    Ok((id, Identity::new(&record.owner, &record.device)?))
}

pub fn encode_schema(version: u32) -> Vec<u8> {
    proto::Schema { version }.encode_to_vec()
}

/// # Errors
/// [`RecordError::Malformed`].
pub fn decode_schema(bytes: &[u8]) -> Result<u32, RecordError> {
    Ok(proto::Schema::decode(bytes)?.version)
}

pub fn encode_numbers(reserved: u64) -> Vec<u8> {
    proto::Numbers { reserved }.encode_to_vec()
}

/// # Errors
/// [`RecordError::Malformed`].
pub fn decode_numbers(bytes: &[u8]) -> Result<u64, RecordError> {
    Ok(proto::Numbers::decode(bytes)?.reserved)
}

pub fn encode_groups(count: u64) -> Vec<u8> {
    proto::Groups { count }.encode_to_vec()
}

/// # Errors
/// [`RecordError::Malformed`].
pub fn decode_groups(bytes: &[u8]) -> Result<u64, RecordError> {
    Ok(proto::Groups::decode(bytes)?.count)
}

pub fn encode_coverage(floor: u64, runs: &[Run]) -> Vec<u8> {
    let run = |run: &Run| proto::Run {
        base: run.base,
        end: run.end,
    };
    proto::Coverage {
        floor,
        runs: runs.iter().map(run).collect(),
    }
    .encode_to_vec()
}

/// The floor and the runs.
///
/// # Errors
/// [`RecordError::Malformed`], [`RecordError::Runs`].
pub fn decode_coverage(bytes: &[u8]) -> Result<(u64, Vec<Run>), RecordError> {
    let record = proto::Coverage::decode(bytes)?;
    let run = |run: &proto::Run| Run {
        base: run.base,
        end: run.end,
    };
    let runs: Vec<Run> = record.runs.iter().map(run).collect();
    let ordered = runs.iter().all(|run| run.base <= run.end)
        && runs.windows(2).all(|pair| pair[0].end < pair[1].base);
    if !ordered {
        return Err(RecordError::Runs);
    }
    Ok((record.floor, runs))
}

pub fn encode_last_status(status: Status) -> Vec<u8> {
    proto::LastStatus {
        status: status.wire(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`RecordError`].
pub fn decode_last_status(key: &[u8], bytes: &[u8]) -> Result<(DeviceId, Status), RecordError> {
    let record = proto::LastStatus::decode(bytes)?;
    Ok((device_of_key(key)?, status(record.status)?))
}

pub fn encode_batch<'a>(events: impl Iterator<Item = &'a StatusEvent>) -> Vec<u8> {
    proto::EventBatch {
        events: events.map(event_record).collect(),
    }
    .encode_to_vec()
}

/// At least one event, in the order of their numbers, the first as the key says.
///
/// # Errors
/// [`RecordError`].
pub fn decode_batch(key: &[u8], bytes: &[u8]) -> Result<Vec<StatusEvent>, RecordError> {
    let first = u64::from_be_bytes(key.try_into().map_err(|_| RecordError::Key(key.len(), 8))?);
    let events = proto::EventBatch::decode(bytes)?
        .events
        .into_iter()
        .map(event)
        .collect::<Result<Vec<_>, _>>()?;
    let ordered = events
        .windows(2)
        .all(|pair| pair[0].number < pair[1].number);
    if !ordered || events.first().is_none_or(|event| event.number != first) {
        return Err(RecordError::Order);
    }
    Ok(events)
}

fn event_record(event: &StatusEvent) -> proto::StatusEvent {
    proto::StatusEvent {
        number: event.number,
        device: event.device.get(),
        change: match event.change {
            Change::Added => proto::Change::Added,
            Change::Changed => proto::Change::Changed,
            Change::Removed => proto::Change::Removed,
            Change::Refused => proto::Change::Refused,
            Change::Approved => proto::Change::Approved,
            Change::Denied => proto::Change::Denied,
        }
        .into(),
        old: event.old.map(Status::wire),
        new: event.new.wire(),
        unix_ms: event.unix_ms,
        cause: event.cause.as_ref().map(|cause| proto::Cause {
            kind: cause.kind.as_str().into(),
            detail: cause.detail.to_string(),
        }),
        attempt: event.attempt,
        next_try_unix_ms: event.next_try_unix_ms,
    }
}

fn event(record: proto::StatusEvent) -> Result<StatusEvent, RecordError> {
    Ok(StatusEvent {
        number: record.number,
        device: device_id(record.device)?,
        change: change(record.change)?,
        old: record.old.map(status).transpose()?,
        new: status(record.new)?,
        unix_ms: record.unix_ms,
        cause: record.cause.map(cause).transpose()?,
        attempt: record.attempt,
        next_try_unix_ms: record.next_try_unix_ms,
    })
}

fn change(number: i32) -> Result<Change, RecordError> {
    match proto::Change::try_from(number) {
        Ok(proto::Change::Added) => Ok(Change::Added),
        Ok(proto::Change::Changed) => Ok(Change::Changed),
        Ok(proto::Change::Removed) => Ok(Change::Removed),
        Ok(proto::Change::Refused) => Ok(Change::Refused),
        Ok(proto::Change::Approved) => Ok(Change::Approved),
        Ok(proto::Change::Denied) => Ok(Change::Denied),
        Ok(proto::Change::Unspecified) | Err(_) => Err(RecordError::Change(number)),
    }
}

fn status(number: i32) -> Result<Status, RecordError> {
    Status::from_wire(number).ok_or(RecordError::Status(number))
}

fn cause(record: proto::Cause) -> Result<Cause, RecordError> {
    match CauseKind::from_name(&record.kind) {
        Some(kind) => Ok(Cause::new(kind, record.detail)),
        None => Err(RecordError::Cause(record.kind)),
    }
}

pub(super) fn device_id(id: u32) -> Result<DeviceId, RecordError> {
    DeviceId::new(id).ok_or(RecordError::NoDevice)
}

fn same_device(key: &[u8], id: u32) -> Result<DeviceId, RecordError> {
    let (key, record) = (device_of_key(key)?, device_id(id)?);
    if key != record {
        return Err(RecordError::OtherDevice { key, record });
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn any_id() -> impl Strategy<Value = DeviceId> {
        (1..=u32::MAX).prop_filter_map("zero is no device", DeviceId::new)
    }

    fn any_status() -> impl Strategy<Value = Status> {
        select(Status::ALL.to_vec())
    }

    fn any_event() -> impl Strategy<Value = StatusEvent> {
        let change = select(vec![
            Change::Added,
            Change::Changed,
            Change::Removed,
            Change::Refused,
            Change::Approved,
            Change::Denied,
        ]);
        let cause = proptest::option::of((select(CauseKind::ALL.to_vec()), ".{0,20}"));
        let next_try = proptest::option::of(any::<u64>());
        let status = (change, proptest::option::of(any_status()), any_status());
        (
            any_id(),
            status,
            any::<u64>(),
            cause,
            any::<u32>(),
            next_try,
        )
            .prop_map(
                |(device, (change, old, new), unix_ms, cause, attempt, next_try_unix_ms)| {
                    StatusEvent {
                        number: 0,
                        device,
                        change,
                        old,
                        new,
                        unix_ms,
                        cause: cause.map(|(kind, detail)| Cause::new(kind, detail)),
                        attempt,
                        next_try_unix_ms,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn a_device_comes_back_as_it_was(
            id in any_id(), ip: u32, port: u16, use_ssl: bool,
        ) {
            let address = SocketAddrV4::new(Ipv4Addr::from_bits(ip), port);
            let device = AutoDevice { id, address, use_ssl };
            let bytes = encode_device(&device);
            prop_assert_eq!(decode_device(&device_key(id), &bytes), Ok(device));
        }

        #[test]
        fn an_accept_filter_comes_back_word_for_word(
            allow_all: bool,
            device_ids in vec(any::<u32>(), 0..5),
            ip_addrs in vec(".{0,9}", 0..4),
            subnet_masks in vec(".{0,9}", 0..4),
        ) {
            let filter = AcceptFilter { allow_all, device_ids, ip_addrs, subnet_masks };
            prop_assert_eq!(decode_accept_filter(&encode_accept_filter(&filter)), Ok(filter));
        }

        #[test]
        fn an_identity_comes_back_as_it_was(
            id in any_id(), owner in "[A-Za-z0-9._-]{0,64}", device in "[A-Za-z0-9._-]{1,64}",
        ) {
            let identity = Identity::new(&owner, &device).unwrap();
            let bytes = encode_identity(id, &identity);
            prop_assert_eq!(decode_identity(&device_key(id), &bytes), Ok((id, identity)));
        }

        #[test]
        fn a_batch_comes_back_as_it_was(
            mut events in vec(any_event(), 1..8), first in 0..u64::MAX / 2, steps in vec(1..9u64, 8),
        ) {
            let mut number = first;
            for (event, step) in events.iter_mut().zip(steps) {
                event.number = number;
                number += step;
            }
            let bytes = encode_batch(events.iter());
            prop_assert_eq!(decode_batch(&batch_key(first), &bytes), Ok(events));
        }

        #[test]
        fn a_last_status_comes_back_as_it_was(id in any_id(), status in any_status()) {
            let bytes = encode_last_status(status);
            prop_assert_eq!(decode_last_status(&device_key(id), &bytes), Ok((id, status)));
        }

        #[test]
        fn meta_records_come_back_as_they_were(
            version: u32, reserved: u64, floor: u64, steps in vec((1..9u64, 0..9u64), 0..6),
        ) {
            prop_assert_eq!(decode_schema(&encode_schema(version)), Ok(version));
            prop_assert_eq!(decode_numbers(&encode_numbers(reserved)), Ok(reserved));
            prop_assert_eq!(decode_groups(&encode_groups(floor)), Ok(floor));
            let mut end = 0;
            let mut runs = Vec::new();
            for (gap, length) in steps {
                let base = end + gap;
                end = base + length;
                runs.push(Run { base, end });
            }
            prop_assert_eq!(decode_coverage(&encode_coverage(floor, &runs)), Ok((floor, runs)));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(key in vec(any::<u8>(), 0..9), bytes in vec(any::<u8>(), 0..64)) {
            let _ = decode_device(&key, &bytes);
            let _ = decode_identity(&key, &bytes);
            let _ = decode_last_status(&key, &bytes);
            let _ = decode_batch(&key, &bytes);
            let _ = decode_coverage(&bytes);
        }
    }

    fn event_bytes(alter: impl Fn(&mut proto::StatusEvent)) -> Vec<u8> {
        let mut record = proto::StatusEvent {
            number: 1,
            device: 1,
            change: 1,
            ..Default::default()
        };
        alter(&mut record);
        proto::EventBatch {
            events: vec![record],
        }
        .encode_to_vec()
    }

    #[test]
    fn an_unknown_number_or_name_does_not_decode() {
        let decode = |alter: fn(&mut proto::StatusEvent)| {
            decode_batch(&batch_key(1), &event_bytes(alter)).unwrap_err()
        };
        assert_eq!(decode(|event| event.change = 0), RecordError::Change(0));
        assert_eq!(decode(|event| event.change = 7), RecordError::Change(7));
        assert_eq!(decode(|event| event.new = 3), RecordError::Status(3));
        assert_eq!(
            decode(|event| event.old = Some(-1)),
            RecordError::Status(-1)
        );
        assert_eq!(decode(|event| event.device = 0), RecordError::NoDevice);
        assert_eq!(decode(|event| event.number = 2), RecordError::Order);
        let unknown_cause = decode(|event| event.cause = Some(proto::Cause::default()));
        assert_eq!(unknown_cause, RecordError::Cause(String::new()));
    }

    #[test]
    fn a_record_under_the_key_of_another_does_not_decode() {
        let id = |id| DeviceId::new(id).unwrap();
        let bytes = encode_identity(id(7), &Identity::new("", "lamp").unwrap());
        let error = decode_identity(&device_key(id(8)), &bytes).unwrap_err();
        assert_eq!(
            error,
            RecordError::OtherDevice {
                key: id(8),
                record: id(7)
            }
        );
    }
}
