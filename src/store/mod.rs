//! The store: what must outlive the process, in sled, behind a thread of its own.
//!
//! Nothing here blocks a caller but [`Store::open`] and [`Store::close`]. Changes that wait
//! together are written as one group: each as one atomic batch, then one flush, then one
//! `sync_data`, and only then are they acknowledged. Status events, the audit log and the points of
//! buckets are gathered and written in batches, outside the path of an acknowledgement. While the disk refuses, changes fail with a
//! text and the store opens its files anew until they work again.
//!
//! In the data directory: `store` (sled), `store.owner` (who has it open), `ballast` (space for a
//! start on a full disk), `export.jsonl` (the desired state for people and for the day on which sled
//! cannot be opened: some seconds behind, but minutes for properties), and, after such a day,
//! `store.quarantine-<seconds since the Unix epoch>`.

mod audit;
mod ballast;
pub mod bucket;
mod bucket_index;
mod bucket_record;
pub mod care;
mod copies;
pub mod coverage;
pub mod debounce;
pub mod desired;
pub(crate) mod disk;
pub mod export;
mod export_line;
mod export_log;
mod export_record;
pub(crate) mod files;
pub mod gather;
mod inbox;
pub mod limits;
mod meters;
mod open;
mod points;
pub mod property;
pub mod record;
pub mod space;
mod stored_record;
mod swap;
mod worker;
mod writes;

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use crate::store::bucket::{BucketError, BucketInfo, BucketName, Point, Range};
pub use crate::store::coverage::Retention;
pub use crate::store::disk::SCHEMA;
pub use crate::store::limits::Limits;
pub use crate::store::open::OpenError;
pub use crate::store::property::PropertyError;

use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::event::History;
use crate::event::StatusEvent;
use crate::metrics::Meter;
use crate::registry::records::AuditEntry;
use crate::registry::{CommitId, NotStored, StoreChange, Stored};
use crate::store::inbox::{BucketOrder, Inbox, NotTaken, Pending, PendingProperty, Query, Read};
use crate::store::points::PendingPoint;
use crate::store::property::{Properties, PropertyChange};
use crate::trace::Tracer;

/// So many event numbers are reserved at each start.
pub const EVENT_BLOCK: u64 = 1_000_000;
/// So many events are in one [`History::Events`] at most; who gets that many and wants more asks
/// again after the last of them.
pub const HISTORY_MAX: usize = 65_536;

/// What is told when the store's thread ended before it answered.
const NO_ANSWER: &str = "the store did not answer";

/// Told once for each change given to [`Store::apply`]: whether it is on disk.
pub type OnCommit = Arc<dyn Fn(CommitId, Result<(), NotStored>) + Send + Sync>;

/// Cheap to clone; every clone reaches the same store. Once the last one is dropped the store
/// finishes what waits and ends by itself; [`Store::close`] waits for that.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("health", &self.health())
            .finish()
    }
}

/// A store that is open and whose thread is not yet running.
pub struct Opened {
    worker: worker::Worker,
    limits: Limits,
    meter: Meter,
}

/// How much the store keeps, and how much of its disk it leaves free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    pub retention: Retention,
    /// Below so many free bytes what makes the store grow is refused; 0 for no such reserve.
    pub free_min: u64,
}

/// Whether the store works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    #[default]
    Good,
    /// The disk is full, or nearly: changes fail for this reason until there is space.
    NoSpace(String),
    /// Changes fail for this reason; the store tries to open its files again.
    Degraded(String),
    Closed,
}

struct Shared {
    inbox: Arc<Inbox>,
    on_commit: OnCommit,
    /// Bytes of the encoded value of a property.
    property_max_bytes: AtomicUsize,
    thread: Mutex<Option<JoinHandle<Result<(), String>>>>,
}

impl Store {
    /// Opens the store of this data directory, which is created where it is missing, and reserves
    /// a block of event numbers on disk. Blocks; call [`Opened::run`] next.
    ///
    /// What is damaged is set aside and told in the log: single records, or the whole store,
    /// which is then filled from the newest export.
    ///
    /// # Errors
    /// [`OpenError`] when another process has it open, a newer gateway wrote it, or the operating
    /// system refuses.
    pub fn open(directory: &Path, retention: Retention) -> Result<(Opened, Stored), OpenError> {
        let (found, stored) = open::open(directory)?;
        let worker = worker::Worker::new(found, retention);
        let limits = retention.limits;
        let meter = Meter::off();
        let opened = Opened {
            worker,
            limits,
            meter,
        };
        Ok((opened, stored))
    }

    /// Has a change written; `on_commit` is told once it is on disk, or why not. Changes are
    /// acknowledged in the order in which they are given.
    ///
    /// At most 16,384 wait; beyond, and once the store is closed, `on_commit` is told of the
    /// failure at once, on the caller's thread.
    pub fn apply(&self, id: CommitId, change: StoreChange) {
        let pending = Pending::Registry(id, change);
        if let Err(error) = self.shared.inbox.put_change(pending) {
            (self.shared.on_commit)(id, Err(error.into()));
        }
    }

