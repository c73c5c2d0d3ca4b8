//! What devices ask of the gateway: server functions and streams, in all the shapes that are in the
//! field, and the words with which they are answered.
//!
//! An answer is given to whoever wants one, so that a device which waits for it goes on at once.

use crate::codec::message::{Answer, Message, Run, StreamId};
use crate::codec::pson::Value;
use crate::session::asked::{Denied, Function, Subscription};

/// The HTTP-like codes of what is denied here.
const BAD_REQUEST: u16 = 400;
const NOT_IMPLEMENTED: u16 = 501;

/// The code under which devices subscribe to what happens.
const SUBSCRIBE: u64 = 8;
const PROPERTY_UPDATE: &str = "device_property_update";
const TOPIC_PUBLISH: &str = "device_topic_publish";

/// What a device can have the gateway do, by the codes of its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    ReadProperty,
    SetProperty,
    CallDevice,
    CallEndpoint,
    WriteBucket,
}

/// The function that a Run of the device names.
///
/// # Errors
/// What it names is not offered, or is not named whole.
pub fn function(run: Run) -> Result<Function, Denied> {
    let (code, name) = match (run.action, run.resource, run.parameters) {
        (Some(action), name, _) => (of_action(action)?, name),
        (None, Some(Value::Unsigned(code)), name) => (of_run_code(code)?, name),
        (None, name @ Some(_), Some(Value::Unsigned(code))) => (of_run_code(code)?, name),
        _ => return Err(not_offered("a function without a run code")),
    };
    let data = run.payload;
    if code == Code::CallDevice {
        let (device, resource) = name.and_then(path).ok_or_else(|| {
            bad_request("a call of a device names [device, resource], two texts that are not empty")
        })?;
        return Ok(Function::CallDevice {
            device,
            resource,
            input: data,
        });
    }
    let name = name.and_then(text);
    let name = name.ok_or_else(|| bad_request("the function needs a name, which is a text"))?;
    let value = |what| data.clone().ok_or_else(|| bad_request(what));
    Ok(match code {
        Code::ReadProperty => Function::ReadProperty { name },
        Code::SetProperty => Function::SetProperty {
            value: value("to set a property takes its value as the payload")?,
            name,
        },
        Code::WriteBucket => Function::WriteBucket {
            data: value("to write a bucket takes data as the payload")?,
            name,
        },
        Code::CallEndpoint | Code::CallDevice => Function::CallEndpoint { name, data },
    })
}

/// What a Start Stream of the device subscribes to.
///
/// # Errors
/// What it names is not offered, or is not named whole.
pub fn subscription(
    resource: Option<Value>,
    parameters: Option<Value>,
) -> Result<Subscription, Denied> {
    let parameters = parameters.unwrap_or(Value::Null);
    let named = |key: &str| parameters.get(key).cloned().and_then(text);
    match resource {
        Some(Value::Unsigned(SUBSCRIBE)) => match named("event") {
            Some(event) if event == TOPIC_PUBLISH => {
                let topic = named("topic").ok_or_else(|| bad_request(NO_TOPIC))?;
                topic_stream(topic, &parameters)
            }
            Some(event) => Ok(event_stream(event, &parameters)),
            None => Err(bad_request(
                "a subscription names its event, which is a text",
            )),
        },
        Some(Value::Unsigned(code)) => Err(not_offered(&format!("a stream of function {code}"))),
        resource => {
            let name = resource.and_then(text);
            match (named("type").as_deref(), name) {
                (Some("mqtt"), Some(topic)) => topic_stream(topic, &parameters),
                (Some("event"), Some(event)) => Ok(event_stream(event, &parameters)),
                (Some("mqtt" | "event"), None) => Err(bad_request(NO_TOPIC)),
                (Some("device"), _) => Err(not_offered("a stream of another device")),
                _ => Err(not_offered("a stream of a resource of its own")),
            }
        }
    }
}

const NO_TOPIC: &str = "a subscription names its topic or event, which is a text";

fn event_stream(event: String, parameters: &Value) -> Subscription {
    let filters = parameters.get("filters");
    let property = filters.and_then(|filters| filters.get("property"));
    match property.cloned().and_then(text) {
        Some(name) if event == PROPERTY_UPDATE => Subscription::Property {
            name,
            current: is_set(parameters, "current"),
        },
        _ => Subscription::Event {
            name: event,
            filters: filters.cloned(),
        },
    }
}

fn topic_stream(topic: String, parameters: &Value) -> Result<Subscription, Denied> {
    let has_scope = |wanted: &str| match parameters.get("scope") {
        Some(Value::Array(scopes)) => scopes.iter().any(|scope| scope.as_str() == Some(wanted)),
        scope => scope.and_then(Value::as_str) == Some(wanted),
    };
    match (has_scope("subscribe"), has_scope("publish")) {
        (true, false) => Ok(Subscription::TopicIn { filter: topic }),
        (false, true) => Ok(Subscription::TopicOut {
            topic,
            retained: is_set(parameters, "retained"),
        }),
        (true, true) => Err(not_offered(
            "one stream that subscribes to a topic and publishes to it; open two",
        )),
        (false, false) => Err(bad_request(
            "the scope of a topic is \"subscribe\" or \"publish\"",
        )),
    }
}

