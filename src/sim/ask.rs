//! What a device asks of its gateway: server functions and streams of its own.

use crate::codec::message::{Message, Run, StreamId};
use crate::codec::pson::Value;
use crate::sim::quirks::Shape;
use crate::sim::resources::Resource;

/// The run code of a subscription.
const SUBSCRIBE: u64 = 8;

/// The event that stands for messages between devices.
const TOPIC: &str = "device_topic_publish";

/// Something that a device does of its own accord.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    ReadProperty {
        name: String,
    },
    SetProperty {
        name: String,
        value: Value,
    },
    /// Runs a resource of another device.
    CallDevice {
        device: String,
        resource: String,
        input: Option<Value>,
    },
    CallEndpoint {
        name: String,
        data: Option<Value>,
    },
    WriteBucket {
        name: String,
        data: Value,
    },
    /// Any other function, by its run code; to see what the gateway says to it.
    Function {
        code: u64,
        name: String,
        data: Option<Value>,
    },
    Subscribe(Subscription),
    /// Stops the stream of an earlier ask.
    Unsubscribe(AskId),
    /// Sends a value on the stream of an earlier ask.
    Publish(AskId, Value),
    /// Somebody at the device runs a resource with this input: its streams tell of it.
    Touch(Resource, Option<Value>),
}

/// Names an ask of one device: the subscriptions of its configuration from 0 on, then whatever it
/// is told to ask, in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A stream that a device opens.
#[derive(Clone, Debug, PartialEq)]
pub enum Subscription {
    /// A property of its own; `current`: the present value at once.
    Property { name: String, current: bool },
    /// Events of the gateway by name.
    Event {
        name: String,
        filters: Option<Value>,
    },
    /// What others publish under the topics that this filter matches.
    TopicIn { filter: String },
    /// To publish under this topic.
    TopicOut { topic: String, retained: bool },
}

impl Subscription {
    /// The Start Stream that opens it.
    pub fn message(&self, stream_id: StreamId) -> Message {
        Message::StartStream {
            stream_id: Some(stream_id),
            resource: Some(Value::Unsigned(SUBSCRIBE)),
            parameters: Some(Value::Map(self.parameters())),
        }
    }

    /// Sorted, as some clients have all their maps.
    fn parameters(&self) -> Vec<(String, Value)> {
        let mut pairs: Vec<(&str, Value)> = Vec::new();
        match self {
            Self::Property { name, current } => {
                pairs.extend(current.then(|| ("current", true.into())));
                pairs.push(("event", "device_property_update".into()));
                pairs.push(("filters", Value::map([("property", name.as_str())])));
            }
            Self::Event { name, filters } => {
                pairs.push(("event", name.as_str().into()));
                pairs.extend(filters.clone().map(|filters| ("filters", filters)));
            }
            Self::TopicIn { filter } => {
                pairs.push(("event", TOPIC.into()));
                pairs.push(("scope", "subscribe".into()));
                pairs.push(("topic", filter.as_str().into()));
            }
            Self::TopicOut { topic, retained } => {
                pairs.push(("event", TOPIC.into()));
                pairs.extend(retained.then(|| ("retained", true.into())));
                pairs.push(("scope", "publish".into()));
                pairs.push(("topic", topic.as_str().into()));
            }
        }
        let owned = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        owned.collect()
    }
}

