//! I-15 and I-16: bytes that are broken, and bytes that are cut.

use serde_json::Value as Json;

use super::{dev1, gateway};
use crate::support::peer::Peer;
use crate::support::run;

#[test]
fn i_15_broken_frames_end_the_session_and_nothing_else() {
    run(async {
        let gateway = gateway().await;
        let vectors = include_str!("../../data/iotmp-vectors.json");
        let vectors: Vec<Json> = serde_json::from_str(vectors).expect("JSON");
        let broken = vectors
            .iter()
            .filter(|vector| vector["meaning"]["kind"] == "error");
        let mut tried = 0;
        for vector in broken {
            let bytes = hex::decode(vector["hex"].as_str().expect("hex")).expect("hex");
            // What is broken as a value stands in the payload of an Ok.
            let frame = match vector["dialect"].as_str() {
                Some("pson-v2") => [&[1, bytes.len() as u8 + 1, 0x1a], &bytes[..]].concat(),
                Some("pson-v1") => [&[1, bytes.len() as u8 + 1, 0x19], &bytes[..]].concat(),
                _ => bytes,
            };
            let mut peer = dev1(&gateway).await;
            peer.say_bytes(&frame).await;
            assert_eq!(peer.frame().await, None, "{vector}");
            tried += 1;
        }
        assert!(tried > 5);
        // A frame of 16 MiB, refused by its header alone.
        let mut peer = dev1(&gateway).await;
        peer.say_hex("0a80808008").await;
        assert_eq!(peer.frame().await, None);
        gateway.stop().await;
    });
}

#[test]
fn i_16_frames_cut_and_glued_at_every_byte_are_the_same() {
    run(async {
        let gateway = gateway().await;
        let said = "03181ae385616c69636584646576318673656372657408e78a01\
                    0500060a08c64712836e6f6e20010500";
        let said = hex::decode(said).expect("hex");
        for cut in 1..said.len() {
            let mut peer = Peer::dial(gateway.plain()).await;
            peer.say_bytes(&said[..cut]).await;
            tokio::task::yield_now().await;
            peer.say_bytes(&said[cut..]).await;
            let mut heard = Vec::new();
            for _ in 0..5 {
                heard.push(peer.frame().await.expect("an answer")[0]);
            }
            // The Ok first; then what was asked for, in the order of what was said but for the
            // answer that has to be looked up.
            assert_eq!(heard[0], 1, "{cut}");
            heard.sort_unstable();
            assert_eq!(heard, [1, 2, 5, 5, 6], "{cut}");
        }
        gateway.stop().await;
    });
}
