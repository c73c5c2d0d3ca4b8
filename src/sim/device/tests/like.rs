//! Streams, and what each client does its own way.

use super::*;
use crate::codec::message::{StreamData, StreamDataKind};
use crate::sim::ask::Ask;
use crate::sim::quirks::Like;
use crate::sim::streams::Open;

fn like(like: Like) -> Config {
    let mut config = Config {
        extras: &Resource::HOSTILE_PANEL,
        ..config(Behaviour::Normal)
    };
    like.apply(&mut config);
    config
}

fn good() -> Config {
    Config {
        extras: &Resource::HOSTILE_PANEL,
        ..config(Behaviour::Normal)
    }
}

fn start(id: StreamId, resource: Option<&str>, parameters: Option<Value>) -> Message {
    Message::StartStream {
        stream_id: Some(id),
        resource: resource.map(Value::from),
        parameters,
    }
}

fn every(ms: u64) -> Option<Value> {
    Some(Value::map([("interval", ms)]))
}

fn stop(id: StreamId) -> Message {
    Message::StopStream {
        stream_id: Some(id),
        parameters: None,
        payload: None,
    }
}

fn data(stream_id: StreamId, payload: Value) -> Message {
    Message::StreamData(StreamData {
        stream_id,
        kind: None,
        parameters: None,
        payload: Some(payload),
    })
}

fn is_on(on: bool) -> Value {
    Value::map([("on", on)])
}

fn started(id: StreamId, resource: Resource, ms: Option<u64>) -> Seen {
    Seen::Reported(Event::StreamStarted {
        id,
        resource,
        interval: ms.map(Duration::from_millis),
    })
}

fn stopped(id: StreamId) -> Seen {
    Seen::Reported(Event::StreamStopped { id })
}

fn error(id: StreamId) -> Seen {
    Seen::Said(Message::Error(answer(id, None)))
}

fn said(messages: impl IntoIterator<Item = Message>) -> Vec<Seen> {
    messages.into_iter().map(Seen::Said).collect()
}

/// What a value of the relay is sent as.
fn relay(id: StreamId, on: bool) -> Seen {
    Seen::Said(data(id, is_on(on)))
}

#[test]
fn a_stream_begins_with_the_present_state_and_is_counted() {
    let mut conversation = Conversation::admitted(good());
    let seen = conversation.say(&start(5, Some("counter"), every(2000)));
    let began = [
        Seen::Said(ok(5)),
        started(5, Resource::Counter, Some(2000)),
        Seen::Said(data(5, Value::Unsigned(0))),
    ];
    assert_eq!(seen, began);
    for second in [2_u64, 4] {
        let sample = [Seen::Said(data(5, Value::Unsigned(second)))];
        assert_eq!(conversation.wake(second * 1000), sample);
    }
    // The same ID: another interval, and the state once more.
    let seen = conversation.say(&start(5, Some("counter"), every(3000)));
    assert_eq!(seen[1], started(5, Resource::Counter, Some(3000)));
    assert_eq!(
        conversation.wake(7000),
        [Seen::Said(data(5, Value::Unsigned(7)))]
    );
    let record = conversation.device.state().streams.clone();
    let open = Open {
        id: 5,
        resource: Resource::Counter,
        interval: Some(Duration::from_secs(3)),
    };
    assert_eq!(
        (record.starts, record.stops, record.open),
        (2, 0, vec![open])
    );
    assert_eq!(conversation.say(&stop(5)), [Seen::Said(ok(5)), stopped(5)]);
    assert_eq!(conversation.say(&stop(5)), [error(5), stopped(5)]);
    assert_eq!(conversation.say(&data(5, Value::Null)), []);
    let record = conversation.device.state().streams.clone();
    assert_eq!((record.starts, record.stops, record.open), (2, 2, vec![]));
}

