//! What a simulated device over real sockets is: its person, its link, and how it begins.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::device::{self, Behaviour};
use super::info::Info;
use super::link::Security;
use super::resources::Resource;
use super::state::DeviceState;
use super::tls;
use crate::codec::dialect::Dialect;

const REDIAL: Duration = Duration::from_secs(5);

/// One device, wherever it stands.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The number under which it is reported.
    pub id: u32,
    /// What the device leads its conversations with.
    pub device: device::Config,
    /// What secures its links until it is told otherwise.
    pub security: Security,
    /// How it leads tls links once it is told to make some.
    pub tls: tls::Options,
    /// What it keeps before anything was written to it. Its place and what secures its links are
    /// put in when it starts; a device that begins with tls may have a link key here to go back to.
    pub state: DeviceState,
    /// Whether its bytes go over a WebSocket where it dials, at `/iotmp`: plain, or within tls. No
    /// aes link does.
    pub websocket: bool,
    /// The resources that it has not got.
    pub lacking: BTreeSet<Resource>,
    /// The mean pause before it dials again, once it is told to dial.
    pub redial: Duration,
    pub opening: Opening,
    /// The mean time that a session lasts before the device drops it, exponentially distributed;
    /// `None`: it stays. It replaces the device's own behaviour.
    pub churn: Option<Duration>,
    /// Decides redials, churn and garbage.
    pub seed: u64,
}

/// What a device does on a fresh TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The handshake of its link, then its conversation.
    Proper,
    /// Nothing at all, until the other end closes.
    Silence,
    /// Random bytes in place of its first message, then nothing.
    Garbage,
    /// The beginning of its first message, then nothing.
    Half,
}

/// Where a device dials, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialling {
    pub to: SocketAddr,
    /// The address that it dials from: one address has some 28,000 ports to dial from.
    pub from: Option<IpAddr>,
    /// The mean pause before it dials again; each is drawn between half and one and a half of it.
    pub redial: Duration,
}

impl Spec {
    /// A good device with this serial number: keep-alive 60 s, today's dialect, no credential,
    /// with sensors and switches.
    pub fn new(id: u32, security: Security) -> Self {
        Self {
            id,
            device: device::Config {
                username: String::new(),
                device: id.to_string(),
                credential: String::new(),
                info: Info {
                    id,
                    device_type: 0,
                    name: format!("simulated {id}"),
                },
                keep_alive: Some(60),
                dialect: Dialect::Current,
                behaviour: Behaviour::Normal,
                extras: &Resource::PANEL,
                ..device::Config::default()
            },
            security,
            tls: tls::Options::default(),
            state: DeviceState::default(),
            websocket: false,
            lacking: BTreeSet::new(),
            redial: REDIAL,
            opening: Opening::Proper,
            churn: None,
            seed: u64::from(id),
        }
    }
}
