//! The streams that devices have opened, and who of them is told what. Everything is found through
//! the owner or the device, so that nothing reaches another owner's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use crate::codec::message::StreamId;
use crate::codec::pson::Value;
use crate::device::{DeviceId, Generation};
use crate::functions::event::{Watched, property_update};
use crate::functions::refusal::denied;
use crate::functions::topic::{TopicFilter, TopicName};
use crate::functions::topics::{NotRetained, Topics};
use crate::identity::Identity;
use crate::session::asked::{Denied, DeviceStream};

/// What a stream was opened for.
#[derive(Debug)]
pub enum Purpose {
    Property { name: Box<str> },
    Event(Watched),
    TopicIn(TopicFilter),
    TopicOut { topic: TopicName, retained: bool },
}

/// Names one opening of a stream whose first value is still being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening(u64);

/// All open streams; `P` is what hands a value to the device.
#[derive(Debug)]
pub struct Subscriptions<P> {
    streams: BTreeMap<DeviceStream, Stream<P>>,
    /// Those with anything that is found by the owner.
    owners: HashMap<Box<str>, Owner>,
    streams_max: usize,
    retained_max: usize,
    last_opening: u64,
    counters: Counters,
}

/// What was not done, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Values on streams that are not open for publishing.
    pub published_nowhere: u64,
    /// Messages that were passed on and not retained, because the owner has as many as it may.
    pub retained_full: u64,
    /// The same, because they are too large.
    pub retained_too_large: u64,
}

#[derive(Debug)]
struct Stream<P> {
    who: Identity,
    purpose: Purpose,
    stage: Stage,
    push: P,
}

#[derive(Debug)]
enum Stage {
    Open,
    /// Nothing is handed on before its Ok; the newest value since then waits for that.
    Opening {
        opening: Opening,
        newest: Option<Value>,
    },
}

#[derive(Debug, Default)]
struct Owner {
    topics: Topics<DeviceStream>,
    watch_states: BTreeSet<DeviceStream>,
}

