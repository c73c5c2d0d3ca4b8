//! Traces: the machine and a device of the same codec at its other end.

mod asked;
mod checks;
mod course;
mod deadlines;
mod link;
mod random;
mod read;
mod streaming;
mod tls;
mod world;

use std::time::Duration;

use crate::cause::{Cause, CauseKind};
use crate::codec::dialect::Dialect;
use crate::codec::message::{Answer, Message, Run, StreamData};
use crate::codec::pson::Value;
use crate::device::{ConnectionMode, DeviceId, LinkKind};
use crate::session::Policy;
use crate::session::machine::{Machine, Request};
use crate::session::requests::{Answered, RequestError};
use crate::session::{SessionCommand, SessionEvent};

use self::world::{Seen, World, check, connect, credentials, ended, ok};

fn error(stream_id: u16, code: Option<u64>, text: &str) -> Seen {
    let payload = Value::Map(vec![("error".into(), Value::String(text.into()))]);
    Seen::Message(Message::Error(Answer {
        stream_id: Some(stream_id),
        parameters: code.map(Value::Unsigned),
        payload: Some(payload),
    }))
}

fn answer(stream_id: u16, payload: Value) -> Message {
    Message::Ok(Answer {
        stream_id: Some(stream_id),
        payload: Some(payload),
        ..Answer::default()
    })
}

/// A function that is not offered.
fn run(stream_id: Option<u16>) -> Message {
    Message::Run(Run {
        stream_id,
        resource: Some(Value::Unsigned(6)),
        parameters: Some(Value::String("b".into())),
        ..Run::default()
    })
}

#[test]
fn every_dialect_is_admitted_and_describes_itself() {
    for dialect in Dialect::ALL {
        for mut world in World::all(dialect) {
            world.say(&connect(7));
            let [Seen::Event(SessionEvent::Claimed(claim))] = &world.take()[..] else {
                panic!("{dialect:?}: a Connect is claimed and nothing else");
            };
            assert_eq!(&*claim.identity.device, "4711");
            assert_eq!(&*claim.evidence.credential, b"secret");
            assert_eq!(claim.evidence.link_key, world.link_key());
            assert_eq!(claim.link, world.link());
            assert_eq!(claim.mode, world.mode());
            assert_eq!(claim.keep_alive, Duration::from_secs(60));

            world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
            let seen = world.take();
            assert_eq!(seen[0], ok(7), "{dialect:?}: the Ok is the first frame");
            let [_, Seen::Message(Message::Run(run))] = &seen[..] else {
                panic!("{dialect:?}: device/info is asked for, not {seen:?}");
            };
            let resource = run.resource.as_ref().and_then(Value::as_str);
            assert_eq!(resource, Some("device/info"));
            let id = run.stream_id.unwrap();
            let info = Value::Map(vec![("type".into(), Value::Unsigned(12))]);
            world.say(&answer(id, info));
            let described = SessionEvent::Described { device_type: 12 };
            check(&mut world, &[Seen::Event(described)]);
        }
    }
}

#[test]
fn a_device_without_info_stays() {
    let mut world = World::admitted();
    let id = world.asked_id();
    world.say(&Message::Error(Answer {
        stream_id: Some(id),
        ..Answer::default()
    }));
    check(&mut world, &[]);
    world.say(&Message::KeepAlive);
    check(&mut world, &[Seen::Message(Message::KeepAlive)]);
}

#[test]
fn keep_alive_is_echoed_in_every_dialect() {
    for dialect in Dialect::ALL {
        for world in World::all(dialect) {
            let mut world = world.admit();
            world.say(&Message::KeepAlive);
            check(&mut world, &[Seen::Message(Message::KeepAlive)]);
        }
    }
    let mut world = World::plain(Dialect::Code2020).admit();
    world.feed(&[0x03, 0x00]);
    check(&mut world, &[Seen::Message(Message::KeepAlive)]);
}

