//! What the device asks of the gateway, and what comes of it.

use super::{Device, Event, Phase, words};
use crate::codec::message::{Answer, Message, StreamData, StreamId};
use crate::codec::pson::Value;
use crate::sim::ask::{Ask, AskId, Subscription, UnseededIds};
use crate::sim::resources::{Denial, Resource};
use crate::time::Instant;

/// Asks that wait for their answers; another one fails at once.
const WAITING_MAX: usize = 1024;

const NOT_CONNECTED: &str = "the device is not connected";
const NOT_KNOWN: &str = "this client knows no such function";
const NO_SUCH_STREAM: &str = "the device has no such stream open";
const LINK_ENDED: &str = "the link ended before the answer";

/// The asks of one session.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Made with the first ask: most devices ask nothing.
    ids: Option<Box<UnseededIds>>,
    waiting: Vec<Waiting>,
    open: Vec<(StreamId, AskId)>,
    /// Subscriptions of the configuration that were asked for.
    begun: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: StreamId,
    ask: AskId,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Stream,
    /// The next subscription of the configuration waits for it.
    Subscription,
}

impl Asking {
    pub(super) fn of_stream(&self, id: StreamId) -> Option<AskId> {
        let mut open = self.open.iter();
        open.find(|(stream, _)| *stream == id).map(|(_, ask)| *ask)
    }

    /// Whether there was such a stream.
    pub(super) fn forget_stream(&mut self, id: StreamId) -> bool {
        let before = self.open.len();
        self.open.retain(|(stream, _)| *stream != id);
        self.open.len() < before
    }

    fn stream_of(&self, ask: AskId) -> Option<StreamId> {
        let mut open = self.open.iter();
        open.find(|(_, of)| *of == ask).map(|(stream, _)| *stream)
    }

    fn is_taken(&self, id: StreamId) -> bool {
        self.of_stream(id).is_some() || self.waiting.iter().any(|waiting| waiting.id == id)
    }
}

impl Device {
    /// Whether it is admitted, so that it can ask something.
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Asks something. What comes of it is told as [`Event::Answered`] with this name.
    pub fn ask(&mut self, id: AskId, ask: &Ask, now: Instant) {
        let done = match ask {
            _ if !self.is_up() => Err(NOT_CONNECTED),
            _ if self.asking.waiting.len() >= WAITING_MAX => Err("too many asks wait already"),
            Ask::Subscribe(subscription) => self.subscribe(id, subscription, Kind::Stream),
            Ask::Unsubscribe(of) => self.unsubscribe(*of),
            Ask::Publish(of, value) => self.publish(*of, value),
            Ask::Touch(resource, input) => {
                self.touch(id, *resource, input.as_ref(), now);
                Ok(())
            }
            function => self.run_function(id, function),
        };
        if let Err(why) = done {
            let answer = Err(why.to_owned());
            self.report(Event::Answered { ask: id, answer });
        }
    }

    /// The next subscription of the configuration.
    pub(super) fn subscribe_next(&mut self) {
        let at = self.asking.begun;
        let Some(subscription) = self.config.subscriptions.get(at).cloned() else {
            return;
        };
        self.asking.begun += 1;
        let ask = AskId(at as u64);
        if let Err(why) = self.subscribe(ask, &subscription, Kind::Subscription) {
            let answer = Err(why.to_owned());
            self.report(Event::Answered { ask, answer });
        }
    }

    /// Takes an Ok or an Error of the gateway.
    pub(super) fn take_answer(&mut self, answer: Answer, is_ok: bool, now: Instant) {
        let mut waiting = self.asking.waiting.iter();
        let found = waiting.position(|waiting| Some(waiting.id) == answer.stream_id);
        let Some(at) = found else {
            if self.config.quirks.answers_answers {
                self.answer(answer.stream_id, Err(Denial::Unknown), now);
            }
            return;
        };
        let Waiting { id, ask, kind } = self.asking.waiting.swap_remove(at);
        if is_ok && kind != Kind::Function {
            self.asking.open.push((id, ask));
        }
        let answer = if is_ok {
            Ok(answer.payload)
        } else {
            Err(words(&answer))
        };
        self.report(Event::Answered { ask, answer });
        if kind == Kind::Subscription {
            self.subscribe_next();
        }
    }

    /// What is not answered when the link ends never will be.
    pub(super) fn answer_all_in_vain(&mut self) {
        for Waiting { ask, .. } in std::mem::take(&mut self.asking.waiting) {
            let answer = Err(LINK_ENDED.to_owned());
            self.report(Event::Answered { ask, answer });
        }
    }

    fn subscribe(
        &mut self,
        ask: AskId,
        subscription: &Subscription,
        kind: Kind,
    ) -> Result<(), &'static str> {
        if self.config.dialect.is_2020() {
            return Err(NOT_KNOWN);
        }
        let id = self.free_id();
        self.send(&subscription.message(id));
        self.asking.waiting.push(Waiting { id, ask, kind });
        Ok(())
    }

    fn unsubscribe(&mut self, of: AskId) -> Result<(), &'static str> {
        let id = self.asking.stream_of(of).ok_or(NO_SUCH_STREAM)?;
        self.asking.forget_stream(id);
        // It waits for no answer, and passes the Ok over.
        self.send(&Message::StopStream {
            stream_id: Some(id),
            parameters: None,
            payload: None,
        });
        Ok(())
    }

    fn publish(&mut self, of: AskId, value: &Value) -> Result<(), &'static str> {
        let id = self.asking.stream_of(of).ok_or(NO_SUCH_STREAM)?;
        self.send(&Message::StreamData(StreamData {
            stream_id: id,
            kind: None,
            parameters: None,
            payload: Some(value.clone()),
        }));
        Ok(())
    }

    fn touch(&mut self, ask: AskId, resource: Resource, input: Option<&Value>, now: Instant) {
        let found = self.resources.find(Some(&resource.name().into()));
        let answer = match found.and_then(|resource| self.run(resource, input, now)) {
            Ok(ran) => {
                if ran.changed {
                    self.tell_change(resource, None, now);
                }
                Ok(ran.output)
            }
            Err(Denial::Because { why, .. }) => Err(why),
            Err(Denial::Unknown) => Err("the device has no such resource".to_owned()),
        };
        self.report(Event::Answered { ask, answer });
        self.reboot_if_told(now);
    }

    fn run_function(&mut self, ask: AskId, function: &Ask) -> Result<(), &'static str> {
        let shape = self.config.quirks.shape;
        let id = self.free_id();
        let run = function.run(shape, id).ok_or(NOT_KNOWN)?;
        self.send(&Message::Run(run));
        let kind = Kind::Function;
        self.asking.waiting.push(Waiting { id, ask, kind });
        Ok(())
    }

    /// The next ID that names nothing.
    fn free_id(&mut self) -> StreamId {
        let mut ids = self.asking.ids.take().unwrap_or_else(|| {
            let mut ids = UnseededIds::new();
            // The Connect took it.
            ids.next();
            Box::new(ids)
        });
        let is_free = |id: &StreamId| {
            *id != 0 && !self.asking.is_taken(*id) && self.streams.find(*id).is_none()
        };
        // Fewer are taken than there are: it comes to a free one.
        let free = ids.find(is_free).unwrap_or(1);
        self.asking.ids = Some(ids);
        free
    }
}