#[test]
fn a_change_is_told_to_streams_of_events() {
    let mut conversation = Conversation::admitted(good());
    conversation.say(&start(5, Some("relay"), None));
    conversation.say(&start(6, Some("relay"), every(60_000)));
    let written = Seen::Reported(Event::Written("relay"));
    let seen = conversation.say(&write(1, "relay", is_on(true)));
    let answered = Seen::Said(Message::Ok(answer(1, Some(is_on(true)))));
    assert_eq!(seen, [answered.clone(), written, relay(5, true)]);
    // What changes nothing is no event.
    assert_eq!(
        conversation.say(&write(1, "relay", is_on(true))),
        [answered]
    );
    // An input over a stream goes back on the same one, and to the others.
    let seen = conversation.say(&data(6, is_on(false)));
    let written = Seen::Reported(Event::Written("relay"));
    assert_eq!(seen, [written, relay(6, false), relay(5, false)]);
    // Somebody at the device.
    let touch = Ask::Touch(Resource::Relay, Some(is_on(true)));
    conversation.device.ask(AskId(7), &touch, Instant::ZERO);
    let told = Seen::Reported(Event::Answered {
        ask: AskId(7),
        answer: Ok(Some(is_on(true))),
    });
    assert_eq!(conversation.seen(), [relay(5, true), told]);
}

#[test]
fn what_is_no_stream_is_refused() {
    let mut conversation = Conversation::admitted(good());
    for (resource, says_why) in [("door", false), ("reboot", true), ("security/key", true)] {
        let seen = conversation.say(&start(5, Some(resource), None));
        let Seen::Said(Message::Error(answer)) = &seen[0] else {
            panic!("{seen:?}");
        };
        let why = answer
            .payload
            .as_ref()
            .and_then(|payload| payload.get("message"));
        assert_eq!(why.is_some(), says_why, "{seen:?}");
        assert_eq!(seen[1], Seen::Reported(Event::StreamRefused { id: 5 }));
    }
    assert_eq!(conversation.device.state().panel.reboots, 0);
}

#[test]
fn a_reboot_is_answered_and_drops_the_link() {
    let mut conversation = Conversation::admitted(good());
    let seen = conversation.say(&run(Some(3), "reboot"));
    assert_eq!(
        seen,
        [Seen::Said(ok(3)), Seen::Reported(Event::Written("reboot"))]
    );
    assert_eq!(conversation.due(), ended("the device reboots"));
    assert_eq!(conversation.device.state().panel.reboots, 1);
}

#[test]
fn hostile_text_is_told_as_it_is() {
    let mut conversation = Conversation::admitted(good());
    let name = crate::sim::panel::HOSTILE_NAME;
    let seen = conversation.say(&run(Some(3), name));
    let Seen::Said(Message::Ok(answer)) = &seen[0] else {
        panic!("{seen:?}");
    };
    let text = answer
        .payload
        .as_ref()
        .and_then(|payload| payload.get(name));
    assert_eq!(text, Some(&crate::sim::panel::HOSTILE_TEXT.into()));
}

#[test]
fn linux_takes_the_first_ok_ignores_disconnect_and_answers_everything() {
    let mut conversation = Conversation::begin(like(Like::Linux));
    let seen = conversation.seen();
    let [Seen::Said(Message::Connect(connect))] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(connect.keep_alive, None);
    assert_eq!(conversation.say(&ok(3)), [Seen::Reported(Event::Admitted)]);
    let disconnect = Message::Disconnect {
        stream_id: None,
        reason: None,
        detail: None,
    };
    assert_eq!(conversation.say(&disconnect), []);
    let nobody = |payload| {
        Message::Ok(Answer {
            payload,
            ..Answer::default()
        })
    };
    assert_eq!(
        conversation.say(&run(None, "sum")),
        said([nobody(Some(Value::map([("result", 0_u64)])))])
    );
    // Its fields: stream ID 0 is there.
    let bytes = [0x06, 0x06, 0x22, 0x84, b'b', b'e', b'e', b'p'];
    conversation.device.handle_bytes(&bytes, Instant::ZERO);
    let Some(Output::Report(Event::Written("beep"))) = conversation.device.poll_output() else {
        panic!("it is reported first");
    };
    let zero = Output::Send(vec![0x01, 0x02, 0x08, 0x00]);
    assert_eq!(conversation.device.poll_output(), Some(zero));
}

