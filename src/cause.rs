//! Why a try failed or a session ended: one list of reasons for statuses, events, logs and metrics.

use std::fmt;
use std::sync::Arc;

/// What happened, as a word that does not change with the wording of the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CauseKind {
    /// TCP could not be opened: refused, unreachable.
    DialFailed,
    /// TCP did not open within the dial deadline.
    DialTimeout,
    /// The peer opened a connection and sent nothing.
    FirstByteTimeout,
    /// The handshake of the link did not end within its deadline.
    HandshakeTimeout,
    /// The peer's handshake message is not one: wrong version, wrong length, does not decrypt.
    HandshakeFailed,
    /// The peer named a link key that is not active here.
    UnknownKey,
    /// The peer closed after our first handshake message: it does not hold the key we used.
    KeyRefused,
    /// No Connect came within its deadline on a link that is up.
    ConnectTimeout,
    /// The peer broke IOTMP: malformed, oversize, out of order.
    ProtocolError,
    /// The Connect names no device that could be: owner, name or credential are malformed.
    BadIdentity,
    /// Nothing the peer showed proves that it is the device.
    NotProven,
    /// The device belongs to another owner.
    WrongOwner,
    /// The device that answered is not the one that was dialled.
    WrongDevice,
    /// The accept filter does not let it in.
    NotAccepted,
    /// A session with stronger proof is up.
    WeakerProof,
    /// The device is taken over too often.
    TakeoverLimit,
    /// A limit of the gateway is reached.
    Busy,
    /// A newer session of the same device took its place.
    Superseded,
    /// Nothing came within the keep-alive interval and its margin.
    KeepAliveTimeout,
    /// The peer sent an IOTMP Disconnect.
    DisconnectedByDevice,
    /// The peer closed the connection without a Disconnect.
    ClosedByDevice,
    /// The connection broke.
    IoError,
    /// An operator disconnected it.
    Disconnected,
    /// An operator deleted it from the managed list.
    Deleted,
    /// Its address or link was changed: a new session takes its place.
    Replaced,
    /// What it had proved itself by was revoked or removed.
    Revoked,
    /// An operator approved the pending device.
    Approved,
    /// An operator refused the pending device.
    Denied,
    /// The client that asked for the connection went away.
    Cancelled,
    /// The gateway is shutting down.
    Drain,
    /// The gateway ended without closing its sessions; told at the next start.
    GatewayRestarted,
    /// The device is not connected; told to those who wait for it.
    NotConnected,
    /// A fault of the gateway itself.
    Internal,
}

impl CauseKind {
    pub const ALL: [Self; 33] = [
        Self::DialFailed,
        Self::DialTimeout,
        Self::FirstByteTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::UnknownKey,
        Self::KeyRefused,
        Self::ConnectTimeout,
        Self::ProtocolError,
        Self::BadIdentity,
        Self::NotProven,
        Self::WrongOwner,
        Self::WrongDevice,
        Self::NotAccepted,
        Self::WeakerProof,
        Self::TakeoverLimit,
        Self::Busy,
        Self::Superseded,
        Self::KeepAliveTimeout,
        Self::DisconnectedByDevice,
        Self::ClosedByDevice,
        Self::IoError,
        Self::Disconnected,
        Self::Deleted,
        Self::Replaced,
        Self::Revoked,
        Self::Approved,
        Self::Denied,
        Self::Cancelled,
        Self::Drain,
        Self::GatewayRestarted,
        Self::NotConnected,
        Self::Internal,
    ];

    /// The stable name, as in the event log, the logs and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DialFailed => "dial_failed",
            Self::DialTimeout => "dial_timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::UnknownKey => "unknown_key",
            Self::KeyRefused => "key_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ProtocolError => "protocol_error",
            Self::BadIdentity => "bad_identity",
            Self::NotProven => "not_proven",
            Self::WrongOwner => "wrong_owner",
            Self::WrongDevice => "wrong_device",
            Self::NotAccepted => "not_accepted",
            Self::WeakerProof => "weaker_proof",
            Self::TakeoverLimit => "takeover_limit",
            Self::Busy => "busy",
            Self::Superseded => "superseded",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::DisconnectedByDevice => "disconnected_by_device",
            Self::ClosedByDevice => "closed_by_device",
            Self::IoError => "io_error",
            Self::Disconnected => "disconnected",
            Self::Deleted => "deleted",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Drain => "drain",
            Self::GatewayRestarted => "gateway_restarted",
            Self::NotConnected => "not_connected",
            Self::Internal => "internal",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the peer was reached and turned away, or turned us away (`*_NOT_ALLOWED`), rather
    /// than not reached at all (`*_CANNOT_CONNECT`).
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::UnknownKey
                | Self::KeyRefused
                | Self::BadIdentity
                | Self::NotProven
                | Self::WrongOwner
                | Self::WrongDevice
                | Self::NotAccepted
                | Self::WeakerProof
                | Self::TakeoverLimit
                | Self::Revoked
        )
    }
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One number for each kind of cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerCause([u64; CauseKind::ALL.len()]);

impl PerCause {
    pub const fn count(&mut self, kind: CauseKind) {
        self.0[kind as usize] += 1;
    }

    pub const fn get(&self, kind: CauseKind) -> u64 {
        self.0[kind as usize]
    }
}

impl Default for PerCause {
    fn default() -> Self {
        Self([0; CauseKind::ALL.len()])
    }
}

/// A reason with its particulars, for people: lowercase, one sentence, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub kind: CauseKind,
    /// May be empty where the kind says it all.
    pub detail: Arc<str>,
}

impl Cause {
    pub fn new(kind: CauseKind, detail: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl From<CauseKind> for Cause {
    fn from(kind: CauseKind) -> Self {
        Self::new(kind, "")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            self.kind.fmt(f)
        } else {
            write!(f, "{}: {}", self.kind, self.detail)
        }
    }
}
