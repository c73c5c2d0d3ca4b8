//! The sections of what clients reach: the APIs, and who may do what over them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::config::listen::Listen;

/// The gRPC API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    pub listen: SocketAddr,
    pub client_certificates: ClientCertificates,
    /// Who may come in without a client certificate or a token, beside loopback.
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
            client_certificates: ClientCertificates::Optional,
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
    /// Whether a client at this address is taken as an operator without certificate or token.
    pub fn is_open_to(&self, peer: IpAddr) -> bool {
        // A v4 peer of a v6 listener shows as ::ffff:a.b.c.d.
        let peer = peer.to_canonical();
        peer.is_loopback() || self.open_to.iter().any(|network| network.contains(&peer))
    }
}

/// Whether clients of the API must show a certificate. One that is shown is always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Called `off` while there were no tokens.
    #[serde(alias = "off")]
    Optional,
    Required,
}

/// Tokens, the audit log, and decisions on pending devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Entries of the audit log that are kept.
    pub audit_keep_max: u64,
    /// How long a refusal of a pending device holds when the call does not say.
    #[serde(with = "duration")]
    pub refusal_for: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            audit_keep_max: 100_000,
            refusal_for: Duration::from_hours(30 * 24),
        }
    }
}

/// HTTP: REST, streams and the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// TLS on every address that is not loopback.
    pub listen: Listen,
    /// Names and addresses under which clients reach it, beside its own; other `Host`s are refused.
    pub hosts: Vec<String>,
    /// Origins of pages that may use it, beside the console's own: `https://app.example.org`.
    pub origins: Vec<String>,
    /// Whether stock IOTMP clients may connect over a WebSocket at `/iotmp`.
    pub iotmp: bool,
    /// Whether a token may stand in the URL, as `?authorization=`.
    pub token_in_url: bool,
    pub body_max_bytes: usize,
    pub connections_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4080)))),
            hosts: Vec::new(),
            origins: Vec::new(),
            iotmp: true,
            token_in_url: false,
            body_max_bytes: 1 << 20,
            connections_max: 4096,
        }
    }
}