#[test]
fn linux_answers_two_runs_of_one_packet_the_last_one_first() {
    for (config, order) in [(like(Like::Linux), [2, 1]), (good(), [1, 2])] {
        let mut conversation = Conversation::admitted(config);
        let mut packet = Vec::new();
        for id in [1, 2] {
            message::encode(Dialect::Current, &run(Some(id), "door"), &mut packet);
        }
        conversation.device.handle_bytes(&packet, Instant::ZERO);
        assert_eq!(conversation.seen(), order.map(error));
    }
}

#[test]
fn linux_runs_an_action_on_start_stream() {
    let mut conversation = Conversation::admitted(like(Like::Linux));
    assert_eq!(
        conversation.say(&start(5, Some("beep"), None)),
        [Seen::Said(ok(5))]
    );
    let panel = conversation.device.state().panel.clone();
    assert_eq!(panel.beeps, 1);
    assert_eq!(
        conversation.say(&start(6, Some("reboot"), None)),
        [Seen::Said(ok(6))]
    );
    assert_eq!(conversation.due(), ended("the device reboots"));
    let without = Conversation::admitted(like(Like::Linux)).say(&start(5, None, every(1000)));
    assert_eq!(without[0], error(5));
}

#[test]
fn linux_samples_on_its_tick_and_keeps_its_streams_over_a_redial() {
    let mut conversation = Conversation::admitted(like(Like::Linux));
    conversation.now = Instant::from_micros(300_000);
    conversation.say(&start(5, Some("counter"), every(1500)));
    for (ms, counted) in [(1000, 1), (3000, 3), (5000, 5)] {
        let sample = [Seen::Said(data(5, Value::Unsigned(counted)))];
        assert_eq!(conversation.wake(ms), sample);
    }
    let state = conversation.device.state().clone();
    conversation.device.handle_closed();
    let again = |config: Config| {
        let mut again = Conversation::begin(config.clone());
        let lacking = BTreeSet::new();
        again.device = Device::with_state(config, lacking, LinkKind::Plain, state.clone());
        again.now = Instant::from_micros(9_000_000);
        again.seen();
        let seen = again.say(&ok(CONNECT_ID));
        (again, seen)
    };
    let (mut linux, seen) = again(like(Like::Linux));
    let stale = Seen::Said(data(5, Value::Unsigned(9)));
    assert_eq!(seen, [Seen::Reported(Event::Admitted), stale]);
    assert_eq!(
        linux.wake(10_000),
        [Seen::Said(data(5, Value::Unsigned(10)))]
    );
    assert_eq!(linux.say(&stop(5)), [Seen::Said(ok(5)), stopped(5)]);
    let (good, seen) = again(good());
    assert_eq!(seen, [Seen::Reported(Event::Admitted)]);
    assert_eq!(good.device.state().streams.open, []);
    assert_eq!(good.device.state().streams.starts, 1);
}

#[test]
fn linux_goes_on_after_an_unknown_wire_type_and_embedded_closes() {
    let bytes = hex::decode("060408011b00").unwrap();
    let mut linux = Conversation::admitted(like(Like::Linux));
    linux.device.handle_bytes(&bytes, Instant::ZERO);
    assert_eq!(linux.seen(), [error(1)]);
    let mut embedded = Conversation::admitted(like(Like::Embedded));
    embedded.device.handle_bytes(&bytes, Instant::ZERO);
    assert_eq!(embedded.seen()[1], Seen::Closed);
}

#[test]
fn a_body_beyond_what_a_client_takes_ends_its_link() {
    for (client, most) in [(Like::Linux, 262_144), (Like::Embedded, 32_768)] {
        let mut conversation = Conversation::admitted(like(client));
        // A type that it does not know: the body means nothing.
        let mut frame = Vec::new();
        frame::write(11, &vec![0; most], &mut frame);
        conversation.device.handle_bytes(&frame, Instant::ZERO);
        assert_eq!(conversation.seen(), []);
        let mut frame = Vec::new();
        frame::write(11, &vec![0; most + 1], &mut frame);
        conversation.device.handle_bytes(&frame, Instant::ZERO);
        assert_eq!(conversation.seen()[1], Seen::Closed);
    }
}

