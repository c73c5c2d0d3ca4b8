//! The link against rustls as devices have it, with buffers.

mod pair;
mod refusals;
mod resumption;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Connection, Error};

use self::pair::{Device, Gateway, meet};
use super::*;
use crate::config::{Tls, TlsVersion};
use crate::device::DeviceId;
use crate::link::tls::testing::{House, device_tls};

const CUTS: [usize; 5] = [1, 2, 7, 600, usize::MAX];

/// Words both ways over a link that is up, and its end.
fn check_link(gateway: &mut Gateway, device: &mut Device, cut: usize) {
    // Over several records, and under what rustls' buffers take at once.
    let long = vec![7; 16_384 + 10_000];
    device.say(&long);
    meet(gateway, device, cut).unwrap();
    assert!(gateway.take_plain() == long);
    gateway.say(&long);
    meet(gateway, device, cut).unwrap();
    assert!(device.heard() == long);
    assert_eq!(gateway.retained(), 0, "an idle link keeps no buffer");

    assert!(!gateway.peer_closed());
    device.say(b"bye");
    device.close();
    meet(gateway, device, cut).unwrap();
    assert_eq!(gateway.take_plain(), b"bye");
    assert!(gateway.peer_closed());
    gateway.say(b"bye");
    gateway.close();
    meet(gateway, device, cut).unwrap();
    assert_eq!(device.heard(), b"bye");
    assert!(device.peer_closed());
}

#[test]
fn both_versions_and_roles_cut_anywhere() {
    let house = House::new();
    let leaf = house.device(4711);
    let tls = device_tls(&house.material(), &Tls::default());
    for version in [&TLS12, &TLS13] {
        for cut in CUTS {
            for shows in [None, Some(&leaf)] {
                let mut gateway = Gateway::server(&tls);
                let mut device = Device::client(house.client(&[version], shows));
                meet(&mut gateway, &mut device, cut).unwrap();
                assert_eq!(device.version(), Some(version.version));
                assert_eq!(
                    gateway.devices(),
                    shows.map(|_| vec![DeviceId::new(4711).unwrap()])
                );
                assert_eq!(gateway.shown(), shows.map(|leaf| leaf.der.to_vec()));
                check_link(&mut gateway, &mut device, cut);
            }
            let mut gateway = Gateway::client(&tls);
            let mut device = Device::server(house.server(&[version], &leaf));
            meet(&mut gateway, &mut device, cut).unwrap();
            assert_eq!(device.version(), Some(version.version));
            assert_eq!(gateway.shown(), Some(leaf.der.to_vec()));
            check_link(&mut gateway, &mut device, cut);
        }
    }
}

#[test]
fn what_was_said_with_the_handshake_is_heard() {
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    for version in [&TLS12, &TLS13] {
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(house.client(&[version], None));
        device.say(b"connect");
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
        assert_eq!(gateway.take_plain(), b"connect");
    }
}

#[test]
fn only_the_versions_of_the_settings_are_spoken() {
    let house = House::new();
    for (ours, theirs, other) in [
        (TlsVersion::V1_2, &TLS12, &TLS13),
        (TlsVersion::V1_3, &TLS13, &TLS12),
    ] {
        let settings = Tls {
            versions: vec![ours],
            ..Tls::default()
        };
        let tls = device_tls(&house.material(), &settings);
        let mut device = Device::client(house.client(&[theirs], None));
        meet(&mut Gateway::server(&tls), &mut device, usize::MAX).unwrap();

        let mut device = Device::client(house.client(&[other], None));
        let refused = meet(&mut Gateway::server(&tls), &mut device, usize::MAX).unwrap_err();
        assert!(matches!(refused, TlsLinkError::Handshake(_)), "{refused}");
        let alert = AlertDescription::ProtocolVersion;
        assert_eq!(device.refusal(), Some(Error::AlertReceived(alert)));
    }
}

#[test]
fn keys_can_be_changed_at_any_time() {
    let house = House::new();
    let leaf = house.device(1);
    let tls = device_tls(&house.material(), &Tls::default());
    let as_client = Device::client(house.client(&[&TLS13], None));
    let as_server = Device::server(house.server(&[&TLS13], &leaf));
    for (mut gateway, mut device) in [
        (Gateway::server(&tls), as_client),
        (Gateway::client(&tls), as_server),
    ] {
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
        for _ in 0..3 {
            match &mut device.0 {
                Connection::Client(client) => client.refresh_traffic_keys().unwrap(),
                Connection::Server(server) => server.refresh_traffic_keys().unwrap(),
            }
            gateway.say(b"before");
            device.say(b"after");
            meet(&mut gateway, &mut device, 3).unwrap();
            assert_eq!(gateway.take_plain(), b"after");
            gateway.say(b"later");
            meet(&mut gateway, &mut device, usize::MAX).unwrap();
            assert_eq!(device.heard(), b"beforelater");
        }
    }
}

