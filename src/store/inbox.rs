//! What waits for the store's thread. Everything here is bounded and no call waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::event::History;
use crate::event::StatusEvent;
use crate::registry::records::AuditEntry;
use crate::registry::{CommitId, NotStored, StoreChange};
use crate::store::audit::AUDIT_WAITING_MAX;
use crate::store::bucket::{BucketInfo, BucketName, Point, Range};
use crate::store::gather::Gathered;
use crate::store::meters::Waiting;
use crate::store::points::PendingPoint;
use crate::store::property::{Properties, PropertyChange, PropertyError};
use crate::store::{Health, Keeping};

/// So many changes wait at most. The registry bounds the commits it has in flight well below.
pub const CHANGES_MAX: usize = 16_384;
/// So many questions wait at most whose answers may be large.
pub const QUERIES_MAX: usize = 64;

/// So many bytes of properties wait at most.
pub const PROPERTY_BYTES_MAX: usize = 16 << 20;
/// So many questions for one property wait at most.
pub const READS_MAX: usize = 4096;
/// Questions whether the thread runs that may wait.
const PROBES_MAX: usize = 16;
/// So many points, and removals of buckets, wait at most …
pub const POINTS_MAX: usize = 16_384;
/// … and so many bytes of them.
pub const POINT_BYTES_MAX: usize = 16 << 20;

/// A change that waits, and who is told what came of it. Whoever holds the other end of an answer
/// may have gone away.
pub enum Pending {
    /// The registry is told, through [`OnCommit`](crate::store::OnCommit).
    Registry(CommitId, StoreChange),
    Caller(StoreChange, oneshot::Sender<Result<(), NotStored>>),
    Property(PendingProperty),
}

pub struct PendingProperty {
    pub change: PropertyChange,
    /// Why it was not made, though the disk works.
    pub refused: Option<PropertyError>,
    pub answer: oneshot::Sender<Result<(), PropertyError>>,
}

/// What is to be done with a bucket.
pub enum BucketOrder {
    Append(PendingPoint),
    Delete(BucketName, oneshot::Sender<Result<(), NotStored>>),
}

/// A question for one property.
pub struct Read {
    pub device: DeviceId,
    pub name: Box<str>,
    pub answer: oneshot::Sender<Result<Option<Value>, String>>,
}

/// A question whose answer may be large.
pub enum Query {
    Events {
        after: u64,
        until: u64,
        answer: oneshot::Sender<Result<History, String>>,
    },
    Audit {
        after: u64,
        max: usize,
        answer: oneshot::Sender<Result<Vec<AuditEntry>, String>>,
    },
    Properties {
        device: DeviceId,
        answer: oneshot::Sender<Result<Properties, String>>,
    },
    Points {
        bucket: BucketName,
        range: Range,
        answer: oneshot::Sender<Result<Vec<Point>, String>>,
    },
    Buckets {
        owner: Box<str>,
        answer: oneshot::Sender<Result<Vec<BucketInfo>, String>>,
    },
}

/// What waited since the thread last looked.
#[derive(Default)]
pub struct Work {
    pub changes: Vec<Pending>,
    pub events: Gathered,
    pub audit: Vec<AuditEntry>,
    pub queries: Vec<Query>,
    pub reads: Vec<Read>,
    pub buckets: Vec<BucketOrder>,
    /// What is kept from now on, if that has changed.
    pub keeping: Option<Keeping>,
    /// Who wants to know that the thread runs.
    pub probes: Vec<oneshot::Sender<()>>,
    pub closing: bool,
    /// Of the properties in `changes`.
    property_bytes: usize,
    /// Of the points in `buckets`.
    point_bytes: usize,
}

#[derive(Default)]
struct State {
    work: Work,
    /// The thread has ended, or is about to, and takes nothing more.
    closed: bool,
    health: Health,
    /// What the thread has taken and not yet written.
    kept: Waiting,
}

#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("the store is closed")]
    Closed,
    #[error("too much is waiting for the store; try again later")]
    Full,
}

impl From<NotTaken> for NotStored {
    fn from(error: NotTaken) -> Self {
        Self::Other(error.to_string())
    }
}

