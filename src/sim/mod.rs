//! Simulated devices: the other side of the same codec.
//!
//! [`device`] is the conversation, and pure: it runs over real sockets as well as in a world
//! without sockets or time.

pub mod device;
pub mod info;
