//! Traces: what the device says and when, against a gateway that speaks the same codec.

mod like;

use proptest::prelude::*;

use super::*;
use crate::codec::dialect::detect;
use crate::codec::frame::BODY_MAX;
use crate::codec::message::{self, Run};

const INFO: &str = "device/info";

fn config(behaviour: Behaviour) -> Config {
    Config {
        username: "alice".into(),
        device: "1001".into(),
        credential: "secret".into(),
        info: Info {
            id: 1001,
            device_type: 9,
            name: "front door".into(),
        },
        keep_alive: Some(30),
        dialect: Dialect::Current,
        behaviour,
        ..Config::default()
    }
}

fn with_dialect(dialect: Dialect) -> Config {
    Config {
        dialect,
        ..config(Behaviour::Normal)
    }
}

/// What the device did, as the gateway sees it.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Said(Message),
    Reported(Event),
    Closed,
}

struct Conversation {
    device: Device,
    dialect: Dialect,
    now: Instant,
}

impl Conversation {
    fn begin(config: Config) -> Self {
        Self {
            dialect: config.dialect,
            device: Device::new(config),
            now: Instant::ZERO,
        }
    }

    /// One that is admitted, with what was said until then taken away.
    fn admitted(config: Config) -> Self {
        let mut conversation = Self::begin(config);
        conversation.seen();
        assert_eq!(
            conversation.say(&ok(CONNECT_ID)),
            [Seen::Reported(Event::Admitted)]
        );
        conversation
    }

    /// The same, whatever it says then.
    fn admitted_whatever(config: Config) -> Self {
        let mut conversation = Self::begin(config);
        conversation.say(&ok(CONNECT_ID));
        conversation
    }

    fn say(&mut self, message: &Message) -> Vec<Seen> {
        let mut bytes = Vec::new();
        message::encode(self.dialect, message, &mut bytes);
        self.device.handle_bytes(&bytes, self.now);
        self.seen()
    }

    /// Lets the time go on to the next deadline, which is this many milliseconds from the start.
    fn wake(&mut self, expected_ms: u64) -> Vec<Seen> {
        let due = self.device.poll_timeout().expect("a deadline");
        assert_eq!(due, Instant::from_micros(expected_ms * 1000));
        // Too early is harmless.
        self.device.handle_timeout(self.now);
        assert_eq!(self.seen(), []);
        self.now = due;
        self.device.handle_timeout(due);
        self.seen()
    }

    /// What is due without any time going by.
    fn due(&mut self) -> Vec<Seen> {
        self.device.handle_timeout(self.now);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(output) = self.device.poll_output() {
            match output {
                Output::Send(bytes) => seen.extend(self.messages(&bytes)),
                Output::Report(event) => seen.push(Seen::Reported(event)),
                Output::Close => seen.push(Seen::Closed),
            }
        }
        seen
    }

    fn messages(&self, mut bytes: &[u8]) -> Vec<Seen> {
        let mut messages = Vec::new();
        while let Ok(Split::Frame(frame)) = frame::split(bytes, BODY_MAX) {
            let body = &bytes[frame.body.clone()];
            let message = message::decode(self.dialect, frame.message_type, body).unwrap();
            messages.push(Seen::Said(message));
            bytes = &bytes[frame.body.end..];
        }
        assert!(bytes.is_empty(), "a part of a frame was sent");
        messages
    }
}

fn answer(stream_id: StreamId, payload: Option<Value>) -> Answer {
    Answer {
        stream_id: Some(stream_id),
        parameters: None,
        payload,
    }
}

fn ok(stream_id: StreamId) -> Message {
    Message::Ok(answer(stream_id, None))
}

fn run(stream_id: Option<StreamId>, resource: &str) -> Message {
    Message::Run(Run {
        stream_id,
        resource: Some(resource.into()),
        ..Run::default()
    })
}

fn ended(why: &str) -> [Seen; 2] {
    [
        Seen::Reported(Event::Disconnected(why.into())),
        Seen::Closed,
    ]
}

fn refused(why: &str) -> [Seen; 2] {
    [Seen::Reported(Event::Refused(why.into())), Seen::Closed]
}

#[test]
fn connects_as_the_linux_client_does() {
    let mut device = Device::new(Config {
        keep_alive: None,
        device: "dev1".into(),
        ..config(Behaviour::Normal)
    });
    let captured = "03181ae385616c69636584646576318673656372657408e78a01";
    let bytes = hex::decode(captured).unwrap();
    assert_eq!(device.poll_output(), Some(Output::Send(bytes)));
    assert_eq!(device.poll_output(), None);
    assert_eq!(device.poll_timeout(), None, "it waits for ever");
}