#[test]
fn a_conversation_cut_anywhere_is_the_same() {
    for dialect in Dialect::ALL {
        let said = [connect(7), Message::KeepAlive, run(Some(9)), run(None)];
        let mut whole = World::plain(dialect);
        let bytes: Vec<u8> = said
            .iter()
            .flat_map(|said| whole.device.say(said))
            .collect();
        whole.feed(&bytes);
        whole.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
        let expected = whole.take();
        assert!(expected.len() >= 5, "{expected:?}");
        for cut in 0..=bytes.len() {
            let mut world = World::plain(dialect);
            let (head, tail) = bytes.split_at(cut);
            world.feed(head);
            world.feed(tail);
            world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
            assert_eq!(world.take(), expected, "{dialect:?} cut at {cut}");
        }
    }
}

#[test]
fn until_the_verdict_nothing_is_read_said_or_lost() {
    let mut world = World::plain(Dialect::Current);
    world.say(&connect(7));
    world.take();
    assert!(!world.machine.wants_read());
    world.say(&Message::KeepAlive);
    check(&mut world, &[]);
    let mut world = world.admit_again();
    assert!(world.machine.wants_read());
    check(&mut world, &[Seen::Message(Message::KeepAlive)]);
}

#[test]
fn what_is_kept_until_the_verdict_is_bounded() {
    let mut world = World::plain(Dialect::Current);
    world.say(&connect(7));
    world.take();
    let max = Policy::default().body_in_max;
    world.feed(&vec![0; max]);
    check(&mut world, &[]);
    world.feed(&[0]);
    check(&mut world, &[ended(CauseKind::ProtocolError), Seen::Close]);
}

#[test]
fn what_begins_no_connect_is_closed_without_an_answer() {
    let first: [&[u8]; 7] = [
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x01, 0x02],
        &[0x05, 0x00],
        &[0x03, 0x00],
        &[0x03, 0x81, 0x20],
        &[0x03, 0x02, 0x1a, 0x9f],
    ];
    for bytes in first {
        let mut world = World::plain(Dialect::Current);
        world.feed(bytes);
        check(&mut world, &[ended(CauseKind::ProtocolError), Seen::Close]);
    }
}

#[test]
fn a_connect_that_cannot_be_is_told_why() {
    let long = "x".repeat(65);
    let cases = [
        (
            credentials("", "4711", Some(1801)),
            CauseKind::ProtocolError,
            3,
        ),
        (credentials("", "", None), CauseKind::BadIdentity, 4),
        (credentials("a b", "4711", None), CauseKind::BadIdentity, 2),
        (credentials("", &long, None), CauseKind::BadIdentity, 2),
    ];
    for (said, kind, code) in cases {
        let mut world = World::plain(Dialect::Current);
        world.say(&said);
        let seen = world.take();
        let [Seen::Message(Message::Error(answer)), event, Seen::Finish] = &seen[..] else {
            panic!("{said:?} is answered with an Error, not {seen:?}");
        };
        assert_eq!(answer.stream_id, Some(7));
        assert_eq!(answer.parameters, Some(Value::Unsigned(code)));
        assert_eq!(event, &ended(kind));
    }
}

#[test]
fn a_payload_that_is_no_credentials_is_a_bad_encoding() {
    let mut world = World::plain(Dialect::Current);
    // Stream ID 7 and an array of one string.
    world.feed(&[0x03, 0x06, 0x08, 0x07, 0x1a, 0xe1, 0x81, 0x61]);
    let seen = world.take();
    let [Seen::Message(Message::Error(answer)), event, Seen::Finish] = &seen[..] else {
        panic!("it is answered with an Error, not {seen:?}");
    };
    assert_eq!(answer.parameters, Some(Value::Unsigned(4)));
    assert_eq!(event, &ended(CauseKind::BadIdentity));
}

