//! The life of one conversation with one device, on every link and in both directions.
//!
//! ```text
//! dialled   Dialling ─┬─ plain ───────────────────────────┬─► Connect ─► Verdict ─► Up
//!                     ├─ aes ─► Handshake ────────────────┤      │          │       │
//!                     └─ tls ─► Handshake (as below) ─────┤      │          │       │
//! accepted  FirstByte ┬─ aes ─► Handshake ─► Permit ──────┤      └──────────┴───────┴─► Closing ─► Closed
//!                     ├─ tls ─► Handshake ⇄ Permit ───────┤
//!                     └─ plain ───────────────────────────┘
//! ```
//!
//! On the tls link the device is the TLS client and speaks first, whoever dialled, and its second
//! message ends the handshake; where the gateway is the TLS client there is no permit.
//!
//! Whatever happens, [`SessionEvent::Ended`] is reported once, when closing begins: from then on
//! nothing is heard, and only the closing words are still sent.

mod asked;
mod ending;
mod opening;
mod phase;
mod read;
mod sending;
mod serve;
mod streaming;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::phase::Phase;
use self::read::Lookup;
use crate::codec::message::StreamId;
use crate::codec::pson::Value;
use crate::device::ConnectionMode;
use crate::session::asked::{Function, Subscription};
use crate::session::course::{Course, Step};
use crate::session::directory::Directory;
use crate::session::in_hand::{InHand, Serial};
use crate::session::requests::{Answered, RequestError, Requests};
use crate::session::streams::Streams;
use crate::session::wire::{Progress, Wire};
use crate::session::{AcceptLink, KeyLookup, LiveTls, Policy, closing};
use crate::session::{DialLink, SessionCommand, SessionEvent};
use crate::stream::Report;
use crate::time::Instant;

/// What the machine asks of its shell.
#[derive(Debug, PartialEq)]
pub enum Output<W> {
    /// Write these bytes after those given before.
    Send(Vec<u8>),
    /// Tell the registry.
    Report(SessionEvent),
    /// The device is in, and had taken this long to its Connect.
    Admitted { took: Duration },
    /// A complete first handshake message is there: call [`Machine::handle_permit`] once there is
    /// room for the computation.
    HandshakeReady,
    /// The answer to a request, exactly one for each.
    Answer(W, Result<Answered, RequestError>),
    /// Tell the hub of a stream that it wished for.
    Stream(Report),
    /// Do this for the device, and call [`Machine::handle_outcome`].
    Function(Serial, Function),
    /// Open this for the device, call [`Machine::handle_outcome`], and from then on
    /// [`Machine::handle_push`] with what comes for the stream of this ID.
    Subscribe(Serial, StreamId, Subscription),
    /// The device stopped its stream of this ID, also while it was opening.
    Unsubscribe(StreamId),
    /// The device sent a value on its stream of this ID.
    Publish(StreamId, Value),
    /// Shut down the sending side once everything is written.
    Finish,
    /// Close the connection, written or not. Nothing comes after this.
    Close,
}

/// A request to the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Runs a resource, with `payload` as its input.
    Run {
        resource: String,
        payload: Option<Value>,
    },
    /// Describes a resource; all of them without one.
    Describe { resource: Option<String> },
    /// What the resource tells: runs an output, describes what takes input, and never executes
    /// an action.
    Read { resource: String },
    /// Input for a resource that is streamed, as Stream Data; it is answered once it was sent.
    StreamInput { resource: String, payload: Value },
}

/// What every session is given at its start.
#[derive(Clone)]
pub struct Setup {
    pub policy: Arc<Policy>,
    pub keys: Arc<dyn KeyLookup>,
    pub tls: Arc<dyn LiveTls>,
    /// Random: where the stream IDs of this session begin.
    pub stream_seed: StreamId,
}

