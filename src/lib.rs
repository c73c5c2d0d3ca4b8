//! Gatehouse keeps long-lived connections to access-control and IoT devices.
//!
//! Data goes right, commands go left, imports point left only:
//!
//! ```text
//! wire bytes -> link -> codec -> stream -> session -> registry -> store | functions | grpc | http
//!            <- commands: dial, close, send, set filter, stream this <-
//! ```
//!
//! [`time`], [`device`], [`cause`], [`identity`], [`config`] and [`metrics`] lie under everything. The core is
//! pure: [`codec`], [`link::noise`], [`session::machine`] and [`registry::machine`] take events
//! and the time and return outputs; the actors beside them carry the outputs out and decide
//! nothing. [`gateway`] is the only file that sees every room. `ARCHITECTURE.md` is the map.

pub mod access;
pub mod callers;
pub mod cause;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod device;
pub mod event;
pub mod functions;
pub mod gateway;
pub mod grpc;
pub mod handle;
pub mod http;
pub mod identity;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod registry;
pub mod search;
pub mod service;
pub mod session;
pub mod sim;
pub mod store;
pub mod stream;
pub mod time;
pub mod trace;
pub mod vault;
