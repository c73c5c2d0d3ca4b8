//! Streams that the gateway opens: what the device is sent, and what is reported of it.

use std::num::NonZeroU32;
use std::time::Duration;

use super::answer;
use super::read::{described, resources};
use super::world::{Seen, World, check, ok};
use crate::codec::dialect::Dialect;
use crate::codec::message::{Answer, Message, StreamData, StreamDataKind};
use crate::codec::pson::Value;
use crate::device::LinkKind;
use crate::session::Policy;
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::stream::{Arrival, Refusal, Report, Wish};

const NOT_2020: [Dialect; 3] = [Dialect::Current, Dialect::Documented, Dialect::Legacy];
const OF_2020: [Dialect; 2] = [Dialect::Code2020, Dialect::Doc2020];

pub fn wish(resource: &str, sampled: Option<u32>, events: bool) -> Wish {
    Wish {
        resource: resource.into(),
        sampled: sampled.and_then(NonZeroU32::new),
        events,
    }
}

fn started(resource: &str, sampled: Option<u32>, events: bool) -> Seen {
    Seen::Stream(Report::Started {
        resource: resource.into(),
        sampled: sampled.and_then(NonZeroU32::new),
        events,
    })
}

fn reported(resource: &str, arrival: Arrival, value: impl Into<Value>) -> Seen {
    Seen::Stream(Report::Data {
        resource: resource.into(),
        arrival,
        value: value.into(),
    })
}

fn start(dialect: Dialect, id: u16, resource: &str, beat: u32) -> Seen {
    let parameters = if dialect.is_2020() {
        Value::from(beat)
    } else {
        Value::map([("interval", u64::from(beat) * 1000)])
    };
    Seen::Message(Message::StartStream {
        stream_id: Some(id),
        resource: Some(resource.into()),
        parameters: Some(parameters),
    })
}

fn stop(id: u16) -> Seen {
    Seen::Message(Message::StopStream {
        stream_id: Some(id),
        parameters: None,
        payload: None,
    })
}

fn data(stream_id: u16, value: impl Into<Value>) -> Message {
    typed(stream_id, None, value)
}

fn typed(stream_id: u16, kind: Option<StreamDataKind>, value: impl Into<Value>) -> Message {
    Message::StreamData(StreamData {
        stream_id,
        kind,
        parameters: None,
        payload: Some(value.into()),
    })
}

fn said_ok(id: u16) -> Message {
    let Seen::Message(message) = ok(id) else {
        panic!("an Ok is a message");
    };
    message
}

fn said_error(id: u16, code: Option<u64>, text: Option<&str>) -> Message {
    Message::Error(Answer {
        stream_id: Some(id),
        parameters: code.map(Value::from),
        payload: text.map(|text| Value::map([("message", text)])),
    })
}

/// The ID of the Start Stream that is the last of what came out.
#[track_caller]
fn started_id(seen: &[Seen]) -> u16 {
    let Some(Seen::Message(Message::StartStream {
        stream_id: Some(id),
        ..
    })) = seen.last()
    else {
        panic!("a Start Stream is sent, not {seen:?}");
    };
    *id
}

/// An admitted device that has described itself.
fn known(dialect: Dialect) -> World {
    let mut world = World::plain(dialect).admit();
    let resource = "none".into();
    world.request(Request::Read { resource }, 0);
    let id = described(&mut world, None);
    world.say(&answer(id, resources()));
    world.take();
    world
}

/// A device that has taken one stream on `temp` and told its present state; its ID.
pub fn streaming(dialect: Dialect, sampled: Option<u32>, events: bool) -> (World, u16) {
    let mut world = known(dialect);
    world.wish(wish("temp", sampled, events));
    let id = started_id(&world.take());
    world.say(&said_ok(id));
    check(&mut world, &[started("temp", sampled, events)]);
    let kind = dialect.is_2020().then_some(StreamDataKind::Sample);
    world.say(&typed(id, kind, 20_u64));
    check(&mut world, &[reported("temp", Arrival::State, 20_u64)]);
    (world, id)
}