#[test]
fn connects_and_answers_in_every_dialect() {
    for dialect in Dialect::ALL {
        let mut device = Device::new(with_dialect(dialect));
        let Some(Output::Send(bytes)) = device.poll_output() else {
            panic!("no Connect");
        };
        assert_eq!(detect(&bytes), Ok(Some(dialect)));
        let mut conversation = Conversation::admitted(with_dialect(dialect));
        let seen = conversation.say(&run(Some(5), INFO));
        let [
            Seen::Said(Message::Ok(answer)),
            Seen::Reported(Event::Described),
        ] = seen.as_slice()
        else {
            panic!("{seen:?}");
        };
        let payload = answer.payload.as_ref().unwrap();
        assert_eq!(answer.stream_id, Some(5));
        assert_eq!(payload.get("id"), Some(&1001_u32.into()));
        assert_eq!(payload.get("type"), Some(&9_u32.into()));
        assert_eq!(payload.get("name"), Some(&"front door".into()));
        assert_eq!(payload.get("MACAddr"), Some(&"02:00:00:00:03:e9".into()));
    }
}

#[test]
fn refusal_is_told_with_its_code_and_text() {
    let mut conversation = Conversation::begin(config(Behaviour::Normal));
    conversation.seen();
    let error = Message::Error(Answer {
        parameters: Some(Value::Unsigned(2)),
        ..answer(CONNECT_ID, Some(Value::map([("error", "bad credentials")])))
    });
    assert_eq!(conversation.say(&error), refused("2: bad credentials"));
    assert_eq!(conversation.say(&ok(CONNECT_ID)), []);
}

#[test]
fn first_frame_must_be_the_ok_but_for_legacy() {
    for first in [run(Some(1), INFO), Message::KeepAlive, ok(1)] {
        let mut current = Conversation::begin(with_dialect(Dialect::Current));
        current.seen();
        let seen = current.say(&first);
        assert!(
            matches!(seen[0], Seen::Reported(Event::Refused(_))),
            "{seen:?}"
        );
        assert_eq!(seen[1], Seen::Closed);
    }
    let mut legacy = Conversation::begin(with_dialect(Dialect::Legacy));
    legacy.seen();
    assert_eq!(legacy.say(&Message::KeepAlive), []);
    let seen = legacy.say(&run(Some(1), "nothing"));
    assert_eq!(seen, [Seen::Said(Message::Error(answer(1, None)))]);
    assert_eq!(
        legacy.say(&ok(CONNECT_ID)),
        [Seen::Reported(Event::Admitted)]
    );
}

#[test]
fn keep_alive_goes_out_each_interval_echoed_or_not() {
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    for beat in 1..4 {
        let seen = conversation.wake(beat * 30_000);
        assert_eq!(seen, [Seen::Said(Message::KeepAlive)]);
    }
    for keep_alive in [None, Some(0)] {
        let default = Config {
            keep_alive,
            ..config(Behaviour::Normal)
        };
        let mut conversation = Conversation::admitted(default);
        assert_eq!(conversation.wake(60_000), [Seen::Said(Message::KeepAlive)]);
    }
}

#[test]
fn legacy_closes_when_the_echo_did_not_come() {
    let mut conversation = Conversation::admitted(with_dialect(Dialect::Legacy));
    let beat = [Seen::Said(Message::KeepAlive)];
    assert_eq!(conversation.wake(1_000), beat);
    assert_eq!(conversation.say(&Message::KeepAlive), []);
    assert_eq!(conversation.wake(31_000), beat);
    assert_eq!(
        conversation.wake(61_000),
        ended("the last Keep Alive was not echoed")
    );
    assert_eq!(conversation.device.poll_timeout(), None);
}

#[test]
fn answers_what_is_asked_of_its_resources() {
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    let mut describe = |resource: Option<&str>| {
        conversation.say(&Message::Describe {
            stream_id: Some(7),
            resource: resource.map(Value::from),
            parameters: None,
        })
    };
    let functions = [
        (INFO, 3_u64),
        ("network/ip", 4),
        ("security/ssl", 4),
        ("security/key", 2),
        ("slaves", 4),
    ];
    let all = Value::map(functions.map(|(name, number)| (name, Value::map([("fn", number)]))));
    assert_eq!(
        describe(None),
        [Seen::Said(Message::Ok(answer(7, Some(all))))]
    );
    let one = Value::map([("out", config(Behaviour::Normal).info.to_value())]);
    assert_eq!(
        describe(Some(INFO)),
        [Seen::Said(Message::Ok(answer(7, Some(one))))]
    );
    let unknown = [Seen::Said(Message::Error(answer(7, None)))];
    assert_eq!(describe(Some("door")), unknown);
    assert_eq!(conversation.say(&run(Some(7), "door")), unknown);
    assert_eq!(conversation.say(&run(None, "door")), []);
    let info = config(Behaviour::Normal).info.to_value();
    let told = [
        Seen::Said(Message::Ok(answer(7, Some(info)))),
        Seen::Reported(Event::Described),
    ];
    assert_eq!(conversation.say(&run(Some(7), INFO)), told);
    assert_eq!(conversation.say(&run(None, INFO)), []);
    assert_eq!(conversation.say(&ok(7)), []);
}