#[test]
fn embedded_waits_ten_seconds_for_the_answer() {
    let mut conversation = Conversation::begin(like(Like::Embedded));
    conversation.seen();
    assert_eq!(conversation.wake(0), []);
    assert_eq!(
        conversation.wake(10_000),
        refused("the Connect was not answered in time")
    );
    let mut patient = Conversation::begin(like(Like::Linux));
    patient.seen();
    assert_eq!(patient.device.poll_timeout(), None);
}

#[test]
fn embedded_tells_the_last_started_stream_and_none_after_a_stop() {
    let mut conversation = Conversation::admitted(like(Like::Embedded));
    conversation.say(&start(5, Some("relay"), every(60_000)));
    conversation.say(&start(6, Some("relay"), None));
    let echo = |conversation: &mut Conversation| {
        let seen = conversation.say(&write(1, "relay", is_on(false)));
        seen[1..].to_vec()
    };
    // Nothing changed, and still it is told.
    assert_eq!(echo(&mut conversation), [relay(6, false)]);
    conversation.say(&stop(5));
    assert_eq!(echo(&mut conversation), []);
    conversation.say(&start(6, Some("relay"), None));
    assert_eq!(echo(&mut conversation), [relay(6, false)]);
    assert_eq!(
        conversation.say(&stop(99)),
        [Seen::Said(ok(99)), stopped(99)]
    );
}

#[test]
fn legacy_tells_both_halves_and_answers_answers() {
    let mut conversation = Conversation::admitted(like(Like::Legacy));
    let half = |half: u64, value: Value| {
        Seen::Said(Message::StreamData(StreamData {
            stream_id: 5,
            kind: None,
            parameters: Some(half.into()),
            payload: Some(value),
        }))
    };
    let seen = conversation.say(&start(5, Some("sum"), every(2000)));
    let input = Value::map([("a", 0_u64), ("b", 0)]);
    let output = Value::map([("result", 0_u64)]);
    assert_eq!(seen[2..], [half(1, input), half(2, output)]);
    // Without an interval it keeps the one that it has.
    let seen = conversation.say(&start(5, Some("sum"), None));
    assert_eq!(seen[1], started(5, Resource::Sum, Some(2000)));
    assert_eq!(conversation.say(&ok(77)), [error(77)]);
    assert_eq!(conversation.say(&data(78, Value::Null)), [error(78)]);
    // A float loses its fraction.
    let seen = conversation.say(&run(Some(3), "humidity"));
    let Seen::Said(Message::Ok(answer)) = &seen[0] else {
        panic!("{seen:?}");
    };
    assert!(
        matches!(answer.payload, Some(Value::Unsigned(_))),
        "{answer:?}"
    );
}

#[test]
fn devices_of_2020_tell_events_from_samples_and_count_in_seconds() {
    for client in [Like::Of2020, Like::Doc2020] {
        let mut conversation = Conversation::admitted(like(client));
        let of = |kind, value| {
            Seen::Said(Message::StreamData(StreamData {
                stream_id: 5,
                kind: Some(kind),
                parameters: None,
                payload: Some(value),
            }))
        };
        let sample = |on| of(StreamDataKind::Sample, is_on(on));
        let event = |on| of(StreamDataKind::Event, is_on(on));
        let seen = conversation.say(&start(5, Some("relay"), Some(Value::Unsigned(5))));
        assert_eq!(
            seen[1..],
            [started(5, Resource::Relay, Some(5000)), sample(false)]
        );
        let seen = conversation.say(&write(1, "relay", is_on(true)));
        assert_eq!(seen[2..], [event(true)]);
        assert_eq!(conversation.wake(5000), [sample(true)]);
        // The ID and the interval alone.
        let seen = conversation.say(&start(5, None, Some(Value::Unsigned(10))));
        assert_eq!(seen[1], started(5, Resource::Relay, Some(10_000)));
        let describe = Message::Describe {
            stream_id: Some(4),
            resource: None,
            parameters: None,
        };
        assert_eq!(conversation.say(&describe), [error(4)]);
    }
}