/// A device of today with a sampled stream and one for events on `temp`; their IDs.
fn both(sampled: u32) -> (World, u16, u16) {
    let (mut world, first) = streaming(Dialect::Current, Some(sampled), false);
    world.wish(wish("temp", Some(sampled), true));
    let second = started_id(&world.take());
    world.say(&said_ok(second));
    check(&mut world, &[started("temp", Some(sampled), true)]);
    (world, first, second)
}

#[test]
fn i_09_an_interval_of_5_s_is_5000() {
    for dialect in NOT_2020 {
        let mut world = known(dialect);
        world.wish(wish("temp", Some(5), false));
        let seen = world.take();
        let id = started_id(&seen);
        assert_eq!(seen, [start(dialect, id, "temp", 5)]);
    }
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), false));
    let [Seen::Message(Message::StartStream { parameters, .. })] = &world.take()[..] else {
        panic!("a Start Stream is sent");
    };
    let interval = Value::map([("interval", 5000_u64)]);
    assert_eq!(parameters, &Some(interval));
}

#[test]
fn i_09_a_change_sends_id_resource_and_interval() {
    for dialect in Dialect::ALL {
        let (mut world, id) = streaming(dialect, Some(6), false);
        world.wish(wish("temp", Some(3), false));
        check(&mut world, &[start(dialect, id, "temp", 3)]);
        world.say(&said_ok(id));
        check(&mut world, &[started("temp", Some(3), false)]);
    }
}

#[test]
fn i_09_a_sample_of_the_old_beat_is_no_state() {
    let (mut world, id) = streaming(Dialect::Current, Some(6), false);
    world.wish(wish("temp", Some(3), false));
    world.take();
    world.say(&data(id, 1_u64));
    check(&mut world, &[reported("temp", Arrival::Sample, 1_u64)]);
    world.say(&said_ok(id));
    world.take();
    world.say(&data(id, 2_u64));
    check(&mut world, &[reported("temp", Arrival::State, 2_u64)]);
    world.say(&data(id, 3_u64));
    check(&mut world, &[reported("temp", Arrival::Sample, 3_u64)]);
}

#[test]
fn without_a_state_at_once_the_next_value_is_what_it_says() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", None, true));
    let id = started_id(&world.take());
    world.say(&said_ok(id));
    world.pass(Duration::from_millis(5001));
    world.take();
    world.say(&data(id, 1_u64));
    check(&mut world, &[reported("temp", Arrival::Event, 1_u64)]);
}

#[test]
fn only_the_newest_wish_counts() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(6), false));
    let id = started_id(&world.take());
    for beat in [5, 4, 3] {
        world.wish(wish("temp", Some(beat), false));
    }
    check(&mut world, &[]);
    world.say(&said_ok(id));
    let again = [
        started("temp", Some(6), false),
        start(Dialect::Current, id, "temp", 3),
    ];
    check(&mut world, &again);
    world.say(&said_ok(id));
    check(&mut world, &[started("temp", Some(3), false)]);
    world.wish(wish("temp", Some(3), false));
    check(&mut world, &[started("temp", Some(3), false)]);
}

#[test]
fn samples_and_events_are_two_streams_the_sampled_one_first() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), true));
    let first = started_id(&world.take());
    world.say(&said_ok(first));
    let seen = world.take();
    let second = started_id(&seen);
    assert_ne!(first, second);
    let expected = [
        started("temp", Some(5), false),
        start(Dialect::Current, second, "temp", 0),
    ];
    assert_eq!(seen, expected);
    world.say(&said_ok(second));
    check(&mut world, &[started("temp", Some(5), true)]);
    for (id, arrival) in [
        (first, Arrival::State),
        (second, Arrival::State),
        (second, Arrival::Event),
        (first, Arrival::Sample),
    ] {
        world.say(&data(id, 1_u64));
        check(&mut world, &[reported("temp", arrival, 1_u64)]);
    }
}

