//! Each phase has its deadline, to the microsecond.

use std::time::Duration;

use super::world::{START, Seen, World, check, connect, ended, peer, setup};
use super::{credentials, error};
use crate::cause::CauseKind;
use crate::codec::dialect::Dialect;
use crate::codec::message::Message;
use crate::device::{ConnectionMode, LinkKind};
use crate::link::link_key::LinkKey;
use crate::link::noise::Initiator;
use crate::session::DialLink;
use crate::session::machine::Machine;
use crate::session::requests::RequestError;

use super::world::FLEET_KEY;

/// Nothing happens until `after`, then exactly `expected`.
#[track_caller]
fn check_due(mut world: World, after: Duration, expected: &[Seen]) {
    world.take();
    world.pass(after - Duration::from_micros(1));
    check(&mut world, &[]);
    world.pass(Duration::from_micros(1));
    check(&mut world, expected);
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn lost(kind: CauseKind) -> [Seen; 2] {
    [ended(kind), Seen::Close]
}

#[test]
fn a_dial_without_an_answer() {
    let machine = Machine::dialled(peer(), DialLink::Plain, setup(), START);
    let mode = ConnectionMode::ServerToDevice;
    let world = World::new(machine, Dialect::Current, LinkKind::Plain, mode);
    check_due(world, secs(10), &lost(CauseKind::DialTimeout));
}

#[test]
fn a_peer_that_says_nothing() {
    let kind = CauseKind::FirstByteTimeout;
    check_due(World::plain(Dialect::Current), secs(5), &lost(kind));
    check_due(World::aes_accepted(Dialect::Current), secs(5), &lost(kind));
}

#[test]
fn a_handshake_that_is_begun_only() {
    let mut world = World::aes_accepted(Dialect::Current);
    world.pass(secs(4));
    world.feed(&[0x01]);
    check_due(world, secs(10), &lost(CauseKind::HandshakeTimeout));
    let (world, _) = World::dialled_aes_opened(Dialect::Current);
    check_due(world, secs(10), &lost(CauseKind::HandshakeTimeout));
}

#[test]
fn a_handshake_that_gets_no_room() {
    let mut world = World::aes_accepted(Dialect::Current);
    let (_, first) = Initiator::start(&LinkKey::new(FLEET_KEY), [2; 32]).unwrap();
    world.feed(&first[..20]);
    world.pass(secs(3));
    world.feed(&first[20..]);
    assert!(!world.machine.wants_read());
    check_due(world, secs(7), &lost(CauseKind::Busy));
}

#[test]
fn a_link_without_a_connect() {
    for world in World::all(Dialect::Current) {
        let mut world = world;
        world.take();
        if world.link() == LinkKind::Plain && world.mode() == ConnectionMode::DeviceToServer {
            // The accepted connection is the link, and a begun Connect moves no deadline.
            world.pass(secs(3));
            world.feed(&[0x03]);
            check_due(world, secs(7), &lost(CauseKind::ConnectTimeout));
        } else {
            check_due(world, secs(10), &lost(CauseKind::ConnectTimeout));
        }
    }
}

#[test]
fn a_connect_without_a_verdict() {
    let mut world = World::plain(Dialect::Current);
    world.say(&connect(7));
    let words = error(7, None, "busy");
    let expected = [words, ended(CauseKind::Busy), Seen::Finish];
    check_due(world, secs(10), &expected);
}

#[test]
fn a_device_that_falls_silent() {
    for world in World::all(Dialect::Current) {
        check_due(world.admit(), secs(69), &lost(CauseKind::KeepAliveTimeout));
    }
}

#[test]
fn the_interval_a_device_asks_for() {
    let mut world = World::plain(Dialect::Current);
    world.say(&credentials("", "4711", Some(20)));
    world.take();
    let world = world.admit_again();
    check_due(world, secs(23), &lost(CauseKind::KeepAliveTimeout));
}

#[test]
fn any_frame_keeps_a_device_alive() {
    let mut world = World::admitted();
    for _ in 0..3 {
        world.pass(secs(68));
        world.say(&Message::Unknown(0x0b));
        check(&mut world, &[]);
    }
    check_due(world, secs(69), &lost(CauseKind::KeepAliveTimeout));
}

#[test]
fn a_begun_frame_keeps_nobody_alive() {
    let mut world = World::admitted();
    world.pass(secs(60));
    world.feed(&[0x06, 0x10]);
    check_due(world, secs(9), &lost(CauseKind::KeepAliveTimeout));
}

#[test]
fn a_request_without_an_answer() {
    let mut world = World::admitted();
    world.pass(secs(3));
    let id = world.ask(5);
    let timed_out = Seen::Answer(5, Err(RequestError::TimedOut));
    world.pass(secs(10));
    check(&mut world, &[timed_out]);
    world.say(&super::answer(id, super::Value::Null));
    check(&mut world, &[]);
    assert_eq!(world.machine.take_counters().answers_dropped, 1);
}

#[test]
fn a_timer_that_fires_early_is_harmless() {
    let mut world = World::admitted();
    world.machine.handle_timeout(START);
    world.machine.handle_timeout(START);
    world.drain();
    check(&mut world, &[]);
}
