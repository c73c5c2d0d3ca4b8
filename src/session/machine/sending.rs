//! What is sent, and what a peer may leave unread.

use crate::cause::{Cause, CauseKind};
use crate::codec::message::Message;
use crate::session::machine::{Machine, Output};
use crate::time::Instant;

impl<W> Machine<W> {
    /// After everything of [`Output::Send`] was tried: `unsent` bytes are not written yet.
    pub fn handle_written(&mut self, unsent: usize, now: Instant) {
        self.blocked = unsent;
        self.queued = 0;
        self.check_unsent(now);
    }

    pub(super) fn send(&mut self, message: &Message, now: Instant) {
        let frame = self.wire.encode(message);
        self.send_frame(frame, now);
    }

    pub(super) fn send_frame(&mut self, frame: Vec<u8>, now: Instant) {
        match self.wire.seal(frame) {
            Ok(bytes) => {
                self.counters.frames_out += 1;
                self.emit(bytes);
            }
            Err(error) => self.end(error.into(), None, now),
        }
    }

    pub(super) fn emit(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len();
        self.counters.bytes_out += bytes.len() as u64;
        if let Some(Output::Send(last)) = self.outputs.back_mut() {
            last.extend(bytes);
        } else {
            self.outputs.push_back(Output::Send(bytes));
        }
    }

    /// Gives up on a peer that does not read.
    pub(super) fn check_unsent(&mut self, now: Instant) {
        let unsent = self.blocked + self.queued;
        if unsent > self.policy.out_buffer_max {
            let text = format!("the device does not read, {unsent} bytes wait for it");
            self.end(Cause::new(CauseKind::IoError, text), None, now);
        }
    }
}
