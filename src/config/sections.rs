//! The sections of the configuration with their defaults. `config/gateway.toml` says in the
//! operator's words what each key is for; `check` holds the bounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::duration;
use super::listen::Listen;

/// The gRPC API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    pub listen: SocketAddr,
    pub client_certificates: ClientCertificates,
    /// Who may come in without a client certificate, beside loopback.
    pub open_to: Vec<IpNet>,
    /// DNS names and addresses for the server certificate beside the machine's own.
    pub names: Vec<String>,
    pub message_max_bytes: usize,
    pub commands_in_flight_max: usize,
    pub subscribers_max: usize,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
            client_certificates: ClientCertificates::Off,
            open_to: Vec::new(),
            names: Vec::new(),
            // The vendor's limit, larger than a firmware file.
            message_max_bytes: 75_497_472,
            commands_in_flight_max: 1024,
            subscribers_max: 256,
        }
    }
}

impl Grpc {
    /// Whether a connection from this address may come in; TLS judges its certificate after that.
    pub fn admits(&self, peer: IpAddr) -> bool {
        // A v4 peer of a v6 listener shows as ::ffff:a.b.c.d.
        let peer = peer.to_canonical();
        peer.is_loopback()
            || self.client_certificates == ClientCertificates::Required
            || self.open_to.iter().any(|network| network.contains(&peer))
    }
}

/// Whether clients of the API must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    Off,
    Required,
}

/// The encrypted listener for devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aes {
    pub listen: Listen,
}

impl Default for Aes {
    fn default() -> Self {
        Self {
            listen: Listen(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 51212)))),
        }
    }
}

/// The listener for devices without encryption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plain {
    pub listen: Listen,
}

impl Default for Plain {
    fn default() -> Self {
        Self {
            listen: Listen(None),
        }
    }
}

/// Devices that dial in, until they are authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inbound {
    pub waiting_max: usize,
    pub waiting_per_source_max: usize,
    #[serde(with = "duration")]
    pub first_byte_deadline: Duration,
    #[serde(with = "duration")]
    pub handshake_deadline: Duration,
    #[serde(with = "duration")]
    pub connect_deadline: Duration,
    /// 0: twice the cores ([`Inbound::handshakes_at_once`]).
    pub handshakes_at_once_max: usize,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            waiting_max: 8192,
            waiting_per_source_max: 4096,
            first_byte_deadline: Duration::from_secs(5),
            handshake_deadline: Duration::from_secs(10),
            connect_deadline: Duration::from_secs(10),
            handshakes_at_once_max: 0,
        }
    }
}

impl Inbound {
    /// The handshakes to compute at the same time on a machine with `cores` cores.
    pub const fn handshakes_at_once(&self, cores: usize) -> usize {
        match self.handshakes_at_once_max {
            0 => cores.saturating_mul(2),
            max => max,
        }
    }
}

/// Devices that the gateway dials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dial {
    #[serde(with = "duration")]
    pub deadline: Duration,
    pub link: DialLink,
    /// Networks dialled without encryption whatever `link` says.
    pub plain_to: Vec<IpNet>,
    pub in_flight_max: usize,
    /// Dials a second.
    pub rate_max: u32,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            link: DialLink::Aes,
            plain_to: Vec::new(),
            in_flight_max: 1024,
            rate_max: 10_000,
        }
    }
}

impl Dial {
    /// The link over which a device at this address is dialled.
    pub fn link_to(&self, device: IpAddr) -> DialLink {
        let device = device.to_canonical();
        if self
            .plain_to
            .iter()
            .any(|network| network.contains(&device))
        {
            DialLink::Plain
        } else {
            self.link
        }
    }
}

/// A link that the gateway dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DialLink {
    Aes,
    Plain,
}

/// The wait before a lost device is dialled again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconnect {
    #[serde(with = "duration")]
    pub min: Duration,
    #[serde(with = "duration")]
    pub max: Duration,
    #[serde(with = "duration")]
    pub stable_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(1),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
        }
    }
}

/// How often one device may take over from its older session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Takeover {
    pub burst: u32,
    #[serde(with = "duration")]
    pub interval: Duration,
}

impl Default for Takeover {
    fn default() -> Self {
        Self {
            burst: 3,
            interval: Duration::from_secs(10),
        }
    }
}

/// Limits of one session, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    pub frame_in_max_bytes: usize,
    pub frame_out_max_bytes: usize,
    pub requests_in_flight_max: usize,
    pub requests_bytes_max: usize,
    #[serde(with = "duration")]
    pub request_deadline: Duration,
    pub out_buffer_max_bytes: usize,
    pub sessions_max: usize,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            frame_in_max_bytes: 1 << 20,
            frame_out_max_bytes: 32 << 10,
            requests_in_flight_max: 16,
            requests_bytes_max: 256 << 10,
            request_deadline: Duration::from_secs(10),
            out_buffer_max_bytes: 256 << 10,
            sessions_max: 100_000,
        }
    }
}

/// The managed list and the pending list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    pub devices_max: usize,
    pub pending_max: usize,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            devices_max: 100_000,
            pending_max: 1000,
        }
    }
}

/// Where the vendor's gateway differs from its own contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compat {
    pub accept_filter_by_address: bool,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            accept_filter_by_address: true,
        }
    }
}

/// The event log on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    pub keep_max: u64,
    #[serde(with = "duration")]
    pub keep_for: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            keep_max: 1_000_000,
            keep_for: Duration::from_hours(30 * 24),
        }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or several for single targets.
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
