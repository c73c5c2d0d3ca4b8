//! What the registry tells: one numbered change of one device.

use crate::cause::Cause;
use crate::device::{DeviceId, Status};

/// One change of one device of the managed or the pending list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEvent {
    /// Never repeats, also over a crash; gaps are possible.
    pub number: u64,
    pub device: DeviceId,
    pub change: Change,
    /// The status before; `None` when the device was not listed.
    pub old: Option<Status>,
    pub new: Status,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    pub cause: Option<Cause>,
    /// Failed tries since the device was last connected.
    pub attempt: u32,
    /// When the next try is due, in milliseconds since the Unix epoch.
    pub next_try_unix_ms: Option<u64>,
}

/// What an event means for the managed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The device entered the managed list; its status is no change that the Connect API tells,
    /// unless it entered connected.
    Added,
    /// Its status changed, and it stays listed.
    Changed,
    /// It left the managed list.
    Removed,
    /// An inbound device that is not listed was refused and newly entered the pending list.
    Refused,
    /// Somebody approved a pending device; the cause says who. No change of a status.
    Approved,
    /// Somebody refused a pending device until further notice; the cause says who. No change of a
    /// status.
    Denied,
}

impl Change {
    /// In the order of their numbers as `usize`.
    pub const ALL: [Self; 6] = [
        Self::Added,
        Self::Changed,
        Self::Removed,
        Self::Refused,
        Self::Approved,
        Self::Denied,
    ];

    /// The word for it in JSON and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Refused => "refused",
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

impl StatusEvent {
    /// Whether the Connect API tells it: its stream knows statuses, not list membership.
    pub fn is_status_change(&self) -> bool {
        match self.change {
            Change::Added => self.new.is_connected() || self.new == Status::TryToConnect,
            Change::Changed | Change::Refused => true,
            Change::Approved | Change::Denied => false,
            Change::Removed => self.old.is_some_and(Status::is_connected),
        }
    }
}

/// What the event log still has after a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// Every event after the number asked for, oldest first.
    Events(Vec<StatusEvent>),
    /// The log does not reach back that far (or the number was never given out): a snapshot must
    /// take its place.
    Gap,
}
