//! Where a conversation is, and how long it may be there.

use std::time::Duration;

use crate::codec::message::StreamId;
use crate::session::keepalive::KeepAlive;
use crate::session::{DialLink, Policy};
use crate::time::Instant;

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// TCP is being opened.
    Dialling {
        deadline: Instant,
        link: DialLink,
    },
    /// The peer has said nothing yet.
    FirstByte {
        accepted: Instant,
    },
    Handshake {
        deadline: Instant,
    },
    /// A handshake is waiting to be computed.
    Permit {
        deadline: Instant,
    },
    /// The link is up.
    Connect {
        deadline: Instant,
    },
    /// The registry is judging. Nothing is read or sent.
    Verdict {
        deadline: Instant,
        stream_id: StreamId,
        keep_alive: Duration,
    },
    Up(KeepAlive),
    /// Ended; the closing words are on their way.
    Closing {
        deadline: Instant,
    },
    Closed,
}

impl Phase {
    /// When it ends if nothing happens.
    pub(super) fn deadline(&self, policy: &Policy) -> Option<Instant> {
        match self {
            Self::Dialling { deadline, .. }
            | Self::Handshake { deadline }
            | Self::Permit { deadline }
            | Self::Connect { deadline }
            | Self::Verdict { deadline, .. }
            | Self::Closing { deadline } => Some(*deadline),
            Self::FirstByte { accepted } => Some(*accepted + policy.first_byte_deadline),
            Self::Up(keep_alive) => Some(keep_alive.deadline()),
            Self::Closed => None,
        }
    }
}
