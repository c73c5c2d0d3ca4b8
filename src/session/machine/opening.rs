//! The way to a link: the first byte, the handshake, the permit to compute it.

use crate::cause::{Cause, CauseKind};
use crate::config::DialRole;
use crate::device::{ConnectionMode, LinkKind};
use crate::session::course::Step;
use crate::session::machine::{Machine, Output, Phase};
use crate::session::wire::{Progress, Wire, WireError};
use crate::session::{DialLink, LiveTls};
use crate::time::Instant;

impl<W> Machine<W> {
    /// TCP is open on a dialled connection. `entropy` is 32 fresh secret bytes.
    pub fn handle_opened(&mut self, entropy: [u8; 32], now: Instant) {
        let Phase::Dialling { link, .. } = self.phase else {
            return;
        };
        self.pass(Step::Dial, now);
        let mut first = Vec::new();
        let wire = match link {
            DialLink::Plain => return self.secured(now),
            DialLink::Aes(key_id) => {
                Wire::initiator(key_id, self.keys.as_ref(), entropy, &mut first)
            }
            DialLink::Tls => dialled_tls(self.tls.as_ref(), &mut first),
        };
        match wire {
            Ok(wire) => {
                self.wire = wire;
                let deadline = now + self.policy.handshake_deadline;
                self.phase = Phase::Handshake { deadline };
                self.emit(first);
            }
            Err(error) => self.end(error.into(), None, now),
        }
    }

    /// TCP could not be opened on a dialled connection.
    pub fn handle_dial_failed(&mut self, cause: Cause, now: Instant) {
        if let Phase::Dialling { .. } = self.phase {
            self.end(cause, None, now);
        }
    }

    /// There is room for the computation asked for by [`Output::HandshakeReady`]. `entropy` is 32
    /// fresh secret bytes.
    pub fn handle_permit(&mut self, entropy: [u8; 32], now: Instant) {
        let Phase::Permit { deadline } = self.phase else {
            return;
        };
        self.pass(Step::Permit, now);
        let (keys, tls) = (self.keys.as_ref(), self.tls.as_ref());
        let mut answer = Vec::new();
        match self.wire.respond(keys, tls, entropy, &mut answer) {
            Ok(Progress::Secured) => self.secured(now),
            // The deadline of the handshake goes on.
            Ok(_) => self.phase = Phase::Handshake { deadline },
            Err(error) => return self.end_with(error.into(), answer, now),
        }
        self.emit(answer);
        self.check_unsent(now);
    }

    pub(super) fn first_byte(&mut self, accepted: Instant, now: Instant) {
        self.pass(Step::FirstByte, now);
        self.phase = if self.wire.is_open() {
            let deadline = accepted + self.policy.connect_deadline;
            Phase::Connect { deadline }
        } else {
            let deadline = now + self.policy.handshake_deadline;
            Phase::Handshake { deadline }
        };
    }

    pub(super) fn handshake_ready(&mut self, now: Instant) {
        // The deadline of the handshake stays: it is what the peer is waiting for.
        let deadline = match self.phase {
            Phase::Handshake { deadline } => deadline,
            _ => now + self.policy.handshake_deadline,
        };
        self.phase = Phase::Permit { deadline };
        if let Some(course) = &mut self.course {
            course.interrupt_handshake(now);
        }
        self.outputs.push_back(Output::HandshakeReady);
    }

    pub(super) fn secured(&mut self, now: Instant) {
        let is_handshake = !matches!(self.phase, Phase::Dialling { .. });
        if let Some(course) = self.course.as_mut().filter(|_| is_handshake) {
            course.pass_handshake(now);
        }
        let deadline = now + self.policy.connect_deadline;
        self.phase = Phase::Connect { deadline };
    }

    /// What it says of a device that we dialled that it closes before its link is up.
    pub(super) fn closed_in_handshake(&self) -> Option<Cause> {
        let (Phase::Handshake { .. }, ConnectionMode::ServerToDevice) = (self.phase, self.mode)
        else {
            return None;
        };
        Some(if self.wire.kind() == LinkKind::Tls {
            let text = "the device closed the connection in the TLS handshake";
            Cause::new(CauseKind::HandshakeFailed, text)
        } else {
            key_refused()
        })
    }
}

fn dialled_tls(tls: &dyn LiveTls, first: &mut Vec<u8>) -> Result<Wire, WireError> {
    let tls = tls.current();
    match tls.dial_role() {
        DialRole::Server => Ok(Wire::tls_server()),
        DialRole::Client => Wire::tls_client(tls, first),
    }
}

fn key_refused() -> Cause {
    Cause::new(
        CauseKind::KeyRefused,
        "the device closed after our first message",
    )
}
