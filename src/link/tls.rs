//! TLS under the root of the gateway: the server side of the API, and the tls link to devices.

pub mod certificate;
pub mod device;
mod grpc;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
pub mod tickets;

pub use self::grpc::{TlsError, grpc_server};
