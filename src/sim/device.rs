//! The device's side of one conversation.
//!
//! ```text
//! Connecting ── Ok ──► Up ──► Closed        Deaf ──► Closed
//!      └─ anything else ───────►┘             (never connects, or never speaks again)
//! ```
//!
//! What goes in and out are the bytes of IOTMP; whatever secures them lies outside.

mod asking;
mod serving;
mod streaming;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, Split};
use crate::codec::message::{Answer, Authentication, Connect, Message, StreamId, text_of};
use crate::codec::pson::Value;
use crate::device::LinkKind;
use crate::sim::ask::{AskId, Subscription};
use crate::sim::device::asking::Asking;
use crate::sim::info::Info;
use crate::sim::quirks::Quirks;
use crate::sim::resources::{Resource, Resources};
use crate::sim::state::DeviceState;
use crate::sim::streams::Streams;
use crate::sim::wire;
use crate::time::Instant;

/// What every freshly started Linux client takes: its random numbers are never seeded.
const CONNECT_ID: StreamId = 17767;

/// The interval of a device that asks for none.
const KEEP_ALIVE_DEFAULT: u64 = 60;

/// How long after the Ok a legacy client sends its first Keep Alive.
const LEGACY_FIRST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Answers that a slow device holds back; above that the oldest goes out at once.
const HELD_BACK_MAX: usize = 256;

/// The longest run of garbage, in bytes.
const GARBAGE_MAX: usize = 512;

const DROPPED: &str = "the device dropped the link";
const REBOOTS: &str = "the device reboots";

/// From a changed stance to the end of the link: time enough for the answer to arrive.
const LEAVE_AFTER: Duration = Duration::from_millis(300);
/// The same for a device that is slow to answer.
const LEAVE_AFTER_MAX: Duration = Duration::from_millis(4500);

/// Who a simulated device is and how it behaves. The default is a good device without a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Not checked, so that a device can claim what no device may be called.
    pub username: String,
    pub device: String,
    /// Sent as it is, right or wrong; text, as the protocol has it.
    pub credential: String,
    pub info: Info,
    /// Seconds, asked for in the Connect; `None` leaves it to the default of 60.
    pub keep_alive: Option<u64>,
    pub dialect: Dialect,
    pub behaviour: Behaviour,
    /// See [`Like::apply`](crate::sim::quirks::Like::apply).
    pub quirks: Quirks,
    /// What it has beside [`Resource::BASE`].
    pub extras: &'static [Resource],
    /// Opened in each session as soon as it is admitted, one after the other.
    pub subscriptions: Vec<Subscription>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            username: String::new(),
            device: String::new(),
            credential: String::new(),
            info: Info::default(),
            keep_alive: None,
            dialect: Dialect::Current,
            behaviour: Behaviour::Normal,
            quirks: Quirks::NONE,
            extras: &[],
            subscriptions: Vec::new(),
        }
    }
}

/// What a device does differently from a good one, whichever client it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Normal,
    /// Holds each answer back for this long.
    Slow(Duration),
    /// Never sends a byte.
    Mute,
    /// Connects, and then never sends another byte.
    MuteOnceConnected,
    /// Sends these bytes in place of a Connect; [`garbage`] makes some.
    Garbage(Vec<u8>),
    /// Drops the link this long after it was admitted.
    Churn(Duration),
}

/// What the device asks of whoever runs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send these bytes after those given before.
    Send(Vec<u8>),
    /// Something to count.
    Report(Event),
    /// Close the link once everything is sent. Nothing comes after this.
    Close,
}

/// How far the device came.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The gateway answered the Connect with Ok.
    Admitted,
    /// The gateway asked for `device/info` and was answered.
    Described,
    /// The gateway wrote to a resource, and something changed; how that is called.
    Written(&'static str),
    /// The gateway sent a Start Stream, and was answered with Ok; an interval of `None` is a stream
    /// of events.
    StreamStarted {
        id: StreamId,
        resource: Resource,
        interval: Option<Duration>,
    },
    /// The gateway sent a Start Stream, and was answered with Error.
    StreamRefused { id: StreamId },
    /// The gateway sent a Stop Stream, open or not.
    StreamStopped { id: StreamId },
    /// What came of something that the device asked: the payload of the Ok, or what the Error says.
    Answered {
        ask: AskId,
        answer: Result<Option<Value>, String>,
    },
    /// A value came on a stream that the device opened.
    Pushed { ask: AskId, value: Value },
    /// The gateway answered the Connect otherwise, or not at all; why, as far as it said so.
    Refused(String),
    /// The conversation ended after it was admitted, or without ever having begun; why.
    Disconnected(String),
}