#[test]
fn subscriptions_are_opened_one_after_the_other() {
    for client in [Like::Linux, Like::Legacy] {
        let property = Subscription::Property {
            name: "config".into(),
            current: true,
        };
        let topic = Subscription::TopicOut {
            topic: "doors/1".into(),
            retained: false,
        };
        let mut conversation = Conversation::begin(Config {
            subscriptions: vec![property.clone(), topic.clone()],
            ..like(client)
        });
        conversation.seen();
        // The IDs are those of every such client.
        let seen = conversation.say(&ok(CONNECT_ID));
        let first = Seen::Said(property.message(9158));
        assert_eq!(seen, [Seen::Reported(Event::Admitted), first]);
        let present = Value::map([("interval", 30_u64)]);
        let answered = |ask, answer| Seen::Reported(Event::Answered { ask, answer });
        let seen = conversation.say(&Message::Ok(answer(9158, Some(present.clone()))));
        let second = Seen::Said(topic.message(39017));
        assert_eq!(seen, [answered(AskId(0), Ok(Some(present))), second]);
        let seen = conversation.say(&Message::Error(answer(39017, None)));
        assert_eq!(
            seen,
            [answered(AskId(1), Err("no reason was given".into()))]
        );
        let seen = conversation.say(&data(9158, Value::Unsigned(7)));
        let pushed = Event::Pushed {
            ask: AskId(0),
            value: Value::Unsigned(7),
        };
        assert_eq!(seen, [Seen::Reported(pushed)]);
        let value = Ask::Publish(AskId(1), Value::Null);
        conversation.device.ask(AskId(2), &value, Instant::ZERO);
        let why = "the device has no such stream open".to_owned();
        assert_eq!(conversation.seen(), [answered(AskId(2), Err(why))]);
        let leave = Ask::Unsubscribe(AskId(0));
        conversation.device.ask(AskId(3), &leave, Instant::ZERO);
        assert_eq!(conversation.seen(), [Seen::Said(stop(9158))]);
    }
}

#[test]
fn asks_are_answered_once_whatever_happens() {
    let mut conversation = Conversation::begin(good());
    conversation.seen();
    let read = Ask::ReadProperty {
        name: "config".into(),
    };
    let answered = |ask, answer: Result<Option<Value>, &str>| {
        let answer = answer.map_err(str::to_owned);
        Seen::Reported(Event::Answered { ask, answer })
    };
    let ask = |conversation: &mut Conversation, id| {
        conversation.device.ask(AskId(id), &read, Instant::ZERO);
        conversation.seen()
    };
    let early = ask(&mut conversation, 1);
    assert_eq!(
        early,
        [answered(AskId(1), Err("the device is not connected"))]
    );
    conversation.say(&ok(CONNECT_ID));
    for id in [2, 3] {
        assert_eq!(ask(&mut conversation, id).len(), 1);
    }
    // They come back in another order.
    let second = conversation.say(&Message::Ok(answer(39017, Some(Value::Null))));
    assert_eq!(second, [answered(AskId(3), Ok(Some(Value::Null)))]);
    conversation.device.handle_closed();
    let seen = conversation.seen();
    assert_eq!(
        seen[0],
        answered(AskId(2), Err("the link ended before the answer"))
    );
}

proptest! {
    /// No bytes make any client panic, and its time never stands still.
    #[test]
    fn no_client_panics(
        client in prop::sample::select(Like::ALL.as_slice()),
        messages in prop::collection::vec((0_u8..11, prop::collection::vec(any::<u8>(), 0..20)), 0..12),
        resources in prop::collection::vec(prop::sample::select(&Resource::PANEL[..]), 0..4),
    ) {
        let mut config = like(client);
        config.subscriptions = vec![Subscription::TopicIn { filter: "#".into() }];
        let mut conversation = Conversation::admitted_whatever(config);
        for resource in resources {
            conversation.say(&start(1, Some(resource.name()), every(1)));
        }
        for (message_type, body) in messages {
            let mut bytes = Vec::new();
            frame::write(u64::from(message_type), &body, &mut bytes);
            conversation.device.handle_bytes(&bytes, conversation.now);
            conversation.device.handle_timeout(conversation.now);
        }
        for _ in 0..5 {
            if let Some(due) = conversation.device.poll_timeout() {
                conversation.now = conversation.now.max(due);
                conversation.device.handle_timeout(conversation.now);
            }
        }
        conversation.device.handle_closed();
        conversation.seen();
    }
}
