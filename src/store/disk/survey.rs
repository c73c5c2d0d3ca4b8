//! Everything on disk, read as it is: nothing is set aside, nothing is written.

use std::io;

use sled::Tree;

use super::{Disk, DiskError, KEY_COVERAGE, KEY_GROUPS, KEY_NUMBERS, KEY_SCHEMA};
use crate::device::{DeviceId, Status};
use crate::event::StatusEvent;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::{AuditEntry, Record};
use crate::store::bucket::{BucketName, Point};
use crate::store::bucket_record;
use crate::store::coverage::Run;
use crate::store::property::{self, Property};
use crate::store::record::{self, RecordError};
use crate::store::stored_record;

/// One record that decodes.
pub enum Item {
    Device(AutoDevice),
    AcceptFilter(AcceptFilter),
    Identity(DeviceId, Identity),
    Record(Record),
    Property(Property),
    LastStatus(DeviceId, Status),
    Events(Vec<StatusEvent>),
    Points(BucketName, Vec<Point>),
    Audit(AuditEntry),
}

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Undecodable {
    pub tree: &'static str,
    /// In hex.
    pub key: String,
    pub problem: String,
}

/// What the store says of itself; `None` where it does not, or not so that it decodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub schema: Option<u32>,
    pub groups: Option<u64>,
    pub events_reserved: Option<u64>,
    pub coverage: Option<(u64, Vec<Run>)>,
}

/// What lies in one tree, in the order of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Devices,
    AcceptFilter,
    Identities,
    Slaves,
    Credentials,
    Approvals,
    Tokens,
    Properties,
    LastStatuses,
    Events,
    Points,
    Audit,
}

impl Kind {
    /// The desired state.
    pub const DESIRED: [Self; 8] = [
        Self::Devices,
        Self::AcceptFilter,
        Self::Identities,
        Self::Slaves,
        Self::Credentials,
        Self::Approvals,
        Self::Tokens,
        Self::Properties,
    ];
    pub const EVENTS: [Self; 2] = [Self::LastStatuses, Self::Events];

    /// The name of its tree.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::AcceptFilter => "accept_filter",
            Self::Identities => "identities",
            Self::Slaves => "slaves",
            Self::Credentials => "credentials",
            Self::Approvals => "approvals",
            Self::Tokens => "tokens",
            Self::Properties => "properties",
            Self::LastStatuses => "last_status",
            Self::Events => "events",
            Self::Points => "points",
            Self::Audit => "audit",
        }
    }
}

