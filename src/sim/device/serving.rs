//! What the gateway asks of the device's resources, and how it is answered.

use std::sync::Arc;

use super::{Behaviour, Device, Event, HELD_BACK_MAX, Output, Phase};
use crate::codec::message::{Answer, Message, Run, StreamId};
use crate::codec::pson::Value;
use crate::sim::resources::{Denial, Resource};
use crate::time::Instant;

/// What a Run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub resource: Resource,
    pub output: Option<Value>,
    pub changed: bool,
}

impl Device {
    pub(super) fn serve(&mut self, message: Message, now: Instant) {
        if self.is_mute() {
            return;
        }
        match message {
            Message::Run(run) => self.serve_run(&run, now),
            Message::Describe {
                stream_id,
                resource,
                ..
            } => {
                let described = self.describe(resource.as_ref(), now);
                self.answer(stream_id, described, now);
            }
            Message::StartStream {
                stream_id,
                resource,
                parameters,
            } => self.start_stream(stream_id, resource.as_ref(), parameters.as_ref(), now),
            Message::StopStream { stream_id, .. } => self.stop_stream(stream_id, now),
            Message::StreamData(data) => self.take_data(data, now),
            Message::Ok(answer) => self.take_answer(answer, true, now),
            Message::Error(answer) => self.take_answer(answer, false, now),
            Message::Connect(_)
            | Message::Disconnect { .. }
            | Message::KeepAlive
            | Message::Unknown(_) => {}
        }
    }

    fn serve_run(&mut self, run: &Run, now: Instant) {
        let input = run.payload.as_ref();
        let found = self.resources.find(run.resource.as_ref());
        let ran = found.and_then(|resource| self.run(resource, input, now));
        let told = match &ran {
            Ok(Ran {
                changed: true,
                resource,
                ..
            }) => Some(Event::Written(resource.name())),
            Ok(ran) if ran.resource == Resource::Info && run.stream_id.is_some() => {
                Some(Event::Described)
            }
            _ => None,
        };
        let change = ran.as_ref().ok().map(|ran| {
            let is_echoed =
                self.config.quirks.echoes_runs && input.is_some() && ran.resource.takes_input();
            (ran.resource, ran.changed || is_echoed)
        });
        let nobody = self.config.quirks.answers_unasked.then_some(0);
        let answer = ran.map(|ran| ran.output);
        self.answer(run.stream_id.or(nobody), answer, now);
        self.outputs.extend(told.map(Output::Report));
        if let Some((resource, true)) = change {
            self.tell_change(resource, None, now);
        }
        self.reboot_if_told(now);
    }

    pub(super) fn run(
        &mut self,
        resource: Resource,
        input: Option<&Value>,
        now: Instant,
    ) -> Result<Ran, Denial> {
        let before = self.state().clone();
        let output = self.resources.run(resource, input, now)?;
        let changed = !Arc::ptr_eq(&before, self.state());
        if changed {
            self.follow(now);
        }
        Ok(Ran {
            resource,
            output,
            changed,
        })
    }

    fn describe(&self, resource: Option<&Value>, now: Instant) -> Result<Option<Value>, Denial> {
        if self.config.quirks.lacks_describe {
            return Err(Denial::Unknown);
        }
        if resource.is_none() {
            return Ok(Some(self.resources.list()));
        }
        let resource = self.resources.find(resource)?;
        Ok(self.resources.sample(resource, now))
    }

    /// Drops the link behind the answers that are on their way.
    pub(super) fn reboot_if_told(&mut self, now: Instant) {
        if self.state().panel.reboots == self.began.panel.reboots {
            return;
        }
        let last = self.held_back.back().map_or(now, |(due, _)| *due);
        if let Phase::Up { drop, .. } = &mut self.phase {
            *drop = Some(last);
        }
    }

    /// Answers a request, if it wants an answer.
    pub(super) fn answer(
        &mut self,
        stream_id: Option<StreamId>,
        result: Result<Option<Value>, Denial>,
        now: Instant,
    ) {
        if stream_id.is_none() {
            return;
        }
        let answer = answer_of(stream_id, result);
        if self.config.quirks.swaps_answers && self.config.behaviour == Behaviour::Normal {
            self.swapped.push(answer);
        } else {
            self.say(&answer, now);
        }
    }

    /// Sends what belongs to an answer, as late as the device answers.
    pub(super) fn say(&mut self, message: &Message, now: Instant) {
        match self.config.behaviour {
            _ if self.is_mute() => {}
            Behaviour::Slow(delay) => {
                let bytes = self.encoded(message);
                self.held_back.push_back((now + delay, bytes));
                let is_full = self.held_back.len() > HELD_BACK_MAX;
                let oldest = self.held_back.pop_front_if(|_| is_full);
                self.outputs
                    .extend(oldest.map(|(_, bytes)| Output::Send(bytes)));
            }
            _ => self.send(message),
        }
    }
}

fn answer_of(stream_id: Option<StreamId>, result: Result<Option<Value>, Denial>) -> Message {
    let with = |parameters, payload| Answer {
        stream_id,
        parameters,
        payload,
    };
    match result {
        Ok(payload) => Message::Ok(with(None, payload)),
        Err(Denial::Unknown) => Message::Error(with(None, None)),
        Err(Denial::Because { code, why }) => {
            let payload = Value::map([("error", why)]);
            Message::Error(with(Some(code.into()), Some(payload)))
        }
    }
}
