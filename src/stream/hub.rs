//! The streams of all devices: sinks come and go, sessions come and go, and each finds the other.

use std::sync::Arc;

use crate::cause::Cause;
use crate::codec::pson::Value;
use crate::device::{DeviceId, Generation};
use crate::stream::{Arrival, Pace, Refusal, Report, Wish};
use crate::time::Instant;

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
    _limits: Limits,
}

/// One subscriber of one resource. Dropping it ends the subscription.
pub struct Sink {
    _private: (),
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

/// What a sink is told.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The device streams: `sampled` is its beat in seconds. Also after a gap.
    Started {
        sampled: Option<u32>,
        events: bool,
    },
    Data(Sample),
    /// The session of the device ended: nothing comes until [`Self::Started`].
    Lost(Cause),
    /// The device does not stream it. It is asked again when it next connects.
    Refused(Refusal),
}

/// One value on its way to a sink.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Shared by all sinks of the resource, so that each form of it is made once.
    pub value: Arc<Value>,
    pub arrival: Arrival,
    /// Ascending for one resource while the process lives; gaps are what went to other sinks.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// How many older ones this sink lost just before this one, because it was slow.
    pub lost: u64,
}

impl Hub {
    pub fn new(limits: Limits) -> Self {
        Self { _limits: limits }
    }

    /// Opens a sink. A device that is not connected streams once it is.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, _device: DeviceId, _resource: &str, _pace: Pace) -> Result<Sink, OpenError> {
        unimplemented!("the hub is not built yet")
    }

    /// A session of the device is up; `order` is called at once for all that is wanted, and later
    /// for each change. It must not block, and must not call the hub.
    pub fn attach(
        &self,
        _device: DeviceId,
        _generation: Generation,
        _order: Box<dyn Fn(Wish) + Send + Sync>,
    ) {
    }

    /// That session ended. An older generation than the one attached is passed over.
    pub fn detach(&self, _device: DeviceId, _generation: Generation, _cause: &Cause) {}

    /// What a session tells of its streams.
    pub fn report(
        &self,
        _device: DeviceId,
        _generation: Generation,
        _report: Report,
        _now: Instant,
    ) {
    }

    /// Ends every sink once what waits in it is taken.
    pub fn close(&self) {}
}

impl Sink {
    /// What comes next; `None` when the gateway shuts down. Nothing is lost when the future is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::pending().await
    }

    /// Wants the resource at another pace from now on.
    ///
    /// # Errors
    /// [`OpenError::TooShort`]; the pace stays as it was then.
    pub fn set_pace(&mut self, _pace: Pace) -> Result<(), OpenError> {
        Ok(())
    }
}