impl Ask {
    /// The Run of a server function; `None` where it is none, or the client knows no such.
    pub fn run(&self, shape: Shape, stream_id: StreamId) -> Option<Run> {
        let (code, name, payload) = match self {
            Self::ReadProperty { name } => (1, name.as_str().into(), None),
            Self::SetProperty { name, value } => (2, name.as_str().into(), Some(value.clone())),
            // The embedded client has its name in the resource, which holds no two.
            Self::CallDevice { .. } if shape == Shape::Parameters => return None,
            Self::CallDevice {
                device,
                resource,
                input,
            } => {
                let name = [device, resource].map(|name| Value::from(name.as_str()));
                (3, Value::Array(name.into()), input.clone())
            }
            Self::CallEndpoint { name, data } => (4, name.as_str().into(), data.clone()),
            Self::WriteBucket { name, data } => (5, name.as_str().into(), Some(data.clone())),
            Self::Function { code, name, data } => (*code, name.as_str().into(), data.clone()),
            Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Publish(..) | Self::Touch(..) => {
                return None;
            }
        };
        let run = Run {
            stream_id: Some(stream_id),
            payload,
            ..Run::default()
        };
        Some(match shape {
            Shape::Resource => Run {
                resource: Some(Value::Unsigned(code)),
                parameters: Some(name),
                ..run
            },
            Shape::Parameters => Run {
                resource: Some(name),
                parameters: Some(Value::Unsigned(code)),
                ..run
            },
            Shape::Action => Run {
                resource: Some(name),
                action: Some(action(code)),
                ..run
            },
        })
    }
}

/// The actions of 2020, by the run codes of today.
const fn action(code: u64) -> u64 {
    match code {
        1 => 12,
        2 => 13,
        3 => 10,
        4 => 9,
        5 => 11,
        other => other,
    }
}

/// The C library's random numbers as a process has them that never seeds: every such client takes
/// the same IDs in the same order.
#[derive(Clone, Debug)]
pub struct UnseededIds {
    state: [u32; 31],
    at: usize,
}

impl UnseededIds {
    /// From the first one on, 17767.
    pub fn new() -> Self {
        const DISCARDED: usize = 310;
        let mut state = [1; 31];
        for at in 1..state.len() {
            let next = u64::from(state[at - 1]) * 16_807 % 2_147_483_647;
            // It is below the modulus, which has 31 bits.
            state[at] = next as u32;
        }
        let mut ids = Self { state, at: 3 };
        for _ in 0..DISCARDED {
            ids.step();
        }
        ids
    }

    fn step(&mut self) -> u32 {
        let before = self.state[(self.at + 28) % 31];
        let next = self.state[self.at].wrapping_add(before);
        self.state[self.at] = next;
        self.at = (self.at + 1) % 31;
        next
    }
}

impl Default for UnseededIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for UnseededIds {
    type Item = StreamId;

    /// Cut to 16 bits. It never ends, and may be 0.
    fn next(&mut self) -> Option<StreamId> {
        Some((self.step() >> 1) as StreamId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dialect::Dialect;
    use crate::codec::message;

    #[test]
    fn ids_are_those_of_every_linux_client() {
        let ids: Vec<StreamId> = UnseededIds::new().take(8).collect();
        let captured = [17767, 9158, 39017, 18547, 56401, 23807, 37962, 22764];
        assert_eq!(ids, captured);
    }

    #[test]
    fn functions_are_encoded_in_the_shape_of_the_client() {
        let read = |name: &str| Ask::ReadProperty { name: name.into() };
        let call = Ask::CallDevice {
            device: "dev2".into(),
            resource: "relay".into(),
            input: Some(Value::map([("state", true)])),
        };
        let bucket = Ask::WriteBucket {
            name: "b1".into(),
            data: Value::map([("t", 21.5)]),
        };
        for (dialect, (ask, shape, id), hex) in [
            (
                Dialect::Current,
                (&read("cfg"), Shape::Resource, 9158),
                "060a08c64720011283636667",
            ),
            (
                Dialect::Current,
                (&read("config"), Shape::Parameters, 4661),
                "060d08b5242286636f6e6669671001",
            ),
            (
                Dialect::Doc2020,
                (&bucket, Shape::Action, 11),
                "0413010b624a026231636a0701741d0000ac41040b",
            ),
        ] {
            let run = ask.run(shape, id).unwrap();
            let mut bytes = Vec::new();
            message::encode(dialect, &Message::Run(run), &mut bytes);
            assert_eq!(hex::encode(bytes), hex);
        }
        assert_eq!(call.run(Shape::Parameters, 1), None);
        let run = call.run(Shape::Resource, 1).unwrap();
        let name = Value::Array(vec!["dev2".into(), "relay".into()]);
        assert_eq!((run.stream_id, run.parameters), (Some(1), Some(name)));
    }
}