impl Inbox {
    /// # Errors
    /// [`NotTaken`].
    pub fn put_change(&self, pending: Pending) -> Result<(), NotTaken> {
        self.put(|work| {
            let bytes = work.property_bytes + pending.property_bytes();
            if work.changes.len() >= CHANGES_MAX || bytes > PROPERTY_BYTES_MAX {
                return Err(NotTaken::Full);
            }
            work.property_bytes = bytes;
            work.changes.push(pending);
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken`].
    pub fn put_query(&self, query: Query) -> Result<(), NotTaken> {
        self.put(|work| {
            if work.queries.len() >= QUERIES_MAX {
                return Err(NotTaken::Full);
            }
            work.queries.push(query);
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken`].
    pub fn put_read(&self, read: Read) -> Result<(), NotTaken> {
        self.put(|work| {
            if work.reads.len() >= READS_MAX {
                return Err(NotTaken::Full);
            }
            work.reads.push(read);
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken`].
    pub fn put_bucket(&self, order: BucketOrder) -> Result<(), NotTaken> {
        self.put(|work| {
            let bytes = work.point_bytes + order.point_bytes();
            if work.buckets.len() >= POINTS_MAX || bytes > POINT_BYTES_MAX {
                return Err(NotTaken::Full);
            }
            work.point_bytes = bytes;
            work.buckets.push(order);
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken`].
    pub fn put_probe(&self, answer: oneshot::Sender<()>) -> Result<(), NotTaken> {
        self.put(|work| {
            if work.probes.len() >= PROBES_MAX {
                return Err(NotTaken::Full);
            }
            work.probes.push(answer);
            Ok(())
        })
    }

    /// The newest counts.
    ///
    /// # Errors
    /// [`NotTaken::Closed`].
    pub fn put_keeping(&self, keeping: Keeping) -> Result<(), NotTaken> {
        self.put(|work| {
            work.keeping = Some(keeping);
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken::Closed`]; never full, the oldest are dropped instead.
    pub fn put_events(&self, events: Vec<StatusEvent>) -> Result<(), NotTaken> {
        self.put(|work| {
            events.into_iter().for_each(|event| work.events.push(event));
            Ok(())
        })
    }

    /// # Errors
    /// [`NotTaken`].
    pub fn put_audit(&self, entry: AuditEntry) -> Result<(), NotTaken> {
        self.put(|work| {
            if work.audit.len() >= AUDIT_WAITING_MAX {
                return Err(NotTaken::Full);
            }
            work.audit.push(entry);
            Ok(())
        })
    }

    /// Lets the thread finish what waits and end. Nothing more is taken.
    pub fn close(&self) {
        let mut state = self.lock();
        state.work.closing = true;
        state.closed = true;
        self.arrived.notify_one();
    }

    /// Takes all that waits, in the thread; waits for something at most so long.
    pub fn wait(&self, at_most: Option<Duration>) -> Work {
        let idle = |state: &mut State| state.work.is_empty();
        let state = self.lock();
        let mut state = match at_most {
            None => {
                let waited = self.arrived.wait_while(state, idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
            Some(at_most) => {
                let waited = self.arrived.wait_timeout_while(state, at_most, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        std::mem::take(&mut state.work)
    }

    /// Takes what waits without waiting, and nothing from now on.
    pub fn end(&self) -> Work {
        let mut state = self.lock();
        state.closed = true;
        state.health = Health::Closed;
        std::mem::take(&mut state.work)
    }

    pub fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// How much waits, here and in the thread.
    pub fn waiting(&self) -> Waiting {
        let state = self.lock();
        Waiting {
            changes: state.work.changes.len() + state.kept.changes,
            events: state.work.events.len() + state.kept.events,
            audit: state.work.audit.len() + state.kept.audit,
        }
    }

    /// The thread says what it keeps.
    pub fn keep(&self, kept: Waiting) {
        self.lock().kept = kept;
    }

    pub fn set_health(&self, health: Health) {
        self.lock().health = health;
    }

    fn put(&self, put: impl FnOnce(&mut Work) -> Result<(), NotTaken>) -> Result<(), NotTaken> {
        let mut state = self.lock();
        if state.closed {
            return Err(NotTaken::Closed);
        }
        put(&mut state.work)?;
        self.arrived.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done here: each change of the state is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn property_bytes(&self) -> usize {
        match self {
            Self::Property(property) => property.change.pson.as_ref().map_or(0, Vec::len),
            Self::Registry(..) | Self::Caller(..) => 0,
        }
    }
}

impl BucketOrder {
    fn point_bytes(&self) -> usize {
        match self {
            Self::Append(point) => point.bytes.len(),
            Self::Delete(..) => 0,
        }
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.events.is_empty()
            && self.audit.is_empty()
            && self.queries.is_empty()
            && self.reads.is_empty()
            && self.buckets.is_empty()
            && self.keeping.is_none()
            && self.probes.is_empty()
            && !self.closing
    }
}
