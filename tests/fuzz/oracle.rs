//! What must hold for any bytes at all, asked by the fuzz targets and by the replay of their corpus.

// Each of the targets asks one half of it.
#![allow(dead_code)]

use gatehouse::codec::dialect::{self, Dialect};
use gatehouse::codec::frame::{self, BODY_MAX, Split};
use gatehouse::codec::message::{self, Message};
use gatehouse::codec::pson::{Value, Version};
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

/// One value in both encodings: nothing panics, and what was written can be read and stays the same.
pub fn values(bytes: &[u8]) {
    for version in [Version::V1, Version::V2] {
        let read = |bytes: &[u8]| version.decode(&mut Reader::new(bytes));
        let written = |value: &Value| {
            let mut bytes = Vec::new();
            version.encode(value, &mut bytes);
            bytes
        };
        if let Ok(value) = read(bytes) {
            let again = |bytes: &[u8]| written(&read(bytes).expect("it was written"));
            stays_the_same(&written(&value), again);
        }
    }
}

fn is_stable(dialect: Dialect, message: &Message) {
    // The words of a malformed Connect are ours, so they do not come back.
    if let Message::Connect(_) = message {
        return;
    }
    let written = |message: &Message| {
        let mut bytes = Vec::new();
        message::encode(dialect, message, &mut bytes);
        bytes
    };
    stays_the_same(&written(message), |bytes| {
        let Ok(Split::Frame(frame)) = frame::split(bytes, 2 * BODY_MAX) else {
            panic!("{message:?} makes no frame");
        };
        let read = message::decode(dialect, frame.message_type, &bytes[frame.body]);
        written(&read.expect("it was written"))
    });
}

/// The older encoding shortens small numbers, at last to a 0 that stands as a number of its own in
/// a field; from the third time on nothing changes.
fn stays_the_same(once: &[u8], again: impl Fn(&[u8]) -> Vec<u8>) {
    let settled = again(&again(once));
    assert_eq!(again(&settled), settled);
}