#[test]
fn the_longest_interval_is_honoured() {
    let mut world = World::plain(Dialect::Current);
    world.say(&credentials("", "4711", Some(1800)));
    let [Seen::Event(SessionEvent::Claimed(claim))] = &world.take()[..] else {
        panic!("it is claimed");
    };
    assert_eq!(claim.keep_alive, Duration::from_secs(1800));
}

#[test]
fn a_refusal_is_said_then_the_peer_is_dropped_for_a_second() {
    let cases = [
        (CauseKind::NotProven, Some(2)),
        (CauseKind::WrongOwner, Some(2)),
        (CauseKind::NotAccepted, None),
        (CauseKind::TakeoverLimit, None),
    ];
    for (kind, code) in cases {
        for closing in [
            SessionCommand::Refuse as fn(Cause) -> _,
            SessionCommand::Close,
        ] {
            let mut world = World::plain(Dialect::Current);
            world.say(&connect(7));
            world.take();
            world.command(closing(Cause::new(kind, "particulars for the operator")));
            let seen = world.take();
            assert_eq!(seen[0], error(7, code, kind.as_str()));
            assert_eq!(seen[1..], [ended(kind), Seen::Finish]);
            assert!(world.machine.wants_read());
            world.say(&Message::KeepAlive);
            check(&mut world, &[]);
            world.pass(Duration::from_millis(999));
            check(&mut world, &[]);
            world.pass(Duration::from_millis(1));
            check(&mut world, &[Seen::Close]);
            assert_eq!(world.machine.poll_timeout(), None);
        }
    }
}

#[test]
fn the_gateway_says_why_it_disconnects() {
    let cases = [
        (CauseKind::Superseded, "superseded"),
        (CauseKind::Drain, "drain"),
        (CauseKind::Deleted, "deleted"),
        (CauseKind::Disconnected, "disconnected"),
        (CauseKind::Replaced, "disconnected"),
    ];
    for dialect in [Dialect::Current, Dialect::Legacy] {
        for (kind, text) in cases {
            let mut world = World::plain(dialect).admit();
            world.command(SessionCommand::Close(kind.into()));
            let words = Seen::Message(Message::Disconnect {
                stream_id: None,
                reason: None,
                detail: Some(Value::String(text.into())),
            });
            check(&mut world, &[words, ended(kind), Seen::Finish]);
            world.say(&run(Some(3)));
            world.command(SessionCommand::Close(CauseKind::Drain.into()));
            check(&mut world, &[]);
            world.machine.handle_eof(world.now);
            world.drain();
            check(&mut world, &[Seen::Close]);
        }
    }
}

#[test]
fn before_the_connect_the_gateway_closes_without_a_word() {
    for mut world in World::all(Dialect::Current) {
        world.take();
        world.command(SessionCommand::Close(CauseKind::Drain.into()));
        check(&mut world, &[ended(CauseKind::Drain), Seen::Close]);
    }
}

#[test]
fn a_peer_that_does_not_read_is_not_spoken_to_in_closing() {
    let mut world = World::admitted();
    world.machine.handle_written(10, world.now);
    world.command(SessionCommand::Close(CauseKind::Superseded.into()));
    check(&mut world, &[ended(CauseKind::Superseded), Seen::Close]);
}

#[test]
fn a_peer_that_does_not_read_is_closed() {
    let mut world = World::admitted();
    let max = Policy::default().out_buffer_max;
    world.machine.handle_written(max - 3, world.now);
    world.say(&Message::KeepAlive);
    check(&mut world, &[Seen::Message(Message::KeepAlive)]);
    world.say(&Message::KeepAlive);
    let seen = world.take();
    assert_eq!(seen[1..], [ended(CauseKind::IoError), Seen::Close]);
}