#[test]
fn nothing_is_said_before_the_link_is_up() {
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    let mut out = Vec::new();
    let mut stream = TlsStream::connect(tls, &mut out).unwrap();
    let hello = out.len();
    let refused = stream.encrypt(b"early", &mut out);
    assert_eq!(refused, Err(TlsLinkError::NotUp));
    assert_eq!(out.len(), hello);
}

/// The same bytes in records of `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let records = hello[RECORD_HEADER_LEN..].chunks(size);
    let record = |part: &[u8]| [&[0x16, 3, 1, 0, part.len() as u8], part].concat();
    records.flat_map(record).collect()
}

#[test]
fn a_hello_is_whole_at_its_last_byte() {
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    for size in [1, 3, 4, 5, 100, 255] {
        let mut device = Device::client(house.client(&[&TLS12, &TLS13], None));
        let bytes = in_records(&device.sent(), size);
        for cut in 1..bytes.len() {
            let mut hello = Hello::default();
            assert_eq!(hello.read(&bytes[..cut]), Ok(false));
            assert_eq!(hello.read(&bytes[cut..]), Ok(true));
        }
        let mut gateway = Gateway::server(&tls);
        gateway.take(&bytes).unwrap();
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
    }
}

#[test]
fn what_is_no_hello_is_told_apart_at_once() {
    for (bytes, words) in [
        (&b"\x01\xaa"[..], "aes"),
        (b"\x03\x1a", "IOTMP"),
        (b"\x08\x22", "IOTMP"),
        (b"GET / HTTP/1.1", "HTTP"),
        (b"\x00", "no TLS handshake"),
        (b"\x15\x03\x01", "no TLS handshake"),
        (b"\x16\x02\x00\x00\x10", "begins like TLS"),
        (b"\x16\x03\x01\x00\x00", "begins like TLS"),
        (b"\x16\x03\x01\xff\xff", "begins like TLS"),
        (b"\x16\x03\x01\x00\x01\x02", "no ClientHello"),
    ] {
        let error = Hello::default().read(bytes).unwrap_err();
        assert!(matches!(error, TlsLinkError::NotTls(_)));
        assert!(error.to_string().contains(words), "{error}");
    }
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    let mut stream = TlsStream::connect(tls, &mut Vec::new()).unwrap();
    let error = stream.receive(b"\x03\x1a", &mut Vec::new(), &mut Vec::new());
    let error = error.unwrap_err();
    assert!(error.to_string().contains("IOTMP"), "{error}");
}

#[test]
fn a_peer_that_never_ends_its_message_is_not_kept() {
    // A ClientHello of 16 MiB, in records of a byte.
    let mut bytes = vec![0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff];
    bytes.extend([0x16, 3, 1, 0, 1, 7].repeat(HELD_MAX / 6));
    let mut hello = Hello::default();
    let refused = bytes.chunks(1000).find_map(|part| hello.read(part).err());
    assert_eq!(refused, Some(TlsLinkError::TooLong));

    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    let mut stream = TlsStream::connect(tls, &mut Vec::new()).unwrap();
    let flood = |stream: &mut TlsStream| {
        let part = [[0x16, 3, 3, 0, 1].as_slice(), &[2]].concat();
        stream.receive(&part, &mut Vec::new(), &mut Vec::new())
    };
    let refused = (0..HELD_MAX).find_map(|_| flood(&mut stream).err());
    assert!(refused.is_some());
    assert!(stream.retained() <= 2 * HELD_MAX, "{}", stream.retained());
}

#[test]
fn an_altered_record_ends_the_link() {
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    for version in [&TLS12, &TLS13] {
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(house.client(&[version], None));
        device.say(b"connect");
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
        device.say(b"more");
        let mut bytes = device.sent();
        *bytes.last_mut().unwrap() ^= 1;
        let refused = gateway.take(&bytes).unwrap_err();
        assert!(matches!(refused, TlsLinkError::Record(_)), "{refused}");
        assert_eq!(gateway.take_plain(), b"connect");
        device.take(&gateway.sent());
        let alert = AlertDescription::BadRecordMac;
        assert_eq!(device.refusal(), Some(Error::AlertReceived(alert)));
        assert!(gateway.take(b"anything").is_err());
    }
}

#[test]
fn an_altered_handshake_never_panics() {
    let house = House::new();
    let leaf = house.device(1);
    let tls = device_tls(&house.material(), &Tls::default());
    for version in [&TLS12, &TLS13] {
        for flight in 0..2 {
            for at in (0..4000).step_by(37) {
                let mut gateway = Gateway::server(&tls);
                let mut device = Device::client(house.client(&[version], Some(&leaf)));
                device.say(b"connect");
                for number in 0..3 {
                    let mut bytes = device.sent();
                    if number == flight {
                        let length = bytes.len();
                        bytes[at % length] ^= 0x55;
                    }
                    if gateway.take(&bytes).is_err() {
                        break;
                    }
                    device.take(&gateway.sent());
                }
                let plain = gateway.take_plain();
                assert!(plain.is_empty() || plain == b"connect");
            }
        }
    }
}
