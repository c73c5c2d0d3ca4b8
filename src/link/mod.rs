//! Byte paths to devices: what secures them, and how they are opened.

pub mod authority;
pub mod certs;
pub mod dial;
pub mod host_names;
pub mod key_files;
pub mod keyring;
pub mod link_key;
pub mod listen;
pub mod noise;
pub mod private_file;
pub mod role;
pub mod tls;
pub mod waiting_room;
