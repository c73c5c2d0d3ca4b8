//! The streams of one resource in one session: what is wanted, what the device has, and what is to
//! be sent next.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::refusal;
use crate::codec::message::{StreamData, StreamDataKind, StreamId};
use crate::stream::{Arrival, Refusal};
use crate::time::Instant;

/// How soon after its Ok a device sends its present state. What comes later is taken for what it
/// says it is: a resource may forbid that first message.
const STATE_WITHIN: Duration = Duration::from_secs(5);

/// One resource.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) resource: Arc<str>,
    pub(super) wanted: Pace,
    /// What was last told to be streamed.
    pub(super) told: Pace,
    /// None until it is looked up. Whether the device sends its input and its output.
    pub(super) both_ways: Option<bool>,
    pub(super) sampled: Option<Channel>,
    /// Never used where one stream serves both.
    pub(super) events: Option<Channel>,
    pub(super) under_way: Option<Step>,
    /// Start Streams in a row without an answer.
    pub(super) silences: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) sampled: Option<NonZeroU32>,
    pub(super) events: bool,
}

/// One stream that the device has, or may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) id: StreamId,
    /// Seconds, 0 for events only; `None` when it is not known what the device made of the last
    /// Start Stream.
    pub(super) beat: Option<u32>,
    /// It must be started again, though it is open.
    worn: bool,
    /// Until then the next value is the present state.
    state_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Sampled,
    Events,
}

/// What waits for an answer of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start {
        which: Which,
        id: StreamId,
        beat: u32,
        /// What was wanted when it was sent.
        wanted: Pace,
    },
    Stop {
        which: Which,
        id: StreamId,
    },
}

impl Pace {
    pub(super) const fn is_none(self) -> bool {
        self.sampled.is_none() && !self.events
    }
}

impl Entry {
    pub(super) fn new(resource: Arc<str>) -> Self {
        Self {
            resource,
            wanted: Pace::default(),
            told: Pace::default(),
            both_ways: None,
            sampled: None,
            events: None,
            under_way: None,
            silences: 0,
        }
    }

    pub(super) fn has(&self, id: StreamId) -> bool {
        let open = [self.sampled, self.events];
        open.iter().flatten().any(|channel| channel.id == id)
            || self.under_way.is_some_and(|step| step.id() == id)
    }

    /// Nothing is wanted, open or under way.
    pub(super) const fn is_over(&self) -> bool {
        self.wanted.is_none()
            && self.sampled.is_none()
            && self.events.is_none()
            && self.under_way.is_none()
    }

    /// What the device streams.
    pub(super) fn present(&self, joint: bool) -> Pace {
        let beat_of = |channel: Option<Channel>| channel.and_then(|channel| channel.beat);
        let sampled = beat_of(self.sampled);
        Pace {
            sampled: sampled.and_then(NonZeroU32::new),
            events: if joint {
                self.wanted.events && sampled.is_some()
            } else {
                beat_of(self.events).is_some()
            },
        }
    }

    pub(super) fn is_settled(&self, joint: bool) -> bool {
        self.under_way.is_none() && self.present(joint) == self.wanted
    }

    /// What is to be sent next, if anything.
    pub(super) fn next_step(
        &self,
        joint: bool,
        spare: Option<StreamId>,
    ) -> Result<Option<Step>, Refusal> {
        if self.under_way.is_some() {
            return Ok(None);
        }
        let (sampled, events) = if joint {
            let beat = self.wanted.sampled.map_or(0, NonZeroU32::get);
            ((!self.wanted.is_none()).then_some(beat), None)
        } else {
            let beat = self.wanted.sampled.map(NonZeroU32::get);
            (beat, self.wanted.events.then_some(0))
        };
        let stop = |which, channel: Option<Channel>, wanted: Option<u32>| {
            let id = channel.filter(|_| wanted.is_none())?.id;
            Some(Step::Stop { which, id })
        };
        let stop = stop(Which::Events, self.events, events)
            .or_else(|| stop(Which::Sampled, self.sampled, sampled));
        if stop.is_some() || self.both_ways.is_none() {
            return Ok(stop);
        }
        let start = [
            (Which::Sampled, self.sampled, sampled),
            (Which::Events, self.events, events),
        ]
        .into_iter()
        .find_map(|(which, channel, wanted)| {
            let beat = wanted?;
            let is_there = |channel: Channel| channel.beat == Some(beat) && !channel.worn;
            (!channel.is_some_and(is_there)).then_some((which, channel, beat))
        });
        let Some((which, channel, beat)) = start else {
            return Ok(None);
        };
        let id = channel.map(|channel| channel.id).or(spare);
        let id = id.ok_or_else(|| refusal(503, "every stream ID of the session is taken"))?;
        Ok(Some(Step::Start {
            which,
            id,
            beat,
            wanted: self.wanted,
        }))
    }

    fn channel(&mut self, which: Which) -> &mut Option<Channel> {
        match which {
            Which::Sampled => &mut self.sampled,
            Which::Events => &mut self.events,
        }
    }

    pub(super) fn started(&mut self, which: Which, id: StreamId, beat: u32, now: Instant) {
        self.silences = 0;
        *self.channel(which) = Some(Channel {
            id,
            beat: Some(beat),
            worn: false,
            state_until: Some(now + STATE_WITHIN),
        });
        self.wear_events(which);
    }

    pub(super) fn stopped(&mut self, which: Which) {
        self.silences = 0;
        *self.channel(which) = None;
        self.wear_events(which);
    }

    /// The device may send its events on the sampled stream now, or not at all.
    const fn wear_events(&mut self, which: Which) {
        if let (Which::Sampled, Some(events)) = (which, &mut self.events) {
            events.worn = true;
        }
    }

    /// The device refused a Start Stream. One that was open before is to be stopped, whatever it
    /// does now.
    pub(super) fn not_started(&mut self, which: Which) {
        self.silences = 0;
        if let Some(channel) = self.channel(which) {
            channel.beat = None;
        }
    }

    /// The device may have taken it, or not.
    pub(super) fn unanswered(&mut self, which: Which, id: StreamId) {
        self.silences += 1;
        *self.channel(which) = Some(Channel {
            id,
            beat: None,
            worn: false,
            state_until: None,
        });
    }

    /// How a value came, on a stream that the device has taken and keeps.
    pub(super) fn arrival(&mut self, data: &StreamData, now: Instant) -> Option<Arrival> {
        let is_stopping =
            matches!(self.under_way, Some(Step::Stop { id, .. }) if id == data.stream_id);
        let is_it = |channel: &&mut Channel| channel.id == data.stream_id && channel.beat.is_some();
        let (channel, by_id) = match self.sampled.as_mut().filter(is_it) {
            Some(channel) => (channel, Arrival::Sample),
            None => (self.events.as_mut().filter(is_it)?, Arrival::Event),
        };
        if is_stopping {
            return None;
        }
        let until = channel.state_until.take();
        let is_state = until.is_some_and(|until| now <= until);
        // Where the messages say what they are, only a sample can be the present state.
        Some(match data.kind {
            Some(StreamDataKind::Event) => Arrival::Event,
            _ if is_state => Arrival::State,
            Some(StreamDataKind::Sample) => Arrival::Sample,
            None => by_id,
        })
    }
}

impl Step {
    pub(super) const fn id(self) -> StreamId {
        match self {
            Self::Start { id, .. } | Self::Stop { id, .. } => id,
        }
    }
}
