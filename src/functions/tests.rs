//! What devices ask, over the trait that their sessions call.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{self, BoxFuture};
use futures_util::{FutureExt, StreamExt, stream};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::ServerFunctions;
use super::fleet::Fleet;
use crate::codec::message::{Answer, StreamId};
use crate::codec::pson::Value;
use crate::config;
use crate::device::{DeviceId, Generation};
use crate::identity::Identity;
use crate::metrics::Meter;
use crate::session::asked::{Denied, DeviceStream, Function, Functions, Outcome, Subscription};
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::store::{BucketName, Range, Retention, Store};

/// Alice's devices, then Bob's and nobody's.
const HALL: u32 = 1;
const YARD: u32 = 2;
const LIFT: u32 = 3;
const BOBS: u32 = 11;
const NOBODYS: u32 = 21;

fn id(number: u32) -> DeviceId {
    DeviceId::new(number).unwrap()
}

/// What a device makes of a request; `None`: it never answers.
type Answering = dyn Fn(DeviceId, Request) -> Option<Result<Answered, RequestError>> + Send + Sync;

struct Devices {
    listed: Vec<(DeviceId, Identity)>,
    answer: Box<Answering>,
}

impl Fleet for Devices {
    fn identity(&self, device: DeviceId) -> Option<Identity> {
        let mut listed = self.listed.iter();
        let found = listed.find(|(id, _)| *id == device)?;
        Some(found.1.clone())
    }

    fn find(&self, identity: &Identity) -> Option<DeviceId> {
        let mut listed = self.listed.iter();
        Some(listed.find(|(_, own)| own == identity)?.0)
    }

    fn ask(
        &self,
        device: DeviceId,
        request: Request,
    ) -> BoxFuture<'static, Result<Answered, RequestError>> {
        match (self.answer)(device, request) {
            Some(answer) => future::ready(answer).boxed(),
            None => future::pending().boxed(),
        }
    }
}

struct World {
    functions: ServerFunctions,
    store: Store,
    meter: Meter,
    _directory: TempDir,
}

/// What a device hears on one of its streams, in order.
#[derive(Debug, PartialEq)]
enum Heard {
    Answer(Outcome),
    Value(Value),
}

type Stream = mpsc::UnboundedReceiver<Heard>;

impl World {
    fn new() -> Self {
        Self::with(config::Functions::default(), |_, _| None)
    }

    fn with(
        settings: config::Functions,
        answer: impl Fn(DeviceId, Request) -> Option<Result<Answered, RequestError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let meter = Meter::new();
        let functions = ServerFunctions::new(&settings, &[], store.clone(), &meter).unwrap();
        let named = |number, owner, name| (id(number), Identity::new(owner, name).unwrap());
        functions.reach_fleet(Arc::new(Devices {
            listed: vec![
                named(HALL, "alice", "hall"),
                named(YARD, "alice", "yard"),
                named(LIFT, "alice", "lift"),
                named(BOBS, "bob", "shop"),
                named(NOBODYS, "", "21"),
            ],
            answer: Box::new(answer),
        }));
        Self {
            functions,
            store,
            meter,
            _directory: directory,
        }
    }

    async fn run(&self, device: u32, function: Function) -> Outcome {
        let (told, outcome) = oneshot::channel();
        let answer = Box::new(move |outcome| told.send(outcome).unwrap());
        self.functions.run(id(device), function, Some(answer));
        outcome.await.unwrap()
    }

    async fn read(&self, device: u32, name: &str) -> Outcome {
        let name = name.to_owned();
        self.run(device, Function::ReadProperty { name }).await
    }

    async fn set(&self, device: u32, name: &str, value: impl Into<Value>) -> Outcome {
        let set = Function::SetProperty {
            name: name.to_owned(),
            value: value.into(),
        };
        self.run(device, set).await
    }

    async fn call(&self, device: u32, called: &str, resource: &str) -> Outcome {
        let call = Function::CallDevice {
            device: called.to_owned(),
            resource: resource.to_owned(),
            input: Some(7_u32.into()),
        };
        self.run(device, call).await
    }

    fn subscribe(&self, device: u32, stream: StreamId, subscription: Subscription) -> Stream {
        let (heard, stream_of_heard) = mpsc::unbounded_channel();
        let values = heard.clone();
        self.functions.subscribe(
            on(device, stream),
            subscription,
            Box::new(move |value| values.send(Heard::Value(value)).is_ok()),
            Box::new(move |outcome| {
                let _ = heard.send(Heard::Answer(outcome));
            }),
        );
        stream_of_heard
    }

