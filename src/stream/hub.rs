//! The streams of all devices: sinks come and go, sessions come and go, and each finds the other.

mod device;
mod mailbox;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::device::{Arrived, Device};
use self::mailbox::Mailbox;
use crate::cause::Cause;
use crate::clock;
use crate::device::{DeviceId, Generation};
use crate::metrics::{Meter, table};
pub use crate::stream::delivery::{Delivery, Sample};
use crate::stream::planner::Plan;
use crate::stream::{Pace, Report, Wish};
use crate::time::Instant;

/// Devices are spread over so many maps, so that they seldom wait for each other.
const SHARDS: usize = 32;

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub sinks_max: usize,
    /// Different resources of one device that are streamed at a time.
    pub resources_per_device_max: usize,
    /// What may wait in one sink; the oldest is dropped beyond.
    pub queue_max: usize,
    /// The shortest beat that is asked of a device, in seconds.
    pub interval_min: u32,
}

/// Cheap to clone; every clone is the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// One subscriber of one resource. Dropping it ends the subscription.
pub struct Sink {
    hub: Hub,
    device: DeviceId,
    resource: Arc<str>,
    id: u64,
    mailbox: Arc<Mailbox>,
}

/// Why there is no sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("{max} sinks are open already, which is the limit")]
    TooManySinks { max: usize },
    #[error("{max} resources of the device are streamed already, which is the limit")]
    TooManyResources { max: usize },
    #[error("an interval is at least {min} s")]
    TooShort { min: u32 },
}

/// What the hub has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open now.
    pub sinks: usize,
    /// Values that were put into sinks; the same value counts in each.
    pub samples: u64,
    /// Values that slow sinks lost of those.
    pub dropped: u64,
}

struct Shared {
    limits: Limits,
    interval_min: NonZeroU32,
    shards: [Shard; SHARDS],
    closed: AtomicBool,
    next_id: AtomicU64,
    sinks: AtomicUsize,
    samples: AtomicU64,
    dropped: AtomicU64,
}

