//! The sections of the fleet: its lists and sessions, how devices come back, are found and are asked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration;

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