#[test]
fn events_are_started_again_after_the_sampled_stream_is_stopped_or_changed() {
    let (mut world, first, second) = both(5);
    world.wish(wish("temp", Some(4), true));
    check(&mut world, &[start(Dialect::Current, first, "temp", 4)]);
    world.say(&said_ok(first));
    let again = [
        started("temp", Some(4), true),
        start(Dialect::Current, second, "temp", 0),
    ];
    check(&mut world, &again);
    world.say(&said_ok(second));
    check(&mut world, &[]);

    world.wish(wish("temp", None, true));
    check(&mut world, &[stop(first)]);
    world.say(&said_ok(first));
    let again = [
        started("temp", None, true),
        start(Dialect::Current, second, "temp", 0),
    ];
    check(&mut world, &again);
}

#[test]
fn what_nobody_wants_is_stopped_by_its_id() {
    for dialect in Dialect::ALL {
        let (mut world, id) = streaming(dialect, Some(6), false);
        world.wish(wish("temp", None, false));
        check(&mut world, &[stop(id)]);
        // What was on its way reaches nobody, and is not stopped again.
        let kind = dialect.is_2020().then_some(StreamDataKind::Sample);
        world.say(&typed(id, kind, 1_u64));
        check(&mut world, &[]);
        world.say(&said_ok(id));
        check(&mut world, &[]);
        assert!(world.machine.streams.is_none());
    }
    let (mut world, first, second) = both(5);
    world.wish(wish("temp", None, false));
    check(&mut world, &[stop(second)]);
    world.say(&said_ok(second));
    assert_eq!(world.take().last(), Some(&stop(first)));
}

#[test]
fn i_11_an_action_is_never_started() {
    for dialect in Dialect::ALL {
        let mut world = World::plain(dialect).admit();
        for (resource, code) in [
            ("reboot", 405),
            ("bare", 405),
            ("none", 404),
            ("still", 409),
        ] {
            world.wish(wish(resource, Some(5), true));
            let mut seen = world.take();
            if let [Seen::Message(Message::Describe { stream_id, .. })] = &seen[..] {
                world.say(&answer(stream_id.unwrap(), resources()));
                seen = world.take();
            }
            let [Seen::Stream(Report::Refused { refusal, .. })] = &seen[..] else {
                panic!("{resource} is refused, not {seen:?}");
            };
            assert_eq!(refusal.code, code, "{resource}");
        }
        assert!(world.machine.streams.is_none());
    }
}

#[test]
fn i_11_nothing_is_started_before_the_description() {
    for dialect in NOT_2020 {
        let mut world = World::plain(dialect).admit();
        world.wish(wish("temp", Some(5), false));
        world.wish(wish("led", Some(5), false));
        let id = described(&mut world, None);
        world.say(&said_error(id, Some(500), Some("no")));
        let refused = |resource: &str| {
            Seen::Stream(Report::Refused {
                resource: resource.into(),
                refusal: Refusal {
                    code: 500,
                    text: "no".into(),
                },
            })
        };
        check(&mut world, &[refused("temp"), refused("led")]);
        world.wish(wish("temp", Some(5), false));
        described(&mut world, None);
        world.pass(Policy::default().request_deadline);
        let [Seen::Stream(Report::Refused { refusal, .. })] = &world.take()[..] else {
            panic!("it is refused");
        };
        assert_eq!(refusal.code, 504);
    }
}

#[test]
fn i_14_a_device_of_2020_without_a_description_is_started_all_the_same() {
    for dialect in OF_2020 {
        let mut world = World::plain(dialect).admit();
        world.wish(wish("temp", Some(5), false));
        let id = described(&mut world, None);
        world.say(&said_error(id, None, None));
        let id = started_id(&world.take());
        world.say(&said_ok(id));
        check(&mut world, &[started("temp", Some(5), false)]);
        // It is not asked again for each.
        world.wish(wish("led", Some(5), false));
        let seen = world.take();
        let id = started_id(&seen);
        assert_eq!(seen, [start(dialect, id, "led", 5)]);
    }
}

