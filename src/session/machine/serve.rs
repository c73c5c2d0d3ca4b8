//! What the messages of a device lead to, and the requests to it.

use std::sync::Arc;
use std::time::Duration;

use crate::cause::CauseKind;
use crate::codec::frame::CONNECT_BODY_MAX;
use crate::codec::message::{Answer, Connect, Message, Run, StreamId};
use crate::codec::pson::Value;
use crate::device::LinkKind;
use crate::identity::{Claim, Evidence};
use crate::session::SessionEvent;
use crate::session::connect::{self, Rejected};
use crate::session::course::Step;
use crate::session::keepalive::KeepAlive;
use crate::session::machine::{Machine, Output, Phase, Waiter, read};
use crate::session::requests::{Answered, RequestError};
use crate::session::security::is_security;
use crate::session::server_run;
use crate::time::Instant;

/// Where every device of ours tells what it is.
const DEVICE_INFO: &str = "device/info";

impl<W> Machine<W> {
    /// Serves every complete frame that the phase allows.
    pub(super) fn serve(&mut self, now: Instant) {
        loop {
            let body_max = match self.phase {
                Phase::Connect { .. } => CONNECT_BODY_MAX,
                Phase::Up(_) => self.policy.body_in_max,
                Phase::Verdict { .. } => return self.check_held(now),
                _ => return,
            };
            match self.wire.next(body_max) {
                Ok(Some(message)) => self.serve_message(message, now),
                Ok(None) => return,
                Err(error) => return self.end(error.into(), None, now),
            }
        }
    }

    fn serve_message(&mut self, message: Message, now: Instant) {
        self.counters.frames_in += 1;
        match (&mut self.phase, message) {
            (Phase::Up(keep_alive), message) => {
                keep_alive.heard(now);
                self.serve_device(message, now);
                self.check_unsent(now);
            }
            (_, Message::Connect(connect)) => self.judge_connect(connect, now),
            _ => self.protocol_error("the first message is not a Connect", now),
        }
    }

    /// Bounds what is kept for after the verdict.
    fn check_held(&mut self, now: Instant) {
        if self.wire.held() > self.policy.body_in_max {
            self.protocol_error("too much was sent before the answer to the Connect", now);
        }
    }

    fn judge_connect(&mut self, connect: Connect, now: Instant) {
        let Some(stream_id) = server_run::wanted(connect.stream_id) else {
            return self.protocol_error("the Connect has no stream ID", now);
        };
        let proven = self.wire.certificate();
        let certificate = proven.map(|(certificate, _)| Arc::clone(certificate));
        let claimed = match connect::check(connect, proven) {
            Ok(claimed) => claimed,
            Err(Rejected { code, cause }) => {
                let words = server_run::error(stream_id, Some(code), &cause.detail);
                return self.end(cause, Some(words), now);
            }
        };
        self.pass(Step::Connect, now);
        self.phase = Phase::Verdict {
            deadline: now + self.policy.verdict_deadline,
            stream_id,
            keep_alive: claimed.keep_alive,
        };
        self.report(SessionEvent::Claimed(Claim {
            identity: claimed.identity,
            evidence: Evidence {
                link_key: self.wire.link_key(),
                certificate,
                credential: claimed.credential,
            },
            link: self.wire.kind(),
            mode: self.mode,
            peer: self.peer,
            keep_alive: claimed.keep_alive,
        }));
    }

    pub(super) fn admit(&mut self, stream_id: StreamId, keep_alive: Duration, now: Instant) {
        self.pass(Step::Verdict, now);
        self.phase = Phase::Up(KeepAlive::new(keep_alive, now));
        if let Some(course) = &self.course {
            let took = course.theirs();
            self.outputs.push_back(Output::Admitted { took });
        }
        self.send(&server_run::ok(stream_id), now);
        self.ask(run(DEVICE_INFO.into(), None), Waiter::DeviceInfo, now);
        self.check_unsent(now);
        self.serve(now);
    }

    fn serve_device(&mut self, message: Message, now: Instant) {
        let answer = match message {
            Message::KeepAlive => Some(Message::KeepAlive),
            Message::Ok(answer) => return self.match_answer(answer, Answered::Ok, now),
            Message::Error(answer) => return self.match_answer(answer, Answered::Error, now),
            Message::Run(run) => return self.run_function(run, now),
            Message::Describe { stream_id, .. } => {
                let denied = server_run::no_description();
                return self.deny(server_run::wanted(stream_id), &denied, now);
            }
            Message::StartStream {
                stream_id,
                resource,
                parameters,
            } => return self.open_asked(stream_id, resource, parameters, now),
            Message::StopStream { stream_id, .. } => return self.stop_asked(stream_id, now),
            Message::StreamData(data) => return self.heard_data(data, now),
            Message::Unknown(_) => {
                self.counters.unknown_ignored += 1;
                None
            }
            Message::Connect(_) => return self.protocol_error("a second Connect", now),
            Message::Disconnect { stream_id, .. } => {
                let words = server_run::wanted(stream_id).map(server_run::ok);
                return self.end(CauseKind::DisconnectedByDevice.into(), words, now);
            }
        };
        if let Some(answer) = answer {
            self.send(&answer, now);
        }
    }