    /// Has a change written, as [`Store::apply`] does, in one order with its changes; the caller
    /// is told. The change is given to the store by the call itself: whether the future is waited
    /// for makes no difference to it.
    ///
    /// # Errors
    /// [`NotStored`] when the disk refuses, too much waits, or the store is closed.
    pub fn commit(
        &self,
        change: StoreChange,
    ) -> impl Future<Output = Result<(), NotStored>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let taken = self
            .shared
            .inbox
            .put_change(Pending::Caller(change, answer));
        answer_of(taken, answered)
    }

    /// Has an entry written to the audit log. Its number is given by the store: ascending, and
    /// never given twice to what [`Store::audit`] told.
    ///
    /// It is on disk within 50 ms or so; at most 16,384 wait for a disk that refuses, then newer
    /// ones are dropped and the log says so.
    pub fn append_audit(&self, entry: AuditEntry) {
        if let Err(error) = self.shared.inbox.put_audit(entry) {
            tracing::error!(%error, "an entry of the audit log was dropped");
        }
    }

    /// Entries of the audit log with a greater number than `after`, oldest first, at most `max`.
    /// All that is told is on disk.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn audit(
        &self,
        after: u64,
        max: usize,
    ) -> impl Future<Output = Result<Vec<AuditEntry>, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let taken = self
            .shared
            .inbox
            .put_query(Query::Audit { after, max, answer });
        answer_of(taken, answered)
    }

    /// Has events written to the log, whose numbers are above all before them. Give an event to
    /// the store before anyone else sees it, so that whoever saw it can ask for those after it.
    ///
    /// They are on disk within 50 ms or so; at most 65,536 wait for a disk that refuses, then the
    /// oldest are dropped and the log does not reach behind them.
    pub fn append_events(&self, events: Vec<StatusEvent>) {
        if self.shared.inbox.put_events(events).is_err() {
            tracing::warn!("status events came after the store was closed and are not stored");
        }
    }

    /// The events after number `after`, up to and including `until`, also those that are not yet
    /// written: at most [`HISTORY_MAX`], the oldest first. [`History::Gap`] when the log does not
    /// have every event after `after` ([`coverage`] says when), also when `after` is a number
    /// that was never given out.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn events(
        &self,
        after: u64,
        until: u64,
    ) -> impl Future<Output = Result<History, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let taken = self.shared.inbox.put_query(Query::Events {
            after,
            until,
            answer,
        });
        answer_of(taken, answered)
    }

    /// Sets a property of a device, or deletes it (`None`); it is on disk when this is `Ok`. In one
    /// order with the changes of [`Store::apply`], and given to the store by the call itself.
    ///
    /// # Errors
    /// [`PropertyError`]; nothing was changed.
    pub fn set_property(
        &self,
        device: DeviceId,
        name: &str,
        value: Option<Value>,
    ) -> impl Future<Output = Result<(), PropertyError>> + Send + 'static {
        let max_bytes = self.shared.property_max_bytes.load(Ordering::Relaxed);
        let change = PropertyChange::new(device, name, value.as_ref(), max_bytes);
        let (answer, answered) = oneshot::channel();
        let taken = change.and_then(|change| {
            let refused = None;
            let pending = Pending::Property(PendingProperty {
                change,
                refused,
                answer,
            });
            let taken = self.shared.inbox.put_change(pending);
            taken.map_err(|error| PropertyError::NotStored(error.into()))
        });
        async {
            taken?;
            let unanswered = |_| Err(PropertyError::NotStored(NO_ANSWER.into()));
            answered.await.unwrap_or_else(unanswered)
        }
    }

    /// A property of a device, as it was last acknowledged; `None` where there is none.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn property(
        &self,
        device: DeviceId,
        name: &str,
    ) -> impl Future<Output = Result<Option<Value>, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let taken = self.shared.inbox.put_read(Read {
            device,
            name: name.into(),
            answer,
        });
        answer_of(taken, answered)
    }

    /// All properties of a device by name, as they were last acknowledged.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn properties(
        &self,
        device: DeviceId,
    ) -> impl Future<Output = Result<Properties, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let query = Query::Properties { device, answer };
        answer_of(self.shared.inbox.put_query(query), answered)
    }

    /// Appends a point to a bucket, which is made where it is missing. `Ok` once it is written
    /// together with others, within 50 ms or so: safe from the end of the process, though a power
    /// cut can take the last ones along. Given to the store by the call itself; points are kept in
    /// the order in which they are given, whatever their times say. While the disk refuses, points
    /// fail; nothing waits for it.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn append_point(
        &self,
        bucket: BucketName,
        point: Point,
    ) -> impl Future<Output = Result<(), BucketError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let taken = PendingPoint::new(bucket, &point, answer).and_then(|point| {
            let taken = self.shared.inbox.put_bucket(BucketOrder::Append(point));
            taken.map_err(|error| match error {
                NotTaken::Full => BucketError::Busy,
                NotTaken::Closed => BucketError::NotStored(error.into()),
            })
        });
        async {
            taken?;
            let unanswered = |_| Err(BucketError::NotStored(NO_ANSWER.into()));
            answered.await.unwrap_or_else(unanswered)
        }
    }

    /// Points of a bucket that were written, in the order in which they came or the reverse; none
    /// where there is no such bucket. An answer can end before [`Range::max`] (see there): who
    /// wants all asks again from the time of the last point until nothing new comes.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn points(
        &self,
        bucket: BucketName,
        range: Range,
    ) -> impl Future<Output = Result<Vec<Point>, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let query = Query::Points {
            bucket,
            range,
            answer,
        };
        answer_of(self.shared.inbox.put_query(query), answered)
    }

    /// The buckets of an owner by name.
    ///
    /// # Errors
    /// A text when the disk refuses, too many ask at once, or the store is closed.
    pub fn buckets(
        &self,
        owner: &str,
    ) -> impl Future<Output = Result<Vec<BucketInfo>, String>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let owner = owner.into();
        let query = Query::Buckets { owner, answer };
        answer_of(self.shared.inbox.put_query(query), answered)
    }

    /// Deletes a bucket and all its points, those before this call in the order of the calls; done
    /// where there is no such bucket.
    ///
    /// # Errors
    /// [`NotStored`] when the disk refuses, too much waits, or the store is closed.
    pub fn delete_bucket(
        &self,
        bucket: BucketName,
    ) -> impl Future<Output = Result<(), NotStored>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let order = BucketOrder::Delete(bucket, answer);
        answer_of(self.shared.inbox.put_bucket(order), answered)
    }

    /// Keeps so much from now on. What is too much or too old then is dropped at once, but entries of
    /// the audit log, which go with the next one, and properties, which stay.
    pub fn keep(&self, keeping: Keeping) {
        let limits = keeping.retention.limits;
        self.shared
            .property_max_bytes
            .store(limits.property_max_bytes, Ordering::Relaxed);
        // A store that is closed keeps what it has.
        let _ = self.shared.inbox.put_keeping(keeping);
    }

    /// Waits until the store's thread has come round once more: it runs, though the disk may refuse.
    /// `false` when the thread has ended, or many wait for it already.
    pub async fn probe(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.shared.inbox.put_probe(answer).is_ok() && answered.await.is_ok()
    }

    pub fn health(&self) -> Health {
        self.shared.inbox.health()
    }

    /// Writes everything that waits, and the export, and ends. Blocks. Harmless if called twice.
    ///
    /// # Errors
    /// A text when something could not be written.
    pub fn close(&self) -> Result<(), String> {
        self.shared.inbox.close();
        let mut thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err("the store's thread panicked".to_owned()),
        }
    }
}

