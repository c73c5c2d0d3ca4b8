//! Simulated devices: the other side of the same codec.
//!
//! [`device`] is the conversation, and pure: it runs over real sockets as well as in a world
//! without sockets or time. What it is asked is answered by its [`resources`], its [`panel`] among
//! them, from the [`state`] that it keeps; [`streams`] tell of them unasked, and [`ask`] is what the
//! device asks itself. [`quirks`] are what the clients in the field do differently, on the wire too. [`run`] leads it over TCP, one task a device: [`spec`] says what the
//! device is, [`link`] and [`tls`] secure its bytes, [`report`] tells what happens to it,
//! [`search`] answers for it in its subnet, and [`fleet`] holds many.

pub mod ask;
pub mod device;
pub mod fleet;
pub mod info;
pub mod ip_config;
pub mod link;
pub mod panel;
pub mod quirks;
pub mod report;
pub mod resources;
pub mod run;
pub mod search;
pub mod spec;
pub mod state;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod tls;
mod websocket;
mod wire;
