//! One conversation with one device: [`machine`] decides, `actor` carries out.

pub mod actor;
pub mod asked;
mod closing;
mod connect;
pub mod course;
mod description;
mod directory;
pub mod in_hand;
pub mod keepalive;
pub mod machine;
pub mod meters;
pub mod requests;
pub mod security;
mod server_run;
mod streams;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cause::Cause;
use crate::config::Config;
use crate::device::{DeviceId, Generation};
use crate::identity::{Claim, KeyId, KeyOwner};
use crate::link::keyring::Keyring;
use crate::link::link_key::LinkKey;
use crate::link::tls::device::DeviceTls;
use crate::session::in_hand::AskedLimits;
use crate::session::requests::RequestLimits;

/// How long the registry may take to judge a Connect. Stock devices are patient for 10 s.
const VERDICT_DEADLINE: Duration = Duration::from_secs(10);

/// How long a session waits and how much it holds; shared by all sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the order to dial until TCP is open.
    pub dial_deadline: Duration,
    /// From the accepted connection to its first byte.
    pub first_byte_deadline: Duration,
    /// The handshake of the link: from its first byte, or from the open connection when dialled.
    pub handshake_deadline: Duration,
    /// From the secured link to the complete Connect.
    pub connect_deadline: Duration,
    /// From the Connect to the verdict of the registry.
    pub verdict_deadline: Duration,
    /// From a request to its answer.
    pub request_deadline: Duration,
    /// The largest body of a device's frame after its Connect, in bytes.
    pub body_in_max: usize,
    /// The largest frame that is sent to a device, in bytes.
    pub frame_out_max: usize,
    /// The most bytes that may wait for a device to read them.
    pub out_buffer_max: usize,
    pub requests: RequestLimits,
    pub asked: AskedLimits,
}

impl Policy {
    pub const fn new(config: &Config) -> Self {
        let Config {
            inbound,
            dial,
            session,
            functions,
            ..
        } = config;
        Self {
            dial_deadline: dial.deadline,
            first_byte_deadline: inbound.first_byte_deadline,
            handshake_deadline: inbound.handshake_deadline,
            connect_deadline: inbound.connect_deadline,
            verdict_deadline: VERDICT_DEADLINE,
            request_deadline: session.request_deadline,
            body_in_max: session.frame_in_max_bytes,
            frame_out_max: session.frame_out_max_bytes,
            out_buffer_max: session.out_buffer_max_bytes,
            requests: RequestLimits {
                count_max: session.requests_in_flight_max,
                bytes_max: session.requests_bytes_max,
            },
            asked: AskedLimits {
                in_flight_max: functions.in_flight_max,
                streams_max: functions.streams_max,
            },
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(&Config::default())
    }
}

/// What secures an accepted connection: its listener speaks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptLink {
    Plain,
    Aes,
    Tls,
    /// A WebSocket; `secured` when its HTTP server speaks TLS.
    WebSocket {
        secured: bool,
    },
}

/// The link keys that are active now. Asked at each handshake, so that a key which was withdrawn
/// opens no further link.
pub trait KeyLookup: Send + Sync {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)>;
}

impl KeyLookup for Keyring {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)> {
        self.link_key(id).map(|(key, owner)| (key.clone(), owner))
    }
}

/// The TLS of devices as it is now. Asked at each handshake, so that a change of certificates,
/// revocations or settings counts from the next one on.
pub trait LiveTls: Send + Sync {
    fn current(&self) -> Arc<DeviceTls>;
}

impl LiveTls for ArcSwap<DeviceTls> {
    fn current(&self) -> Arc<DeviceTls> {
        self.load_full()
    }
}

/// How one dial is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialOrder {
    pub generation: Generation,
    pub address: SocketAddr,
    pub link: DialLink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialLink {
    Plain,
    Aes(KeyId),
    Tls,
}

/// What a session tells the registry. The shell adds [`SessionEvent::Slow`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A Connect came; the session is silent until the verdict.
    Claimed(Claim),
    /// The device described itself: the number of its `device.Type`.
    Described { device_type: u32 },
    /// It was let in, and had taken this long to its Connect.
    Slow { took: Duration },
    /// Nothing more will come from this generation, and nothing more is sent but what was said
    /// in closing.
    Ended(Cause),
}

/// What the registry tells a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCommand {
    /// Answer the Connect with Ok.
    Admit(DeviceId),
    /// Answer the Connect with Error, then close.
    Refuse(Cause),
    /// Say Disconnect, then close.
    Close(Cause),
}
