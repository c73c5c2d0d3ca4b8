//! One device of the managed list: what is wanted of it and what is.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cause::Cause;
use crate::device::{ConnectionMode, DeviceId, Generation, Origin, Status};
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::admission::TokenBucket;
use crate::registry::snapshot::{DeviceView, SessionView};
use crate::time::Instant;

/// What is being done for a device at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is scheduled: no session, and no dial is wanted.
    Resting,
    /// Waits for its backoff to end.
    Backoff {
        due: Instant,
    },
    /// Waits for the admission of its dial.
    Queued,
    Dialling {
        generation: Generation,
    },
    Up(Up),
}

/// The one authenticated session of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    pub generation: Generation,
    pub since: Instant,
    pub mode: ConnectionMode,
    pub session: SessionView,
    /// It was told to close; only its end is waited for.
    pub closing: bool,
    /// The session that takes over as soon as this one has ended.
    pub newcomer: Option<Generation>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub origin: Origin,
    /// Where to dial an auto device; for the others where their session comes from.
    pub address: SocketAddr,
    pub use_ssl: bool,
    pub status: Status,
    pub since_unix_ms: u64,
    pub phase: Phase,
    /// Failed tries since it was last connected.
    pub attempt: u32,
    /// How far the backoff has grown; a short session does not take it back.
    pub backoff_step: u32,
    pub next_try_unix_ms: Option<u64>,
    pub cause: Option<Cause>,
    pub device_type: u32,
    /// Which of its link keys the next dial uses, and how many were refused in this try.
    pub key_index: usize,
    pub keys_refused: usize,
    pub takeovers: TokenBucket,
    /// It is to leave the list as soon as its session has ended.
    pub deleted: bool,
}

impl Entry {
    pub fn new(origin: Origin, address: SocketAddr, takeovers: TokenBucket, unix_ms: u64) -> Self {
        Self {
            origin,
            address,
            use_ssl: false,
            status: Status::Disconnected,
            since_unix_ms: unix_ms,
            phase: Phase::Resting,
            attempt: 0,
            backoff_step: 0,
            next_try_unix_ms: None,
            cause: None,
            device_type: 0,
            key_index: 0,
            keys_refused: 0,
            takeovers,
            deleted: false,
        }
    }

    pub fn up(&self) -> Option<&Up> {
        match &self.phase {
            Phase::Up(up) => Some(up),
            Phase::Resting | Phase::Backoff { .. } | Phase::Queued | Phase::Dialling { .. } => None,
        }
    }

    pub fn up_mut(&mut self) -> Option<&mut Up> {
        match &mut self.phase {
            Phase::Up(up) => Some(up),
            Phase::Resting | Phase::Backoff { .. } | Phase::Queued | Phase::Dialling { .. } => None,
        }
    }

    /// Whether it was added exactly like this.
    pub fn is_auto_like(&self, device: &AutoDevice) -> bool {
        self.origin == Origin::Auto
            && !self.deleted
            && self.address == SocketAddr::V4(device.address)
            && self.use_ssl == device.use_ssl
    }

    pub fn view(&self, id: DeviceId, identity: Option<&Identity>) -> Arc<DeviceView> {
        let up = self.up();
        // An auto device is shown as it was added, whoever dialled the session that is up.
        let mode = match (self.origin, up) {
            (Origin::Inbound, _) => ConnectionMode::DeviceToServer,
            (Origin::Direct, Some(up)) => up.mode,
            (Origin::Auto, _) | (Origin::Direct, None) => ConnectionMode::ServerToDevice,
        };
        Arc::new(DeviceView {
            id,
            identity: identity.cloned(),
            origin: self.origin,
            mode,
            address: self.address,
            use_ssl: self.use_ssl,
            status: self.status,
            since_unix_ms: self.since_unix_ms,
            device_type: self.device_type,
            session: up.map(|up| up.session.clone()),
            attempt: self.attempt,
            next_try_unix_ms: self.next_try_unix_ms,
            cause: self.cause.clone(),
        })
    }
}