/// What a session has seen since its shell took the numbers last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes on the connection, whatever secures it.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub frames_in: u64,
    pub frames_out: u64,
    /// Answers to nothing that was asked, or that came too late.
    pub answers_dropped: u32,
    /// Stream Data of streams that are not open.
    pub stream_data_dropped: u32,
    /// Messages of an unknown type.
    pub unknown_ignored: u32,
    /// What the device wanted done without an answer, and the gateway did not do.
    pub functions_dropped: u32,
    /// Values for streams of the device, which did not read fast enough.
    pub pushes_dropped: u32,
}

/// One conversation. `W` is whom the shell hands the answer to a request.
pub struct Machine<W> {
    policy: Arc<Policy>,
    keys: Arc<dyn KeyLookup>,
    tls: Arc<dyn LiveTls>,
    peer: SocketAddr,
    mode: ConnectionMode,
    phase: Phase,
    wire: Wire,
    requests: Requests<Waiter<W>>,
    /// What is known of the device's resources, once that was needed.
    directory: Option<Box<Directory<Lookup<W>>>>,
    /// The streams that are wished for, if any are.
    streams: Option<Box<Streams>>,
    /// What the device asked for, if anything is in progress or open.
    in_hand: Option<Box<InHand>>,
    outputs: VecDeque<Output<W>>,
    /// Bytes that the shell could not write when it last said so.
    blocked: usize,
    /// Bytes handed to the shell since then.
    queued: usize,
    counters: Counters,
    /// Until it is up, or has ended.
    course: Option<Box<Course>>,
}

enum Waiter<W> {
    DeviceInfo,
    Caller(W),
    /// A caller who wants what a description has under this key.
    Part(W, &'static str),
    /// Whoever waits for the directory.
    Description,
    /// The stream of this ID.
    Stream(StreamId),
    Nobody,
}

impl<W> Machine<W> {
    /// A connection that was accepted at `now`.
    pub fn inbound(peer: SocketAddr, link: AcceptLink, setup: Setup, now: Instant) -> Self {
        let wire = match link {
            AcceptLink::Plain | AcceptLink::WebSocket { secured: false } => Wire::plain(),
            AcceptLink::Aes => Wire::responder(),
            AcceptLink::Tls => Wire::tls_server(),
            AcceptLink::WebSocket { secured: true } => Wire::secured(),
        };
        let phase = Phase::FirstByte { accepted: now };
        let mode = ConnectionMode::DeviceToServer;
        Self::new(peer, mode, phase, wire, setup, now)
    }

    /// A connection that the shell begins to open at `now`.
    pub fn dialled(address: SocketAddr, link: DialLink, setup: Setup, now: Instant) -> Self {
        let deadline = now + setup.policy.dial_deadline;
        let phase = Phase::Dialling { deadline, link };
        let mode = ConnectionMode::ServerToDevice;
        Self::new(address, mode, phase, Wire::plain(), setup, now)
    }

    fn new(
        peer: SocketAddr,
        mode: ConnectionMode,
        phase: Phase,
        wire: Wire,
        setup: Setup,
        now: Instant,
    ) -> Self {
        Self {
            policy: setup.policy,
            keys: setup.keys,
            tls: setup.tls,
            peer,
            mode,
            phase,
            wire,
            requests: Requests::new(setup.stream_seed),
            directory: None,
            streams: None,
            in_hand: None,
            outputs: VecDeque::new(),
            blocked: 0,
            queued: 0,
            counters: Counters::default(),
            course: Some(Box::new(Course::begin(now))),
        }
    }

    /// What was counted since this was asked last.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// The steps on the way to a session that ended since this was asked last, and how long each
    /// took.
    pub fn take_steps(&mut self) -> Vec<(Step, Duration)> {
        let Some(course) = &mut self.course else {
            return Vec::new();
        };
        let ended = course.take_ended();
        if matches!(
            self.phase,
            Phase::Up(_) | Phase::Closing { .. } | Phase::Closed
        ) {
            self.course = None;
        }
        ended
    }