type Shard = Mutex<HashMap<DeviceId, Device>>;

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits,
                interval_min: NonZeroU32::new(limits.interval_min).unwrap_or(NonZeroU32::MIN),
                shards: std::array::from_fn(|_| Shard::default()),
                closed: AtomicBool::new(false),
                next_id: AtomicU64::new(0),
                sinks: AtomicUsize::new(0),
                samples: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// Opens a sink. A device that is not connected streams once it is; the sink is told at once
    /// that it waits, by a [`Delivery::Lost`]. After [`Self::close`] the sink is at its end.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, device: DeviceId, resource: &str, pace: Pace) -> Result<Sink, OpenError> {
        let shared = &*self.shared;
        shared.check(pace)?;
        let limits = shared.limits;
        let mut shard = shared.shard(device);
        let entry = shard.entry(device).or_default();
        let taken = if entry.has_room(resource, limits.resources_per_device_max) {
            shared.take_place()
        } else {
            let max = limits.resources_per_device_max;
            Err(OpenError::TooManyResources { max })
        };
        if let Err(error) = taken {
            if entry.is_idle() {
                shard.remove(&device);
            }
            return Err(error);
        }
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::new(limits.queue_max));
        // Read under the lock of the shard: `close` either is seen here or finds the sink there.
        if shared.closed.load(Ordering::Relaxed) {
            mailbox.close();
        }
        let sink = (id, pace, mailbox.clone());
        Ok(Sink {
            hub: self.clone(),
            device,
            resource: entry.join(resource, shared.interval_min, sink),
            id,
            mailbox,
        })
    }

    /// A session of the device is up; `order` is called at once for all that is wanted, and later
    /// for each change, one call after the other. It must not block, and must not call the hub,
    /// which holds a lock of its own meanwhile.
    pub fn attach(
        &self,
        device: DeviceId,
        generation: Generation,
        order: Box<dyn Fn(Wish) + Send + Sync>,
    ) {
        let mut shard = self.shared.shard(device);
        shard.entry(device).or_default().attach(generation, order);
    }

    /// That session ended. Another generation than the one attached is passed over.
    pub fn detach(&self, device: DeviceId, generation: Generation, cause: &Cause) {
        self.shared.with(device, |entry| {
            if entry.is_in(generation) {
                entry.detach(cause);
            }
        });
    }

    /// What a session tells of its streams. Another generation than the one attached is passed
    /// over, and so is what nobody wants any more.
    pub fn report(&self, device: DeviceId, generation: Generation, report: Report, now: Instant) {
        self.shared.with(device, |entry| {
            if entry.is_in(generation) {
                self.shared.report(entry, report, now);
            }
        });
    }

    /// Ends every sink once what waits in it is taken.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        for shard in &self.shared.shards {
            lock(shard).values().for_each(Device::close);
        }
    }

    /// Has its counts read at each scrape.
    pub fn counted_by(&self, meter: &Meter) {
        let hub = self.clone();
        let streams = meter.gauge(&table::STREAMS, &[]);
        let sinks = meter.gauge(&table::SINKS, &[]);
        let delivered = meter.counter(&table::SAMPLES_DELIVERED, &[]);
        let dropped = meter.counter(&table::SAMPLES_DROPPED, &[]);
        meter.read_at_scrape(move || {
            let counts = hub.counts();
            streams.set(hub.streams() as f64);
            sinks.set(counts.sinks as f64);
            delivered.absolute(counts.samples);
            dropped.absolute(counts.dropped);
        });
    }

    /// Resources that devices stream now. Looks at every device, in portions.
    fn streams(&self) -> usize {
        let streams = |shard| lock(shard).values().map(Device::streams).sum::<usize>();
        self.shared.shards.iter().map(streams).sum()
    }

    pub fn counts(&self) -> Counts {
        Counts {
            sinks: self.shared.sinks.load(Ordering::Relaxed),
            samples: self.shared.samples.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn check(&self, pace: Pace) -> Result<(), OpenError> {
        let min = self.limits.interval_min;
        match pace {
            Pace::Every(interval) if interval.get() < min => Err(OpenError::TooShort { min }),
            Pace::Every(_) | Pace::Events => Ok(()),
        }
    }

    fn take_place(&self) -> Result<(), OpenError> {
        let max = self.limits.sinks_max;
        let one_more = |sinks| (sinks < max).then_some(sinks + 1);
        let order = Ordering::Relaxed;
        match self.sinks.fetch_update(order, order, one_more) {
            Ok(_) => Ok(()),
            Err(_) => Err(OpenError::TooManySinks { max }),
        }
    }

    fn report(&self, device: &mut Device, report: Report, now: Instant) {
        match report {
            Report::Started {
                resource,
                sampled,
                events,
            } => device.started(&resource, Plan { sampled, events }),
            Report::Refused { resource, refusal } => device.refused(&resource, refusal),
            Report::Data {
                resource,
                arrival,
                value,
            } => {
                let arrived = Arrived {
                    arrival,
                    value,
                    now,
                    unix_ms: clock::now().unix_ms,
                };
                let given = device.arrived(&resource, arrived);
                self.samples.fetch_add(given.samples, Ordering::Relaxed);
                self.dropped.fetch_add(given.dropped, Ordering::Relaxed);
            }
        }
    }

    /// Calls with the device if the hub knows it, and forgets it when nothing is left of it.
    fn with(&self, device: DeviceId, call: impl FnOnce(&mut Device)) {
        let mut shard = self.shard(device);
        let Some(entry) = shard.get_mut(&device) else {
            return;
        };
        call(entry);
        if entry.is_idle() {
            shard.remove(&device);
        }
    }

    fn shard(&self, device: DeviceId) -> MutexGuard<'_, HashMap<DeviceId, Device>> {
        lock(&self.shards[device.get() as usize % SHARDS])
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<DeviceId, Device>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    /// What comes next; `None` when the gateway shuts down. Nothing is lost when the future is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.mailbox.take().await
    }

    /// Wants the resource at another pace from now on.
    ///
    /// # Errors
    /// [`OpenError::TooShort`]; the pace stays as it was then.
    pub fn set_pace(&mut self, pace: Pace) -> Result<(), OpenError> {
        let shared = &self.hub.shared;
        shared.check(pace)?;
        shared.with(self.device, |entry| {
            entry.set_pace(&self.resource, self.id, pace);
        });
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let shared = &self.hub.shared;
        shared.with(self.device, |entry| entry.leave(&self.resource, self.id));
        shared.sinks.fetch_sub(1, Ordering::Relaxed);
    }
}