impl<P> Subscriptions<P> {
    /// One session may open `streams_max` streams, one owner retain `retained_max` messages.
    pub fn new(streams_max: usize, retained_max: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            owners: HashMap::new(),
            streams_max,
            retained_max,
            last_opening: 0,
            counters: Counters::default(),
        }
    }

    /// Whether the session can open one more; a stream that is open already is replaced.
    ///
    /// # Errors
    /// [`Denied`] with 429.
    pub fn check_room(&self, stream: DeviceStream) -> Result<(), Denied> {
        let session = of_session(stream.device, stream.generation);
        let open = self.streams.range(session).count();
        if open < self.streams_max || self.streams.contains_key(&stream) {
            return Ok(());
        }
        let max = self.streams_max;
        let text = format!("{max} streams of the device are open, which is the limit");
        Err(denied(429, text))
    }

    /// Opens a stream; the values that it is to be handed at once.
    pub fn open(
        &mut self,
        stream: DeviceStream,
        who: Identity,
        purpose: Purpose,
        push: P,
    ) -> (&P, Vec<Value>) {
        self.close(stream);
        let mut first = Vec::new();
        match &purpose {
            Purpose::TopicIn(filter) => {
                let topics = &mut self.owner(&who.owner).topics;
                topics.insert(filter, stream);
                first.extend(topics.retained(filter).map(|(_, value)| value.clone()));
            }
            Purpose::Event(Watched::State { .. }) => {
                self.owner(&who.owner).watch_states.insert(stream);
            }
            Purpose::Event(Watched::Property { .. })
            | Purpose::Property { .. }
            | Purpose::TopicOut { .. } => {}
        }
        let opened = Stream {
            who,
            purpose,
            stage: Stage::Open,
            push,
        };
        let opened = self.streams.entry(stream).insert_entry(opened);
        (&opened.into_mut().push, first)
    }

    /// Opens a stream for a property whose present value is yet to be read: values wait until
    /// [`Self::opened`].
    pub fn begin_open(
        &mut self,
        stream: DeviceStream,
        who: Identity,
        name: &str,
        push: P,
    ) -> Opening {
        self.close(stream);
        self.last_opening += 1;
        let opening = Opening(self.last_opening);
        let opened = Stream {
            who,
            purpose: Purpose::Property { name: name.into() },
            stage: Stage::Opening {
                opening,
                newest: None,
            },
            push,
        };
        self.streams.insert(stream, opened);
        opening
    }

    /// The device has its Ok: the value that came since [`Self::begin_open`], if any, and whom to
    /// hand it. `None` when the stream was closed in between.
    pub fn opened(
        &mut self,
        stream: DeviceStream,
        opening: Opening,
    ) -> Option<(&P, Option<Value>)> {
        let stream = self.streams.get_mut(&stream)?;
        match &mut stream.stage {
            Stage::Opening {
                opening: own,
                newest,
            } if *own == opening => {
                let newest = newest.take();
                stream.stage = Stage::Open;
                Some((&stream.push, newest))
            }
            _ => None,
        }
    }

    /// It did not come to an Ok.
    pub fn give_up(&mut self, stream: DeviceStream, opening: Opening) {
        if self.opened(stream, opening).is_some() {
            self.close(stream);
        }
    }

    pub fn close(&mut self, stream: DeviceStream) {
        let Some(closed) = self.streams.remove(&stream) else {
            return;
        };
        let Some(owner) = self.owners.get_mut(&closed.who.owner) else {
            return;
        };
        if let Purpose::TopicIn(filter) = &closed.purpose {
            owner.topics.remove(filter, stream);
        }
        owner.watch_states.remove(&stream);
        if owner.is_empty() {
            self.owners.remove(&closed.who.owner);
        }
    }

    pub fn close_session(&mut self, device: DeviceId, generation: Generation) {
        let session = self.streams.range(of_session(device, generation));
        let streams: Vec<_> = session.map(|(stream, _)| *stream).collect();
        streams.into_iter().for_each(|stream| self.close(stream));
    }

    /// Who is told that a property of the device has this value now, and what: the value, or the
    /// event.
    pub fn property_changed(
        &mut self,
        device: DeviceId,
        name: &str,
        value: &Value,
        unix_ms: u64,
    ) -> Vec<(&P, Value)> {
        let mut told = Vec::new();
        let first = *of_session(device, Generation::default()).start();
        let from_first = self.streams.range_mut(first..);
        let own = from_first.take_while(|(stream, _)| stream.device == device);
        for (_, stream) in own {
            match &stream.purpose {
                Purpose::Property { name: own } if **own == *name => match &mut stream.stage {
                    Stage::Open => told.push((&stream.push, value.clone())),
                    Stage::Opening { newest, .. } => *newest = Some(value.clone()),
                },
                Purpose::Event(Watched::Property { name: own })
                    if own.as_deref().is_none_or(|own| own == name) =>
                {
                    let device = &stream.who.device;
                    let event = property_update(device, name, value.clone(), unix_ms);
                    told.push((&stream.push, event));
                }
                _ => {}
            }
        }
        told
    }

    /// Who is told that a device of this owner came or went.
    pub fn state_changed(&self, owner: &str, device: &str) -> Vec<&P> {
        let Some(owner) = self.owners.get(owner) else {
            return Vec::new();
        };
        let watching = owner.watch_states.iter();
        let streams = watching.filter_map(|stream| self.streams.get(stream));
        let wanted = |stream: &&Stream<P>| match &stream.purpose {
            Purpose::Event(Watched::State { device: own }) => {
                own.as_deref().is_none_or(|own| own == device)
            }
            _ => false,
        };
        streams.filter(wanted).map(|stream| &stream.push).collect()
    }

    /// Who gets what a device sends on a stream that it opened for publishing, also itself. It is
    /// retained where the stream was opened so.
    pub fn published(&mut self, stream: DeviceStream, value: &Value) -> Vec<&P> {
        let opened_for = |stream: &Stream<P>| match &stream.purpose {
            Purpose::TopicOut { topic, retained } => {
                Some((stream.who.owner.clone(), topic.clone(), *retained))
            }
            _ => None,
        };
        let Some((owner, topic, retained)) = self.streams.get(&stream).and_then(opened_for) else {
            self.counters.published_nowhere += 1;
            return Vec::new();
        };
        if retained {
            self.retain(&owner, &topic, value);
        }
        self.subscribers(&owner, &topic)
    }

    /// Retains a message for those of this owner who subscribe later; null clears it. One that is
    /// not retained is counted, for there is nobody to be told.
    fn retain(&mut self, owner: &str, topic: &TopicName, value: &Value) {
        let max = self.retained_max;
        let topics = &mut self.owner(owner).topics;
        match topics.retain(topic, value, max) {
            Ok(()) => {}
            Err(NotRetained::Full) => self.counters.retained_full += 1,
            Err(NotRetained::TooLarge) => self.counters.retained_too_large += 1,
        }
        if self.owner(owner).is_empty() {
            self.owners.remove(owner);
        }
    }

    /// Who gets a message of this topic of this owner.
    fn subscribers(&self, owner: &str, topic: &TopicName) -> Vec<&P> {
        let Some(owner) = self.owners.get(owner) else {
            return Vec::new();
        };
        let wanted = owner.topics.wanted_by(topic);
        let streams = wanted.iter().filter_map(|stream| self.streams.get(stream));
        streams.map(|stream| &stream.push).collect()
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn owner(&mut self, owner: &str) -> &mut Owner {
        self.owners.entry(owner.into()).or_default()
    }
}

