//! Reads: what the description says decides how, and nothing is run blindly.

use std::time::Duration;

use super::answer;
use super::world::{Seen, World, check};
use crate::codec::dialect::Dialect;
use crate::codec::message::{Answer, Message};
use crate::codec::pson::Value;
use crate::session::Policy;
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};

/// What the device offers here.
pub fn resources() -> Value {
    let of = |function: u64| Value::map([("fn", function)]);
    let still = Value::map([("fn", Value::from(3_u64)), ("st", false.into())]);
    Value::map([
        ("reboot", of(1)),
        ("led", of(2)),
        ("temp", of(3)),
        ("sum", of(4)),
        ("bare", Value::Null),
        ("still", still),
        ("$cmd/:session", of(3)),
    ])
}

/// The ID of the only message since the last look, a Describe of `resource`.
#[track_caller]
pub fn described(world: &mut World, resource: Option<&str>) -> u16 {
    let seen = world.take();
    let [
        Seen::Message(Message::Describe {
            stream_id: Some(id),
            resource: asked,
            parameters: None,
        }),
    ] = &seen[..]
    else {
        panic!("a Describe is sent, not {seen:?}");
    };
    assert_eq!(asked.as_ref().and_then(Value::as_str), resource);
    *id
}

fn read(world: &mut World, resource: &str, waiter: u32) {
    let resource = resource.into();
    world.request(Request::Read { resource }, waiter);
}

/// An admitted device whose description is known.
fn known(dialect: Dialect) -> World {
    let mut world = World::plain(dialect).admit();
    read(&mut world, "none", 0);
    let id = described(&mut world, None);
    world.say(&answer(id, resources()));
    check(&mut world, &[failed(0, RequestError::UnknownResource)]);
    world
}

fn failed(waiter: u32, error: RequestError) -> Seen {
    Seen::Answer(waiter, Err(error))
}

#[track_caller]
fn check_value(world: &mut World, waiter: u32, expected: Option<Value>) {
    let seen = world.take();
    let [Seen::Answer(to, Ok(Answered::Ok(answer)))] = &seen[..] else {
        panic!("it is answered with Ok, not {seen:?}");
    };
    assert_eq!((*to, &answer.payload), (waiter, &expected));
}

#[test]
fn i_08_an_input_is_described_and_never_run() {
    for dialect in Dialect::ALL {
        for (resource, key) in [("led", "in"), ("sum", "out")] {
            let mut world = known(dialect);
            read(&mut world, resource, 1);
            let id = described(&mut world, Some(resource));
            let other = if key == "in" { "out" } else { "in" };
            let both = Value::map([(other, Value::from(1_u64)), (key, "on".into())]);
            world.say(&answer(id, both));
            check_value(&mut world, 1, Some("on".into()));
        }
    }
}

#[test]
fn i_08_an_output_is_run_without_input() {
    for dialect in Dialect::ALL {
        for resource in ["temp", "$cmd/12"] {
            let mut world = known(dialect);
            read(&mut world, resource, 1);
            let seen = world.take();
            let [Seen::Message(Message::Run(run))] = &seen[..] else {
                panic!("it is run, not {seen:?}");
            };
            assert_eq!(run.resource, Some(resource.into()));
            assert_eq!(run.payload, None);
            world.say(&answer(run.stream_id.unwrap(), 21_u64.into()));
            check_value(&mut world, 1, Some(21_u64.into()));
        }
    }
}

#[test]
fn i_08_an_action_is_not_read() {
    for dialect in Dialect::ALL {
        for resource in ["reboot", "bare"] {
            let mut world = known(dialect);
            read(&mut world, resource, 1);
            check(&mut world, &[failed(1, RequestError::IsAction)]);
        }
    }
}

