//! The aes link: who gets in, who does not, and who learns what.

use std::io;

use super::world::{FLEET_KEY, START, Seen, World, check, connect, ended, peer, setup};
use crate::cause::{Cause, CauseKind};
use crate::codec::dialect::Dialect;
use crate::device::{ConnectionMode, LinkKind};
use crate::identity::KeyId;
use crate::link::link_key::LinkKey;
use crate::link::noise::{Initiator, Responder};
use crate::session::machine::Machine;
use crate::session::{DialLink, SessionEvent};

fn first_message(key: [u8; 32]) -> (Initiator, Vec<u8>) {
    Initiator::start(&LinkKey::new(key), [2; 32]).unwrap()
}

fn failed(kind: CauseKind) -> [Seen; 2] {
    [ended(kind), Seen::Close]
}

#[test]
fn a_handshake_cut_anywhere_is_ready_at_its_last_byte() {
    let (_, first) = first_message(FLEET_KEY);
    for cut in 1..first.len() {
        let mut world = World::aes_accepted(Dialect::Current);
        world.feed(&first[..cut]);
        check(&mut world, &[]);
        world.feed(&first[cut..]);
        check(&mut world, &[Seen::HandshakeReady]);
    }
}

#[test]
fn an_unknown_key_is_closed_at_the_ninth_byte_without_an_answer() {
    let (_, first) = first_message([8; 32]);
    let mut world = World::aes_accepted(Dialect::Current);
    world.feed(&first[..8]);
    check(&mut world, &[]);
    world.feed(&first[8..9]);
    check(&mut world, &failed(CauseKind::UnknownKey));
}

#[test]
fn what_is_no_handshake_is_closed_without_an_answer() {
    let (_, mut wrong_length) = first_message(FLEET_KEY);
    wrong_length[10] += 1;
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"GET /",
        &[0x03],
        &[0x02],
        &wrong_length,
    ] {
        let mut world = World::aes_accepted(Dialect::Current);
        world.feed(bytes);
        check(&mut world, &failed(CauseKind::HandshakeFailed));
    }
}

#[test]
fn a_first_message_under_another_key_is_not_answered() {
    let (_, mut first) = first_message(FLEET_KEY);
    *first.last_mut().unwrap() ^= 1;
    let mut world = World::aes_accepted(Dialect::Current);
    world.feed(&first);
    check(&mut world, &[Seen::HandshakeReady]);
    world.machine.handle_permit([3; 32], world.now);
    world.drain();
    check(&mut world, &failed(CauseKind::HandshakeFailed));
}

#[test]
fn data_before_the_answer_is_refused() {
    let (_, mut first) = first_message(FLEET_KEY);
    first.push(0);
    let mut world = World::aes_accepted(Dialect::Current);
    world.feed(&first);
    check(&mut world, &failed(CauseKind::HandshakeFailed));
}

#[test]
fn a_replayed_conversation_wins_nothing() {
    let (mut initiator, first) = first_message(FLEET_KEY);
    let mut world = World::aes_accepted(Dialect::Current);
    world.feed(&first);
    world.take();
    world.machine.handle_permit([3; 32], world.now);
    let answer = world.raw_sent();
    assert!(initiator.read(&mut &answer[..]).unwrap());
    world.device.transport = Some(initiator.finish().unwrap());
    let recorded = world.device.say(&connect(7));
    world.feed(&recorded);
    let seen = world.take();
    assert!(matches!(seen[..], [Seen::Event(SessionEvent::Claimed(_))]));

    let mut world = World::aes_accepted(Dialect::Current);
    world.feed(&first);
    check(&mut world, &[Seen::HandshakeReady]);
    world.machine.handle_permit([4; 32], world.now);
    world.raw_sent();
    world.feed(&recorded);
    check(&mut world, &failed(CauseKind::HandshakeFailed));
}

#[test]
fn who_closes_after_our_first_message_does_not_hold_the_key() {
    let (mut world, _) = World::dialled_aes_opened(Dialect::Current);
    world.machine.handle_eof(world.now);
    world.drain();
    check(&mut world, &failed(CauseKind::KeyRefused));

    let (mut world, _) = World::dialled_aes_opened(Dialect::Current);
    let kind = io::ErrorKind::ConnectionReset;
    world.machine.handle_io_error(kind, "reset", world.now);
    world.drain();
    check(&mut world, &failed(CauseKind::KeyRefused));

    let mut world = World::all(Dialect::Current).pop().unwrap();
    assert_eq!(world.link(), LinkKind::Aes);
    assert_eq!(world.mode(), ConnectionMode::ServerToDevice);
    world.machine.handle_eof(world.now);
    world.drain();
    check(&mut world, &failed(CauseKind::ClosedByDevice));
}

#[test]
fn an_answer_under_another_key_is_no_handshake() {
    let (mut world, first) = World::dialled_aes_opened(Dialect::Current);
    let mut responder = Responder::new();
    assert!(responder.read(&mut &first[..]).unwrap());
    let (_, mut answer) = responder
        .respond(&LinkKey::new(FLEET_KEY), [4; 32])
        .unwrap();
    *answer.last_mut().unwrap() ^= 1;
    world.feed(&answer);
    check(&mut world, &failed(CauseKind::HandshakeFailed));
}

#[test]
fn a_connect_that_comes_with_the_answer_is_heard() {
    let (mut world, first) = World::dialled_aes_opened(Dialect::Current);
    let mut responder = Responder::new();
    assert!(responder.read(&mut &first[..]).unwrap());
    let key = LinkKey::new(FLEET_KEY);
    let (transport, mut bytes) = responder.respond(&key, [4; 32]).unwrap();
    world.device.transport = Some(transport);
    bytes.extend(world.device.say(&connect(7)));
    world.feed(&bytes);
    let seen = world.take();
    assert!(matches!(seen[..], [Seen::Event(SessionEvent::Claimed(_))]));
}

#[test]
fn an_altered_record_ends_the_session() {
    let mut world = World::all(Dialect::Current).remove(1).admit();
    let mut bytes = world.device.say(&super::Message::KeepAlive);
    *bytes.last_mut().unwrap() ^= 1;
    world.feed(&bytes);
    check(&mut world, &failed(CauseKind::ProtocolError));
}

#[test]
fn a_dial_that_fails_is_told_as_it_is() {
    let dialled = |link| {
        let machine = Machine::dialled(peer(), link, setup(), START);
        let mode = ConnectionMode::ServerToDevice;
        World::new(machine, Dialect::Current, LinkKind::Plain, mode)
    };
    let mut world = dialled(DialLink::Plain);
    let cause = Cause::new(CauseKind::DialFailed, "refused");
    world.machine.handle_dial_failed(cause, START);
    world.drain();
    check(&mut world, &failed(CauseKind::DialFailed));

    let mut world = dialled(DialLink::Aes(KeyId([1; 8])));
    world.machine.handle_opened([1; 32], START);
    world.drain();
    check(&mut world, &failed(CauseKind::UnknownKey));
}
