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
use crate::session::keepalive::KeepAlive;
use crate::session::machine::{Machine, Output, Phase, Request, Waiter};
use crate::session::requests::{Answered, RequestError};
use crate::session::server_run;
use crate::time::Instant;

/// Where every device of ours tells what it is.
const DEVICE_INFO: &str = "device/info";
/// The resources whose inputs are secrets.
const SECURITY: &str = "security/";

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
        self.phase = Phase::Up(KeepAlive::new(keep_alive, now));
        self.send(&server_run::ok(stream_id), now);
        let request = Request::Run {
            resource: DEVICE_INFO.into(),
            payload: None,
        };
        self.ask(request, Waiter::DeviceInfo, now);
        self.check_unsent(now);
        self.serve(now);
    }

    fn serve_device(&mut self, message: Message, now: Instant) {
        let answer = match message {
            Message::KeepAlive => Some(Message::KeepAlive),
            Message::Ok(answer) => return self.match_answer(answer, Answered::Ok),
            Message::Error(answer) => return self.match_answer(answer, Answered::Error),
            Message::Run(run) => server_run::answer_run(&run),
            Message::Describe { stream_id, .. } => server_run::answer_describe(stream_id),
            Message::StartStream { stream_id, .. } => server_run::answer_start_stream(stream_id),
            Message::StopStream { stream_id, .. } => server_run::answer_stop_stream(stream_id),
            Message::StreamData(data) => {
                self.counters.stream_data_dropped += 1;
                return self.requests.avoid(data.stream_id);
            }
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

    fn match_answer(&mut self, answer: Answer, kind: fn(Answer) -> Answered) {
        match answer.stream_id.and_then(|id| self.requests.take(id)) {
            Some(waiter) => self.answer(waiter, Ok(kind(answer))),
            None => self.counters.answers_dropped += 1,
        }
    }

    pub(super) fn answer(&mut self, waiter: Waiter<W>, result: Result<Answered, RequestError>) {
        match (waiter, result) {
            (Waiter::Caller(waiter), result) => {
                self.outputs.push_back(Output::Answer(waiter, result));
            }
            (Waiter::DeviceInfo, Ok(Answered::Ok(answer))) => {
                if let Some(device_type) = device_type(&answer) {
                    self.report(SessionEvent::Described { device_type });
                }
            }
            // A device that does not tell its type has none.
            (Waiter::DeviceInfo, _) => {}
        }
    }

    pub(super) fn ask(&mut self, request: Request, waiter: Waiter<W>, now: Instant) {
        if let Err((waiter, error)) = self.try_ask(request, waiter, now) {
            self.answer(waiter, Err(error));
        }
    }

    fn try_ask(
        &mut self,
        request: Request,
        waiter: Waiter<W>,
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
        if self.wire.kind() == LinkKind::Plain && carries_secret(&request) {
            return Err((waiter, RequestError::NotSecured));
        }
        let Some(id) = self.requests.free_id() else {
            return Err((waiter, too_many));
        };
        let frame = self.wire.encode(&message_of(request, id));
        let (size, max) = (frame.len(), self.policy.frame_out_max);
        if size > max {
            return Err((waiter, RequestError::TooLarge { size, max }));
        }
        let deadline = now + self.policy.request_deadline;
        self.requests.insert(id, size, deadline, waiter, limits)?;
        self.send_frame(frame, now);
        Ok(())
    }
}

/// Whether the input of a request is not for everybody who listens.
fn carries_secret(request: &Request) -> bool {
    match request {
        Request::Run { resource, payload } => resource.starts_with(SECURITY) && payload.is_some(),
        Request::StreamInput { resource, .. } => resource.starts_with(SECURITY),
        Request::Describe { .. } | Request::Read { .. } => false,
    }
}

fn message_of(request: Request, id: StreamId) -> Message {
    match request {
        Request::Run { resource, payload } => Message::Run(Run {
            stream_id: Some(id),
            resource: Some(Value::String(resource)),
            payload,
            ..Run::default()
        }),
        Request::Read { .. } | Request::StreamInput { .. } => unimplemented!("not built yet"),
        Request::Describe { resource } => Message::Describe {
            stream_id: Some(id),
            resource: resource.map(Value::String),
            parameters: None,
        },
    }
}

/// The `type` of a `device/info`.
fn device_type(answer: &Answer) -> Option<u32> {
    let number = answer.payload.as_ref()?.get("type")?.as_unsigned()?;
    u32::try_from(number).ok()
}