#[test]
fn i_14_one_stream_serves_both_and_the_types_tell() {
    for dialect in OF_2020 {
        let (mut world, id) = streaming(dialect, Some(5), false);
        world.wish(wish("temp", Some(5), true));
        check(&mut world, &[started("temp", Some(5), true)]);
        for (kind, arrival) in [
            (StreamDataKind::Event, Arrival::Event),
            (StreamDataKind::Sample, Arrival::Sample),
        ] {
            world.say(&typed(id, Some(kind), 1_u64));
            check(&mut world, &[reported("temp", arrival, 1_u64)]);
        }
        world.wish(wish("temp", None, true));
        check(&mut world, &[start(dialect, id, "temp", 0)]);
        world.say(&said_ok(id));
        check(&mut world, &[started("temp", None, true)]);
        world.say(&typed(id, Some(StreamDataKind::Event), 2_u64));
        check(&mut world, &[reported("temp", Arrival::Event, 2_u64)]);
    }
}

#[test]
fn i_13_leg_sends_input_and_output_and_one_is_taken() {
    let half = |stream_id, which: u64, value: u64| {
        Message::StreamData(StreamData {
            stream_id,
            kind: None,
            parameters: Some(which.into()),
            payload: Some(value.into()),
        })
    };
    for (resource, taken) in [("sum", &[2][..]), ("led", &[1]), ("temp", &[2])] {
        let mut world = known(Dialect::Legacy);
        world.wish(wish(resource, Some(5), false));
        let id = started_id(&world.take());
        world.say(&said_ok(id));
        world.take();
        if resource == "sum" {
            world.say(&half(id, 1, 1));
            check(&mut world, &[]);
        }
        for which in taken {
            world.say(&half(id, *which, 7));
            check(&mut world, &[reported(resource, Arrival::State, 7_u64)]);
        }
    }
}

#[test]
fn a_refusal_of_the_device_is_told_and_the_other_stream_is_stopped() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), true));
    let first = started_id(&world.take());
    world.say(&said_ok(first));
    let second = started_id(&world.take());
    world.say(&said_error(second, Some(418), Some("teapot")));
    let refused = Seen::Stream(Report::Refused {
        resource: "temp".into(),
        refusal: Refusal {
            code: 418,
            text: "teapot".into(),
        },
    });
    check(&mut world, &[refused, stop(first)]);
    world.say(&said_ok(first));
    check(&mut world, &[]);
    assert!(world.machine.streams.is_none());
}

#[test]
fn a_refusal_without_a_code_is_a_bad_gateway() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), false));
    let id = started_id(&world.take());
    world.say(&said_error(id, None, None));
    let [Seen::Stream(Report::Refused { refusal, .. })] = &world.take()[..] else {
        panic!("it is refused and nothing is stopped");
    };
    assert_eq!(refusal.code, 502);
}

#[test]
fn silence_is_tried_again_once_then_refused_and_stopped() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), false));
    let seen = world.take();
    let id = started_id(&seen);
    let deadline = Policy::default().request_deadline;
    world.pass(deadline);
    assert_eq!(world.take(), seen);
    world.say(&Message::KeepAlive);
    world.take();
    world.pass(deadline);
    let seen = world.take();
    let [Seen::Stream(Report::Refused { refusal, .. }), stopped] = &seen[..] else {
        panic!("it is refused, not {seen:?}");
    };
    assert_eq!((refusal.code, stopped), (504, &stop(id)));
}

