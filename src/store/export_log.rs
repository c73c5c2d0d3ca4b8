//! Status events, points of buckets and the audit log as lines of an export.

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, CauseKind};
use crate::device::{DeviceId, Status};
use crate::event::{Change, StatusEvent};
use crate::registry::records::AuditEntry;
use crate::store::bucket::{BucketError, BucketName, POINT_MAX_BYTES, Point};
use crate::store::coverage::Run;
use crate::store::export_line::{device_id, from_hex};
use crate::store::property::{decode_value, encode_value};

/// From which numbers on the event log can be followed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageLine {
    floor: u64,
    /// Base and end of each.
    runs: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastStatusLine {
    device: u32,
    status: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine {
    number: u64,
    device: u32,
    change: ChangeName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    new: String,
    unix_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseLine>,
    attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_try_unix_ms: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChangeName {
    Added,
    Changed,
    Removed,
    Refused,
    Approved,
    Denied,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CauseLine {
    kind: String,
    detail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointLine {
    owner: String,
    bucket: String,
    unix_ms: u64,
    device: u32,
    pson: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditLine {
    number: u64,
    unix_ms: u64,
    caller: String,
    peer: String,
    call: String,
    arguments: String,
    result: String,
}

impl CoverageLine {
    pub fn of(floor: u64, runs: &[Run]) -> Self {
        let runs = runs.iter().map(|run| (run.base, run.end)).collect();
        Self { floor, runs }
    }

    /// The floor and the runs.
    ///
    /// # Errors
    /// A text when the runs are not in their order.
    pub fn coverage(self) -> Result<(u64, Vec<Run>), String> {
        let run = |(base, end)| Run { base, end };
        let runs: Vec<Run> = self.runs.into_iter().map(run).collect();
        let ordered = runs.iter().all(|run| run.base <= run.end)
            && runs.windows(2).all(|pair| pair[0].end < pair[1].base);
        match ordered {
            true => Ok((self.floor, runs)),
            false => Err("coverage.runs: they are not in the order of their numbers".to_owned()),
        }
    }
}

impl LastStatusLine {
    pub fn of(device: DeviceId, status: Status) -> Self {
        Self {
            device: device.get(),
            status: status.as_str().to_owned(),
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn last_status(self) -> Result<(DeviceId, Status), String> {
        let status = status("last_status.status", &self.status)?;
        Ok((device_id(self.device)?, status))
    }
}

impl EventLine {
    pub fn of(event: &StatusEvent) -> Self {
        Self {
            number: event.number,
            device: event.device.get(),
            change: match event.change {
                Change::Added => ChangeName::Added,
                Change::Changed => ChangeName::Changed,
                Change::Removed => ChangeName::Removed,
                Change::Refused => ChangeName::Refused,
                Change::Approved => ChangeName::Approved,
                Change::Denied => ChangeName::Denied,
            },
            old: event.old.map(|old| old.as_str().to_owned()),
            new: event.new.as_str().to_owned(),
            unix_ms: event.unix_ms,
            cause: event.cause.as_ref().map(|cause| CauseLine {
                kind: cause.kind.as_str().to_owned(),
                detail: cause.detail.to_string(),
            }),
            attempt: event.attempt,
            next_try_unix_ms: event.next_try_unix_ms,
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn event(self) -> Result<StatusEvent, String> {
        let old = self.old.map(|old| status("event.old", &old));
        Ok(StatusEvent {
            number: self.number,
            device: device_id(self.device)?,
            change: match self.change {
                ChangeName::Added => Change::Added,
                ChangeName::Changed => Change::Changed,
                ChangeName::Removed => Change::Removed,
                ChangeName::Refused => Change::Refused,
                ChangeName::Approved => Change::Approved,
                ChangeName::Denied => Change::Denied,
            },
            old: old.transpose()?,
            new: status("event.new", &self.new)?,
            unix_ms: self.unix_ms,
            cause: self.cause.map(CauseLine::cause).transpose()?,
            attempt: self.attempt,
            next_try_unix_ms: self.next_try_unix_ms,
        })
    }
}

impl CauseLine {
    fn cause(self) -> Result<Cause, String> {
        match CauseKind::from_name(&self.kind) {
            Some(kind) => Ok(Cause::new(kind, self.detail)),
            None => Err(format!(
                "event.cause.kind: {:?} is no name of a cause",
                self.kind
            )),
        }
    }
}

impl PointLine {
    pub fn of(bucket: &BucketName, point: &Point) -> Self {
        Self {
            owner: bucket.owner.to_string(),
            bucket: bucket.name.to_string(),
            unix_ms: point.unix_ms,
            device: point.device.get(),
            pson: hex::encode(encode_value(&point.value)),
        }
    }

    /// # Errors
    /// A text that says what cannot be.
    pub fn point(self) -> Result<(BucketName, Point), String> {
        let bucket = BucketName {
            owner: self.owner.into(),
            name: self.bucket.into(),
        };
        if !bucket.is_valid() {
            return Err(BucketError::BadName.to_string());
        }
        let pson = from_hex("point.pson", &self.pson)?;
        if pson.len() > POINT_MAX_BYTES {
            return Err(BucketError::TooLarge(pson.len()).to_string());
        }
        let point = Point {
            unix_ms: self.unix_ms,
            device: device_id(self.device)?,
            value: decode_value(&pson).map_err(|error| format!("point.pson: {error}"))?,
        };
        Ok((bucket, point))
    }
}

impl AuditLine {
    pub fn of(entry: &AuditEntry) -> Self {
        Self {
            number: entry.number,
            unix_ms: entry.unix_ms,
            caller: entry.caller.to_string(),
            peer: entry.peer.to_string(),
            call: entry.call.to_string(),
            arguments: entry.arguments.to_string(),
            result: entry.result.to_string(),
        }
    }

    pub fn entry(self) -> AuditEntry {
        AuditEntry {
            number: self.number,
            unix_ms: self.unix_ms,
            caller: self.caller.into(),
            peer: self.peer.into(),
            call: self.call.into(),
            arguments: self.arguments.into(),
            result: self.result.into(),
        }
    }
}

fn status(field: &str, name: &str) -> Result<Status, String> {
    let status = Status::ALL
        .into_iter()
        .find(|status| status.as_str() == name);
    status.ok_or_else(|| format!("{field}: {name:?} is no name of a status"))
}