/// One conversation, from the moment that the link is up.
#[derive(Debug)]
pub struct Device {
    config: Config,
    resources: Resources,
    /// What it kept when the link came up.
    began: Arc<DeviceState>,
    phase: Phase,
    /// Bytes that are no whole frame yet.
    received: Vec<u8>,
    held_back: VecDeque<(Instant, Vec<u8>)>,
    /// Of the Runs in one packet, where they are answered in another order.
    swapped: Vec<Message>,
    streams: Streams,
    asking: Asking,
    /// When it waits no longer for the answer to its Connect. Its patience begins with the first
    /// call that tells the time.
    gives_up: Option<Instant>,
    /// Messages sent, for those that differ from one to the next.
    sent: u64,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Up {
        /// `None` when the device is silent.
        keep_alive: Option<Instant>,
        drop: Option<Instant>,
        /// When it follows what it was told: to dial, or to listen.
        leave: Option<Instant>,
        /// Whether the last Keep Alive came back.
        is_echoed: bool,
    },
    /// Has no conversation to lead.
    Deaf,
    Closed,
}

impl Device {
    /// A plain link of a device that has never been told anything is up: the Connect is the first
    /// output.
    pub fn new(config: Config) -> Self {
        Self::with_state(config, BTreeSet::new(), LinkKind::Plain, Arc::default())
    }

    /// The same for any device: the resources that it lacks, what its link is, and what it keeps.
    pub fn with_state(
        mut config: Config,
        lacking: BTreeSet<Resource>,
        link: LinkKind,
        state: Arc<DeviceState>,
    ) -> Self {
        if link != LinkKind::Plain
            && let Some(credential) = &state.ssl.credential
        {
            config.credential = credential.to_string();
        }
        let info = std::mem::take(&mut config.info);
        let mut resources = Resources::new(info, lacking, link, state.clone());
        if !config.quirks.keeps_streams && !state.streams.open.is_empty() {
            resources.state_mut().streams.open.clear();
        }
        let mut device = Self {
            resources: resources.with_extras(config.extras),
            streams: Streams::new(&config.quirks),
            asking: Asking::default(),
            config,
            began: state,
            phase: Phase::Deaf,
            received: Vec::new(),
            held_back: VecDeque::new(),
            swapped: Vec::new(),
            gives_up: None,
            sent: 0,
            outputs: VecDeque::new(),
        };
        match &device.config.behaviour {
            Behaviour::Mute => {}
            Behaviour::Garbage(bytes) => device.outputs.push_back(Output::Send(bytes.clone())),
            _ => device.connect(),
        }
        device
    }

