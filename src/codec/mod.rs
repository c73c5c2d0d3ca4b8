//! IOTMP on the wire: bytes to typed messages and back, in every dialect.

pub mod dialect;
pub mod frame;
pub mod message;
pub mod pson;
pub mod varint;
