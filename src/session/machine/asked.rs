//! What the device asks: functions and streams go out to who does them, and their outcome back.

use crate::codec::message::{Message, Run, StreamId};
use crate::codec::pson::Value;
use crate::session::asked::{Denied, Outcome};
use crate::session::in_hand::Serial;
use crate::session::machine::streaming::stream_data;
use crate::session::machine::{Machine, Output, Phase};
use crate::session::server_run::{self, wanted};
use crate::time::Instant;

impl<W> Machine<W> {
    /// What became of [`Output::Function`] or [`Output::Subscribe`].
    pub fn handle_outcome(&mut self, serial: Serial, outcome: Outcome, now: Instant) {
        let finished = self
            .in_hand
            .as_mut()
            .and_then(|in_hand| in_hand.finish(serial, outcome.is_ok()));
        let Some(finished) = finished else {
            return;
        };
        self.forget_in_hand();
        if let Some(id) = finished.answer_to {
            let answer = match outcome {
                Ok(value) => server_run::done(id, value),
                Err(denied) => server_run::denied(id, &denied),
            };
            self.send_answer(id, &answer, now);
            self.check_unsent(now);
        }
    }

    /// A value for a stream that the device opened; false when it is dropped: nothing is streamed
    /// under this ID, it is too large, or too much waits already for the device to read it.
    pub fn handle_push(&mut self, id: StreamId, value: Value, now: Instant) -> bool {
        let is_up = self.in_hand.as_ref().is_some_and(|one| one.is_up(id));
        if !is_up {
            return false;
        }
        let frame = self.wire.encode(&stream_data(id, value));
        if frame.len() > self.policy.frame_out_max || self.is_behind() {
            self.counters.pushes_dropped += 1;
            return false;
        }
        self.send_frame(frame, now);
        true
    }

    /// The device runs a function.
    pub(super) fn run_function(&mut self, run: Run, now: Instant) {
        let answer_to = wanted(run.stream_id);
        let limits = self.policy.asked;
        let begun = server_run::function(run).and_then(|function| {
            let serial = self
                .in_hand
                .get_or_insert_default()
                .begin(answer_to, limits)?;
            Ok(Output::Function(serial, function))
        });
        match begun {
            Ok(output) => self.outputs.push_back(output),
            Err(denied) => {
                if answer_to.is_none() {
                    self.counters.functions_dropped += 1;
                }
                self.deny(answer_to, &denied, now);
            }
        }
    }

    /// The device opens a stream. One without an ID could carry nothing.
    pub(super) fn open_asked(
        &mut self,
        stream_id: Option<StreamId>,
        resource: Option<Value>,
        parameters: Option<Value>,
        now: Instant,
    ) {
        let Some(id) = wanted(stream_id) else {
            return;
        };
        let subscription = match server_run::subscription(resource, parameters) {
            Ok(subscription) => subscription,
            Err(denied) => return self.deny(Some(id), &denied, now),
        };
        if self.streams.as_ref().is_some_and(|one| one.has(id)) {
            let text = "a stream of the gateway has this ID; take another".into();
            return self.deny(Some(id), &Denied { code: 409, text }, now);
        }
        self.close_asked(id);
        let limits = self.policy.asked;
        match self.in_hand.get_or_insert_default().open(id, limits) {
            Ok(serial) => {
                let subscribe = Output::Subscribe(serial, id, subscription);
                self.outputs.push_back(subscribe);
            }
            Err(denied) => {
                self.forget_in_hand();
                self.deny(Some(id), &denied, now);
            }
        }
    }

    /// The device stops a stream. That none is open is what it asks for.
    pub(super) fn stop_asked(&mut self, stream_id: Option<StreamId>, now: Instant) {
        if let Some(id) = wanted(stream_id) {
            self.close_asked(id);
            self.forget_in_hand();
            self.send(&server_run::ok(id), now);
        }
    }

    fn close_asked(&mut self, id: StreamId) {
        if self.in_hand.as_mut().is_some_and(|one| one.close(id)) {
            self.outputs.push_back(Output::Unsubscribe(id));
        }
    }

    pub(super) fn deny(&mut self, answer_to: Option<StreamId>, denied: &Denied, now: Instant) {
        if let Some(id) = answer_to {
            self.send(&server_run::denied(id, denied), now);
        }
    }

    /// Says that an answer is too large where it is.
    fn send_answer(&mut self, id: StreamId, answer: &Message, now: Instant) {
        let frame = self.wire.encode(answer);
        let (size, max) = (frame.len(), self.policy.frame_out_max);
        if size <= max {
            return self.send_frame(frame, now);
        }
        let text = format!("the answer is {size} bytes, a device takes at most {max}");
        self.send(&server_run::error(id, Some(413), &text), now);
    }

    /// Whether so much waits for the device to read it that values are rather dropped.
    pub(super) fn is_behind(&self) -> bool {
        self.blocked + self.queued > self.policy.out_buffer_max / 2
    }

    /// Whether the conversation is under way: admitted, and not ended.
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    fn forget_in_hand(&mut self) {
        if self.in_hand.as_ref().is_some_and(|one| one.is_empty()) {
            self.in_hand = None;
        }
    }
}
