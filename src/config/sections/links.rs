//! The sections of links to devices: listening, dialling, and what secures them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::config::listen::Listen;

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

/// TLS towards devices, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub listen: Listen,
    /// A second one, where stock IOTMP clients dial.
    pub stock_listen: Listen,
    /// At least one.
    pub versions: Vec<TlsVersion>,
    pub device_certificates: DeviceCertificates,
    pub dial_role: DialRole,
    /// Whether devices may resume a session by its ticket.
    pub resumption: bool,
    /// How long a ticket is good for.
    #[serde(with = "duration")]
    pub ticket_lifetime: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: Listen(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 51213)))),
            stock_listen: Listen(None),
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            device_certificates: DeviceCertificates::Optional,
            dial_role: DialRole::Server,
            resumption: true,
            ticket_lifetime: Duration::from_hours(24),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether a device must show a certificate on the tls link. One that is shown is always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceCertificates {
    Optional,
    Required,
}

/// What the gateway is in TLS when it dials; when it listens it is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DialRole {
    Server,
    /// For devices that are TLS servers.
    Client,
}

/// What secures secrets at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The key file of the gateway; empty: `gateway.key` in the data directory.
    pub file: PathBuf,
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