fn is_set(parameters: &Value, key: &str) -> bool {
    parameters.get(key) == Some(&Value::Bool(true))
}

/// A text that is not empty. Devices of 2020 may send one as bytes.
fn text(value: Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Bytes(bytes) => String::from_utf8(bytes).ok()?,
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A device and a resource of it, whose own path may be cut into its parts.
fn path(value: Value) -> Option<(String, String)> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter().map(text);
    let device = parts.next()??;
    let resource: Vec<String> = parts.collect::<Option<_>>()?;
    (!resource.is_empty()).then(|| (device, resource.join("/")))
}

fn of_run_code(code: u64) -> Result<Code, Denied> {
    match code {
        1 => Ok(Code::ReadProperty),
        2 => Ok(Code::SetProperty),
        3 => Ok(Code::CallDevice),
        4 => Ok(Code::CallEndpoint),
        5 => Ok(Code::WriteBucket),
        6 => Err(not_offered("to lock a sync")),
        7 => Err(not_offered("to unlock a sync")),
        code => Err(not_offered(&format!("function {code}"))),
    }
}

fn of_action(action: u64) -> Result<Code, Denied> {
    match action {
        1 => Err(not_offered("resources of its own to be run")),
        9 => Ok(Code::CallEndpoint),
        10 => Ok(Code::CallDevice),
        11 => Ok(Code::WriteBucket),
        12 => Ok(Code::ReadProperty),
        13 => Ok(Code::SetProperty),
        action => Err(not_offered(&format!("action {action}"))),
    }
}

/// The Error to a Describe of the device.
pub fn no_description() -> Denied {
    not_offered("a description of itself")
}

fn not_offered(what: &str) -> Denied {
    Denied {
        code: NOT_IMPLEMENTED,
        text: format!("this gateway does not offer {what}"),
    }
}

fn bad_request(text: &str) -> Denied {
    Denied {
        code: BAD_REQUEST,
        text: text.into(),
    }
}

/// An Ok that says nothing but its stream ID.
pub fn ok(stream_id: StreamId) -> Message {
    done(stream_id, None)
}

/// An Ok with what came of it, if anything.
pub fn done(stream_id: StreamId, payload: Option<Value>) -> Message {
    Message::Ok(Answer {
        stream_id: Some(stream_id),
        parameters: None,
        payload,
    })
}

/// The Error to something that is denied.
pub fn denied(stream_id: StreamId, denied: &Denied) -> Message {
    error(stream_id, Some(denied.code.into()), &denied.text)
}

/// An Error with a code, where there is one, and a text for people.
pub fn error(stream_id: StreamId, code: Option<u64>, text: &str) -> Message {
    let payload = Value::Map(vec![("error".into(), Value::String(text.into()))]);
    Message::Error(Answer {
        stream_id: Some(stream_id),
        parameters: code.map(Value::Unsigned),
        payload: Some(payload),
    })
}

