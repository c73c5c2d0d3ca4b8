use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const KEY: LinkKey = LinkKey::new([0x42; 32]);

/// Both ends with the bytes they sent: first message of the initiator, answer of the responder.
struct Pair {
    initiator: Transport,
    responder: Transport,
    first: Vec<u8>,
}

fn pair() -> Pair {
    let (mut initiator, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    let (responder, answer) = respond(&first, [2; 32]).unwrap();
    assert_eq!(initiator.read(&mut answer.as_slice()), Ok(true));
    Pair {
        initiator: initiator.finish().unwrap(),
        responder,
        first,
    }
}

fn respond(first: &[u8], entropy: [u8; 32]) -> Result<(Transport, Vec<u8>), NoiseError> {
    let mut responder = Responder::new();
    responder.read(&mut &*first)?;
    responder.respond(&KEY, entropy)
}

/// `bytes` in pieces whose lengths follow `cuts` round and round.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while let Some(cut) = cuts.next()
        && !bytes.is_empty()
    {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(1..80_usize, 1..20)
}

#[test]
fn the_handshake_has_the_published_shape() {
    let (_, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    assert_eq!(first.len(), 9 + 2 + 48);
    assert_eq!(first[0], 1);
    assert_eq!(first[1..9], KEY.id().0);
    assert_eq!(first[9..11], [0, 48]);
    let (_, answer) = respond(&first, [2; 32]).unwrap();
    assert_eq!(answer.len(), 2 + 48);
    assert_eq!(answer[..2], [0, 48]);
}

/// What the Python library `noiseprotocol` 0.3.1 makes of the same key, prologue and ephemeral
/// keys, framed as on the wire.
#[test]
fn the_bytes_are_those_of_another_implementation() {
    let (mut initiator, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    assert_eq!(
        hex::encode(&first),
        "01425ed4e4a36b30ea0030a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209d1\
         bf6d1b70b23d9990c703f1a52be4a1"
    );
    let (mut responder, answer) = respond(&first, [2; 32]).unwrap();
    assert_eq!(
        hex::encode(&answer),
        "0030ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59707270beb71fac64b76e\
         b9509a907e54"
    );
    initiator.read(&mut answer.as_slice()).unwrap();
    let mut initiator = initiator.finish().unwrap();
    let (mut there, mut back) = (Vec::new(), Vec::new());
    initiator.encrypt(b"one", &mut there).unwrap();
    initiator.encrypt(b"two", &mut there).unwrap();
    responder.encrypt(b"three", &mut back).unwrap();
    assert_eq!(
        hex::encode(there),
        "00138b8d946a0f345307c0547a91b00d57c46804c60013f10f59b1b6998799849ebe8ac84d22641197a9"
    );
    assert_eq!(
        hex::encode(back),
        "00159fc8bb28867db11ca4aa3e80bcca962ba029fe0342"
    );
}

#[test]
fn the_entropy_alone_decides_the_first_message() {
    let (_, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    assert_eq!(Initiator::start(&KEY, [1; 32]).unwrap().1, first);
    assert_ne!(Initiator::start(&KEY, [9; 32]).unwrap().1, first);
}

#[test]
fn an_unknown_version_ends_at_the_first_byte() {
    for version in (0..=255).filter(|version| *version != VERSION) {
        assert_eq!(
            Responder::new().read(&mut [version].as_slice()),
            Err(NoiseError::UnknownVersion(version))
        );
    }
}

#[test]
fn another_handshake_length_ends_before_the_message() {
    let (mut initiator, mut first) = Initiator::start(&KEY, [1; 32]).unwrap();
    first[10] = 49;
    assert_eq!(
        Responder::new().read(&mut &first[..11]),
        Err(NoiseError::HandshakeLength)
    );
    assert_eq!(
        initiator.read(&mut [1].as_slice()),
        Err(NoiseError::HandshakeLength)
    );
}

#[test]
fn the_key_is_asked_for_before_the_message_is_there() {
    let (_, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    let mut responder = Responder::new();
    for cut in 0..first.len() {
        assert_eq!(responder.key_id(), (cut >= 9).then(|| KEY.id()));
        let complete = responder.read(&mut &first[cut..=cut]);
        assert_eq!(complete, Ok(cut + 1 == first.len()));
    }
}

#[test]
fn a_cut_handshake_is_incomplete() {
    let (mut initiator, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    for cut in 0..first.len() {
        let error = respond(&first[..cut], [2; 32]).err();
        assert_eq!(error, Some(NoiseError::Incomplete));
    }
    let (_, answer) = respond(&first, [2; 32]).unwrap();
    assert_eq!(initiator.read(&mut &answer[..49]), Ok(false));
    assert_eq!(initiator.finish().err(), Some(NoiseError::Incomplete));
}

#[test]
fn a_peer_with_another_key_is_refused_on_either_side() {
    let other = LinkKey::new([0x43; 32]);
    let (_, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    let mut responder = Responder::new();
    responder.read(&mut first.as_slice()).unwrap();
    let refusal = NoiseError::Handshake(other.id());
    assert_eq!(responder.respond(&other, [2; 32]).err(), Some(refusal));

    // A listener without the key can only make up an answer.
    let (mut initiator, _) = Initiator::start(&KEY, [1; 32]).unwrap();
    let (_, other_first) = Initiator::start(&other, [3; 32]).unwrap();
    let mut responder = Responder::new();
    responder.read(&mut other_first.as_slice()).unwrap();
    let (_, answer) = responder.respond(&other, [2; 32]).unwrap();
    assert_eq!(initiator.read(&mut answer.as_slice()), Ok(true));
    assert_eq!(
        initiator.finish().err(),
        Some(NoiseError::Handshake(KEY.id()))
    );
}

#[test]
fn every_altered_handshake_byte_is_an_error() {
    let (_, first) = Initiator::start(&KEY, [1; 32]).unwrap();
    for at in 0..first.len() {
        let mut altered = first.clone();
        altered[at] ^= 0x40;
        let mut responder = Responder::new();
        // An altered key ID asks for another key, which the caller does not have.
        let asks_for_key =
            responder.read(&mut altered.as_slice()).is_ok() && responder.key_id() == Some(KEY.id());
        let holds = asks_for_key && responder.respond(&KEY, [2; 32]).is_ok();
        assert!(!holds, "byte {at} altered and yet accepted");
    }
    let (_, answer) = respond(&first, [2; 32]).unwrap();
    for at in 0..answer.len() {
        let mut altered = answer.clone();
        altered[at] ^= 0x40;
        let (mut initiator, _) = Initiator::start(&KEY, [1; 32]).unwrap();
        let holds = initiator.read(&mut altered.as_slice()).is_ok() && initiator.finish().is_ok();
        assert!(!holds, "byte {at} altered and yet accepted");
    }
}

#[test]
fn the_prologue_binds_the_bytes_in_clear() {
    // The key is right and the message untouched, but the initiator meant another hello.
    let (_, mut first) = Initiator::start(&KEY, [1; 32]).unwrap();
    let mut handshake = builder(&KEY, [1; 32], &[2, 0, 0, 0, 0, 0, 0, 0, 0])
        .and_then(Builder::build_initiator)
        .unwrap();
    first.truncate(HELLO_LEN);
    first.extend(framed_message(&mut handshake).unwrap());
    let error = respond(&first, [2; 32]).err();
    assert_eq!(error, Some(NoiseError::Handshake(KEY.id())));
}

#[test]
fn a_replayed_first_message_wins_nothing() {
    let mut recorded = pair();
    let mut record = Vec::new();
    recorded.initiator.encrypt(b"connect", &mut record).unwrap();

    let (mut replayed, _) = respond(&recorded.first, [3; 32]).unwrap();
    assert!(!replayed.is_proven());
    let mut plain = Vec::new();
    let error = replayed.decrypt(&record, &mut plain);
    assert_eq!(error, Err(NoiseError::Record));
    assert!(plain.is_empty() && !replayed.is_proven());
}

#[test]
fn the_first_record_proves_the_dialler_even_if_empty() {
    let mut pair = pair();
    assert!(pair.initiator.is_proven(), "its answer needed the key");
    assert!(!pair.responder.is_proven());
    let mut record = vec![0, TAG_LEN as u8];
    record.resize(LENGTH_LEN + TAG_LEN, 0);
    let state = &mut pair.initiator.state;
    state.write_message(&[], &mut record[2..]).unwrap();
    let mut plain = Vec::new();
    pair.responder.decrypt(&record, &mut plain).unwrap();
    assert!(plain.is_empty() && pair.responder.is_proven());
}

#[test]
fn a_record_too_short_for_its_tag_is_refused_at_its_length() {
    for length in 0..TAG_LEN {
        let error = pair()
            .responder
            .decrypt(&[0, length as u8], &mut Vec::new());
        assert_eq!(error, Err(NoiseError::RecordLength(length)));
    }
}

#[test]
fn nothing_to_send_makes_no_record() {
    let mut out = Vec::new();
    pair().initiator.encrypt(&[], &mut out).unwrap();
    assert!(out.is_empty());
}

#[test]
fn a_long_text_is_cut_into_full_records() {
    let mut pair = pair();
    let plain = vec![7; 2 * RECORD_PLAIN_MAX + 1];
    let (mut sealed, mut back) = (Vec::new(), Vec::new());
    pair.initiator.encrypt(&plain, &mut sealed).unwrap();
    assert_eq!(sealed.len(), plain.len() + 3 * (LENGTH_LEN + TAG_LEN));
    assert_eq!(sealed[..2], [0xff, 0xff]);
    pair.responder.decrypt(&sealed, &mut back).unwrap();
    assert!(back == plain);
}

#[test]
fn after_an_error_the_link_stays_broken() {
    let mut pair = pair();
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    pair.initiator.encrypt(b"x", &mut sealed).unwrap();
    let mut altered = sealed.clone();
    altered[5] ^= 1;
    let decrypted = pair.responder.decrypt(&altered, &mut plain);
    assert_eq!(decrypted, Err(NoiseError::Record));
    let again = pair.responder.decrypt(&sealed, &mut plain);
    assert_eq!(again, Err(NoiseError::Broken));
    let sent = pair.responder.encrypt(b"y", &mut plain);
    assert_eq!(sent, Err(NoiseError::Broken));
    assert!(plain.is_empty());
}

#[test]
fn an_idle_link_stays_small() {
    // The library boxes the two ciphers, 32 bytes of key each.
    assert!(size_of::<Transport>() + 2 * 32 <= 256);
    assert!(size_of::<Responder>() <= 64);
    assert!(size_of::<Initiator>() <= 72);
    let mut pair = pair();
    let mut sealed = Vec::new();
    pair.initiator.encrypt(&[1; 5000], &mut sealed).unwrap();
    let (head, tail) = sealed.split_at(3000);
    let mut plain = Vec::new();
    pair.responder.decrypt(head, &mut plain).unwrap();
    assert_eq!(pair.responder.buffered(), 3000);
    pair.responder.decrypt(tail, &mut plain).unwrap();
    assert_eq!(pair.responder.partial.capacity(), 0);
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut responder = pair().responder;
    let mut plain = Vec::new();
    responder.decrypt(&[0xff, 0xff, 0], &mut plain).unwrap();
    assert!(responder.partial.capacity() < 64 && plain.capacity() == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_stream_may_be_cut_anywhere(
        texts in vec(vec(any::<u8>(), 0..300), 1..8),
        cuts in cuts(),
    ) {
        let (mut initiator, mut to_responder) = Initiator::start(&KEY, [1; 32]).unwrap();
        let mut responder = Responder::new();
        for mut piece in pieces(&to_responder, &cuts) {
            responder.read(&mut piece).unwrap();
            prop_assert!(piece.is_empty());
        }
        let (mut responder, mut to_initiator) = responder.respond(&KEY, [2; 32]).unwrap();
        for text in &texts {
            responder.encrypt(text, &mut to_initiator).unwrap();
        }

        // The responder's records follow its answer at once: what is left over is theirs.
        let mut received = Vec::new();
        let mut remaining = pieces(&to_initiator, &cuts).into_iter();
        let mut rest: &[u8] = &[];
        while !initiator.read(&mut rest).unwrap() {
            rest = remaining.next().unwrap();
        }
        let mut initiator = initiator.finish().unwrap();
        initiator.decrypt(rest, &mut received).unwrap();
        for piece in remaining {
            initiator.decrypt(piece, &mut received).unwrap();
        }
        prop_assert_eq!(received, texts.concat());

        to_responder.clear();
        for text in &texts {
            initiator.encrypt(text, &mut to_responder).unwrap();
        }
        let mut received = Vec::new();
        for piece in pieces(&to_responder, &cuts) {
            responder.decrypt(piece, &mut received).unwrap();
        }
        prop_assert_eq!(received, texts.concat());
        prop_assert_eq!(responder.partial.capacity(), 0);
    }

    #[test]
    fn a_truncated_stream_yields_whole_records_only(
        texts in vec(vec(any::<u8>(), 1..50), 1..5),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut pair = pair();
        let mut sealed = Vec::new();
        let mut ends = vec![(0, 0)];
        for text in &texts {
            pair.initiator.encrypt(text, &mut sealed).unwrap();
            ends.push((sealed.len(), ends[ends.len() - 1].1 + text.len()));
        }
        let keep = keep.index(sealed.len() + 1);
        let mut plain = Vec::new();
        pair.responder.decrypt(&sealed[..keep], &mut plain).unwrap();
        let (at, whole) = ends.into_iter().rev().find(|(at, _)| *at <= keep).unwrap();
        prop_assert_eq!(&plain[..], &texts.concat()[..whole]);
        prop_assert_eq!(pair.responder.buffered(), keep - at);
    }

    #[test]
    fn an_altered_record_byte_never_yields_its_text(
        text in vec(any::<u8>(), 1..60),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut pair = pair();
        let mut sealed = Vec::new();
        pair.initiator.encrypt(&text, &mut sealed).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        let mut plain = Vec::new();
        let result = pair.responder.decrypt(&sealed, &mut plain);
        // A length made longer waits for bytes that would then not decrypt.
        prop_assert!(result.is_err() || pair.responder.buffered() > 0);
        prop_assert!(plain.is_empty() && !pair.responder.is_proven());
    }

    #[test]
    fn records_out_of_order_are_refused(text in vec(any::<u8>(), 1..60)) {
        let mut pair = pair();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        pair.initiator.encrypt(&text, &mut first).unwrap();
        pair.initiator.encrypt(&text, &mut second).unwrap();
        let mut plain = Vec::new();
        let swapped = pair.responder.decrypt(&second, &mut plain);
        prop_assert_eq!(swapped, Err(NoiseError::Record));
        prop_assert!(plain.is_empty());
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..200), cuts in cuts()) {
        let mut responder = Responder::new();
        let (mut initiator, _) = Initiator::start(&KEY, [1; 32]).unwrap();
        let mut transport = pair().responder;
        for piece in pieces(&bytes, &cuts) {
            let _ = responder.read(&mut &*piece);
            let _ = initiator.read(&mut &*piece);
            let _ = transport.decrypt(piece, &mut Vec::new());
        }
        let _ = responder.respond(&KEY, [2; 32]);
        prop_assert!(initiator.finish().is_err());
        prop_assert!(!transport.is_proven());
    }
}