#[test]
fn a_disconnect_of_the_device_is_answered_if_it_wants() {
    let disconnect = |stream_id| Message::Disconnect {
        stream_id,
        reason: None,
        detail: None,
    };
    let end = ended(CauseKind::DisconnectedByDevice);
    let mut world = World::admitted();
    world.say(&disconnect(Some(4)));
    check(&mut world, &[ok(4), end.clone(), Seen::Finish]);
    let mut world = World::admitted();
    world.say(&disconnect(None));
    check(&mut world, &[end, Seen::Close]);
}

#[test]
fn what_is_not_offered_is_refused_to_who_wants_an_answer() {
    let start = |stream_id| Message::StartStream {
        stream_id,
        resource: Some(Value::Unsigned(6)),
        parameters: None,
    };
    let describe = |stream_id| Message::Describe {
        stream_id,
        resource: None,
        parameters: None,
    };
    let stop = |stream_id| Message::StopStream {
        stream_id,
        parameters: None,
        payload: None,
    };
    for ask in [run, start, describe] {
        let mut world = World::admitted();
        world.say(&ask(Some(9)));
        let seen = world.take();
        let [Seen::Message(Message::Error(answer))] = &seen[..] else {
            panic!("it is answered with an Error, not {seen:?}");
        };
        assert_eq!(answer.stream_id, Some(9));
        assert_eq!(answer.parameters, Some(Value::Unsigned(501)));
        world.say(&ask(None));
        check(&mut world, &[]);
    }
    let mut world = World::admitted();
    world.say(&stop(Some(9)));
    check(&mut world, &[ok(9)]);
}

