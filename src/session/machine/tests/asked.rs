//! What devices ask: who is asked, what the device hears of it, and the bounds.

use super::streaming::streaming;
use super::world::{Seen, World, check, ok};
use super::{answer, error};
use crate::codec::dialect::Dialect;
use crate::codec::message::{Message, Run, StreamData};
use crate::codec::pson::Value;
use crate::session::Policy;
use crate::session::asked::{Denied, Function, Subscription};
use crate::stream::Wish;

/// Asks for a property, in the words of the dialect.
fn read_property(dialect: Dialect, stream_id: Option<u16>) -> Message {
    let run = Run {
        stream_id,
        ..Run::default()
    };
    let name = Some(Value::from("cfg"));
    Message::Run(if dialect.is_2020() {
        Run {
            resource: name,
            action: Some(12),
            ..run
        }
    } else {
        Run {
            resource: Some(1_u64.into()),
            parameters: name,
            ..run
        }
    })
}

fn start(stream_id: u16, event: &str) -> Message {
    Message::StartStream {
        stream_id: Some(stream_id),
        resource: Some(8_u64.into()),
        parameters: Some(Value::map([("event", event)])),
    }
}

fn stop(stream_id: u16) -> Message {
    Message::StopStream {
        stream_id: Some(stream_id),
        parameters: None,
        payload: None,
    }
}

fn data(stream_id: u16, value: Value) -> Message {
    Message::StreamData(StreamData {
        stream_id,
        kind: None,
        parameters: None,
        payload: Some(value),
    })
}

fn event(name: &str) -> Subscription {
    Subscription::Event {
        name: name.into(),
        filters: None,
    }
}

/// A device whose stream 5 is open, as the first thing that it asked.
fn subscribed() -> World {
    let mut world = World::admitted();
    world.say(&start(5, "alarm"));
    check(&mut world, &[Seen::Subscribe(1, 5, event("alarm"))]);
    world.told(1, Ok(None));
    check(&mut world, &[ok(5)]);
    world
}

#[test]
fn i_06_a_function_is_done_and_answered_in_every_dialect() {
    for dialect in Dialect::ALL {
        for world in World::all(dialect) {
            let mut world = world.admit();
            world.say(&read_property(dialect, Some(9)));
            let function = Function::ReadProperty { name: "cfg".into() };
            check(&mut world, &[Seen::Function(1, function)]);
            let value = Value::map([("interval", 30_u64)]);
            world.told(1, Ok(Some(value.clone())));
            check(&mut world, &[Seen::Message(answer(9, value))]);
            world.told(1, Ok(None));
            check(&mut world, &[]);
        }
    }
}

#[test]
fn i_06_what_wants_no_answer_is_done_and_gets_none() {
    for dialect in Dialect::ALL {
        let mut world = World::plain(dialect).admit();
        world.say(&read_property(dialect, None));
        assert!(matches!(world.take()[..], [Seen::Function(1, _)]));
        let text = "no such property".into();
        world.told(1, Err(Denied { code: 404, text }));
        check(&mut world, &[]);
    }
    let mut world = World::admitted();
    world.say(&super::run(None));
    check(&mut world, &[]);
    assert_eq!(world.machine.take_counters().functions_dropped, 1);
}

#[test]
fn a_denial_is_told_with_its_code() {
    let mut world = World::admitted();
    world.say(&read_property(Dialect::Current, Some(9)));
    world.take();
    let text = "no such property".into();
    world.told(1, Err(Denied { code: 404, text }));
    check(&mut world, &[error(9, Some(404), "no such property")]);
}

#[test]
fn functions_in_progress_are_bounded() {
    let mut world = World::admitted();
    let max = Policy::default().asked.in_flight_max;
    for _ in 0..max {
        world.say(&read_property(Dialect::Current, None));
    }
    assert_eq!(world.take().len(), max);
    world.say(&read_property(Dialect::Current, Some(9)));
    let text = format!("{max} requests of the device are in progress, which is the limit");
    check(&mut world, &[error(9, Some(429), &text)]);
    world.told(1, Ok(None));
    world.say(&read_property(Dialect::Current, Some(9)));
    assert!(matches!(world.take()[..], [Seen::Function(..)]));
}

#[test]
fn an_answer_that_no_device_takes_is_an_error() {
    let mut world = World::admitted();
    world.say(&read_property(Dialect::Current, Some(9)));
    world.take();
    let large = "x".repeat(Policy::default().frame_out_max);
    world.told(1, Ok(Some(large.into())));
    let seen = world.take();
    let [Seen::Message(Message::Error(answer))] = &seen[..] else {
        panic!("it is answered with an Error, not {seen:?}");
    };
    assert_eq!(answer.parameters, Some(413_u64.into()));
}