#[test]
fn i_10_stale_data_reaches_nobody_and_is_stopped_once() {
    for dialect in Dialect::ALL {
        let (mut world, id) = streaming(dialect, Some(5), false);
        let kind = dialect.is_2020().then_some(StreamDataKind::Sample);
        let stale = id.wrapping_add(9);
        world.say(&typed(stale, kind, 1_u64));
        check(&mut world, &[stop(stale)]);
        world.say(&typed(stale, kind, 1_u64));
        world.say(&said_ok(stale));
        world.say(&typed(stale, kind, 1_u64));
        world.say(&typed(0, kind, 1_u64));
        check(&mut world, &[]);
        let counters = world.machine.take_counters();
        assert_eq!(counters.stream_data_dropped, 4);
        assert_eq!(counters.answers_dropped, 0);
    }
}

#[test]
fn i_10_stale_data_under_the_id_of_a_request_leaves_the_request_alone() {
    let mut world = World::admitted();
    let id = world.ask(1);
    world.say(&data(id, 1_u64));
    check(&mut world, &[]);
    world.say(&answer(id, Value::Null));
    assert!(matches!(
        world.take()[..],
        [Seen::Answer(1, Ok(Answered::Ok(_)))]
    ));
    world.say(&data(id, 1_u64));
    check(&mut world, &[stop(id)]);
}

#[test]
fn i_07_answers_find_their_streams_in_any_order() {
    let mut world = known(Dialect::Current);
    world.wish(wish("temp", Some(5), false));
    let temp = started_id(&world.take());
    world.wish(wish("led", Some(6), false));
    let led = started_id(&world.take());
    for unknown in [0, led.wrapping_add(100)] {
        world.say(&said_ok(unknown));
        check(&mut world, &[]);
    }
    world.say(&said_ok(led));
    check(&mut world, &[started("led", Some(6), false)]);
    world.say(&said_ok(temp));
    check(&mut world, &[started("temp", Some(5), false)]);
}

#[test]
fn input_goes_over_the_stream_that_is_open() {
    let input = |resource: &str| Request::StreamInput {
        resource: resource.into(),
        payload: 7_u64.into(),
    };
    for dialect in Dialect::ALL {
        let (mut world, id) = streaming(dialect, Some(5), false);
        world.request(input("temp"), 1);
        let seen = world.take();
        let [
            Seen::Message(Message::StreamData(sent)),
            Seen::Answer(1, Ok(Answered::Ok(_))),
        ] = &seen[..]
        else {
            panic!("it is sent and answered, not {seen:?}");
        };
        assert_eq!((sent.stream_id, &sent.payload), (id, &Some(7_u64.into())));
        world.request(input("led"), 2);
        check(
            &mut world,
            &[Seen::Answer(2, Err(RequestError::NotStreamed))],
        );
        let max = Policy::default().out_buffer_max;
        world.machine.handle_written(max / 2 + 1, world.now);
        world.request(input("temp"), 3);
        let full = RequestError::TooManyBytes { max: max / 2 };
        check(&mut world, &[Seen::Answer(3, Err(full))]);
    }
    let (mut world, first, _) = both(5);
    world.request(input("temp"), 1);
    let seen = world.take();
    assert!(
        matches!(&seen[0], Seen::Message(Message::StreamData(sent)) if sent.stream_id == first)
    );
}

#[test]
fn secret_input_is_not_streamed_over_a_plain_link() {
    for mut world in World::all(Dialect::Current) {
        let is_plain = world.link() == LinkKind::Plain;
        world = world.admit();
        let resource = "security/ssl".into();
        let payload = Value::Null;
        world.request(Request::StreamInput { resource, payload }, 1);
        let expected = if is_plain {
            RequestError::NotSecured
        } else {
            RequestError::NotStreamed
        };
        check(&mut world, &[Seen::Answer(1, Err(expected))]);
    }
}

#[test]
fn streams_end_with_the_session_and_leave_nothing() {
    let (mut world, _, _) = both(5);
    world.feed(&[0, 0]);
    world.take();
    assert_eq!(world.machine.retained(), 0);
    world.wish(wish("temp", Some(5), false));
    check(&mut world, &[]);
}
