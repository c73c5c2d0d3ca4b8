//! Buckets: bounded series of points that devices write, and what there is to say of them.

use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::registry::NotStored;
use crate::store::property::{NAME_MAX, is_name};

/// The longest value of a point, in bytes of its encoding (PSON v2): 32 KiB, as much as a device
/// can send in one frame of the usual size and twice what a property may have.
pub const POINT_MAX_BYTES: usize = 32 << 10;
/// So many points are in one answer at most.
pub const POINTS_MAX: usize = 10_000;

/// One point of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Who wrote it.
    pub device: DeviceId,
    pub value: Value,
}

/// What names a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName {
    /// 0 to 64 characters, none of them a control character; empty for devices without a user name.
    pub owner: Box<str>,
    /// 1 to 64 characters, none of them a control character.
    pub name: Box<str>,
}

/// Which points of a bucket are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Points of this time and later, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Points of this time and earlier; `u64::MAX` for all.
    pub until_unix_ms: u64,
    /// At most so many, and at most [`POINTS_MAX`]. Fewer where points are large: an answer ends
    /// after some 8 MiB.
    pub max: usize,
    /// The newest first, and the newest if there are more than `max`; else the oldest.
    pub newest_first: bool,
}

/// One bucket in the list of its owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    pub name: Box<str>,
    pub points: u64,
    /// The earliest time of a point, in milliseconds since the Unix epoch.
    pub first_unix_ms: u64,
    /// The latest.
    pub last_unix_ms: u64,
}

/// Why a point was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    #[error("the owner has {0} buckets already, which is as many as one may have")]
    TooMany(usize),
    #[error("the value has {0} bytes; a point has {POINT_MAX_BYTES} at most")]
    TooLarge(usize),
    #[error(
        "the bucket's name is not 1 to {NAME_MAX} characters, or has a control character in it"
    )]
    BadName,
    #[error("too many points are waiting for the store; try again later")]
    Busy,
    /// The disk refuses, or the store is closed.
    #[error("the point was not stored: {0}")]
    NotStored(NotStored),
}

impl BucketName {
    /// Whether there can be such a bucket.
    pub fn is_valid(&self) -> bool {
        is_name(&self.name) && (self.owner.is_empty() || is_name(&self.owner))
    }
}