/// The stream ID under which an answer is wanted; 0 means that none is.
pub fn wanted(stream_id: Option<StreamId>) -> Option<StreamId> {
    stream_id.filter(|&id| id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(code: u64) -> Option<Value> {
        Some(Value::Unsigned(code))
    }

    fn named(name: &str) -> Option<Value> {
        Some(name.into())
    }

    fn list<const N: usize>(parts: [&str; N]) -> Option<Value> {
        Some(Value::Array(parts.map(Value::from).to_vec()))
    }

    fn run(resource: Option<Value>, parameters: Option<Value>, payload: Option<Value>) -> Run {
        Run {
            stream_id: Some(7),
            resource,
            parameters,
            payload,
            action: None,
        }
    }

    fn action(action: u64, resource: Option<Value>, payload: Option<Value>) -> Run {
        Run {
            action: Some(action),
            ..run(resource, None, payload)
        }
    }

    fn denial<T: std::fmt::Debug>(asked: Result<T, Denied>) -> (u16, String) {
        let denied = asked.unwrap_err();
        (denied.code, denied.text)
    }

    fn functions(data: &Value) -> [Function; 5] {
        let name = || "b".to_owned();
        [
            Function::ReadProperty { name: name() },
            Function::SetProperty {
                name: name(),
                value: data.clone(),
            },
            Function::CallDevice {
                device: "dev2".into(),
                resource: "relay".into(),
                input: Some(data.clone()),
            },
            Function::CallEndpoint {
                name: name(),
                data: Some(data.clone()),
            },
            Function::WriteBucket {
                name: name(),
                data: data.clone(),
            },
        ]
    }

    #[test]
    fn i_06_both_shapes_of_a_server_run_are_read() {
        let data = Value::map([("a", 1_u64)]);
        for (index, expected) in functions(&data).into_iter().enumerate() {
            let code = number(index as u64 + 1);
            let name = match &expected {
                Function::CallDevice { .. } => list(["dev2", "relay"]),
                _ => named("b"),
            };
            let linux = run(code.clone(), name.clone(), Some(data.clone()));
            assert_eq!(function(linux), Ok(expected.clone()));
            let embedded = run(name, code, Some(data.clone()));
            assert_eq!(function(embedded), Ok(expected));
        }
    }

    #[test]
    fn i_06_actions_of_2020_are_read() {
        let data = Value::map([("a", 1_u64)]);
        let [read, set, call, endpoint, write] = functions(&data);
        let by_action = [(9, endpoint), (11, write), (12, read), (13, set)];
        for (number, expected) in by_action {
            let asked = action(number, named("b"), Some(data.clone()));
            assert_eq!(function(asked), Ok(expected));
        }
        let asked = action(10, list(["dev2", "relay"]), Some(data.clone()));
        assert_eq!(function(asked), Ok(call));
        let bytes = Some(Value::Bytes(b"b".to_vec()));
        let read = Function::ReadProperty { name: "b".into() };
        assert_eq!(function(action(12, bytes, None)), Ok(read));
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let cases = [
            (run(number(6), named("s"), None), "to lock a sync"),
            (run(named("s"), number(7), None), "to unlock a sync"),
            (run(number(44), named("s"), None), "function 44"),
            (
                run(named("a"), named("b"), None),
                "a function without a run code",
            ),
            (run(None, None, None), "a function without a run code"),
            (
                action(1, named("a"), None),
                "resources of its own to be run",
            ),
            (action(3, named("a"), None), "action 3"),
        ];
        for (asked, what) in cases {
            let text = format!("this gateway does not offer {what}");
            assert_eq!(denial(function(asked)), (501, text));
        }
    }

    #[test]
    fn what_is_not_named_whole_is_a_bad_request() {
        let cases = [
            run(number(1), None, None),
            run(number(1), number(5), None),
            run(number(1), named(""), None),
            run(number(2), named("a"), None),
            run(number(5), named("a"), None),
            run(number(3), named("a"), None),
            run(number(3), list(["a"]), None),
            run(number(3), list(["a", ""]), None),
            action(10, named("a"), None),
        ];
        for asked in cases {
            assert_eq!(denial(function(asked)).0, 400);
        }
    }

    fn event(pairs: &[(&str, Value)]) -> Result<Subscription, Denied> {
        subscription(number(8), Some(Value::map(pairs.iter().cloned())))
    }

    #[test]
    fn subscriptions_by_event_are_read() {
        let filters = Value::map([("property", "cfg")]);
        let property = event(&[
            ("event", PROPERTY_UPDATE.into()),
            ("filters", filters.clone()),
            ("current", true.into()),
        ]);
        let expected = Subscription::Property {
            name: "cfg".into(),
            current: true,
        };
        assert_eq!(property, Ok(expected));
        let other = event(&[("event", "alarm".into()), ("filters", filters.clone())]);
        let expected = Subscription::Event {
            name: "alarm".into(),
            filters: Some(filters),
        };
        assert_eq!(other, Ok(expected));
        let topic = |scope: Value| {
            event(&[
                ("event", TOPIC_PUBLISH.into()),
                ("scope", scope),
                ("topic", "a/b".into()),
                ("retained", true.into()),
            ])
        };
        let filter = "a/b".to_owned();
        assert_eq!(
            topic("subscribe".into()),
            Ok(Subscription::TopicIn { filter })
        );
        let expected = Subscription::TopicOut {
            topic: "a/b".into(),
            retained: true,
        };
        assert_eq!(topic("publish".into()), Ok(expected));
        assert_eq!(denial(topic("both".into())).0, 400);
        assert_eq!(denial(event(&[])).0, 400);
        assert_eq!(denial(event(&[("event", TOPIC_PUBLISH.into())])).0, 400);
    }

    #[test]
    fn subscriptions_as_the_pages_have_them_are_read() {
        let scopes = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|&scope| scope.into()).collect();
            let parameters = [("type", "mqtt".into()), ("scope", Value::Array(scopes))];
            subscription(named("a/#"), Some(Value::map(parameters)))
        };
        let filter = "a/#".to_owned();
        assert_eq!(scopes(&["subscribe"]), Ok(Subscription::TopicIn { filter }));
        let expected = Subscription::TopicOut {
            topic: "a/#".into(),
            retained: false,
        };
        assert_eq!(scopes(&["publish"]), Ok(expected));
        assert_eq!(denial(scopes(&["publish", "subscribe"])).0, 501);
        let of_type = |kind: &str| {
            let parameters = Value::map([("type", kind)]);
            subscription(named("alarm"), Some(parameters))
        };
        let expected = Subscription::Event {
            name: "alarm".into(),
            filters: None,
        };
        assert_eq!(of_type("event"), Ok(expected));
        assert_eq!(denial(of_type("device")).0, 501);
        assert_eq!(denial(subscription(named("a"), number(5))).0, 501);
        assert_eq!(denial(subscription(number(6), None)).0, 501);
        assert_eq!(denial(subscription(None, None)).0, 501);
    }
}