async fn answer_of<T, E: From<String>>(
    taken: Result<(), NotTaken>,
    answered: oneshot::Receiver<Result<T, E>>,
) -> Result<T, E> {
    taken.map_err(|error| error.to_string())?;
    let answered = answered.await;
    answered.unwrap_or_else(|_| Err(NO_ANSWER.to_owned().into()))
}

impl Opened {
    /// Makes a span of each commit.
    #[must_use]
    pub fn traced(mut self, tracer: Tracer) -> Self {
        self.worker.trace_with(tracer);
        self
    }

    /// Has the store refuse what makes it grow while fewer bytes than this are free on its file
    /// system; 0, as without this, for no such reserve.
    #[must_use]
    pub fn keeping_free(mut self, free_min: u64) -> Self {
        self.worker.keep_free(free_min);
        self
    }

    /// Has the store count with this meter; it counts nothing without.
    #[must_use]
    pub fn counting(mut self, meter: &Meter) -> Self {
        self.worker.count(meter);
        self.meter = meter.clone();
        self
    }

    /// Starts the store's thread.
    ///
    /// # Errors
    /// A text when the operating system refuses a thread.
    pub fn run(
        self,
        on_commit: impl Fn(CommitId, Result<(), NotStored>) + Send + Sync + 'static,
    ) -> Result<Store, String> {
        let inbox = Arc::new(Inbox::default());
        let waits = Arc::clone(&inbox);
        meters::tell_waiting(&self.meter, move || waits.waiting());
        let on_commit: OnCommit = Arc::new(on_commit);
        let thread = self.worker.spawn(inbox.clone(), on_commit.clone());
        let thread =
            thread.map_err(|error| format!("the store's thread did not start: {error}"))?;
        Ok(Store {
            shared: Arc::new(Shared {
                inbox,
                on_commit,
                property_max_bytes: AtomicUsize::new(self.limits.property_max_bytes),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
