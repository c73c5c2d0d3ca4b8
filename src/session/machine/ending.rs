//! How a conversation ends: by whom, with which last words, and what becomes of who waits.

use std::io;
use std::time::Duration;

use crate::cause::{Cause, CauseKind};
use crate::codec::message::Message;
use crate::session::machine::{Machine, Output, Phase};
use crate::session::requests::{RequestError, Requests};
use crate::session::wire::Wire;
use crate::session::{SessionEvent, closing};
use crate::time::Instant;

/// How long a peer is read and dropped after the closing words, so that a reset does not eat them.
const LINGER: Duration = Duration::from_secs(1);

impl<W> Machine<W> {
    /// The peer shut down its sending side.
    pub fn handle_eof(&mut self, now: Instant) {
        let cause = match self.phase {
            Phase::Dialling { .. } | Phase::Closed => return,
            Phase::Closing { .. } => return self.close(),
            _ => self
                .closed_in_handshake()
                .unwrap_or_else(|| CauseKind::ClosedByDevice.into()),
        };
        self.end(cause, None, now);
    }

    /// The connection broke; `text` says how.
    pub fn handle_io_error(&mut self, kind: io::ErrorKind, text: &str, now: Instant) {
        let cause = match self.phase {
            Phase::Closing { .. } => return self.close(),
            // A peer that refuses our handshake closes before it has read all we sent, and so
            // resets the connection.
            _ if kind == io::ErrorKind::ConnectionReset => self.closed_in_handshake(),
            _ => None,
        };
        let cause = cause.unwrap_or_else(|| Cause::new(CauseKind::IoError, text));
        self.end(cause, None, now);
    }

    pub(super) fn phase_timed_out(&mut self, now: Instant) {
        let cause = match self.phase {
            Phase::Dialling { .. } => {
                let text = format!("dial tcp {}: no answer in time", self.peer);
                Cause::new(CauseKind::DialTimeout, text)
            }
            Phase::FirstByte { .. } => CauseKind::FirstByteTimeout.into(),
            Phase::Handshake { .. } => CauseKind::HandshakeTimeout.into(),
            Phase::Permit { .. } => Cause::new(CauseKind::Busy, "too many handshakes are waiting"),
            Phase::Connect { .. } => CauseKind::ConnectTimeout.into(),
            Phase::Verdict { stream_id, .. } => {
                let cause = Cause::new(CauseKind::Busy, "the registry did not answer in time");
                let words = closing::refusal(stream_id, cause.kind);
                return self.end(cause, Some(words), now);
            }
            Phase::Up(_) => CauseKind::KeepAliveTimeout.into(),
            Phase::Closing { .. } => return self.close(),
            Phase::Closed => return,
        };
        self.end(cause, None, now);
    }

    pub(super) fn protocol_error(&mut self, text: &str, now: Instant) {
        self.end(Cause::new(CauseKind::ProtocolError, text), None, now);
    }

    /// Begins to close, once. Words are left out for a peer that did not even read what was sent
    /// before.
    pub(super) fn end(&mut self, cause: Cause, words: Option<Message>, now: Instant) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Closed) {
            return;
        }
        let words = words.filter(|_| self.blocked == 0);
        let last = words.and_then(|words| {
            let frame = self.wire.encode(&words);
            self.wire.seal_last(frame).ok()
        });
        self.counters.frames_out += u64::from(last.is_some());
        self.end_with(cause, last.unwrap_or_default(), now);
    }

    /// As [`Self::end`], with the last bytes as they are sent.
    pub(super) fn end_with(&mut self, cause: Cause, last: Vec<u8>, now: Instant) {
        let has_words = !last.is_empty();
        self.emit(last);
        self.report(SessionEvent::Ended(cause.clone()));
        let deadline = now + LINGER;
        self.phase = Phase::Closing { deadline };
        self.wire = Wire::plain();
        // Nobody but a caller waits for anything any more.
        let ended = RequestError::SessionEnded(cause);
        self.streams = None;
        self.in_hand = None;
        self.end_lookups(&ended);
        while let Some(waiter) = self.requests.take_any() {
            self.answer(waiter, Err(ended.clone()), now);
        }
        self.requests = Requests::new(0);
        if has_words {
            self.outputs.push_back(Output::Finish);
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Close);
    }
}
