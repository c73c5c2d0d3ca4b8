//! The tls link to devices.

pub mod certificate;
pub mod device;
pub mod error;
pub mod hello;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tickets;
