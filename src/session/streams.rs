//! The streams that the gateway opens in one session: what is wanted of each resource, what the
//! device has taken, and the one step that is under way.
//!
//! Samples and events of one resource are two streams, the sampled one started first: a device may
//! send its events on the stream that was started last, and may forget them when any is stopped,
//! so the one for events is started again after either. In the 2020 dialects one stream serves both,
//! since there the messages say which they are.

mod entry;

use std::collections::VecDeque;
use std::sync::Arc;

use self::entry::{Entry, Pace, Step};
use crate::codec::message::{Answer, StreamData, StreamId};
use crate::codec::pson::Value;
use crate::session::description::{Kind, Resource};
use crate::session::requests::{Answered, RequestError};
use crate::stream::{Refusal, Report, Wish};
use crate::time::Instant;

/// How often a Start Stream is sent without an answer.
const TRIES_MAX: u8 = 2;
/// What is kept of a text of a device, in characters.
const TEXT_MAX: usize = 256;
/// What a value of an input is marked with by devices that send inputs and outputs apart.
const OF_INPUT: Value = Value::Unsigned(1);

/// What is to be done about the streams.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a Start Stream. A beat of 0 s stands for events only.
    Start {
        id: StreamId,
        resource: Arc<str>,
        beat: u32,
    },
    /// Send a Stop Stream.
    Stop {
        id: StreamId,
    },
    Report(Report),
    /// Find out what the device says of this resource, and call [`Streams::looked_up`].
    LookUp(Arc<str>),
}

/// What became of a Stream Data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Reported,
    /// Of a stream that is just being opened or closed, or a part that nobody wants.
    Dropped,
    /// No stream has this ID.
    Unknown,
}

/// The streams of one session.
#[derive(Debug)]
pub struct Streams {
    /// Whether one stream serves samples and events.
    joint: bool,
    entries: Vec<Entry>,
    effects: VecDeque<Effect>,
}

