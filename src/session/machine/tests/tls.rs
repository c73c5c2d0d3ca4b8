//! The tls link in its three shapes: who gets in, who does not, and who learns what.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Connection};

use super::world::{Seen, World, check, connect, ended, leaf, peer, setup, tls_client};
use crate::cause::{Cause, CauseKind};
use crate::codec::dialect::Dialect;
use crate::codec::message::{Authentication, Connect, Message};
use crate::device::{ConnectionMode, DeviceId};
use crate::identity::Claim;
use crate::session::machine::{Machine, Output};
use crate::session::{AcceptLink, SessionCommand, SessionEvent};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn failed(kind: CauseKind) -> [Seen; 2] {
    [ended(kind), Seen::Close]
}

fn claim(world: &mut World) -> Claim {
    match &world.take()[..] {
        [Seen::Event(SessionEvent::Claimed(claim))] => claim.clone(),
        seen => panic!("a Connect is claimed and nothing else, not {seen:?}"),
    }
}

/// The cause with which it ends, also its words.
fn cause(world: &mut World) -> Cause {
    while let Some(output) = world.machine.poll_output() {
        if let Output::Report(SessionEvent::Ended(cause)) = output {
            return cause;
        }
    }
    panic!("it has not ended");
}

fn accepted(device: Connection) -> World {
    World::tls_accepted(Dialect::Current, device)
}

/// In all three shapes, before anything of the handshake came from the device.
fn begun() -> [World; 3] {
    [
        accepted(tls_client(None)),
        World::tls_dialled(Dialect::Current),
        World::tls_turned(Dialect::Current),
    ]
}

#[test]
fn a_hello_cut_anywhere_is_ready_at_its_last_byte() {
    let hello = accepted(tls_client(None)).device.tls_sent();
    for cut in 1..hello.len() {
        let mut world = accepted(tls_client(None));
        world.feed(&hello[..cut]);
        check(&mut world, &[]);
        world.feed(&hello[cut..]);
        check(&mut world, &[Seen::HandshakeReady]);
        assert!(!world.machine.wants_read());
    }
}

#[test]
fn what_the_certificate_names_is_evidence() {
    let device = leaf(&["urn:gatehouse:device:4711", "urn:gatehouse:device:4712"]);
    for shows in [None, Some(&device)] {
        let mut world = accepted(tls_client(shows)).shake_hands();
        check(&mut world, &[]);
        world.say(&connect(7));
        let certificate = claim(&mut world).evidence.certificate;
        let devices = certificate.map(|certificate| certificate.devices.to_vec());
        let named = [4711, 4712].map(|id| DeviceId::new(id).unwrap());
        assert_eq!(devices, shows.map(|_| named.to_vec()));
    }
    let mut world = World::tls_turned(Dialect::Current).shake_hands();
    world.say(&connect(7));
    let claim = claim(&mut world);
    assert_eq!(claim.mode, ConnectionMode::ServerToDevice);
    let devices = claim.evidence.certificate.unwrap().devices.to_vec();
    assert_eq!(devices, [DeviceId::new(4711).unwrap()]);
}

#[test]
fn a_connect_with_the_end_of_the_handshake_is_heard() {
    let mut world = accepted(tls_client(None));
    let hello = world.device.say(&connect(7));
    world.feed(&hello);
    check(&mut world, &[Seen::HandshakeReady]);
    world.machine.handle_permit([3; 32], world.now);
    world.drain();
    check(&mut world, &[]);
    let rest = world.device.tls_sent();
    world.feed(&rest);
    claim(&mut world);
}

