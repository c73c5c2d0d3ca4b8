//! Reading resources: what kind each is, from one description a session, and how its kind is read.

use std::sync::Arc;

use crate::codec::message::Answer;
use crate::session::description::{Kind, Resource};
use crate::session::directory::Found;
use crate::session::machine::serve::{describe, run, set_id};
use crate::session::machine::{Machine, Output, Phase, Waiter};
use crate::session::requests::{Answered, RequestError};
use crate::time::Instant;

/// Who waits for the description of the device.
pub(super) enum Lookup<W> {
    /// A Read, which takes a place among the requests in flight.
    Read {
        resource: String,
        waiter: W,
        /// For the whole of the Read.
        deadline: Instant,
    },
    Stream(Arc<str>),
}

impl<W> Machine<W> {
    pub(super) fn read(&mut self, resource: String, waiter: W, now: Instant) {
        let max = self.policy.requests.count_max;
        let refused = match self.phase {
            Phase::Up(_) if self.places() >= max => RequestError::TooMany { max },
            Phase::Up(_) => {
                let deadline = now + self.policy.request_deadline;
                let read = Lookup::Read {
                    resource,
                    waiter,
                    deadline,
                };
                return self.look_up(read, now);
            }
            _ => RequestError::NotConnected,
        };
        self.outputs.push_back(Output::Answer(waiter, Err(refused)));
    }

    /// Requests that count against the limit.
    pub(super) fn places(&self) -> usize {
        let waiting = self.directory.as_ref().map_or(0, |directory| {
            let reads = directory.waiting().iter();
            reads
                .filter(|lookup| matches!(lookup, Lookup::Read { .. }))
                .count()
        });
        self.requests.places() + waiting
    }

    /// Goes on with what the directory says, or asks the device first.
    pub(super) fn look_up(&mut self, lookup: Lookup<W>, now: Instant) {
        let found = match &self.directory {
            Some(directory) => directory.find(lookup.name(), now),
            None => Found::NotKnown,
        };
        match found {
            Found::Resource(resource) => self.found(lookup, Some(resource), now),
            Found::Unknown => self.found(lookup, None, now),
            Found::NotKnown => {
                let directory = self.directory.get_or_insert_default();
                if directory.wait(lookup) {
                    self.ask_description(now);
                }
            }
        }
    }

    fn ask_description(&mut self, now: Instant) {
        let Some(id) = self.free_id() else {
            let max = self.policy.requests.count_max;
            return self.described(Err(RequestError::TooMany { max }), now);
        };
        let mut request = describe(None);
        set_id(&mut request, id);
        let deadline = now + self.policy.request_deadline;
        self.requests.insert_own(id, deadline, Waiter::Description);
        self.send(&request, now);
    }

    /// The device described itself, or did not.
    pub(super) fn described(&mut self, result: Result<Answered, RequestError>, now: Instant) {
        let Some(directory) = &mut self.directory else {
            return;
        };
        if let Ok(Answered::Ok(answer)) = &result {
            for lookup in directory.described(answer.payload.as_ref(), now) {
                self.look_up(lookup, now);
            }
            return;
        }
        for lookup in directory.failed() {
            match lookup {
                // Nothing is run blindly: it may be an action.
                Lookup::Read { waiter, .. } => {
                    self.outputs
                        .push_back(Output::Answer(waiter, result.clone()));
                }
                Lookup::Stream(resource) => self.not_described(&resource, &result, now),
            }
        }
    }

    /// `None`: the device has no such resource.
    fn found(&mut self, lookup: Lookup<W>, found: Option<Resource>, now: Instant) {
        match lookup {
            Lookup::Stream(resource) => self.stream_found(&resource, found, now),
            Lookup::Read {
                resource,
                waiter,
                deadline,
            } => match found {
                Some(Resource { kind, .. }) => {
                    self.read_kind(resource, kind, waiter, deadline, now);
                }
                None => self.answer(
                    Waiter::Caller(waiter),
                    Err(RequestError::UnknownResource),
                    now,
                ),
            },
        }
    }

    fn read_kind(
        &mut self,
        resource: String,
        kind: Kind,
        waiter: W,
        deadline: Instant,
        now: Instant,
    ) {
        let (request, waiter) = match kind {
            Kind::Action => {
                let refused = Err(RequestError::IsAction);
                return self.answer(Waiter::Caller(waiter), refused, now);
            }
            Kind::Output => (run(resource, None), Waiter::Caller(waiter)),
            // To run what takes input would execute it.
            Kind::Input => (describe(Some(resource)), Waiter::Part(waiter, "in")),
            Kind::InputOutput => (describe(Some(resource)), Waiter::Part(waiter, "out")),
        };
        self.ask_until(request, waiter, deadline, now);
    }

    /// Ends every Read that waits for the description.
    pub(super) fn end_lookups(&mut self, ended: &RequestError) {
        let Some(mut directory) = self.directory.take() else {
            return;
        };
        for lookup in directory.failed() {
            if let Lookup::Read { waiter, .. } = lookup {
                let ended = Err(ended.clone());
                self.outputs.push_back(Output::Answer(waiter, ended));
            }
        }
    }
}

impl<W> Lookup<W> {
    fn name(&self) -> &str {
        match self {
            Self::Read { resource, .. } => resource,
            Self::Stream(resource) => resource,
        }
    }
}

/// What a description of one resource says under `key`.
pub(super) fn part(answered: Answered, key: &str) -> Answered {
    match answered {
        Answered::Ok(answer) => Answered::Ok(Answer {
            payload: answer
                .payload
                .as_ref()
                .and_then(|payload| payload.get(key))
                .cloned(),
            ..answer
        }),
        Answered::Error(answer) => Answered::Error(answer),
    }
}
