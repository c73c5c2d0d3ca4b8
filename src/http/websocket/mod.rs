//! Streams over a WebSocket: one resource by its URL, or many by frames.

pub mod conversation;
pub mod flow;
pub mod frames;
pub mod inputs;
pub mod liveness;
pub mod socket;

#[cfg(test)]
pub(super) mod tests;
