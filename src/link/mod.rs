//! Byte paths to devices: what secures them, and how they are opened.

pub mod certs;
pub mod dial;
pub mod keyring;
pub mod link_key;
pub mod listen;
pub mod noise;
