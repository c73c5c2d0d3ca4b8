//! The search for devices in the subnet, over UDP.
//!
//! [`message`] holds the datagrams.

pub mod message;