#[test]
fn values_come_over_a_stream_while_it_is_open() {
    let mut world = subscribed();
    assert!(world.push(5, 1_u64.into()));
    check(&mut world, &[Seen::Message(data(5, 1_u64.into()))]);
    assert!(!world.push(6, 1_u64.into()));
    world.say(&stop(5));
    check(&mut world, &[Seen::Unsubscribe(5), ok(5)]);
    assert!(!world.push(5, 1_u64.into()));
    check(&mut world, &[]);
}

#[test]
fn a_stream_whose_ok_is_not_said_carries_nothing() {
    let mut world = World::admitted();
    world.say(&start(5, "alarm"));
    world.take();
    assert!(!world.push(5, 1_u64.into()));
    world.say(&data(5, 1_u64.into()));
    check(&mut world, &[]);
    let text = "no".into();
    world.told(1, Err(Denied { code: 403, text }));
    check(&mut world, &[error(5, Some(403), "no")]);
    assert!(!world.push(5, 1_u64.into()));
}

#[test]
fn what_the_device_sends_on_its_stream_is_published() {
    let mut world = subscribed();
    world.say(&data(5, "on".into()));
    check(&mut world, &[Seen::Publish(5, "on".into())]);
}

#[test]
fn a_second_start_stream_replaces_the_first() {
    let mut world = subscribed();
    world.say(&start(5, "fire"));
    let replaced = [Seen::Unsubscribe(5), Seen::Subscribe(2, 5, event("fire"))];
    check(&mut world, &replaced);
    world.say(&start(5, "flood"));
    let replaced = [Seen::Unsubscribe(5), Seen::Subscribe(3, 5, event("flood"))];
    check(&mut world, &replaced);
    world.told(2, Ok(None));
    check(&mut world, &[]);
    world.told(3, Ok(Some(1_u64.into())));
    check(&mut world, &[Seen::Message(answer(5, 1_u64.into()))]);
}

#[test]
fn streams_of_the_device_are_bounded() {
    let mut world = World::admitted();
    let max = u16::try_from(Policy::default().asked.streams_max).unwrap();
    for id in 1..=max {
        world.say(&start(id, "alarm"));
        world.told(id.into(), Ok(None));
    }
    world.take();
    world.say(&start(max + 1, "alarm"));
    let text = format!("{max} streams of the device are open, which is the limit");
    check(&mut world, &[error(max + 1, Some(429), &text)]);
    world.say(&start(1, "fire"));
    assert!(matches!(
        world.take()[..],
        [Seen::Unsubscribe(1), Seen::Subscribe(..)]
    ));
}

#[test]
fn values_are_dropped_for_a_device_that_does_not_read() {
    let mut world = subscribed();
    let max = Policy::default().out_buffer_max;
    world.machine.handle_written(max / 2 + 1, world.now);
    assert!(!world.push(5, 1_u64.into()));
    check(&mut world, &[]);
    assert_eq!(world.machine.take_counters().pushes_dropped, 1);
    world.machine.handle_written(0, world.now);
    assert!(world.push(5, 1_u64.into()));
}

#[test]
fn i_10_an_id_of_the_device_is_never_taken() {
    let mut world = World::admitted();
    let next = world.asked_id() + 1;
    world.say(&start(next, "alarm"));
    world.told(1, Ok(None));
    world.take();
    assert_eq!(world.ask(1), next + 1);
}

#[test]
fn i_10_an_id_of_a_stream_of_the_gateway_is_not_given_away() {
    let (mut world, id) = streaming(Dialect::Current, Some(5), false);
    world.say(&start(id, "alarm"));
    let seen = world.take();
    let [Seen::Message(Message::Error(answer))] = &seen[..] else {
        panic!("it is answered with an Error, not {seen:?}");
    };
    assert_eq!(answer.parameters, Some(409_u64.into()));
    world.wish(Wish {
        resource: "temp".into(),
        sampled: None,
        events: false,
    });
    check(&mut world, &[Seen::Message(stop(id))]);
}

#[test]
fn i_13_leg_subscribes_with_the_code_in_field_3() {
    let mut world = World::plain(Dialect::Legacy).admit();
    let bytes = world.device.say(&start(5, "alarm"));
    assert!(bytes.windows(2).any(|pair| pair == [0x18, 8]), "{bytes:x?}");
    world.feed(&bytes);
    check(&mut world, &[Seen::Subscribe(1, 5, event("alarm"))]);
}