    /// Whether the shell should read. While it does not, what the peer sends waits in the kernel.
    pub const fn wants_read(&self) -> bool {
        match self.phase {
            Phase::FirstByte { .. }
            | Phase::Handshake { .. }
            | Phase::Connect { .. }
            | Phase::Up(_)
            | Phase::Closing { .. } => true,
            Phase::Dialling { .. }
            | Phase::Permit { .. }
            | Phase::Verdict { .. }
            | Phase::Closed => false,
        }
    }

    /// Bytes came, cut anywhere.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.counters.bytes_in += bytes.len() as u64;
        match self.phase {
            Phase::Dialling { .. } | Phase::Closing { .. } | Phase::Closed => return,
            _ if bytes.is_empty() => return,
            Phase::FirstByte { accepted } => self.first_byte(accepted, now),
            _ => {}
        }
        let mut answer = Vec::new();
        let progress = self.wire.receive(bytes, self.keys.as_ref(), &mut answer);
        match progress {
            Ok(Progress::More) => {}
            Ok(Progress::HandshakeReady) => self.handshake_ready(now),
            Ok(Progress::Secured) => self.secured(now),
            Err(error) => return self.end_with(error.into(), answer, now),
        }
        self.emit(answer);
        self.check_unsent(now);
        self.serve(now);
        if self.wire.peer_closed() {
            self.handle_eof(now);
        }
    }

    /// The registry's word.
    pub fn handle_command(&mut self, command: SessionCommand, now: Instant) {
        match (self.phase, command) {
            (
                Phase::Verdict {
                    stream_id,
                    keep_alive,
                    ..
                },
                SessionCommand::Admit(_),
            ) => self.admit(stream_id, keep_alive, now),
            (_, SessionCommand::Admit(_)) => {}
            (
                Phase::Verdict { stream_id, .. },
                SessionCommand::Refuse(cause) | SessionCommand::Close(cause),
            ) => {
                let words = closing::refusal(stream_id, cause.kind);
                self.end(cause, Some(words), now);
            }
            (Phase::Up(_), SessionCommand::Refuse(cause) | SessionCommand::Close(cause)) => {
                let words = closing::disconnect(cause.kind);
                self.end(cause, Some(words), now);
            }
            (_, SessionCommand::Refuse(cause) | SessionCommand::Close(cause)) => {
                self.end(cause, None, now);
            }
        }
    }

    /// Asks something of an admitted device. The answer is always given by [`Output::Answer`].
    pub fn handle_request(&mut self, request: Request, waiter: W, now: Instant) {
        match request {
            Request::Read { resource } => self.read(resource, waiter, now),
            Request::StreamInput { resource, payload } => {
                self.stream_input(&resource, payload, waiter, now);
            }
            Request::Run { resource, payload } => {
                self.ask(serve::run(resource, payload), Waiter::Caller(waiter), now);
            }
            Request::Describe { resource } => {
                self.ask(serve::describe(resource), Waiter::Caller(waiter), now);
            }
        }
        self.check_unsent(now);
    }

    /// Harmless when called early or twice.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(waiter) = self.requests.take_expired(now) {
            self.answer(waiter, Err(RequestError::TimedOut), now);
        }
        if self
            .phase
            .deadline(&self.policy)
            .is_some_and(|deadline| deadline <= now)
        {
            self.phase_timed_out(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = self.phase.deadline(&self.policy)?;
        let request = self.requests.deadline();
        Some(request.map_or(phase, |request| request.min(phase)))
    }

    /// To be drained after every call of the others.
    pub fn poll_output(&mut self) -> Option<Output<W>> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            self.outputs = VecDeque::new();
        }
        output
    }

    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    fn pass(&mut self, step: Step, now: Instant) {
        if let Some(course) = &mut self.course {
            course.pass(step, now);
        }
    }

    fn report(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Report(event));
    }
}

#[cfg(test)]
mod tests;