#[test]
fn what_is_no_tls_is_closed_without_an_answer() {
    for bytes in [&b"\x01"[..], b"GET /", &[0x03], &[0x08], &[0]] {
        for mut world in [
            accepted(tls_client(None)),
            World::tls_dialled(Dialect::Current),
        ] {
            world.feed(bytes);
            check(&mut world, &failed(CauseKind::HandshakeFailed));
        }
    }
    let mut machine = Machine::<()>::inbound(peer(), AcceptLink::Tls, setup(), super::world::START);
    machine.handle_bytes(b"GET / HTTP/1.1", super::world::START);
    let Some(Output::Report(SessionEvent::Ended(cause))) = machine.poll_output() else {
        panic!("it ends");
    };
    assert!(cause.detail.contains("HTTP"), "{cause}");
}

#[test]
fn a_refused_device_is_sent_the_alert() {
    let operator = leaf(&["urn:gatehouse:operator:alice"]);
    let mut world = accepted(tls_client(Some(&operator))).shake_hands();
    let expected = [ended(CauseKind::HandshakeFailed), Seen::Finish];
    check(&mut world, &expected);
    let Some(tls) = &mut world.device.tls else {
        panic!("it speaks TLS");
    };
    let refusal = tls.process_new_packets().unwrap_err();
    let alert = AlertDescription::AccessDenied;
    assert_eq!(refusal, rustls::Error::AlertReceived(alert));
    world.machine.handle_eof(world.now);
    world.drain();
    check(&mut world, &[Seen::Close]);
}

#[test]
fn a_device_that_closes_in_the_handshake_has_not_let_us_in() {
    for mut world in [
        World::tls_dialled(Dialect::Current),
        World::tls_turned(Dialect::Current),
    ] {
        world.machine.handle_eof(world.now);
        let cause = cause(&mut world);
        assert_eq!(cause.kind, CauseKind::HandshakeFailed);
        assert!(cause.detail.contains("TLS handshake"), "{cause}");
    }
    for mut world in [
        World::tls_dialled(Dialect::Current),
        World::tls_turned(Dialect::Current),
    ] {
        let kind = io::ErrorKind::ConnectionReset;
        world.machine.handle_io_error(kind, "reset", world.now);
        assert_eq!(cause(&mut world).kind, CauseKind::HandshakeFailed);
    }
    let mut world = accepted(tls_client(None));
    let hello = world.device.tls_sent();
    world.feed(&hello[..9]);
    world.machine.handle_eof(world.now);
    assert_eq!(cause(&mut world).kind, CauseKind::ClosedByDevice);
}

#[test]
fn the_alert_of_a_device_is_quoted() {
    for mut world in [World::tls_turned(Dialect::Current), {
        let mut world = accepted(tls_client(None));
        let hello = world.device.tls_sent();
        world.feed(&hello);
        world.machine.handle_permit([3; 32], world.now);
        world.drain();
        world
    }] {
        // unknown_ca, in clear.
        let now = world.now;
        world.machine.handle_bytes(&[0x15, 3, 3, 0, 2, 2, 48], now);
        let cause = cause(&mut world);
        assert_eq!(cause.kind, CauseKind::HandshakeFailed);
        assert!(cause.detail.contains("alert UnknownCA"), "{cause}");
    }
}

#[test]
fn the_deadline_of_the_handshake_goes_on_through_the_permit() {
    let mut world = accepted(tls_client(None));
    let hello = world.device.tls_sent();
    world.pass(secs(4));
    world.feed(&hello[..20]);
    world.pass(secs(6));
    world.feed(&hello[20..]);
    check(&mut world, &[Seen::HandshakeReady]);
    world.pass(secs(2));
    world.machine.handle_permit([3; 32], world.now);
    world.drain();
    assert!(world.machine.wants_read());
    world.pass(secs(2) - Duration::from_micros(1));
    check(&mut world, &[]);
    world.pass(Duration::from_micros(1));
    check(&mut world, &failed(CauseKind::HandshakeTimeout));
}

