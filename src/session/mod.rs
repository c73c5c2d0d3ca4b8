//! One conversation with one device: [`machine`] decides, `actor` carries out.

pub mod actor;
pub mod keepalive;
pub mod machine;
pub mod requests;