    /// Takes bytes from the gateway, cut anywhere.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.phase, Phase::Deaf | Phase::Closed) {
            return;
        }
        let mut received = std::mem::take(&mut self.received);
        received.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            match self.next_message(&received[start..]) {
                _ if matches!(self.phase, Phase::Closed) => return,
                Ok(Some((message, len))) => {
                    start += len;
                    self.handle_message(message, now);
                }
                Ok(None) => break,
                Err(problem) => return self.end(problem),
            }
        }
        if start < received.len() {
            received.drain(..start);
            self.received = received;
        }
        while let Some(answer) = self.swapped.pop() {
            self.send(&answer);
        }
    }

    /// Does what is due; harmless when called early or twice.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, answer)) = self.held_back.pop_front_if(|(due, _)| *due <= now) {
            self.outputs.push_back(Output::Send(answer));
        }
        if let (Phase::Connecting, Some(patience)) = (self.phase, self.config.quirks.patience)
            && *self.gives_up.get_or_insert(now + patience) <= now
        {
            return self.end("the Connect was not answered in time".to_owned());
        }
        self.send_samples(now);
        let Phase::Up {
            keep_alive,
            drop,
            leave,
            ..
        } = self.phase
        else {
            return;
        };
        if leave.is_some_and(|leave| leave <= now) {
            self.leave();
        } else if drop.is_some_and(|drop| drop <= now) {
            let has_rebooted = self.state().panel.reboots != self.began.panel.reboots;
            let why = if has_rebooted { REBOOTS } else { DROPPED };
            self.end(why.to_owned());
        } else if keep_alive.is_some_and(|due| due <= now) {
            self.keep_alive(now);
        }
    }

    /// The gateway closed the link, or it broke.
    pub fn handle_closed(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            self.report_end("the gateway closed the link".to_owned());
        }
    }

    /// When [`Device::handle_timeout`] is due. To be asked after every change.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held_back = self.held_back.front().map(|(due, _)| *due);
        let due = match self.phase {
            Phase::Up {
                keep_alive,
                drop,
                leave,
                ..
            } => [keep_alive, drop, leave, self.streams.poll_timeout()],
            Phase::Connecting if self.config.quirks.patience.is_some() => [
                Some(self.gives_up.unwrap_or(Instant::ZERO)),
                None,
                None,
                None,
            ],
            _ => [None; 4],
        };
        due.into_iter().chain([held_back]).flatten().min()
    }

    /// What it is to keep when the link is gone. To be asked before its outputs are carried out,
    /// so that what it has answered is kept.
    pub const fn state(&self) -> &Arc<DeviceState> {
        self.resources.state()
    }

    /// What is to be done next, until there is nothing more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn connect(&mut self) {
        self.phase = Phase::Connecting;
        self.send(&Message::Connect(Connect {
            stream_id: Some(CONNECT_ID),
            authentication: Authentication::Credentials {
                username: self.config.username.clone(),
                device: self.config.device.clone(),
                credential: self.config.credential.clone().into_bytes(),
            },
            keep_alive: self.config.keep_alive,
        }));
    }

    /// The message that `received` begins with, and its length.
    fn next_message(&self, received: &[u8]) -> Result<Option<(Message, usize)>, String> {
        let frame = match frame::split(received, self.config.quirks.body_max) {
            Ok(Split::Incomplete(_)) => return Ok(None),
            Ok(Split::Frame(frame)) => frame,
            Err(error) => return Err(error.to_string()),
        };
        let len = frame.body.end;
        let body = &received[frame.body];
        wire::decode(
            self.config.dialect,
            &self.config.quirks,
            frame.message_type,
            body,
        )
        .map(|message| Some((message, len)))
        .map_err(|error| error.to_string())
    }

    fn handle_message(&mut self, message: Message, now: Instant) {
        let is_connecting = matches!(self.phase, Phase::Connecting);
        match (self.phase, message) {
            (_, Message::Disconnect { .. })
                if self.config.quirks.ignores_disconnect && !is_connecting => {}
            (
                _,
                Message::Disconnect {
                    stream_id, detail, ..
                },
            ) => self.handle_disconnect(stream_id, detail.as_ref()),
            (Phase::Connecting, message) => self.handle_verdict(message, now),
            (_, Message::KeepAlive) => self.handle_echo(),
            (_, message) => self.serve(message, now),
        }
    }

    fn handle_verdict(&mut self, message: Message, now: Instant) {
        match message {
            Message::Ok(Answer { stream_id, .. })
                if stream_id == Some(CONNECT_ID) || self.config.quirks.takes_any_ok =>
            {
                self.admitted(now);
            }
            Message::Error(answer) if answer.stream_id == Some(CONNECT_ID) => {
                self.end(words(&answer));
            }
            // The legacy client waits for its answer and serves what else comes; all others take
            // the first frame for the answer.
            message if self.config.dialect == Dialect::Legacy => self.serve(message, now),
            message => self.end(format!("the first answer is no Ok: {message:?}")),
        }
    }

    fn admitted(&mut self, now: Instant) {
        let first = match self.config.dialect {
            Dialect::Legacy => LEGACY_FIRST_KEEP_ALIVE,
            _ => self.interval(),
        };
        let drop = match self.config.behaviour {
            Behaviour::Churn(up) => Some(now + up),
            _ => None,
        };
        self.phase = Phase::Up {
            keep_alive: (!self.is_mute()).then(|| now + first),
            drop,
            leave: None,
            is_echoed: true,
        };
        self.report(Event::Admitted);
        self.go_on_with_streams(now);
        self.subscribe_next();
    }

    /// Whether nothing is sent any more once it is admitted.
    fn is_mute(&self) -> bool {
        self.config.behaviour == Behaviour::MuteOnceConnected
    }

    fn interval(&self) -> Duration {
        let asked = self.config.keep_alive.filter(|seconds| *seconds > 0);
        let asked = Duration::from_secs(asked.unwrap_or(KEEP_ALIVE_DEFAULT));
        self.config.quirks.keep_alive.unwrap_or(asked)
    }

    fn keep_alive(&mut self, now: Instant) {
        let interval = self.interval();
        let Phase::Up {
            keep_alive,
            is_echoed,
            ..
        } = &mut self.phase
        else {
            return;
        };
        if !*is_echoed && self.config.dialect == Dialect::Legacy {
            return self.end("the last Keep Alive was not echoed".to_owned());
        }
        *keep_alive = Some(now + interval);
        *is_echoed = false;
        self.send(&Message::KeepAlive);
    }

    fn handle_echo(&mut self) {
        if let Phase::Up { is_echoed, .. } = &mut self.phase {
            *is_echoed = true;
        }
    }

    /// Sets out for where it is told to be, or stays if that is here again.
    fn follow(&mut self, now: Instant) {
        let is_elsewhere = self.state().ip.stance() != self.began.ip.stance();
        let patience = match self.config.behaviour {
            Behaviour::Slow(delay) => LEAVE_AFTER.saturating_add(delay).min(LEAVE_AFTER_MAX),
            _ => LEAVE_AFTER,
        };
        if let Phase::Up { leave, .. } = &mut self.phase {
            *leave = is_elsewhere.then(|| now + patience);
        }
    }

    /// Says where it goes, and goes.
    fn leave(&mut self) {
        let why = format!("the device was told to {}", self.state().ip.stance());
        self.send(&Message::Disconnect {
            stream_id: None,
            reason: None,
            detail: Some(why.as_str().into()),
        });
        self.end(why);
    }

    /// Answers if that is wanted, and leaves.
    fn handle_disconnect(&mut self, stream_id: Option<StreamId>, detail: Option<&Value>) {
        if stream_id.is_some() && !self.is_mute() {
            self.send(&Message::Ok(Answer {
                stream_id,
                ..Answer::default()
            }));
        }
        self.end(
            detail
                .and_then(text_of)
                .unwrap_or("no reason was given")
                .to_owned(),
        );
    }

    fn send(&mut self, message: &Message) {
        let bytes = self.encoded(message);
        self.outputs.push_back(Output::Send(bytes));
    }

    fn encoded(&mut self, message: &Message) -> Vec<u8> {
        self.sent += 1;
        let backwards = self.sent.is_multiple_of(2);
        let Config {
            dialect, quirks, ..
        } = &self.config;
        wire::encode(*dialect, quirks, message, backwards)
    }

    fn end(&mut self, why: String) {
        self.report_end(why);
        self.outputs.push_back(Output::Close);
    }

    fn report_end(&mut self, why: String) {
        let event = match self.phase {
            Phase::Connecting => Event::Refused(why),
            _ => Event::Disconnected(why),
        };
        self.phase = Phase::Closed;
        self.held_back.clear();
        self.answer_all_in_vain();
        self.report(event);
    }

    fn report(&mut self, event: Event) {
        self.outputs.push_back(Output::Report(event));
    }
}

/// Random bytes, the same for the same seed.
pub fn garbage(seed: u64) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bytes = vec![0; rng.random_range(1..=GARBAGE_MAX)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// What an Error says: its code, its text, or that it says nothing.
fn words(answer: &Answer) -> String {
    match (answer.code(), answer.text()) {
        (Some(code), Some(text)) => format!("{code}: {text}"),
        (Some(code), None) => format!("code {code}"),
        (None, Some(text)) => text.to_owned(),
        (None, None) => "no reason was given".to_owned(),
    }
}