#[test]
fn a_device_that_says_nothing() {
    for (mut world, after, kind) in begun().into_iter().zip([5, 10, 10]).map(|(world, after)| {
        let kind = match world.mode() {
            ConnectionMode::DeviceToServer => CauseKind::FirstByteTimeout,
            ConnectionMode::ServerToDevice => CauseKind::HandshakeTimeout,
        };
        (world, after, kind)
    }) {
        world.take();
        world.pass(secs(after) - Duration::from_micros(1));
        check(&mut world, &[]);
        world.pass(Duration::from_micros(1));
        check(&mut world, &failed(kind));
    }
}

#[test]
fn a_hello_that_gets_no_room() {
    let mut world = accepted(tls_client(None));
    let hello = world.device.tls_sent();
    world.feed(&hello);
    check(&mut world, &[Seen::HandshakeReady]);
    world.pass(secs(10));
    check(&mut world, &failed(CauseKind::Busy));
}

#[test]
fn a_close_notify_is_an_end() {
    for world in World::all(Dialect::Current) {
        let mut world = world;
        let Some(tls) = &mut world.device.tls else {
            continue;
        };
        tls.send_close_notify();
        let bytes = world.device.tls_sent();
        world.feed(&bytes);
        check(&mut world, &failed(CauseKind::ClosedByDevice));
    }
}

#[test]
fn the_last_words_end_the_link_properly() {
    for world in World::all(Dialect::Current) {
        let mut world = world.admit();
        if world.device.tls.is_none() {
            continue;
        }
        world.command(SessionCommand::Close(CauseKind::Drain.into()));
        let seen = world.take();
        let [Seen::Message(Message::Disconnect { .. }), _, Seen::Finish] = &seen[..] else {
            panic!("a Disconnect, not {seen:?}");
        };
        let tls = world.device.tls.as_mut().unwrap();
        assert!(tls.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn an_idle_link_keeps_no_buffer() {
    for world in World::all(Dialect::Current) {
        let mut world = world.admit();
        world.say(&Message::KeepAlive);
        assert_eq!(world.machine.wire.retained(), 0);
    }
}

/// A Connect of 2020 that brings a certificate as text.
fn with_certificate(text: &str) -> Message {
    Message::Connect(Connect {
        stream_id: Some(7),
        authentication: Authentication::Certificate(text.to_owned()),
        keep_alive: None,
    })
}

#[test]
fn a_certificate_as_text_is_the_one_of_the_handshake() {
    let device = leaf(&["urn:gatehouse:device:4711"]);
    let base64: String = device
        .pem
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    for text in [&device.pem, &base64, &format!("  {base64}\n")] {
        for dialect in [Dialect::Doc2020, Dialect::Code2020] {
            let mut world = World::tls_accepted(dialect, tls_client(Some(&device))).shake_hands();
            world.say(&with_certificate(text));
            let claim = claim(&mut world);
            assert_eq!(
                (&*claim.identity.owner, &*claim.identity.device),
                ("", "4711")
            );
            assert!(claim.evidence.certificate.is_some());
            assert!(claim.evidence.credential.is_empty());
        }
    }
}

#[test]
fn a_certificate_as_text_alone_proves_nothing() {
    let device = leaf(&["urn:gatehouse:device:4711"]);
    let other = leaf(&["urn:gatehouse:device:4711"]);
    let two = leaf(&["urn:gatehouse:device:1", "urn:gatehouse:device:2"]);
    for (shows, text, words) in [
        (None, &device.pem, "proves nothing"),
        (Some(&device), &other.pem, "is not the one"),
        (Some(&device), &"hello".to_owned(), "neither PEM"),
        (Some(&device), &String::new(), "is not the one"),
        (Some(&two), &two.pem, "several devices"),
    ] {
        let mut world = World::tls_accepted(Dialect::Doc2020, tls_client(shows)).shake_hands();
        let bytes = world.device.say(&with_certificate(text));
        world.machine.handle_bytes(&bytes, world.now);
        let cause = cause(&mut world);
        assert_eq!(cause.kind, CauseKind::NotProven);
        assert!(cause.detail.contains(words), "{cause}");
    }
}