impl Owner {
    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.watch_states.is_empty()
    }
}

fn of_session(device: DeviceId, generation: Generation) -> RangeInclusive<DeviceStream> {
    let stream = |id| DeviceStream {
        device,
        generation,
        id,
    };
    stream(0)..=stream(StreamId::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(device: u32, generation: u64, id: StreamId) -> DeviceStream {
        DeviceStream {
            device: DeviceId::new(device).unwrap(),
            generation: Generation::dialled(generation),
            id,
        }
    }

    fn who(owner: &str, device: &str) -> Identity {
        Identity::new(owner, device).unwrap()
    }

    fn states(device: Option<&str>) -> Purpose {
        let device = device.map(Into::into);
        Purpose::Event(Watched::State { device })
    }

    #[test]
    fn what_changes_while_a_stream_opens_comes_behind_its_ok() {
        let mut streams = Subscriptions::new(9, 9);
        let (cfg, hall) = (stream(1, 1, 5), who("alice", "hall"));
        let opening = streams.begin_open(cfg, hall.clone(), "cfg", "push");
        for number in [1_u32, 2] {
            let told = streams.property_changed(cfg.device, "cfg", &number.into(), 0);
            assert_eq!(told, []);
        }
        let newest = Some(("push", Some(2_u32.into())));
        let opened = streams.opened(cfg, opening);
        assert_eq!(opened.map(|(push, value)| (*push, value)), newest);
        let told = streams.property_changed(cfg.device, "cfg", &3_u32.into(), 0);
        assert_eq!(told, [(&"push", 3_u32.into())]);

        // The device stopped it and opened another one under its number.
        let first = streams.begin_open(cfg, hall.clone(), "cfg", "first");
        streams.close(cfg);
        assert_eq!(streams.opened(cfg, first), None);
        let second = streams.begin_open(cfg, hall, "cfg", "second");
        streams.give_up(cfg, first);
        assert_eq!(streams.opened(cfg, first), None);
        assert_eq!(streams.opened(cfg, second), Some((&"second", None)));
    }

    #[test]
    fn states_are_told_within_the_owner() {
        let mut streams = Subscriptions::new(9, 9);
        streams.open(stream(1, 1, 1), who("alice", "hall"), states(None), "all");
        let yard = states(Some("yard"));
        streams.open(stream(1, 1, 2), who("alice", "hall"), yard, "yard");
        streams.open(stream(2, 1, 1), who("bob", "shop"), states(None), "bob");
        streams.open(stream(3, 1, 1), who("", "3"), states(None), "nobody");
        let told = |owner: &str, device: &str| {
            let told = streams.state_changed(owner, device).into_iter();
            told.copied().collect::<Vec<_>>()
        };
        assert_eq!(told("alice", "yard"), ["all", "yard"]);
        assert_eq!(told("alice", "lift"), ["all"]);
        assert_eq!(told("bob", "yard"), ["bob"]);
        assert_eq!(told("", "yard"), ["nobody"]);
        assert_eq!(told("carol", "yard"), [] as [&str; 0]);
    }

    #[test]
    fn nothing_is_left_of_what_ended() {
        let mut streams = Subscriptions::new(9, 9);
        for (id, purpose) in [
            states(None),
            Purpose::TopicIn(TopicFilter::new("a/+").unwrap()),
            Purpose::TopicOut {
                topic: TopicName::new("a").unwrap(),
                retained: true,
            },
            Purpose::Property { name: "cfg".into() },
        ]
        .into_iter()
        .enumerate()
        {
            let id = StreamId::try_from(id).unwrap();
            streams.open(stream(1, 1, id), who("alice", "hall"), purpose, ());
        }
        streams.open(stream(1, 2, 1), who("alice", "hall"), states(None), ());
        streams.close_session(DeviceId::new(1).unwrap(), Generation::dialled(1));
        assert_eq!((streams.len(), streams.owners.len()), (1, 1));
        let out = stream(1, 1, 2);
        assert_eq!(streams.published(out, &Value::from(true)), [] as [&(); 0]);
        streams.close_session(DeviceId::new(1).unwrap(), Generation::dialled(2));
        assert!(streams.is_empty() && streams.owners.is_empty());
        let topic = TopicName::new("a").unwrap();
        streams.retain("alice", &topic, &Value::from(1_u32));
        assert_eq!(streams.owners.len(), 1);
        streams.retain("alice", &topic, &Value::Null);
        assert!(streams.owners.is_empty());
    }
}
