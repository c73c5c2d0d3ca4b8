//! The registry: the one supervisor, which owns every managed device.
//!
//! [`machine`] decides, `actor` carries out. What goes in and comes out of the machine is here.

pub mod accept_filter;
pub mod actor;
pub mod admission;
pub mod backoff;
pub mod conflate;
pub mod counts;
pub mod decisions;
pub mod entry;
pub mod hub;
pub mod identities;
pub mod machine;
pub mod meters;
pub mod pending;
pub mod records;
pub mod snapshot;
pub mod tries;
pub mod trouble;
pub mod watch;

use std::net::SocketAddrV4;

use crate::cause::Cause;
use crate::device::{DeviceId, Generation};
use crate::identity::Identity;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::{Record, RecordKey, Slaves};
use crate::session::{DialOrder, SessionCommand};

/// Names a command until its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a change on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Dial once; the reply comes when the session is up or the try has failed.
    Connect {
        address: SocketAddrV4,
        use_ssl: bool,
    },
    /// Keep these connected for ever. Replaces what is known of an ID already listed.
    AddAsync(Vec<AutoDevice>),
    /// Forget these; IDs that are not listed are passed over.
    DeleteAsync(Vec<DeviceId>),
    /// End these sessions; IDs without one are passed over.
    Disconnect(Vec<DeviceId>),
    DisconnectAll,
    SetAcceptFilter(AcceptFilter),
    /// Add and remove single IDs of the accept filter, in one step.
    ChangeAcceptFilter {
        add: Vec<DeviceId>,
        remove: Vec<DeviceId>,
    },
    /// Let these pending (or refused) devices in.
    Approve {
        ids: Vec<DeviceId>,
        /// Give each a link key of its own when it comes in with the fleet key alone.
        enrol: bool,
        by: Box<str>,
    },
    /// Keep these pending devices off the pending list until then.
    Refuse {
        ids: Vec<DeviceId>,
        /// Milliseconds since the Unix epoch.
        until_unix_ms: u64,
        by: Box<str>,
    },
    /// Replace the whole list of slaves; every parent must be in the managed list.
    SetSlaves(Vec<Slaves>),
    /// Dial these auto devices now instead of after their backoff.
    RetryNow(Vec<DeviceId>),
}

/// A device to be kept connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoDevice {
    pub id: DeviceId,
    pub address: SocketAddrV4,
    pub use_ssl: bool,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    Connected(DeviceId),
}

/// Why a command was not carried out; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `Connect` did not reach a session.
    #[error("{0}")]
    CannotConnect(Cause),
    /// The managed list is full, or too many commands are waiting.
    #[error("{0}")]
    LimitReached(String),
    /// The store refused the change; it may be tried again.
    #[error("the change could not be stored: {0}")]
    NotStored(NotStored),
    /// The listed device is unknown.
    #[error("device {0} is not in the managed list")]
    UnknownDevice(DeviceId),
    /// It is not in the list that the decision is about.
    #[error("device {0} is not pending")]
    NotPending(DeviceId),
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

/// Why a change is not on disk; nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// The disk is full, or so nearly that the store keeps the rest for itself. Changes are taken
    /// again once there is space.
    #[error("{0}")]
    NoSpace(String),
    #[error("{0}")]
    Other(String),
}

impl From<String> for NotStored {
    fn from(problem: String) -> Self {
        Self::Other(problem)
    }
}

impl From<NotStored> for String {
    fn from(error: NotStored) -> Self {
        error.to_string()
    }
}

impl From<&str> for NotStored {
    fn from(problem: &str) -> Self {
        Self::Other(problem.to_owned())
    }
}

/// What the machine asks of the shell, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Dial(DialOrder),
    Session(Generation, SessionCommand),
    Persist(CommitId, StoreChange),
    Event(crate::event::StatusEvent),
    Reply(RequestId, Result<Reply, CommandError>),
    /// Write a link key of its own to this device, which came in with the fleet key alone and was
    /// approved for it.
    Enrol(DeviceId),
}

/// A change of the stored state, applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    PutDevices(Vec<AutoDevice>),
    DeleteDevices(Vec<DeviceId>),
    PutAcceptFilter(AcceptFilter),
    /// A device was admitted for the first time.
    PutIdentity(DeviceId, Identity),
    /// Event numbers below this may be given out.
    ReserveEvents(u64),
    PutRecords(Vec<Record>),
    /// Those that are not there are passed over.
    DeleteRecords(Vec<RecordKey>),
    /// All of these, in this order.
    All(Vec<StoreChange>),
}

/// What the store held when the gateway started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub devices: Vec<AutoDevice>,
    pub accept_filter: AcceptFilter,
    pub identities: Vec<(DeviceId, Identity)>,
    pub records: Vec<Record>,
    /// Devices whose newest stored event says that they are listed, with that status.
    pub last_statuses: Vec<(DeviceId, crate::device::Status)>,
    /// The first event number that was never given out; the block up to `events_reserved` is
    /// already on disk.
    pub event_next: u64,
    pub events_reserved: u64,
}
