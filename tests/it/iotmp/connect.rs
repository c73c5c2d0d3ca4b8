//! I-1 to I-3, I-12 to I-14: the beginning of a session, and how it stays alive.

use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::message::Message;
use gatehouse::grpc::proto::gsdk::connect::Status;

use super::{gateway, path, web};
use crate::support::client::list;
use crate::support::peer::{Peer, connect, connect_every};
use crate::support::run;

const CONNECT: &str = "03181ae385616c69636584646576318673656372657408e78a01";
const OK: &str = "010408e78a01";

#[test]
fn i_01_any_other_first_message_is_closed_and_not_answered() {
    run(async {
        let gateway = gateway().await;
        for first in [
            "0500",                                 // Keep Alive
            "0400",                                 // Disconnect
            "0300",                                 // Keep Alive of 2020
            "010408e78a01",                         // Ok
            "061008ac02228b74656d7065726174757265", // Run
            "07020801",                             // Describe
            "080f0805228b74656d7065726174757265",   // Start Stream
            "09020806",                             // Stop Stream
            "0a0408081a61",                         // Stream Data
            "0000",                                 // the reserved type
            "0b00",                                 // a type that nobody has
            "0110",                                 // the protocol before IOTMP
            "474554202f20485454502f312e310d0a0d0a", // HTTP
            "16030100",                             // TLS
        ] {
            let mut peer = Peer::dial(gateway.plain()).await;
            peer.say_hex(first).await;
            peer.hears_the_end().await;
        }
        gateway.stop().await;
    });
}

#[test]
fn i_02_the_first_frame_is_the_ok_with_the_id_of_the_connect() {
    run(async {
        let gateway = gateway().await;
        for (bytes, ok) in [
            (CONNECT, OK),
            // With parameters, as the pages have it: pv, ka and at.
            (
                "0325080112c382617400826b611f78827076011ae385616c6963658464657631867365637265 74",
                "01020801",
            ),
        ] {
            let mut peer = Peer::dial(gateway.plain()).await;
            peer.say_hex(&bytes.replace(' ', "")).await;
            peer.hears_hex(ok).await;
        }
        let mut legacy = Peer::dial(gateway.plain()).await;
        legacy.speak(Dialect::Legacy);
        legacy.say(&connect("alice", "dev1")).await;
        legacy.hears_hex(OK).await;
        gateway.stop().await;
    });
}

#[test]
fn i_03_a_stock_client_connects_is_listed_and_survives_three_keep_alives() {
    run(async {
        let gateway = gateway().await;
        let mut peer = Peer::dial(gateway.plain()).await;
        peer.say_hex(CONNECT).await;
        peer.hears_hex(OK).await;
        peer.refuse_info().await;
        let listed = list(&mut gateway.client().await).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].status(), Status::TcpConnected);
        for _ in 0..3 {
            peer.say_hex("0500").await;
            peer.hears_hex("0500").await;
        }
        let (_, device) = web(&gateway).try_get("/v3/users/alice/devices/dev1").await;
        assert_eq!(device["status"], "TCP_CONNECTED", "{device}");
        gateway.stop().await;
    });
}

#[test]
fn i_12_silence_ends_a_session() {
    run(async {
        let gateway = gateway().await;
        let mut peer = Peer::dial(gateway.plain()).await;
        peer.say(&connect_every(Some(1), "alice", "dev1")).await;
        peer.hears_hex(OK).await;
        peer.refuse_info().await;
        peer.hears_the_end().await;
        gateway.stop().await;
    });
}

#[test]
fn i_13_a_legacy_client_is_echoed_and_finds_the_resource_in_field_3() {
    run(async {
        let gateway = gateway().await;
        let mut peer = Peer::admitted(gateway.plain(), Dialect::Legacy, "alice", "dev1").await;
        peer.say_hex("0500").await;
        peer.hears_hex("0500").await;
        let web = web(&gateway);
        let asked = tokio::spawn(async move { web.try_get(&format!("{}/api", path("t"))).await });
        let frame = peer.frame().await.expect("a Describe");
        assert_eq!(frame[0], 7);
        // Field 3 under wire type 1, a string of one character in PSON v1.
        assert!(hex::encode(&frame).contains("194a0174"), "{frame:02x?}");
        drop(peer);
        let (status, _) = asked.await.expect("an answer");
        assert!(!status.is_success());
        gateway.stop().await;
    });
}

#[test]
fn i_14_clients_of_2020_connect_in_both_layouts_and_are_echoed_in_theirs() {
    run(async {
        let gateway = gateway().await;
        for (dialect, ok) in [
            (Dialect::Doc2020, "01020101"),
            (Dialect::Code2020, "01020801"),
        ] {
            let connect = match dialect {
                Dialect::Doc2020 => "081a01016372154a05616c6963654a04646576314a06736563726574",
                _ => "081a08011e72154a05616c6963654a04646576314a06736563726574",
            };
            let mut peer = Peer::dial(gateway.plain()).await;
            peer.speak(dialect);
            peer.say_hex(connect).await;
            peer.hears_hex(ok).await;
            peer.refuse_info().await;
            peer.say_hex("0300").await;
            peer.hears_hex("0300").await;
            peer.say(&Message::Disconnect {
                stream_id: None,
                reason: None,
                detail: None,
            })
            .await;
            peer.hears_the_end().await;
        }
        gateway.stop().await;
    });
}
