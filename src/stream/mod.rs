//! Streams of a device's resources: what is wanted of the device, and who gets what comes.
//!
//! [`planner`] decides, purely, for one resource of one device; [`delivery`] is what a sink is told,
//! and what of it waits; [`hub`] holds the planners of all devices, over the end of their sessions,
//! and the queues of the sinks.

pub mod delivery;
pub mod hub;
pub mod planner;
pub mod reading;

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::codec::pson::Value;

/// How a sink wants a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Whenever the device reports a change, and no samples.
    Events,
    /// A sample every so many seconds.
    Every(NonZeroU32),
}

impl Pace {
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Every(_))
    }
}

/// All that is wanted of one resource now. Without samples and events: nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub resource: Arc<str>,
    /// The beat in seconds.
    pub sampled: Option<NonZeroU32>,
    pub events: bool,
}

/// What a session tells of its streams.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The device has taken what was wanted: its beat in seconds, as it is at the device, and
    /// whether it reports events.
    Started {
        resource: Arc<str>,
        sampled: Option<NonZeroU32>,
        events: bool,
    },
    Data {
        resource: Arc<str>,
        arrival: Arrival,
        value: Value,
    },
    /// The device, or the gateway for it, does not stream this resource.
    Refused {
        resource: Arc<str>,
        refusal: Refusal,
    },
}

/// How a value came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The one that a device sends after it took a stream, or a change of it: its present state.
    State,
    /// A sample of the beat.
    Sample,
    /// A change that the device reported.
    Event,
}

/// Why a resource is not streamed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// An HTTP-like code: 404 without such a resource, 405 for an action, else what the device
    /// said, 502 when it said none.
    pub code: u16,
    pub text: Arc<str>,
}
