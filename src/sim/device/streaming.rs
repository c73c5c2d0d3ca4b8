//! The gateway's streams of the device's resources.

use super::{Device, Event, Phase};
use crate::codec::message::{Answer, Message, StreamData, StreamDataKind, StreamId};
use crate::codec::pson::Value;
use crate::sim::resources::{Denial, Resource};
use crate::sim::streams::{Asked, Full, Open, STREAMS_MAX};
use crate::time::Instant;

const NO_STREAM_OF_IT: u64 = 405;
const TOO_MANY: u64 = 503;

/// How a legacy device marks the two halves of a value.
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;

impl Device {
    /// Streams of the link before go on under their old IDs, before anyone asked for them.
    pub(super) fn go_on_with_streams(&mut self, now: Instant) {
        let kept = self.state().streams.open.clone();
        self.streams.begin(&kept, now);
        for open in kept.iter().filter(|open| open.interval.is_some()) {
            self.send_value(open, StreamDataKind::Sample, now);
        }
    }

    pub(super) fn start_stream(
        &mut self,
        stream_id: Option<StreamId>,
        resource: Option<&Value>,
        parameters: Option<&Value>,
        now: Instant,
    ) {
        self.resources.state_mut().streams.starts += 1;
        let Some(id) = stream_id else { return };
        match self.opened(id, resource, parameters, now) {
            Ok(opened) => {
                self.answer_stream(stream_id, Ok(()), now);
                if let Some(open) = opened {
                    self.report(Event::StreamStarted {
                        id,
                        resource: open.resource,
                        interval: open.interval,
                    });
                    self.send_value(&open, kind_of(&open), now);
                }
            }
            Err(denial) => {
                self.answer_stream(stream_id, Err(denial), now);
                self.report(Event::StreamRefused { id });
            }
        }
        self.reboot_if_told(now);
    }

    /// Opens what is asked for; `None` where the resource was run in its place.
    fn opened(
        &mut self,
        id: StreamId,
        resource: Option<&Value>,
        parameters: Option<&Value>,
        now: Instant,
    ) -> Result<Option<Open>, Denial> {
        let quirks = self.config.quirks;
        let before = self.streams.find(id);
        let resource = match (resource, before) {
            (None, Some(before)) if !quirks.wants_resource => before.resource,
            (resource, _) => self.resources.find(resource)?,
        };
        if resource.is_action() && quirks.runs_on_start {
            self.run(resource, None, now)?;
            return Ok(None);
        }
        if self.resources.shown(resource, now).is_none() {
            let why = format!("{} is not streamed", resource.name());
            let code = NO_STREAM_OF_IT;
            return Err(Denial::Because { code, why });
        }
        let is_2020 = self.config.dialect.is_2020();
        let interval = match Asked::read(parameters, is_2020, &quirks) {
            Asked::Interval(interval) => Some(interval),
            Asked::Nothing if quirks.keeps_interval => before.and_then(|open| open.interval),
            Asked::Events | Asked::Nothing => None,
        };
        let open = Open {
            id,
            resource,
            interval,
        };
        self.streams
            .start(open, now)
            .map_err(|Full| Denial::Because {
                code: TOO_MANY,
                why: format!("{STREAMS_MAX} streams are open"),
            })?;
        // One table holds the streams of both sides: the newer one has the ID.
        self.asking.forget_stream(id);
        self.note_open();
        Ok(Some(open))
    }

    /// Nothing is said of a resource that is unknown; other reasons go under `message`.
    fn answer_stream(
        &mut self,
        stream_id: Option<StreamId>,
        result: Result<(), Denial>,
        now: Instant,
    ) {
        let with = |parameters, payload| Answer {
            stream_id,
            parameters,
            payload,
        };
        let answer = match result {
            Ok(()) => Message::Ok(with(None, None)),
            Err(Denial::Unknown) => Message::Error(with(None, None)),
            Err(Denial::Because { code, why }) => {
                let payload = Value::map([("message", why)]);
                Message::Error(with(Some(code.into()), Some(payload)))
            }
        };
        self.say(&answer, now);
    }

    pub(super) fn stop_stream(&mut self, stream_id: Option<StreamId>, now: Instant) {
        self.resources.state_mut().streams.stops += 1;
        let Some(id) = stream_id else { return };
        let was_open = self.streams.stop(id).is_some() | self.asking.forget_stream(id);
        self.note_open();
        let result = if was_open || self.config.quirks.always_stops {
            Ok(())
        } else {
            Err(Denial::Unknown)
        };
        self.answer_stream(stream_id, result, now);
        self.report(Event::StreamStopped { id });
    }

    /// Data from the gateway: an input for the resource of that stream, or what a stream of the
    /// device's own is for.
    pub(super) fn take_data(&mut self, data: StreamData, now: Instant) {
        let id = data.stream_id;
        if let Some(open) = self.streams.find(id) {
            self.take_input(&open, data.payload.as_ref(), now);
        } else if let Some(ask) = self.asking.of_stream(id) {
            let value = data.payload.unwrap_or(Value::Null);
            self.report(Event::Pushed { ask, value });
        } else if self.config.quirks.answers_answers {
            self.answer(Some(id), Err(Denial::Unknown), now);
        }
    }

    fn take_input(&mut self, open: &Open, input: Option<&Value>, now: Instant) {
        // There is no answer that could say what is wrong with it.
        let Ok(ran) = self.run(open.resource, input, now) else {
            return;
        };
        if ran.changed {
            self.report(Event::Written(open.resource.name()));
        }
        self.send_value(open, StreamDataKind::Event, now);
        if ran.changed {
            self.tell_change(open.resource, Some(open.id), now);
        }
    }

    /// Tells the streams that are told of changes, but for the one that has been told.
    pub(super) fn tell_change(&mut self, resource: Resource, told: Option<StreamId>, now: Instant) {
        for open in self.streams.told_of(resource) {
            if Some(open.id) != told {
                self.send_value(&open, StreamDataKind::Event, now);
            }
        }
    }

    pub(super) fn send_samples(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Up { .. }) {
            for open in self.streams.due(now) {
                self.send_value(&open, StreamDataKind::Sample, now);
            }
        }
    }

    fn send_value(&mut self, open: &Open, kind: StreamDataKind, now: Instant) {
        let both = [
            (INPUT, self.resources.input(open.resource)),
            (OUTPUT, self.resources.output(open.resource, now)),
        ];
        let values: Vec<(Option<Value>, Value)> = if self.config.quirks.tells_both {
            let told = both.into_iter();
            told.filter_map(|(half, value)| Some((Some(half.into()), value?)))
                .collect()
        } else {
            let shown = self.resources.shown(open.resource, now);
            shown.into_iter().map(|value| (None, value)).collect()
        };
        for (parameters, value) in values {
            let data = Message::StreamData(StreamData {
                stream_id: open.id,
                kind: self.config.dialect.is_2020().then_some(kind),
                parameters,
                payload: Some(value),
            });
            self.say(&data, now);
        }
    }

    fn note_open(&mut self) {
        self.resources.state_mut().streams.open = self.streams.open();
    }
}

/// Of the value that follows the Ok.
const fn kind_of(open: &Open) -> StreamDataKind {
    match open.interval {
        Some(_) => StreamDataKind::Sample,
        None => StreamDataKind::Event,
    }
}