impl Disk {
    /// What the store says of itself, and what of that does not decode.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn meta(&self) -> Result<(Meta, Vec<Undecodable>), DiskError> {
        let mut bad = Vec::new();
        let meta = Meta {
            schema: self.told(KEY_SCHEMA, record::decode_schema, &mut bad)?,
            groups: self.told(KEY_GROUPS, record::decode_groups, &mut bad)?,
            events_reserved: self.told(KEY_NUMBERS, record::decode_numbers, &mut bad)?,
            coverage: self.told(KEY_COVERAGE, record::decode_coverage, &mut bad)?,
        };
        Ok((meta, bad))
    }

    fn told<T>(
        &self,
        key: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, RecordError>,
        bad: &mut Vec<Undecodable>,
    ) -> Result<Option<T>, DiskError> {
        let Some(value) = self.meta.get(key)? else {
            return Ok(None);
        };
        let decoded = decode(&value).map_err(|error| bad.push(undecodable("meta", key, &error)));
        Ok(decoded.ok())
    }

    /// Hands over every record of this kind in the order of their keys; those that do not decode
    /// are returned.
    ///
    /// # Errors
    /// [`DiskError`], also for an error of `take`.
    pub fn each_item(
        &self,
        kind: Kind,
        take: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<Vec<Undecodable>, DiskError> {
        let mut bad = Vec::new();
        for entry in self.tree_of(kind) {
            let (key, value) = entry?;
            match decode(kind, &key, &value) {
                Ok(item) => take(item)?,
                Err(error) => bad.push(undecodable(kind.as_str(), &key, &error)),
            }
        }
        Ok(bad)
    }

    /// Batches of points without a note, and notes without a batch: their points cannot be found.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn unpaired_batches(&self) -> Result<Vec<Undecodable>, DiskError> {
        let mut bad = Vec::new();
        for entry in &self.buckets {
            let (key, note) = entry?;
            if let Err(error) = bucket_record::decode_note(&key, &note) {
                bad.push(undecodable("buckets", &key, &error));
            } else if !self.points.contains_key(&key)? {
                bad.push(undecodable("buckets", &key, &RecordError::NoPoints));
            }
        }
        for key in self.points.iter().keys() {
            let key = key?;
            if !self.buckets.contains_key(&key)? {
                bad.push(undecodable("points", &key, &RecordError::NoNote));
            }
        }
        Ok(bad)
    }

    /// The places of what was set aside, each the name of a tree and a key in hex.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn set_aside(&self) -> Result<Vec<String>, DiskError> {
        let place = |key: sled::IVec| {
            let slash = key.iter().position(|byte| *byte == b'/').unwrap_or(0);
            let (tree, key) = key.split_at(slash);
            let key = hex::encode(key.get(1..).unwrap_or_default());
            format!("{}/{key}", String::from_utf8_lossy(tree))
        };
        let keys = self.quarantine.iter().keys();
        keys.map(|key| Ok(place(key?))).collect()
    }

    /// The time of the newest entry of the event log and the audit log, of those that are asked
    /// for, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn newest_unix_ms(&self, events: bool, audit: bool) -> Result<Option<u64>, DiskError> {
        let events = if events { self.events.last()? } else { None };
        let batch = events.and_then(|(key, value)| record::decode_batch(&key, &value).ok());
        let event = batch.and_then(|batch| batch.last().map(|event| event.unix_ms));
        let audit = if audit { self.audit.last()? } else { None };
        let entry = audit.and_then(|(key, value)| stored_record::decode_audit(&key, &value).ok());
        Ok(event.max(entry.map(|entry| entry.unix_ms)))
    }

    const fn tree_of(&self, kind: Kind) -> &Tree {
        match kind {
            Kind::Devices => &self.devices,
            Kind::AcceptFilter => &self.accept_filter,
            Kind::Identities => &self.identities,
            Kind::Slaves => &self.slaves,
            Kind::Credentials => &self.credentials,
            Kind::Approvals => &self.approvals,
            Kind::Tokens => &self.tokens,
            Kind::Properties => &self.properties,
            Kind::LastStatuses => &self.last_status,
            Kind::Events => &self.events,
            Kind::Points => &self.points,
            Kind::Audit => &self.audit,
        }
    }
}

fn decode(kind: Kind, key: &[u8], value: &[u8]) -> Result<Item, RecordError> {
    Ok(match kind {
        Kind::Devices => Item::Device(record::decode_device(key, value)?),
        Kind::AcceptFilter => Item::AcceptFilter(record::decode_accept_filter(value)?),
        Kind::Identities => {
            let (id, identity) = record::decode_identity(key, value)?;
            Item::Identity(id, identity)
        }
        Kind::Slaves => Item::Record(stored_record::decode_slaves(key, value)?),
        Kind::Credentials => Item::Record(stored_record::decode_credential(key, value)?),
        Kind::Approvals => Item::Record(stored_record::decode_approval(key, value)?),
        Kind::Tokens => Item::Record(stored_record::decode_token(key, value)?),
        Kind::Properties => Item::Property(property::decode(key, value)?.0),
        Kind::LastStatuses => {
            let (device, status) = record::decode_last_status(key, value)?;
            Item::LastStatus(device, status)
        }
        Kind::Events => Item::Events(record::decode_batch(key, value)?),
        Kind::Points => {
            let (bucket, _) = bucket_record::batch_of_key(key)?;
            Item::Points(bucket, bucket_record::decode_points(value)?)
        }
        Kind::Audit => Item::Audit(stored_record::decode_audit(key, value)?),
    })
}

fn undecodable(tree: &'static str, key: &[u8], error: &RecordError) -> Undecodable {
    Undecodable {
        tree,
        key: hex::encode(key),
        problem: error.to_string(),
    }
}
