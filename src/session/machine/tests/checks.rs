//! What must hold of the protocol and has no other place here; named after its check.

use std::time::Duration;

use super::streaming::streaming;
use super::world::{Seen, World, check, connect, ended, ok};
use super::{answer, run};
use crate::cause::CauseKind;
use crate::codec::dialect::Dialect;
use crate::codec::message::{Message, StreamData, StreamDataKind};
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::session::SessionCommand;
use crate::session::requests::Answered;

#[test]
fn i_01_any_other_first_message_is_closed_without_an_answer() {
    for dialect in Dialect::ALL {
        for message in [Message::KeepAlive, run(Some(9)), answer(9, Value::Null)] {
            let mut world = World::plain(dialect);
            world.say(&message);
            check(&mut world, &[ended(CauseKind::ProtocolError), Seen::Close]);
        }
    }
}

#[test]
fn i_02_ok_is_the_first_frame() {
    for dialect in Dialect::ALL {
        let mut world = World::plain(dialect);
        world.say(&connect(7));
        world.take();
        world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
        assert_eq!(world.take().first(), Some(&ok(7)), "{dialect:?}");
    }
}

#[test]
fn i_05_fields_in_any_order_and_wire_type_and_unknown_ones_skipped() {
    let bodies: [&[u8]; 4] = [
        // A varint, PSON v1 and PSON v2, before and after the stream ID; field 9 is skipped.
        &[0x08, 0, 0x18, 2],
        &[0x19, 0x08, 2, 0x08, 0],
        &[0x1a, 2, 0x08, 0],
        &[0x48, 7, 0x1a, 2, 0x08, 0, 0x49, 0x38],
    ];
    for body in bodies {
        let mut world = World::admitted();
        let id = world.ask(1);
        let mut frame = vec![0x01];
        let at = if body[0] == 0x08 { 1 } else { id_at(body) };
        let mut said = body[..at].to_vec();
        said.extend([(id & 0x7f) as u8 | 0x80, (id >> 7) as u8]);
        said.extend(&body[at + 1..]);
        frame.push(u8::try_from(said.len()).unwrap());
        frame.extend(said);
        world.feed(&frame);
        let seen = world.take();
        let [Seen::Answer(1, Ok(Answered::Ok(answer)))] = &seen[..] else {
            panic!("{body:x?} is an answer, not {seen:?}");
        };
        assert_eq!(answer.payload, Some(2_u64.into()));
    }
}

/// Where the ID stands, which is behind its key and the last 0 of the pair.
fn id_at(body: &[u8]) -> usize {
    let key = body.windows(2).position(|pair| pair == [0x08, 0]).unwrap();
    key + 1
}

#[test]
fn i_12_a_device_that_only_streams_is_kept_and_a_silent_one_closed() {
    for dialect in Dialect::ALL {
        let (mut world, id) = streaming(dialect, Some(5), false);
        let data = Message::StreamData(StreamData {
            stream_id: id,
            kind: dialect.is_2020().then_some(StreamDataKind::Sample),
            parameters: None,
            payload: None,
        });
        for _ in 0..5 {
            world.pass(Duration::from_millis(68_999));
            world.say(&data);
        }
        assert!(world.machine.is_up());
        world.take();
        world.pass(Duration::from_secs(69));
        let closed = [ended(CauseKind::KeepAliveTimeout), Seen::Close];
        check(&mut world, &closed);
    }
}

#[test]
fn i_13_leg_is_sent_the_resource_of_a_start_stream_and_a_describe_in_field_3() {
    let mut world = World::plain(Dialect::Legacy).admit();
    world
        .machine
        .handle_wish(super::streaming::wish("temp", Some(5), false), world.now);
    world.drain();
    let id = super::read::described(&mut world, None);
    let bytes = world.device.say(&answer(id, super::read::resources()));
    world.machine.handle_bytes(&bytes, world.now);
    let sent = world.raw_sent();
    // The type, the size, the ID of two bytes, then the key.
    assert_eq!((sent[0], sent[2], sent[5]), (0x08, 0x08, 0x19));
}

#[test]
fn i_14_a_device_of_2020_is_sent_seconds() {
    for (dialect, key) in [(Dialect::Code2020, 0x20), (Dialect::Doc2020, 0x04)] {
        let (mut world, _) = streaming(dialect, Some(6), false);
        world
            .machine
            .handle_wish(super::streaming::wish("temp", Some(5), false), world.now);
        let sent = world.raw_sent();
        assert_eq!(sent[0], 0x05);
        assert_eq!(sent[sent.len() - 2..], [key, 5]);
    }
}