#[test]
fn disconnect_is_honoured() {
    let disconnect = |stream_id| Message::Disconnect {
        stream_id,
        reason: None,
        detail: Some("superseded".into()),
    };
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    assert_eq!(conversation.say(&disconnect(None)), ended("superseded"));
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    let seen = conversation.say(&disconnect(Some(4)));
    assert_eq!(seen[0], Seen::Said(ok(4)));
    assert_eq!(seen[1..], ended("superseded"));
}

#[test]
fn slow_device_holds_its_answers_back() {
    let slow = Behaviour::Slow(Duration::from_secs(2));
    let mut conversation = Conversation::admitted(config(slow));
    assert_eq!(conversation.say(&run(Some(1), "door")), []);
    assert_eq!(conversation.say(&run(Some(2), "door")), []);
    let both = [1, 2].map(|id| Seen::Said(Message::Error(answer(id, None))));
    assert_eq!(conversation.wake(2_000), both);
    for _ in 0..HELD_BACK_MAX {
        assert_eq!(conversation.say(&run(Some(3), "door")), []);
    }
    let early = conversation.say(&run(Some(4), "door"));
    assert_eq!(early, [Seen::Said(Message::Error(answer(3, None)))]);
}

#[test]
fn mute_device_never_speaks() {
    let mut conversation = Conversation::begin(config(Behaviour::Mute));
    assert_eq!(conversation.seen(), []);
    assert_eq!(conversation.say(&ok(CONNECT_ID)), []);
    assert_eq!(conversation.device.poll_timeout(), None);
    conversation.device.handle_closed();
    conversation.device.handle_closed();
    let closed = Event::Disconnected("the gateway closed the link".into());
    assert_eq!(conversation.seen(), [Seen::Reported(closed)]);
}

#[test]
fn device_that_is_mute_once_connected_answers_nothing() {
    let mut conversation = Conversation::admitted(config(Behaviour::MuteOnceConnected));
    assert_eq!(conversation.device.poll_timeout(), None);
    assert_eq!(conversation.say(&run(Some(1), INFO)), []);
    let disconnect = Message::Disconnect {
        stream_id: Some(4),
        reason: None,
        detail: None,
    };
    assert_eq!(conversation.say(&disconnect), ended("no reason was given"));
}

#[test]
fn garbage_is_sent_in_place_of_the_connect() {
    let bytes = garbage(7);
    assert_eq!(bytes, garbage(7));
    assert_ne!(bytes, garbage(8));
    let mut device = Device::new(config(Behaviour::Garbage(bytes.clone())));
    assert_eq!(device.poll_output(), Some(Output::Send(bytes)));
    assert_eq!(device.poll_output(), None);
}

#[test]
fn churning_device_drops_the_link() {
    let churn = Behaviour::Churn(Duration::from_secs(45));
    let mut conversation = Conversation::admitted(config(churn));
    assert_eq!(conversation.wake(30_000), [Seen::Said(Message::KeepAlive)]);
    assert_eq!(
        conversation.wake(45_000),
        ended("the device dropped the link")
    );
}

#[test]
fn gateway_that_talks_nonsense_is_left() {
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    let reserved_type = [0x00, 0x00];
    conversation
        .device
        .handle_bytes(&reserved_type, conversation.now);
    assert_eq!(conversation.seen(), ended("message type 0 is reserved"));
    let mut conversation = Conversation::begin(config(Behaviour::Normal));
    conversation.seen();
    conversation.device.handle_closed();
    let closed = Event::Refused("the gateway closed the link".into());
    assert_eq!(conversation.seen(), [Seen::Reported(closed)]);
}