    /// Subscribes and hears Ok.
    async fn open(&self, device: u32, stream: StreamId, subscription: Subscription) -> Stream {
        let mut stream = self.subscribe(device, stream, subscription);
        assert_eq!(stream.recv().await, Some(Heard::Answer(Ok(None))));
        stream
    }

    async fn refusal(&self, device: u32, stream: StreamId, subscription: Subscription) -> Denied {
        let mut stream = self.subscribe(device, stream, subscription);
        match stream.recv().await {
            Some(Heard::Answer(Err(denied))) => denied,
            other => panic!("{other:?}"),
        }
    }
}

fn store(directory: &Path) -> Store {
    let settings = config::Functions::default();
    let retention = Retention {
        events_max: 1000,
        age_max: Duration::from_secs(3600),
        audit_max: 1000,
        limits: (&settings).into(),
    };
    let (opened, _) = Store::open(directory, retention).unwrap();
    opened.run(|_, _| ()).unwrap()
}

fn on(device: u32, stream: StreamId) -> DeviceStream {
    DeviceStream {
        device: id(device),
        generation: Generation::dialled(device.into()),
        id: stream,
    }
}

fn property(name: &str, current: bool) -> Subscription {
    let name = name.to_owned();
    Subscription::Property { name, current }
}

fn event(name: &str, filters: Option<Value>) -> Subscription {
    let name = name.to_owned();
    Subscription::Event { name, filters }
}

fn topic_in(filter: &str) -> Subscription {
    let filter = filter.to_owned();
    Subscription::TopicIn { filter }
}

fn topic_out(topic: &str, retained: bool) -> Subscription {
    let topic = topic.to_owned();
    Subscription::TopicOut { topic, retained }
}

fn value(value: impl Into<Value>) -> Option<Heard> {
    Some(Heard::Value(value.into()))
}

/// All that waits.
fn waiting(stream: &mut Stream) -> usize {
    std::iter::from_fn(|| stream.try_recv().ok()).count()
}