#[test]
fn a_second_connect_or_a_malformed_frame_ends_the_session() {
    let mut world = World::admitted();
    world.say(&connect(8));
    check(&mut world, &[ended(CauseKind::ProtocolError), Seen::Close]);
    for bytes in [
        &[0x06, 0x02, 0x08, 0x83][..],
        &[0x00, 0x00],
        &[0x06, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut world = World::admitted();
        world.feed(bytes);
        check(&mut world, &[ended(CauseKind::ProtocolError), Seen::Close]);
    }
}

#[test]
fn what_was_not_asked_for_is_dropped_and_counted() {
    let mut world = World::admitted();
    for id in [0, 1, 500] {
        world.say(&answer(id, Value::Null));
    }
    world.say(&Message::StreamData(StreamData {
        stream_id: 300,
        kind: None,
        parameters: None,
        payload: Some(Value::Unsigned(1)),
    }));
    world.say(&Message::Unknown(0x0b));
    let stop = Message::StopStream {
        stream_id: Some(300),
        parameters: None,
        payload: None,
    };
    check(&mut world, &[Seen::Message(stop)]);
    let counters = world.machine.take_counters();
    assert_eq!(counters.answers_dropped, 3);
    assert_eq!(counters.stream_data_dropped, 1);
    assert_eq!(counters.unknown_ignored, 1);
    assert_eq!((counters.frames_in, counters.frames_out), (6, 3));
}

#[test]
fn answers_in_any_order_find_who_asked() {
    let mut world = World::admitted();
    let asked: Vec<(u32, u16)> = (0..4).map(|waiter| (waiter, world.ask(waiter))).collect();
    for &(waiter, id) in asked.iter().rev() {
        let said = answer(id, Value::Unsigned(waiter.into()));
        world.say(&said);
        let Message::Ok(said) = said else { panic!() };
        check(
            &mut world,
            &[Seen::Answer(waiter, Ok(Answered::Ok(said.clone())))],
        );
        world.say(&Message::Ok(said));
        check(&mut world, &[]);
    }
}

#[test]
fn a_request_of_a_stale_stream_id_is_never_made() {
    let mut world = World::admitted();
    let id = world.asked_id();
    world.say(&Message::StreamData(StreamData {
        stream_id: id + 1,
        kind: None,
        parameters: None,
        payload: None,
    }));
    world.take();
    assert_eq!(world.ask(0), id + 2);
}

#[test]
fn a_secret_is_not_sent_over_a_plain_link() {
    let write = || Request::Run {
        resource: "security/ssl".into(),
        payload: Some(Value::map([("enabled", Value::from(true))])),
    };
    for mut world in World::all(Dialect::Current) {
        let is_plain = world.link() == LinkKind::Plain;
        world = world.admit();
        world.take();
        world.request(write(), 1);
        let refused = [Seen::Answer(1, Err(RequestError::NotSecured))];
        assert_eq!(world.take() == refused, is_plain, "{:?}", world.link());
    }
}

#[test]
fn requests_are_answered_also_when_they_cannot_be_made() {
    let request = |resource: String| Request::Run {
        resource,
        payload: None,
    };
    let mut world = World::plain(Dialect::Current);
    world.request(request("a".into()), 1);
    let not_connected = Seen::Answer(1, Err(RequestError::NotConnected));
    assert_eq!(world.take(), std::slice::from_ref(&not_connected));

    let mut world = World::admitted();
    let max = Policy::default().frame_out_max;
    world.request(request("x".repeat(max)), 1);
    let seen = world.take();
    assert!(matches!(
        seen[..],
        [Seen::Answer(1, Err(RequestError::TooLarge { .. }))]
    ));

    let max = Policy::default().requests.count_max;
    for waiter in 1..u32::try_from(max).unwrap() {
        world.ask(waiter);
    }
    world.request(request("a".into()), 99);
    let full = RequestError::TooMany { max };
    check(&mut world, &[Seen::Answer(99, Err(full))]);

    world.say(&Message::Disconnect {
        stream_id: None,
        reason: None,
        detail: None,
    });
    let seen = world.take();
    let failed = seen.iter().filter(|seen| {
        matches!(seen, Seen::Answer(_, Err(RequestError::SessionEnded(cause)))
            if cause.kind == CauseKind::DisconnectedByDevice)
    });
    assert_eq!(failed.count(), max - 1);
    world.request(request("a".into()), 1);
    check(&mut world, &[not_connected]);
}

#[test]
fn an_idle_session_is_small_and_owns_no_buffer() {
    assert!(
        size_of::<Machine<u32>>() <= 512,
        "{}",
        size_of::<Machine<u32>>()
    );
    for world in World::all(Dialect::Current) {
        let mut world = world.admit();
        let id = world.asked_id();
        world.say(&answer(id, Value::Null));
        let keep_alive = world.device.say(&Message::KeepAlive);
        for byte in keep_alive {
            world.feed(&[byte]);
        }
        check(&mut world, &[Seen::Message(Message::KeepAlive)]);
        assert_eq!(world.machine.retained(), 0);
    }
}

#[test]
fn of_a_large_batch_only_the_begun_frame_is_kept() {
    let mut world = World::admitted();
    let id = world.asked_id();
    world.say(&answer(id, Value::Null));
    let mut batch = [0x05, 0x00].repeat(10_000);
    batch.push(0x05);
    world.feed(&batch);
    assert_eq!(world.take().len(), 10_000);
    assert!(
        world.machine.retained() <= 8,
        "{}",
        world.machine.retained()
    );
}

#[test]
fn links_and_modes_are_covered() {
    let worlds = World::all(Dialect::Current);
    for link in [LinkKind::Plain, LinkKind::Aes] {
        for mode in [
            ConnectionMode::DeviceToServer,
            ConnectionMode::ServerToDevice,
        ] {
            let covered = |world: &World| world.link() == link && world.mode() == mode;
            assert!(worlds.iter().any(covered));
        }
    }
}

impl<W> Machine<W> {
    /// The heap that buffers and queues keep, in bytes or elements.
    fn retained(&self) -> usize {
        let boxes = [
            self.directory.is_some(),
            self.streams.is_some(),
            self.in_hand.is_some(),
        ];
        let boxes: usize = boxes.map(usize::from).iter().sum();
        self.wire.retained() + self.outputs.capacity() + self.requests.retained() + boxes
    }
}