proptest! {
    #[test]
    fn bytes_cut_anywhere_mean_the_same(cuts in proptest::collection::vec(0_usize..60, 0..6)) {
        let mut bytes = Vec::new();
        let messages = [
            ok(CONNECT_ID),
            Message::KeepAlive,
            run(Some(1), INFO),
            run(Some(2), "door"),
            Message::Disconnect { stream_id: None, reason: None, detail: None },
            run(Some(3), INFO),
        ];
        for message in &messages {
            message::encode(Dialect::Current, message, &mut bytes);
        }
        let mut whole = Conversation::begin(config(Behaviour::Normal));
        whole.device.handle_bytes(&bytes, Instant::ZERO);
        let mut cut_up = Conversation::begin(config(Behaviour::Normal));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut start = 0;
        for end in cuts.into_iter().chain([bytes.len()]) {
            cut_up.device.handle_bytes(&bytes[start..end], Instant::ZERO);
            start = end;
        }
        let seen = whole.seen();
        prop_assert_eq!(seen.len(), 7);
        prop_assert_eq!(cut_up.seen(), seen);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut device = Device::new(config(Behaviour::Normal));
        device.handle_bytes(&bytes, Instant::ZERO);
    }
}

fn write(stream_id: StreamId, resource: &str, input: Value) -> Message {
    Message::Run(Run {
        stream_id: Some(stream_id),
        resource: Some(resource.into()),
        payload: Some(input),
        ..Run::default()
    })
}

fn told_to_dial() -> Value {
    Value::map([
        ("connectionMode", Value::from(1_u32)),
        ("serverAddr", "10.0.0.1".into()),
    ])
}

#[test]
fn a_device_told_to_dial_answers_and_then_leaves() {
    let late = Behaviour::Slow(Duration::from_secs(2));
    for (behaviour, leaves_at) in [(Behaviour::Normal, 300), (late, 2_300)] {
        let is_slow = behaviour != Behaviour::Normal;
        let mut conversation = Conversation::admitted(config(behaviour));
        let seen = conversation.say(&write(1, "network/ip", told_to_dial()));
        let state = conversation.device.state().ip.to_value();
        let answered = Seen::Said(Message::Ok(answer(1, Some(state))));
        let written = Seen::Reported(Event::Written("network/ip"));
        if is_slow {
            assert_eq!(seen, [written]);
            assert_eq!(conversation.wake(2_000), [answered]);
        } else {
            assert_eq!(seen, [answered, written]);
        }
        let why = "the device was told to dial 10.0.0.1";
        let left = conversation.wake(leaves_at);
        let goodbye = Message::Disconnect {
            stream_id: None,
            reason: None,
            detail: Some(why.into()),
        };
        assert_eq!(left[0], Seen::Said(goodbye));
        assert_eq!(left[1..], ended(why));
    }
}

#[test]
fn a_device_stays_if_it_is_told_nothing_new_or_to_stay_after_all() {
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    let keep_alive = Some(Instant::from_micros(30_000_000));
    let gateway = Value::map([("gateway", "10.0.0.254")]);
    conversation.say(&write(1, "network/ip", gateway));
    assert_eq!(conversation.device.poll_timeout(), keep_alive);
    conversation.say(&write(2, "network/ip", told_to_dial()));
    assert!(conversation.device.poll_timeout() < keep_alive);
    let listen = Value::map([("connectionMode", 0_u32)]);
    conversation.say(&write(3, "network/ip", listen));
    assert_eq!(conversation.device.poll_timeout(), keep_alive);
}

#[test]
fn what_is_wrong_with_an_input_is_said_with_a_code() {
    let mut conversation = Conversation::admitted(config(Behaviour::Normal));
    let denied = |code: u64, why: &str| {
        [Seen::Said(Message::Error(Answer {
            parameters: Some(code.into()),
            ..answer(1, Some(Value::map([("error", why)])))
        }))]
    };
    let key = Value::map([("key", Value::Bytes(vec![1; 32]))]);
    assert_eq!(
        conversation.say(&write(1, "security/key", key)),
        denied(403, "security/key is closed to plain links")
    );
    let port = Value::map([("port", 70_000_u32)]);
    assert_eq!(
        conversation.say(&write(1, "network/ip", port)),
        denied(400, "port is a port, 0 to 65535")
    );
}

#[test]
fn the_credential_that_it_was_given_is_sent_over_secured_links() {
    let mut state = DeviceState::default();
    state.ssl.credential = Some("given".into());
    let state = Arc::new(state);
    for (link, expected) in [
        (LinkKind::Plain, "secret"),
        (LinkKind::Aes, "given"),
        (LinkKind::Tls, "given"),
    ] {
        let config = config(Behaviour::Normal);
        let device = Device::with_state(config.clone(), BTreeSet::new(), link, state.clone());
        let mut conversation = Conversation::begin(config);
        conversation.device = device;
        let seen = conversation.seen();
        let Seen::Said(Message::Connect(connect)) = &seen[0] else {
            panic!("{seen:?}");
        };
        let Authentication::Credentials { credential, .. } = &connect.authentication else {
            panic!("{connect:?}");
        };
        assert_eq!(credential, expected.as_bytes());
    }
}
