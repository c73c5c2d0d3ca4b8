//! What devices ask of the gateway: properties, buckets, endpoints, calls of other devices, events
//! and topics.
//!
//! [`ServerFunctions`] answers. Who may have what follows from the owner of the device at the time
//! of asking: [`subscriptions`] finds nothing but through it.

mod call;
mod counts;
pub mod endpoints;
pub mod event;
mod fleet;
mod places;
mod properties;
mod refusal;
pub mod service;
pub mod states;
pub mod subscriptions;
pub mod topic;
pub mod topics;

pub use self::endpoints::EndpointError;
pub use self::service::{Counters, ServerFunctions};

#[cfg(test)]
mod tests;
