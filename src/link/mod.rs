//! Byte paths to devices: what secures them, and how they are opened.

pub mod authority;
pub mod certificate;
pub mod certs;
pub mod dial;
pub mod gateway_key;
pub mod grpc_tls;
pub mod host_names;
pub mod http_tls;
pub mod issued;
pub mod key_files;
pub mod keyring;
pub mod link_key;
pub mod listen;
pub mod noise;
pub mod office;
pub mod private_file;
pub mod random;
pub mod revocation;
pub mod role;
pub mod roots;
pub mod seal;
pub mod sealed_file;
pub mod ticket_file;
pub mod tls;
pub mod waiting_room;
pub mod watch;
