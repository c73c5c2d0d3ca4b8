//! Any wishes and any answers: in the end the device streams what was wished for last.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

/// What the device does, and what it was told.
struct World {
    streams: Streams,
    last_id: StreamId,
    /// Requests that are not answered, the oldest first.
    asked: VecDeque<Effect>,
    /// What the device has open.
    open: BTreeMap<StreamId, (Arc<str>, u32)>,
    stopped: BTreeSet<StreamId>,
    /// What was last told of each resource.
    told: BTreeMap<Arc<str>, Pace>,
    refused: BTreeSet<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Wish {
        resource: usize,
        sampled: u32,
        events: bool,
    },
    Answer(How),
    Data(StreamId),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Ok,
    Error,
    /// The device has done it, and its answer is lost.
    SilenceDone,
    SilenceNotDone,
}

fn act() -> impl Strategy<Value = Act> {
    let how = prop_oneof![
        6 => Just(How::Ok),
        1 => Just(How::Error),
        1 => Just(How::SilenceDone),
        1 => Just(How::SilenceNotDone),
    ];
    prop_oneof![
        3 => (0..3usize, 0..4u32, any::<bool>()).prop_map(|(resource, sampled, events)| Act::Wish {
            resource,
            sampled,
            events,
        }),
        4 => how.prop_map(Act::Answer),
        2 => (0..30u16).prop_map(Act::Data),
    ]
}

const fn at() -> Instant {
    Instant::from_micros(1)
}

impl World {
    fn new(joint: bool) -> Self {
        Self {
            streams: Streams::new(joint),
            last_id: 0,
            asked: VecDeque::new(),
            open: BTreeMap::new(),
            stopped: BTreeSet::new(),
            told: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    fn spare(&mut self) -> Option<StreamId> {
        self.last_id += 1;
        Some(self.last_id)
    }

    fn wish(&mut self, resource: &str, wanted: Pace) {
        let spare = self.spare();
        let resource: Arc<str> = resource.into();
        self.refused.remove(&resource);
        let wish = Wish {
            resource,
            sampled: wanted.sampled,
            events: wanted.events,
        };
        self.streams.handle_wish(wish, spare);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.streams.poll_effect() {
            match effect {
                Effect::Report(Report::Started {
                    resource,
                    sampled,
                    events,
                }) => {
                    self.told.insert(resource, Pace { sampled, events });
                }
                Effect::Report(Report::Refused { resource, .. }) => {
                    self.refused.insert(resource);
                }
                Effect::Report(Report::Data { .. }) => {}
                Effect::Stop { id } => {
                    assert!(self.stopped.insert(id), "{id} is stopped twice");
                    self.asked.push_back(effect);
                }
                effect => self.asked.push_back(effect),
            }
        }
    }

    fn answer(&mut self, how: How) {
        let Some(asked) = self.asked.pop_front() else {
            return;
        };
        let is_done = matches!(how, How::Ok | How::SilenceDone);
        let id = match asked {
            Effect::LookUp(resource) => {
                let spare = self.spare();
                let found = match how {
                    How::Error => Err(refusal(404, "none")),
                    _ => Ok(None),
                };
                self.streams.looked_up(&resource, found, spare);
                return self.drain();
            }
            Effect::Start { id, resource, beat } => {
                assert!(!self.stopped.contains(&id), "{id} is used again");
                if is_done {
                    self.open.insert(id, (resource, beat));
                }
                id
            }
            // Whatever it answers, it does not stream under that ID.
            Effect::Stop { id } => {
                self.open.remove(&id);
                id
            }
            Effect::Report(_) => unreachable!("reports are not answered"),
        };
        let answer = match how {
            How::Ok => Ok(Answered::Ok(Answer::default())),
            How::Error => Ok(Answered::Error(Answer::default())),
            How::SilenceDone | How::SilenceNotDone => Err(RequestError::TimedOut),
        };
        let spare = self.spare();
        self.streams.handle_answer(id, answer, spare, at());
        self.drain();
    }

    fn data(&mut self, id: StreamId) {
        let known = self.streams.has(id);
        let heard = self.streams.handle_data(
            StreamData {
                stream_id: id,
                kind: None,
                parameters: None,
                payload: None,
            },
            at(),
        );
        assert_eq!(heard == Heard::Unknown, !known);
        self.drain();
    }

    /// What the device streams of a resource, and under how many IDs.
    fn streamed(&self, resource: &str) -> (BTreeSet<u32>, usize) {
        let open = self.open.values().filter(|(of, _)| &**of == resource);
        let beats: Vec<u32> = open.map(|(_, beat)| *beat).collect();
        (beats.iter().copied().collect(), beats.len())
    }
}

fn expected(joint: bool, wanted: Pace) -> BTreeSet<u32> {
    let beat = wanted.sampled.map(NonZeroU32::get);
    let events = (wanted.events && !(joint && beat.is_some())).then_some(0);
    beat.into_iter().chain(events).collect()
}

/// Found by the property below: what went on of a refused resource was taken for told.
#[test]
fn who_wants_again_what_was_refused_is_told_what_streams() {
    let mut world = World::new(false);
    let sampled = NonZeroU32::new(2);
    let pace = |sampled, events| Pace { sampled, events };
    world.wish("c", pace(None, true));
    world.answer(How::Ok);
    world.answer(How::Ok);
    world.wish("c", pace(sampled, true));
    world.answer(How::Ok);
    // The stream of events is begun again after that of samples, and refused.
    world.answer(How::Error);
    assert!(world.refused.contains("c"));
    world.told.clear();
    world.wish("c", pace(sampled, false));
    while !world.asked.is_empty() {
        world.answer(How::Ok);
    }
    assert_eq!(world.told.get("c"), Some(&pace(sampled, false)));
    assert_eq!(world.streamed("c"), (BTreeSet::from([2]), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_newest_wish_is_what_is_open_in_the_end(
        joint: bool,
        acts in proptest::collection::vec(act(), 0..60),
    ) {
        let names = ["a", "b", "c"];
        let mut world = World::new(joint);
        let mut newest = [Pace::default(); 3];
        for act in acts {
            match act {
                Act::Wish { resource, sampled, events } => {
                    let sampled = NonZeroU32::new(sampled);
                    newest[resource] = Pace { sampled, events };
                    world.wish(names[resource], newest[resource]);
                }
                Act::Answer(how) => world.answer(how),
                Act::Data(id) => world.data(id),
            }
            // One step a resource is under way at a time.
            prop_assert!(world.asked.len() <= names.len() * 2);
        }
        // The device answers all that is left.
        while !world.asked.is_empty() {
            world.answer(How::Ok);
        }
        for (name, wanted) in names.into_iter().zip(newest) {
            let is_refused = world.refused.contains(name);
            let wanted = if is_refused { Pace::default() } else { wanted };
            let beats = expected(joint, wanted);
            let (streamed, ids) = world.streamed(name);
            prop_assert_eq!(ids, streamed.len());
            prop_assert_eq!(streamed, beats);
            if !wanted.is_none() {
                prop_assert_eq!(world.told.get(name), Some(&wanted));
            }
        }
        let is_idle = newest.iter().all(|wanted| wanted.is_none());
        prop_assert!(!is_idle || world.streams.is_empty());
    }
}
