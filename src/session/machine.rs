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
mod read;
mod serve;
mod streaming;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::{Cause, CauseKind};
use crate::codec::message::{Message, StreamId};
use crate::codec::pson::Value;
use crate::config::DialRole;
use crate::device::{ConnectionMode, LinkKind};
use crate::session::asked::{Function, Subscription};
use crate::session::course::{Course, Step};
use crate::session::directory::Directory;
use crate::session::in_hand::{InHand, Serial};
use crate::session::keepalive::KeepAlive;
use crate::session::machine::read::Lookup;
use crate::session::requests::{Answered, RequestError, Requests};
use crate::session::streams::Streams;
use crate::session::wire::{Progress, Wire, WireError};
use crate::session::{AcceptLink, KeyLookup, LiveTls, Policy, closing};
use crate::session::{DialLink, SessionCommand, SessionEvent};
use crate::stream::Report;
use crate::time::Instant;

/// How long a peer is read and dropped after the closing words, so that a reset does not eat them.
const LINGER: Duration = Duration::from_secs(1);

/// What the machine asks of its shell.
#[derive(Debug, PartialEq)]
pub enum Output<W> {
    /// Write these bytes after those given before.
    Send(Vec<u8>),
    /// Tell the registry.
    Report(SessionEvent),
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

#[derive(Clone, Copy)]
enum Phase {
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

    /// What it says of a device that we dialled that it closes before its link is up.
    fn closed_in_handshake(&self) -> Option<Cause> {
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

    /// After everything of [`Output::Send`] was tried: `unsent` bytes are not written yet.
    pub fn handle_written(&mut self, unsent: usize, now: Instant) {
        self.blocked = unsent;
        self.queued = 0;
        self.check_unsent(now);
    }

    /// Harmless when called early or twice.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(waiter) = self.requests.take_expired(now) {
            self.answer(waiter, Err(RequestError::TimedOut), now);
        }
        if self
            .phase_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.phase_timed_out(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = self.phase_deadline()?;
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

    fn first_byte(&mut self, accepted: Instant, now: Instant) {
        self.pass(Step::FirstByte, now);
        self.phase = if self.wire.is_open() {
            let deadline = accepted + self.policy.connect_deadline;
            Phase::Connect { deadline }
        } else {
            let deadline = now + self.policy.handshake_deadline;
            Phase::Handshake { deadline }
        };
    }

    fn handshake_ready(&mut self, now: Instant) {
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

    fn secured(&mut self, now: Instant) {
        let is_handshake = !matches!(self.phase, Phase::Dialling { .. });
        if let Some(course) = self.course.as_mut().filter(|_| is_handshake) {
            course.pass_handshake(now);
        }
        let deadline = now + self.policy.connect_deadline;
        self.phase = Phase::Connect { deadline };
    }

    fn send(&mut self, message: &Message, now: Instant) {
        let frame = self.wire.encode(message);
        self.send_frame(frame, now);
    }

    fn send_frame(&mut self, frame: Vec<u8>, now: Instant) {
        match self.wire.seal(frame) {
            Ok(bytes) => {
                self.counters.frames_out += 1;
                self.emit(bytes);
            }
            Err(error) => self.end(error.into(), None, now),
        }
    }

    fn emit(&mut self, bytes: Vec<u8>) {
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
    fn check_unsent(&mut self, now: Instant) {
        let unsent = self.blocked + self.queued;
        if unsent > self.policy.out_buffer_max {
            let text = format!("the device does not read, {unsent} bytes wait for it");
            self.end(Cause::new(CauseKind::IoError, text), None, now);
        }
    }

    fn report(&mut self, event: SessionEvent) {
        self.outputs.push_back(Output::Report(event));
    }

    fn protocol_error(&mut self, text: &str, now: Instant) {
        self.end(Cause::new(CauseKind::ProtocolError, text), None, now);
    }

    /// Begins to close, once. Words are left out for a peer that did not even read what was sent
    /// before.
    fn end(&mut self, cause: Cause, words: Option<Message>, now: Instant) {
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
    fn end_with(&mut self, cause: Cause, last: Vec<u8>, now: Instant) {
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

    fn phase_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Dialling { deadline, .. }
            | Phase::Handshake { deadline }
            | Phase::Permit { deadline }
            | Phase::Connect { deadline }
            | Phase::Verdict { deadline, .. }
            | Phase::Closing { deadline } => Some(*deadline),
            Phase::FirstByte { accepted } => Some(*accepted + self.policy.first_byte_deadline),
            Phase::Up(keep_alive) => Some(keep_alive.deadline()),
            Phase::Closed => None,
        }
    }

    fn phase_timed_out(&mut self, now: Instant) {
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

#[cfg(test)]
mod tests;
