//! The sections of the configuration with their defaults. `config/gateway.toml` says in the
//! operator's words what each key is for; `check` holds the bounds.

mod clients;
mod fleet;
mod functions;
mod links;
mod operation;

pub use self::clients::{Access, ClientCertificates, Grpc, Http};
pub use self::fleet::{
    CapabilityNumbers, Compat, Device, Reconnect, Registry, Search, Session, Takeover,
};
pub use self::functions::{Functions, Stream};
pub use self::links::{
    Aes, DeviceCertificates, Dial, DialLink, DialRole, Inbound, Keys, Plain, Tls, TlsVersion,
};
pub use self::operation::{Drain, Events, Log, LogFormat, Metrics, Store};
