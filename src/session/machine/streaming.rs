//! The streams that the gateway opens: wishes in, messages and reports out.

use std::sync::Arc;

use crate::codec::message::{Answer, Message, StreamData, StreamId};
use crate::codec::pson::Value;
use crate::session::description::Resource;
use crate::session::machine::read::Lookup;
use crate::session::machine::{Machine, Output, Phase, Waiter};
use crate::session::requests::{Answered, RequestError};
use crate::session::security::is_security;
use crate::session::streams::{Effect, Heard, Streams, refusal, refusal_of};
use crate::stream::{Report, Wish};
use crate::time::Instant;

/// What a Start Stream holds beside the name of its resource, at most, in bytes.
const START_MAX: usize = 64;

impl<W> Machine<W> {
    /// All that is wanted of one resource from now on. What becomes of it is told by
    /// [`Output::Stream`]; nothing, once the session has ended.
    pub fn handle_wish(&mut self, wish: Wish, now: Instant) {
        let Phase::Up(_) = self.phase else {
            return;
        };
        if wish.resource.len() + START_MAX > self.policy.frame_out_max {
            let refusal = refusal(414, "the name is longer than a device takes");
            let resource = wish.resource;
            let report = Report::Refused { resource, refusal };
            return self.outputs.push_back(Output::Stream(report));
        }
        self.with_streams(|streams, spare| streams.handle_wish(wish, spare), now);
        self.check_unsent(now);
    }

    /// Input for a resource that is streamed.
    pub(super) fn stream_input(&mut self, resource: &str, payload: Value, waiter: W, now: Instant) {
        let sent = self.try_stream_input(resource, payload, now);
        self.outputs.push_back(Output::Answer(waiter, sent));
    }

    fn try_stream_input(
        &mut self,
        resource: &str,
        payload: Value,
        now: Instant,
    ) -> Result<Answered, RequestError> {
        let Phase::Up(_) = self.phase else {
            return Err(RequestError::NotConnected);
        };
        if is_security(resource) && !self.is_secured() {
            return Err(RequestError::NotSecured);
        }
        let streams = self.streams.as_ref();
        let id = streams.and_then(|streams| streams.input_id(resource));
        let id = id.ok_or(RequestError::NotStreamed)?;
        let frame = self.wire.encode(&stream_data(id, payload));
        let (size, max) = (frame.len(), self.policy.frame_out_max);
        if size > max {
            return Err(RequestError::TooLarge { size, max });
        }
        // Nothing is waited for that would slow down who sends, so the device's reading does.
        if self.is_behind() {
            let max = self.policy.out_buffer_max / 2;
            return Err(RequestError::TooManyBytes { max });
        }
        self.send_frame(frame, now);
        Ok(Answered::Ok(Answer {
            stream_id: Some(id),
            ..Answer::default()
        }))
    }

    /// A Stream Data came.
    pub(super) fn heard_data(&mut self, data: StreamData, now: Instant) {
        let id = data.stream_id;
        if let Some(in_hand) = self.in_hand.as_ref().filter(|one| one.has_stream(id)) {
            if in_hand.is_up(id) {
                let value = data.payload.unwrap_or(Value::Null);
                self.outputs.push_back(Output::Publish(id, value));
            } else {
                self.counters.stream_data_dropped += 1;
            }
            return;
        }
        let heard = match &mut self.streams {
            Some(streams) => streams.handle_data(data, now),
            None => Heard::Unknown,
        };
        match heard {
            Heard::Reported => self.carry_out_streams(now),
            Heard::Dropped => self.counters.stream_data_dropped += 1,
            Heard::Unknown => {
                self.counters.stream_data_dropped += 1;
                self.stop_stale(id, now);
            }
        }
    }

    /// Stops a stream that this session did not open, once. A request of the same ID goes first:
    /// its answer could not be told from that to the Stop Stream.
    fn stop_stale(&mut self, id: StreamId, now: Instant) {
        if id == 0 || self.requests.is_waited_for(id) || !self.requests.avoid(id) {
            return;
        }
        self.ask_stream(id, stop_stream(id), Waiter::Nobody, now);
    }

