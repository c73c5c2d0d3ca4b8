//! IOTMP on the wire: bytes to typed messages and back, in every dialect.
//!
//! [`frame`] cuts the stream, [`dialect`] tells by the first frame which wire the peer speaks,
//! [`message`] turns bodies into messages and back. [`field`] and [`pson`] are what they stand on.

mod connect;
pub mod dialect;
pub mod error;
pub mod field;
pub mod frame;
pub mod message;
mod message_type;
pub mod pson;
pub mod reader;
pub mod varint;
mod wire;

#[cfg(test)]
mod vectors;