fn code(outcome: Outcome) -> u16 {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn a_property_is_its_devices_alone() {
    let world = World::new();
    let denied = world.read(HALL, "cfg").await.unwrap_err();
    assert_eq!((denied.code, denied.text.contains("\"cfg\"")), (404, true));
    assert_eq!(world.set(HALL, "cfg", 7_u32).await, Ok(None));
    assert_eq!(world.read(HALL, "cfg").await, Ok(Some(7_u32.into())));
    for other in [YARD, BOBS, NOBODYS] {
        assert_eq!(code(world.read(other, "cfg").await), 404);
    }
    assert_eq!(code(world.set(HALL, "", 7_u32).await), 400);
    let large = vec![0; config::Functions::default().property_max_bytes + 1];
    assert_eq!(code(world.set(HALL, "cfg", Value::Bytes(large)).await), 413);
    assert_eq!(world.read(HALL, "cfg").await, Ok(Some(7_u32.into())));
}

#[tokio::test]
async fn a_property_stream_hears_every_change_and_the_present_value_when_asked() {
    let world = World::new();
    let mut plain = world.open(HALL, 1, property("cfg", false)).await;
    let mut other = world.open(HALL, 2, property("other", false)).await;
    let mut foreign = world.open(YARD, 1, property("cfg", false)).await;
    world.open(HALL, 3, property("cfg", true)).await;
    world.set(HALL, "cfg", 1_u32).await.unwrap();
    assert_eq!(plain.recv().await, value(1_u32));

    let mut current = world.subscribe(HALL, 4, property("cfg", true));
    let ok = Heard::Answer(Ok(Some(1_u32.into())));
    assert_eq!(current.recv().await, Some(ok));
    let functions = &world.functions;
    let name = "cfg";
    functions
        .set_property(id(HALL), name, Some(2_u32.into()))
        .await
        .unwrap();
    functions.set_property(id(HALL), name, None).await.unwrap();
    for stream in [&mut plain, &mut current] {
        assert_eq!(stream.recv().await, value(2_u32));
        assert_eq!(stream.recv().await, value(Value::Null));
    }
    assert_eq!(waiting(&mut other) + waiting(&mut foreign), 0);
    let refused = world.refusal(HALL, 9, property("a\n", true)).await;
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn changes_are_told_in_the_order_in_which_they_were_set() {
    let world = World::new();
    let mut heard = world.open(HALL, 1, property("n", false)).await;
    let sets = (0..500_u32).map(|n| {
        let functions = &world.functions;
        functions.set_property(id(HALL), "n", Some(n.into()))
    });
    let sets: Vec<_> = stream::iter(sets).buffered(100).collect().await;
    assert!(sets.iter().all(Result::is_ok));
    for n in 0..500_u32 {
        assert_eq!(heard.recv().await, value(n));
    }
}

#[tokio::test]
async fn a_changed_property_is_an_event_too() {
    let world = World::new();
    let all = event("device_property_update", None);
    let mut all = world.open(HALL, 1, all).await;
    let filters = Some(Value::map([("property", "cfg")]));
    let one = event("device_property_update", filters);
    let mut one = world.open(HALL, 2, one).await;
    let foreign = event("device_property_update", None);
    let mut foreign = world.open(YARD, 1, foreign).await;
    world.set(HALL, "cfg", 1_u32).await.unwrap();
    world.set(HALL, "else", 2_u32).await.unwrap();
    let told = [
        (one.recv().await, "cfg", 1),
        (all.recv().await, "cfg", 1),
        (all.recv().await, "else", 2),
    ];
    for (heard, name, number) in told {
        let Some(Heard::Value(event)) = heard else {
            panic!("no event of {name}");
        };
        assert_eq!(event.get("device"), Some(&"hall".into()));
        assert_eq!(event.get("property"), Some(&name.into()));
        assert_eq!(event.get("value"), Some(&Value::Unsigned(number)));
        assert!(event.get("ts").and_then(Value::as_unsigned).is_some());
    }
    assert_eq!(waiting(&mut one) + waiting(&mut foreign), 0);
    let refused = world.refusal(HALL, 3, event("alarm", None)).await;
    assert_eq!(refused.code, 404);
}

#[tokio::test]
async fn a_call_passes_on_what_the_called_device_says() {
    let world = World::with(config::Functions::default(), |device, request| {
        assert_eq!(device, id(YARD));
        let Request::Run { resource, payload } = request else {
            panic!("{request:?}");
        };
        assert_eq!(payload, Some(7_u32.into()));
        let answer = |parameters, payload| Answer {
            stream_id: None,
            parameters,
            payload,
        };
        Some(match resource.as_str() {
            "door" => Ok(Answered::Ok(answer(None, Some("open".into())))),
            "bell" => Ok(Answered::Ok(answer(None, None))),
            "pot" => Ok(Answered::Error(answer(Some(418_u32.into()), None))),
            "slow" => Err(RequestError::TimedOut),
            _ => Err(RequestError::NotConnected),
        })
    });
    assert_eq!(
        world.call(HALL, "yard", "door").await,
        Ok(Some("open".into()))
    );
    assert_eq!(world.call(HALL, "yard", "bell").await, Ok(None));
    assert_eq!(code(world.call(HALL, "yard", "pot").await), 418);
    assert_eq!(code(world.call(HALL, "yard", "slow").await), 504);
    let away = world.call(HALL, "yard", "away").await.unwrap_err();
    assert_eq!(
        (away.code, away.text.contains("not connected")),
        (404, true)
    );
}

#[tokio::test]
async fn nobody_learns_of_another_owners_devices() {
    let world = World::with(config::Functions::default(), |_, _| panic!("it was asked"));
    let foreign = world.call(BOBS, "hall", "door").await.unwrap_err();
    let unknown = world.call(BOBS, "cellar", "door").await.unwrap_err();
    assert_eq!(foreign.code, 404);
    assert_eq!(foreign.text.replace("hall", "cellar"), unknown.text);
    assert_eq!(world.call(NOBODYS, "hall", "door").await, Err(foreign));
    for name in ["", "a/b", "\u{1b}[31m", "alice/hall"] {
        assert_eq!(code(world.call(BOBS, name, "door").await), 404, "{name}");
    }
    assert_eq!(code(world.call(HALL, "hall", "door").await), 400);
    assert_eq!(code(world.call(HALL, "yard", "security/key").await), 403);
    assert_eq!(code(world.call(HALL, "yard", "").await), 400);
}

#[tokio::test]
async fn a_point_goes_into_the_bucket_of_the_owner() {
    let world = World::new();
    for (device, value) in [(HALL, 1_u32), (YARD, 2), (BOBS, 3)] {
        let name = "climate".to_owned();
        let data = value.into();
        let written = world
            .run(device, Function::WriteBucket { name, data })
            .await;
        assert_eq!(written, Ok(None));
    }
    for (owner, expected) in [
        ("alice", vec![(HALL, 1), (YARD, 2)]),
        ("bob", vec![(BOBS, 3)]),
    ] {
        let bucket = BucketName {
            owner: owner.into(),
            name: "climate".into(),
        };
        let range = Range {
            from_unix_ms: 0,
            until_unix_ms: u64::MAX,
            max: 10,
            newest_first: false,
        };
        let points = world.store.points(bucket, range).await.unwrap();
        let points = points.into_iter();
        let mut points: Vec<_> = points
            .map(|point| (point.device.get(), point.value.as_unsigned().unwrap()))
            .collect();
        points.sort_unstable();
        assert_eq!(points, expected);
    }
    let name = String::new();
    let data = Value::Null;
    let refused = world.run(HALL, Function::WriteBucket { name, data }).await;
    assert_eq!(code(refused), 400);
}

#[tokio::test]
async fn messages_go_to_the_devices_of_the_owner_and_to_the_sender() {
    let world = World::new();
    let mut own = world.open(HALL, 1, topic_in("door/+")).await;
    let mut other = world.open(YARD, 1, topic_in("#")).await;
    let mut elsewhere = world.open(YARD, 2, topic_in("gate/#")).await;
    let mut bobs = world.open(BOBS, 1, topic_in("#")).await;
    let mut nobodys = world.open(NOBODYS, 1, topic_in("#")).await;
    world.open(HALL, 9, topic_out("door/1", false)).await;
    world.functions.publish(on(HALL, 9), "open".into());
    assert_eq!(own.recv().await, value("open"));
    assert_eq!(other.recv().await, value("open"));
    world.open(HALL, 8, topic_out("gate/2", false)).await;
    world.functions.publish(on(HALL, 8), true.into());
    assert_eq!(elsewhere.recv().await, value(true));
    assert_eq!(other.recv().await, value(true));
    // On a stream that is not one of these nothing is published.
    world.functions.publish(on(HALL, 1), "lost".into());
    world.functions.publish(on(BOBS, 9), "lost".into());
    assert_eq!(
        waiting(&mut own) + waiting(&mut bobs) + waiting(&mut nobodys),
        0
    );
    assert_eq!(
        world.functions.counters().subscriptions.published_nowhere,
        2
    );
    for (subscription, word) in [
        (topic_in("a/#/b"), "#"),
        (topic_in(&"a".repeat(257)), "256"),
        (topic_out("a/+", false), "+"),
    ] {
        let refused = world.refusal(HALL, 20, subscription).await;
        assert!(
            refused.code == 400 && refused.text.contains(word),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn retained_messages_come_behind_the_ok() {
    let settings = config::Functions {
        retained_max: 2,
        ..config::Functions::default()
    };
    let world = World::with(settings, |_, _| None);
    for (stream, topic) in [(1, "a"), (2, "b"), (3, "c")] {
        world.open(HALL, stream, topic_out(topic, true)).await;
        world.functions.publish(on(HALL, stream), topic.into());
    }
    assert_eq!(world.functions.counters().subscriptions.retained_full, 1);
    let mut heard = world.open(YARD, 1, topic_in("#")).await;
    assert_eq!(heard.recv().await, value("a"));
    assert_eq!(heard.recv().await, value("b"));
    assert_eq!(waiting(&mut heard), 0);
    world.functions.publish(on(HALL, 1), Value::Null);
    let mut late = world.open(LIFT, 1, topic_in("#")).await;
    assert_eq!(late.recv().await, value("b"));
    assert_eq!(waiting(&mut late), 0);
    let mut bobs = world.open(BOBS, 1, topic_in("#")).await;
    assert_eq!(waiting(&mut bobs), 0);
}

#[tokio::test]
async fn what_ended_hears_nothing_and_the_others_go_on() {
    let world = World::new();
    let mut stopped = world.open(HALL, 1, topic_in("#")).await;
    let mut ended = world.open(HALL, 2, topic_in("#")).await;
    let mut other = world.open(YARD, 1, topic_in("#")).await;
    world.open(YARD, 9, topic_out("t", false)).await;
    let send = || world.functions.publish(on(YARD, 9), true.into());
    world.functions.unsubscribe(on(HALL, 1));
    send();
    // An older session of the device ends late.
    world
        .functions
        .session_ended(id(HALL), Generation::accepted(0));
    send();
    world
        .functions
        .session_ended(id(HALL), on(HALL, 1).generation);
    send();
    assert_eq!(waiting(&mut stopped), 0);
    assert_eq!(waiting(&mut ended), 2);
    assert_eq!(waiting(&mut other), 3);
}

#[tokio::test]
async fn what_a_device_cannot_take_is_counted() {
    let world = World::new();
    let full = world.open(HALL, 1, topic_in("#")).await;
    drop(full);
    world.open(YARD, 9, topic_out("t", false)).await;
    world.functions.publish(on(YARD, 9), true.into());
    assert_eq!(world.functions.counters().dropped, 1);
}

#[tokio::test]
async fn streams_of_a_session_are_bounded() {
    let settings = config::Functions {
        streams_max: 2,
        ..config::Functions::default()
    };
    let world = World::with(settings, |_, _| None);
    let _kept = [
        world.open(HALL, 1, topic_in("a")).await,
        world.open(HALL, 2, property("a", true)).await,
    ];
    for refused in [topic_in("b"), property("b", true)] {
        assert_eq!(world.refusal(HALL, 3, refused).await.code, 429);
    }
    world.open(YARD, 3, topic_in("b")).await;
    world.functions.unsubscribe(on(HALL, 1));
    world.open(HALL, 3, topic_in("b")).await;
}

#[tokio::test]
async fn functions_in_progress_are_bounded_also_without_answers() {
    let settings = config::Functions {
        in_flight_max: 3,
        ..config::Functions::default()
    };
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let world = World::with(settings, move |_, _| {
        *counted.lock().unwrap() += 1;
        None
    });
    for _ in 0..10 {
        let call = Function::CallDevice {
            device: "yard".into(),
            resource: "door".into(),
            input: None,
        };
        world.functions.run(id(HALL), call, None);
    }
    assert_eq!(*asked.lock().unwrap(), 3);
    assert_eq!(world.functions.counters().too_many, 7);
    assert_eq!(code(world.set(HALL, "cfg", 1_u32).await), 429);
    assert_eq!(world.set(YARD, "cfg", 1_u32).await, Ok(None));
}

#[tokio::test]
async fn before_the_gateway_is_there_nothing_of_others_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let settings = config::Functions::default();
    let functions =
        ServerFunctions::new(&settings, &[], store(directory.path()), &Meter::off()).unwrap();
    let world = World {
        functions,
        store: store(tempfile::tempdir().unwrap().path()),
        meter: Meter::off(),
        _directory: directory,
    };
    assert_eq!(code(world.call(HALL, "yard", "door").await), 503);
    assert_eq!(world.refusal(HALL, 1, topic_in("#")).await.code, 503);
}

#[tokio::test]
async fn what_devices_ask_is_counted_by_what_it_came_to() {
    let world = World::new();
    assert_eq!(world.set(HALL, "cfg", 1_u32).await, Ok(None));
    assert!(world.read(HALL, "cfg").await.is_ok());
    assert_eq!(code(world.read(HALL, "none").await), 404);
    assert_eq!(code(world.call(HALL, "nobody", "door").await), 404);
    // Nobody waits for the answer, and it is counted all the same.
    let read = Function::ReadProperty {
        name: "none".into(),
    };
    world.functions.run(id(HALL), read, None);
    assert_eq!(world.refusal(HALL, 1, topic_in("a/#/b")).await.code, 400);
    let _hears = world.open(HALL, 2, topic_in("a/#")).await;
    let counted = |function: &str, outcome: &str| {
        let series = format!(
            "gatehouse_device_functions_total{{function=\"{function}\",outcome=\"{outcome}\"}} "
        );
        let text = world.meter.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.expect(&series).to_owned()
    };
    while counted("read_property", "refused") != "2" {
        tokio::task::yield_now().await;
    }
    for (function, ok, refused) in [
        ("set_property", "1", "0"),
        ("read_property", "1", "2"),
        ("call_device", "0", "1"),
        ("call_endpoint", "0", "0"),
        ("write_bucket", "0", "0"),
        ("subscribe_topic", "1", "1"),
        ("publish_topic", "0", "0"),
    ] {
        assert_eq!(counted(function, "ok"), ok, "{function}");
        assert_eq!(counted(function, "refused"), refused, "{function}");
    }
}