    /// The answer to a Start Stream or Stop Stream, or that there was none.
    pub(super) fn stream_answered(
        &mut self,
        id: StreamId,
        answer: Result<Answered, RequestError>,
        now: Instant,
    ) {
        if self.streams.is_some() {
            self.with_streams(
                |streams, spare| streams.handle_answer(id, answer, spare, now),
                now,
            );
        }
    }

    /// `None`: the device has no such resource.
    pub(super) fn stream_found(&mut self, name: &str, found: Option<Resource>, now: Instant) {
        let found = found.ok_or_else(|| refusal(404, "the device has no such resource"));
        self.with_streams(
            |streams, spare| streams.looked_up(name, found.map(Some), spare),
            now,
        );
    }

    /// The device did not describe itself. Those of 2020 may not know how to, and are asked for the
    /// stream all the same.
    pub(super) fn not_described(
        &mut self,
        name: &str,
        result: &Result<Answered, RequestError>,
        now: Instant,
    ) {
        let found = match result {
            _ if self.wire.is_2020() => Ok(None),
            Ok(Answered::Ok(answer) | Answered::Error(answer)) => Err(refusal_of(answer)),
            Err(error) => Err(refusal(error.code(), &error.to_string())),
        };
        self.with_streams(|streams, spare| streams.looked_up(name, found, spare), now);
    }

    fn with_streams(&mut self, act: impl FnOnce(&mut Streams, Option<StreamId>), now: Instant) {
        let spare = self.free_id();
        let joint = self.wire.is_2020();
        let streams = self
            .streams
            .get_or_insert_with(|| Box::new(Streams::new(joint)));
        act(streams, spare);
        self.carry_out_streams(now);
    }

    fn carry_out_streams(&mut self, now: Instant) {
        while let Some(effect) = self.streams.as_mut().and_then(|one| one.poll_effect()) {
            match effect {
                Effect::Start { id, resource, beat } => {
                    let start = self.start_stream(id, &resource, beat);
                    self.ask_stream(id, start, Waiter::Stream(id), now);
                }
                Effect::Stop { id } => {
                    self.ask_stream(id, stop_stream(id), Waiter::Stream(id), now);
                }
                Effect::Report(report) => self.outputs.push_back(Output::Stream(report)),
                Effect::LookUp(resource) => self.find_stream(resource, now),
            }
        }
        if self.streams.as_ref().is_some_and(|one| one.is_empty()) {
            self.streams = None;
        }
    }

    fn find_stream(&mut self, resource: Arc<str>, now: Instant) {
        let untold = self.directory.as_ref().is_some_and(|one| one.is_untold());
        if untold && self.wire.is_2020() {
            self.with_streams(
                |streams, spare| streams.looked_up(&resource, Ok(None), spare),
                now,
            );
        } else {
            self.look_up(Lookup::Stream(resource), now);
        }
    }

    fn ask_stream(&mut self, id: StreamId, message: Message, waiter: Waiter<W>, now: Instant) {
        let deadline = now + self.policy.request_deadline;
        self.requests.insert_own(id, deadline, waiter);
        self.send(&message, now);
    }

    /// Milliseconds in a map, but in 2020 bare seconds; always with the resource, without which
    /// devices refuse a change.
    fn start_stream(&self, id: StreamId, resource: &str, beat: u32) -> Message {
        let parameters = if self.wire.is_2020() {
            Value::from(beat)
        } else {
            Value::map([("interval", u64::from(beat) * 1000)])
        };
        Message::StartStream {
            stream_id: Some(id),
            resource: Some(resource.into()),
            parameters: Some(parameters),
        }
    }
}

const fn stop_stream(id: StreamId) -> Message {
    Message::StopStream {
        stream_id: Some(id),
        parameters: None,
        payload: None,
    }
}

pub(super) const fn stream_data(id: StreamId, payload: Value) -> Message {
    Message::StreamData(StreamData {
        stream_id: id,
        kind: None,
        parameters: None,
        payload: Some(payload),
    })
}
