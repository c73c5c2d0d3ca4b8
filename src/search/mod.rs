//! The search for devices in the subnet.
//!
//! [`message`] holds the datagrams, [`answers`] gathers them, [`udp`] sends and receives.

pub mod answers;
pub mod message;
pub mod udp;
