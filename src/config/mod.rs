//! The configuration: every key, its default and its bounds.
//!
//! Reading the file is the caller's. `config/gateway.toml` holds every key with its default and
//! says what it is for.

pub mod changes;
mod check;
mod credential;
pub mod duration;
mod endpoint;
mod error;
mod listen;
mod sections;
mod trace;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::check::{is_host, is_log_level};
pub use self::credential::{Credential, CredentialDigest, CredentialDigestError};
pub use self::endpoint::{DEVICE_HEADER, Endpoint, EndpointMethod, EndpointProblem, OWNER_HEADER};
pub use self::error::{ConfigError, Problem};
pub use self::listen::Listen;
pub use self::sections::{
    Access, Aes, CapabilityNumbers, ClientCertificates, Compat, Device, DeviceCertificates, Dial,
    DialLink, DialRole, Drain, Events, Functions, Grpc, Http, Inbound, Keys, Log, LogFormat,
    Metrics, Plain, Reconnect, Registry, Search, Session, Store, Stream, Takeover, Tls, TlsVersion,
};
pub use self::trace::Trace;

/// The settings of a gateway. The default is a gateway whose API is open on loopback only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    pub grpc: Grpc,
    pub http: Http,
    pub access: Access,
    pub aes: Aes,
    pub tls: Tls,
    pub plain: Plain,
    pub inbound: Inbound,
    pub dial: Dial,
    pub reconnect: Reconnect,
    pub takeover: Takeover,
    pub session: Session,
    pub registry: Registry,
    pub device: Device,
    pub search: Search,
    pub stream: Stream,
    pub functions: Functions,
    pub keys: Keys,
    pub compat: Compat,
    pub drain: Drain,
    pub events: Events,
    pub metrics: Metrics,
    pub store: Store,
    pub log: Log,
    pub trace: Trace,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credential: Vec<Credential>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoint: Vec<Endpoint>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("gatehouse-data"),
            grpc: Grpc::default(),
            http: Http::default(),
            access: Access::default(),
            aes: Aes::default(),
            tls: Tls::default(),
            plain: Plain::default(),
            inbound: Inbound::default(),
            dial: Dial::default(),
            reconnect: Reconnect::default(),
            takeover: Takeover::default(),
            session: Session::default(),
            registry: Registry::default(),
            device: Device::default(),
            search: Search::default(),
            stream: Stream::default(),
            functions: Functions::default(),
            keys: Keys::default(),
            compat: Compat::default(),
            drain: Drain::default(),
            events: Events::default(),
            metrics: Metrics::default(),
            store: Store::default(),
            log: Log::default(),
            trace: Trace::default(),
            credential: Vec::new(),
            endpoint: Vec::new(),
        }
    }
}

impl Config {
    /// Reads TOML and checks every value.
    ///
    /// # Errors
    /// [`ConfigError::Text`] with line and key for what does not parse or is not known,
    /// [`ConfigError::Values`] with all values that are out of their bounds.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every value; for a configuration that was put together in the program.
    ///
    /// # Errors
    /// [`ConfigError::Values`] with all values that are out of their bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        match check::problems(self) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(ConfigError::Values(problems)),
        }
    }

    /// The settings in force as TOML, with secrets hidden.
    ///
    /// # Errors
    /// When a path is no Unicode text, which TOML cannot hold.
    pub fn show(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The gateway's key file, which seals secrets at rest.
    pub fn gateway_key(&self) -> PathBuf {
        if self.keys.file.as_os_str().is_empty() {
            gateway_key_in(&self.data_dir)
        } else {
            self.keys.file.clone()
        }
    }

    /// Where the link keys are.
    pub fn keys_dir(&self) -> PathBuf {
        keys_dir(&self.data_dir)
    }

    /// Where the root and server certificates are.
    pub fn certs_dir(&self) -> PathBuf {
        certs_dir(&self.data_dir)
    }
}

/// Where the gateway's key file is when the configuration does not say.
pub fn gateway_key_in(data_dir: &Path) -> PathBuf {
    data_dir.join("gateway.key")
}

/// Where the link keys of a data directory are.
pub fn keys_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("keys")
}

/// Where the certificates of a data directory are.
pub fn certs_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("certs")
}

#[cfg(test)]
mod tests;
