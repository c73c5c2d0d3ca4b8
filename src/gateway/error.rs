//! Why a gateway does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::callers::first_token::FirstTokenError;
use crate::config;
use crate::functions::EndpointError;
use crate::link::certs::CertsError;
use crate::link::gateway_key::GatewayKeyError;
use crate::link::grpc_tls::GrpcTlsError;
use crate::link::key_files::KeyFileError;
use crate::link::keyring::KeyringError;
use crate::link::private_file::FileError;
use crate::link::random::RandomError;
use crate::link::tls::device::DeviceTlsError;
use crate::registry::backoff::BackoffError;
use crate::service::config_file::ConfigFileError;
use crate::service::passed::PassedError;
use crate::store::OpenError;
use crate::trace::TraceError;
use crate::vault::VaultError;

/// Why the gateway did not start: one line that says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error("the data directory {path} cannot be made: {source}")]
    DataDir { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Certificate(#[from] CertsError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Tls(#[from] GrpcTlsError),
    #[error(transparent)]
    FirstToken(#[from] FirstTokenError),
    #[error(transparent)]
    GatewayKey(#[from] GatewayKeyError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    DeviceTls(#[from] DeviceTlsError),
    #[error("{key} = \"{address}\" cannot be listened on: {source}{}", mend(.source))]
    Listen {
        key: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Passed(#[from] PassedError),
    #[error(transparent)]
    ConfigFile(#[from] ConfigFileError),
    #[error("log.level cannot be set: {0}")]
    LogLevel(String),
    #[error("reconnect: {0}")]
    Backoff(#[from] BackoffError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("a thread of the gateway ended while it started")]
    Thread,
}

impl StartError {
    /// Whether the configuration, or that of the sockets that were handed over, is at fault by
    /// itself, whatever else this machine is like.
    pub const fn is_of_configuration(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::ConfigFile(_)
                | Self::Passed(_)
                | Self::Backoff(_)
                | Self::Endpoint(EndpointError::Settings { .. })
        )
    }
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that has it, or set another port",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege, choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "; this host does not have that address",
        _ => "",
    }
}