impl Streams {
    /// `joint`: one stream serves samples and events of a resource, as in the 2020 dialects.
    pub const fn new(joint: bool) -> Self {
        Self {
            joint,
            entries: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.effects.is_empty()
    }

    /// To be drained after every call of the others.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether a stream has this ID, or is getting or losing it.
    pub fn has(&self, id: StreamId) -> bool {
        self.entries.iter().any(|entry| entry.has(id))
    }

    /// Where input for the resource is sent.
    pub fn input_id(&self, resource: &str) -> Option<StreamId> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| &*entry.resource == resource)?;
        let channel = entry.sampled.or(entry.events)?;
        channel.beat.map(|_| channel.id)
    }

    /// All that is wanted of one resource from now on. `spare` is an ID that nothing uses.
    pub fn handle_wish(&mut self, wish: Wish, spare: Option<StreamId>) {
        let wanted = Pace {
            sampled: wish.sampled,
            events: wish.events,
        };
        let index = match self.index(&wish.resource) {
            Some(index) => index,
            None if wanted.is_none() => return,
            None => {
                self.entries.push(Entry::new(Arc::clone(&wish.resource)));
                self.effects.push_back(Effect::LookUp(wish.resource));
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[index];
        entry.wanted = wanted;
        if entry.is_settled(self.joint) {
            // Who asks again for what is streamed is told so again.
            entry.told = Pace::default();
        }
        self.advance(index, spare);
    }

    /// What the device says of the resource; none when it does not describe itself, and is asked
    /// all the same, or why there will be no stream.
    pub fn looked_up(
        &mut self,
        resource: &str,
        found: Result<Option<Resource>, Refusal>,
        spare: Option<StreamId>,
    ) {
        let Some(index) = self.index(resource) else {
            return;
        };
        match found.and_then(may_stream) {
            Ok(both_ways) => self.entries[index].both_ways = Some(both_ways),
            Err(refusal) => self.refuse(index, refusal),
        }
        self.advance(index, spare);
    }

    /// The answer to the Start Stream or Stop Stream of this ID, or that there was none.
    pub fn handle_answer(
        &mut self,
        id: StreamId,
        answer: Result<Answered, RequestError>,
        spare: Option<StreamId>,
        now: Instant,
    ) {
        let under_way = |entry: &Entry| entry.under_way.is_some_and(|step| step.id() == id);
        let Some(index) = self.entries.iter().position(under_way) else {
            return;
        };
        let entry = &mut self.entries[index];
        match (entry.under_way.take(), answer) {
            (Some(Step::Stop { which, .. }), _) => entry.stopped(which),
            (Some(Step::Start { which, beat, .. }), Ok(Answered::Ok(_))) => {
                entry.started(which, id, beat, now);
            }
            (Some(Step::Start { which, wanted, .. }), Ok(Answered::Error(answer))) => {
                let is_wanted = entry.wanted == wanted;
                entry.not_started(which);
                if is_wanted {
                    self.refuse(index, refusal_of(&answer));
                }
            }
            (Some(Step::Start { which, .. }), Err(_)) => {
                entry.unanswered(which, id);
                if entry.silences >= TRIES_MAX {
                    entry.silences = 0;
                    let text = "the device did not answer a Start Stream in time";
                    self.refuse(index, refusal(504, text));
                }
            }
            (None, _) => {}
        }
        self.tell(index);
        self.advance(index, spare);
    }

    /// A Stream Data of the device.
    pub fn handle_data(&mut self, data: StreamData, now: Instant) -> Heard {
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.has(data.stream_id));
        let Some(entry) = entry else {
            return Heard::Unknown;
        };
        // What it tells of its output comes as another message.
        if entry.both_ways == Some(true) && data.parameters == Some(OF_INPUT) {
            return Heard::Dropped;
        }
        let Some(arrival) = entry.arrival(&data, now) else {
            return Heard::Dropped;
        };
        self.effects.push_back(Effect::Report(Report::Data {
            resource: Arc::clone(&entry.resource),
            arrival,
            value: data.payload.unwrap_or(Value::Null),
        }));
        Heard::Reported
    }

    fn index(&self, resource: &str) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| &*entry.resource == resource)
    }

    /// Takes the next step towards what is wanted, and forgets a resource of which nothing is.
    fn advance(&mut self, index: usize, spare: Option<StreamId>) {
        let entry = &mut self.entries[index];
        match entry.next_step(self.joint, spare) {
            Ok(None) => {}
            Ok(Some(step)) => {
                entry.under_way = Some(step);
                self.effects.push_back(match step {
                    Step::Start { id, beat, .. } => Effect::Start {
                        id,
                        resource: Arc::clone(&entry.resource),
                        beat,
                    },
                    Step::Stop { id, .. } => Effect::Stop { id },
                });
            }
            Err(refusal) => self.refuse(index, refusal),
        }
        self.tell(index);
        if self.entries[index].is_over() {
            self.entries.swap_remove(index);
        }
    }

    /// Tells what is streamed, when that has changed.
    fn tell(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        if entry.wanted.is_none() {
            // Who wants it again is to be told, also when nothing changes by then.
            entry.told = Pace::default();
            return;
        }
        let present = entry.present(self.joint);
        if present == entry.told {
            return;
        }
        entry.told = present;
        if !present.is_none() {
            self.effects.push_back(Effect::Report(Report::Started {
                resource: Arc::clone(&entry.resource),
                sampled: present.sampled,
                events: present.events,
            }));
        }
    }

    /// Gives the resource up until it is wished for again.
    fn refuse(&mut self, index: usize, refusal: Refusal) {
        let entry = &mut self.entries[index];
        if !entry.wanted.is_none() {
            let resource = Arc::clone(&entry.resource);
            let report = Report::Refused { resource, refusal };
            self.effects.push_back(Effect::Report(report));
        }
        entry.wanted = Pace::default();
        entry.told = Pace::default();
    }
}

/// Whether the resource has an input and an output.
fn may_stream(found: Option<Resource>) -> Result<bool, Refusal> {
    match found {
        Some(Resource {
            kind: Kind::Action, ..
        }) => Err(refusal(
            405,
            "the resource is an action: it is run, not streamed",
        )),
        Some(Resource { streams: false, .. }) => Err(refusal(
            409,
            "the device says that the resource is not streamed",
        )),
        Some(Resource { kind, .. }) => Ok(kind == Kind::InputOutput),
        None => Ok(false),
    }
}

pub fn refusal(code: u16, text: &str) -> Refusal {
    Refusal {
        code,
        text: text.into(),
    }
}

/// The Error of a device as the reason that there is no stream.
pub fn refusal_of(answer: &Answer) -> Refusal {
    let code = answer.code();
    let text: String = match answer.text() {
        Some(text) => text.chars().take(TEXT_MAX).collect(),
        None => "the device refused without a reason".into(),
    };
    Refusal {
        code: code.filter(|code| (400..600).contains(code)).unwrap_or(502),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests;
