//! What must hold for any bytes at all, asked by the fuzz targets and by the replay of their corpus.

// Each of the targets asks one half of it.
#![allow(dead_code)]

use gatehouse::codec::dialect::{self, Dialect};
use gatehouse::codec::frame::{self, BODY_MAX, Split};
use gatehouse::codec::message::{self, Message};
use gatehouse::codec::pson::Version;
use gatehouse::codec::reader::Reader;

/// A run of frames in every dialect: nothing panics, what is announced is never taken, a frame does
/// not reach beyond the bytes, and what was read is written back to the same message.
pub fn frames(bytes: &[u8]) {
    let _ = dialect::detect(bytes);
    for dialect in Dialect::ALL {
        let mut rest = bytes;
        while let Ok(Split::Frame(frame)) = frame::split(rest, BODY_MAX) {
            let end = frame.body.end;
            assert!(end <= rest.len() && end > 0);
            if let Ok(message) = message::decode(dialect, frame.message_type, &rest[frame.body]) {
                is_stable(dialect, &message);
            }
            rest = &rest[end..];
        }
    }
}

/// One value in both encodings: nothing panics, and what was read, written and read again is the
/// same.
pub fn values(bytes: &[u8]) {
    for version in [Version::V1, Version::V2] {
        let Ok(value) = version.decode(&mut Reader::new(bytes)) else {
            continue;
        };
        let mut once = Vec::new();
        version.encode(&value, &mut once);
        let again = version.decode(&mut Reader::new(&once));
        let again = again.expect("what was written can be read");
        let mut twice = Vec::new();
        version.encode(&again, &mut twice);
        assert_eq!(once, twice, "{value:?}");
    }
}

fn is_stable(dialect: Dialect, message: &Message) {
    // The words of a malformed Connect are ours, so they do not come back.
    if let Message::Connect(_) = message {
        return;
    }
    let mut once = Vec::new();
    message::encode(dialect, message, &mut once);
    let Ok(Split::Frame(frame)) = frame::split(&once, 2 * BODY_MAX) else {
        panic!("{message:?} makes no frame");
    };
    let again = message::decode(dialect, frame.message_type, &once[frame.body]);
    let mut twice = Vec::new();
    message::encode(dialect, &again.expect("it can be read"), &mut twice);
    assert_eq!(once, twice, "{message:?}");
}