#[test]
fn reads_at_once_wait_for_one_description() {
    let mut world = World::admitted();
    for (waiter, resource) in ["reboot", "led", "none"].into_iter().enumerate() {
        read(&mut world, resource, u32::try_from(waiter).unwrap());
    }
    let id = described(&mut world, None);
    world.say(&answer(id, resources()));
    let seen = world.take();
    assert_eq!(seen[0], failed(0, RequestError::IsAction));
    assert!(matches!(seen[1], Seen::Message(Message::Describe { .. })));
    assert_eq!(seen[2], failed(2, RequestError::UnknownResource));
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_name_that_is_missing_is_looked_up_again_after_10_s() {
    let mut world = known(Dialect::Current);
    world.pass(Duration::from_secs(9));
    world.take();
    read(&mut world, "new", 1);
    check(&mut world, &[failed(1, RequestError::UnknownResource)]);
    world.pass(Duration::from_secs(1));
    world.take();
    read(&mut world, "new", 1);
    let id = described(&mut world, None);
    world.say(&answer(
        id,
        Value::map([("new", Value::map([("fn", 1_u64)]))]),
    ));
    check(&mut world, &[failed(1, RequestError::IsAction)]);
}

#[test]
fn no_payload_and_null_are_no_resources() {
    for payload in [None, Some(Value::Null)] {
        let mut world = World::admitted();
        read(&mut world, "a", 1);
        let stream_id = Some(described(&mut world, None));
        world.say(&Message::Ok(Answer {
            stream_id,
            payload,
            ..Answer::default()
        }));
        check(&mut world, &[failed(1, RequestError::UnknownResource)]);
    }
}

#[test]
fn a_device_that_does_not_describe_itself_is_not_run() {
    for dialect in Dialect::ALL {
        let mut world = World::plain(dialect).admit();
        read(&mut world, "a", 1);
        read(&mut world, "b", 2);
        let refusal = Answer {
            stream_id: Some(described(&mut world, None)),
            ..Answer::default()
        };
        world.say(&Message::Error(refusal.clone()));
        let refused = |waiter| Seen::Answer(waiter, Ok(Answered::Error(refusal.clone())));
        check(&mut world, &[refused(1), refused(2)]);
        read(&mut world, "a", 3);
        described(&mut world, None);
        world.pass(Policy::default().request_deadline);
        check(&mut world, &[failed(3, RequestError::TimedOut)]);
    }
}

#[test]
fn a_read_takes_one_place_at_a_time() {
    let mut world = World::admitted();
    let id = world.asked_id();
    world.say(&answer(id, Value::Null));
    let max = Policy::default().requests.count_max;
    for waiter in 0..max {
        read(&mut world, "temp", u32::try_from(waiter).unwrap());
    }
    let id = described(&mut world, None);
    let full = || failed(99, RequestError::TooMany { max });
    read(&mut world, "temp", 99);
    check(&mut world, &[full()]);
    let run = Request::Run {
        resource: "temp".into(),
        payload: None,
    };
    world.request(run, 99);
    check(&mut world, &[full()]);
    world.say(&answer(id, resources()));
    let runs = world.take();
    let is_run = |seen: &Seen| matches!(seen, Seen::Message(Message::Run(_)));
    assert!(runs.len() == max && runs.iter().all(is_run), "{runs:?}");
    read(&mut world, "temp", 99);
    check(&mut world, &[full()]);
}

#[test]
fn a_read_has_one_deadline_from_its_beginning() {
    let deadline = Policy::default().request_deadline;
    let mut world = World::admitted();
    read(&mut world, "temp", 1);
    let id = described(&mut world, None);
    world.pass(deadline / 2);
    world.say(&answer(id, resources()));
    world.take();
    world.pass(deadline / 2);
    check(&mut world, &[failed(1, RequestError::TimedOut)]);
}

#[test]
fn reads_end_with_the_session() {
    let mut world = World::admitted();
    read(&mut world, "temp", 1);
    world.take();
    world.feed(&[0, 0]);
    let seen = world.take();
    let ended = |seen: &Seen| matches!(seen, Seen::Answer(1, Err(RequestError::SessionEnded(_))));
    assert_eq!(seen.iter().filter(|seen| ended(seen)).count(), 1);
    assert_eq!(world.machine.retained(), 0);
    read(&mut world, "temp", 2);
    let last = world.take().pop();
    assert_eq!(last, Some(failed(2, RequestError::NotConnected)));
}