    fn match_answer(&mut self, answer: Answer, kind: fn(Answer) -> Answered, now: Instant) {
        match answer.stream_id.and_then(|id| self.requests.take(id)) {
            Some(waiter) => self.answer(waiter, Ok(kind(answer)), now),
            None => self.counters.answers_dropped += 1,
        }
    }

    pub(super) fn answer(
        &mut self,
        waiter: Waiter<W>,
        result: Result<Answered, RequestError>,
        now: Instant,
    ) {
        match waiter {
            Waiter::Caller(waiter) => self.outputs.push_back(Output::Answer(waiter, result)),
            Waiter::Part(waiter, key) => {
                let result = result.map(|answered| read::part(answered, key));
                self.outputs.push_back(Output::Answer(waiter, result));
            }
            // A device that does not tell its type has none.
            Waiter::DeviceInfo => {
                if let Ok(Answered::Ok(answer)) = result
                    && let Some(device_type) = device_type(&answer)
                {
                    self.report(SessionEvent::Described { device_type });
                }
            }
            Waiter::Description => self.described(result, now),
            Waiter::Stream(id) => self.stream_answered(id, result, now),
            Waiter::Nobody => {}
        }
    }

    pub(super) fn ask(&mut self, request: Message, waiter: Waiter<W>, now: Instant) {
        let deadline = now + self.policy.request_deadline;
        self.ask_until(request, waiter, deadline, now);
    }

    pub(super) fn ask_until(
        &mut self,
        request: Message,
        waiter: Waiter<W>,
        deadline: Instant,
        now: Instant,
    ) {
        if let Err((waiter, error)) = self.try_ask(request, waiter, deadline, now) {
            self.answer(waiter, Err(error), now);
        }
    }

    /// An ID that is neither a request's nor a stream's of either side.
    pub(super) fn free_id(&mut self) -> Option<StreamId> {
        let (streams, in_hand) = (&self.streams, &self.in_hand);
        self.requests.free_id(|id| {
            streams.as_ref().is_some_and(|streams| streams.has(id))
                || in_hand.as_ref().is_some_and(|one| one.has_stream(id))
        })
    }

    pub(super) const fn is_secured(&self) -> bool {
        !matches!(self.wire.kind(), LinkKind::Plain)
    }

    fn try_ask(
        &mut self,
        mut request: Message,
        waiter: Waiter<W>,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), (Waiter<W>, RequestError)> {
        let limits = self.policy.requests;
        let too_many = RequestError::TooMany {
            max: limits.count_max,
        };
        let Phase::Up(_) = self.phase else {
            return Err((waiter, RequestError::NotConnected));
        };
        // Asked here, where the link cannot be another than it was when that was last looked at.
        if !self.is_secured() && carries_secret(&request) {
            return Err((waiter, RequestError::NotSecured));
        }
        if self.places() >= limits.count_max {
            return Err((waiter, too_many));
        }
        let Some(id) = self.free_id() else {
            return Err((waiter, too_many));
        };
        set_id(&mut request, id);
        let frame = self.wire.encode(&request);
        let (size, max) = (frame.len(), self.policy.frame_out_max);
        if size > max {
            return Err((waiter, RequestError::TooLarge { size, max }));
        }
        self.requests.insert(id, size, deadline, waiter, limits)?;
        self.send_frame(frame, now);
        Ok(())
    }
}

/// Whether the input of a request is not for everybody who listens.
fn carries_secret(request: &Message) -> bool {
    let Message::Run(run) = request else {
        return false;
    };
    let resource = run.resource.as_ref().and_then(Value::as_str);
    run.payload.is_some() && resource.is_some_and(is_security)
}

/// A Run that has no ID yet.
pub(super) fn run(resource: String, payload: Option<Value>) -> Message {
    Message::Run(Run {
        resource: Some(Value::String(resource)),
        payload,
        ..Run::default()
    })
}

/// A Describe that has no ID yet; of all resources without one.
pub(super) fn describe(resource: Option<String>) -> Message {
    Message::Describe {
        stream_id: None,
        resource: resource.map(Value::String),
        parameters: None,
    }
}

pub(super) const fn set_id(request: &mut Message, id: StreamId) {
    if let Message::Run(Run { stream_id, .. }) | Message::Describe { stream_id, .. } = request {
        *stream_id = Some(id);
    }
}

/// The `type` of a `device/info`.
fn device_type(answer: &Answer) -> Option<u32> {
    let number = answer.payload.as_ref()?.get("type")?.as_unsigned()?;
    u32::try_from(number).ok()
}
