//! The sections of the configuration with their defaults. `config/gateway.toml` says in the
//! operator's words what each key is for; `check` holds the bounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::duration;
use super::listen::Listen;
use crate::logs::limit::Limits;

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

/// The search for devices in the subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Where the question is sent.
    pub broadcast: Vec<SocketAddrV4>,
    /// Answers taken of one search.
    pub answers_max: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            broadcast: vec![SocketAddrV4::new(Ipv4Addr::BROADCAST, 51210)],
            answers_max: 10_000,
        }
    }
}

/// Calls that read or write something on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// The address that devices are told to dial; empty: the gateway's own on their link.
    pub advertise: String,
    /// Devices that one `…Multi` call works on at the same time.
    pub multi_in_flight_max: usize,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            advertise: String::new(),
            multi_in_flight_max: 64,
        }
    }
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
    /// Peers without proof that are remembered, apart from the pending list.
    pub unproven_max: usize,
    /// Devices whose trouble is remembered, for each minute and kind of trouble.
    pub trouble_max: usize,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            devices_max: 100_000,
            pending_max: 1000,
            unproven_max: 1000,
            trouble_max: 1000,
        }
    }
}

/// Where the vendor's gateway differs from its own contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compat {
    pub accept_filter_by_address: bool,
    /// Forget the slave lists at a restart.
    pub forget_slaves: bool,
    pub capability_numbers: CapabilityNumbers,
}

impl Default for Compat {
    fn default() -> Self {
        Self {
            accept_filter_by_address: true,
            forget_slaves: false,
            capability_numbers: CapabilityNumbers::Since1_8,
        }
    }
}

/// Which numbering the fields of `device.CapabilityInfo` have on prefixed paths; bare paths always
/// have the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapabilityNumbers {
    #[serde(rename = "1.0")]
    Since1_0,
    #[serde(rename = "1.8")]
    Since1_8,
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

/// Streams of what devices offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// The shortest beat that is asked of a device, in whole seconds.
    #[serde(with = "duration")]
    pub interval_min: Duration,
    pub sinks_max: usize,
    pub resources_per_device_max: usize,
    /// What may wait in one sink.
    pub queue_max: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(1),
            sinks_max: 100_000,
            resources_per_device_max: 64,
            queue_max: 256,
        }
    }
}

/// What devices may ask of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Functions {
    /// Requests of one device in progress.
    pub in_flight_max: usize,
    /// Streams that one device may open.
    pub streams_max: usize,
    pub properties_max: usize,
    pub property_max_bytes: usize,
    pub buckets_max: usize,
    /// Points of one bucket.
    pub bucket_keep_max: u64,
    #[serde(with = "duration")]
    pub bucket_keep_for: Duration,
    /// Retained messages of one owner.
    pub retained_max: usize,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            in_flight_max: 16,
            streams_max: 64,
            properties_max: 64,
            property_max_bytes: 16 << 10,
            buckets_max: 256,
            bucket_keep_max: 100_000,
            bucket_keep_for: Duration::from_hours(30 * 24),
            retained_max: 1000,
        }
    }
}

/// The orderly end of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Sessions that are closed a second.
    pub pace: u32,
    /// Within which the process ends.
    #[serde(with = "duration")]
    pub grace: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            pace: 500,
            // Kubernetes kills after 30 s.
            grace: Duration::from_secs(25),
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

/// What is counted for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    pub enabled: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Bytes; below, what makes the store grow is refused. 0 for no reserve.
    pub free_min: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { free_min: 64 << 20 }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or several for single targets.
    pub level: String,
    pub format: LogFormat,
    /// Lines of one device, or of one line of code, at once.
    pub device_burst: u32,
    /// After the burst: one more in this time.
    #[serde(with = "duration")]
    pub device_interval: Duration,
    /// Lines of all at once.
    pub total_burst: u32,
    /// After that: so many a second.
    pub total_rate_max: u32,
    /// What takes longer is told with its device.
    #[serde(with = "duration")]
    pub slow_after: Duration,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            device_burst: 20,
            device_interval: Duration::from_mins(1),
            total_burst: 20_000,
            total_rate_max: 50,
            slow_after: Duration::from_secs(1),
        }
    }
}

impl From<&Log> for Limits {
    fn from(log: &Log) -> Self {
        Self {
            burst: log.device_burst,
            interval: log.device_interval,
            total_burst: log.total_burst,
            total_rate: log.total_rate_max,
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
