//! Cuts the stream into frames: type, body size, body.

use std::ops::Range;

use crate::codec::varint;

/// The largest body of a Connect, before anything is known of the peer.
pub const CONNECT_BODY_MAX: usize = 4 * 1024;
/// The largest body on a session. Devices send files in chunks of 64 KiB.
pub const BODY_MAX: usize = 1024 * 1024;

/// What is at the beginning of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// At least this many more bytes are needed.
    Incomplete(usize),
    Frame(Frame),
}

/// A whole frame, by its place in the buffer. The next one begins at `body.end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of the message type, which means different things in different dialects.
    pub message_type: u64,
    pub body: Range<usize>,
}

/// Why the stream cannot be read any further: it has no mark by which to find the next frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame header holds a varint above 64 bits")]
    Header(#[from] varint::TooLong),
    #[error("a body of {size} bytes is announced; at most {max} are taken here")]
    Oversize { size: u64, max: usize },
}

/// The frame at the beginning of `buffer`, whose body may have up to `body_max` bytes.
///
/// # Errors
/// From the header alone, so nothing need be kept of a body that is too large.
pub fn split(buffer: &[u8], body_max: usize) -> Result<Split, FrameError> {
    let Some((message_type, type_len)) = varint::read(buffer)? else {
        return Ok(Split::Incomplete(2));
    };
    let Some((size, size_len)) = varint::read(&buffer[type_len..])? else {
        return Ok(Split::Incomplete(1));
    };
    let body_len = usize::try_from(size)
        .ok()
        .filter(|len| *len <= body_max)
        .ok_or(FrameError::Oversize {
            size,
            max: body_max,
        })?;
    let start = type_len + size_len;
    let body = start..start + body_len;
    if body.end > buffer.len() {
        return Ok(Split::Incomplete(body.end - buffer.len()));
    }
    Ok(Split::Frame(Frame { message_type, body }))
}

/// Appends a frame.
pub fn write(message_type: u64, body: &[u8], out: &mut Vec<u8>) {
    varint::write(message_type, out);
    varint::write(body.len() as u64, out);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn oversize_is_known_from_the_header() {
        let header = [0x03, 0x81, 0x20];
        let oversize = FrameError::Oversize {
            size: 4097,
            max: CONNECT_BODY_MAX,
        };
        assert_eq!(split(&header, CONNECT_BODY_MAX), Err(oversize));
        assert_eq!(split(&header, BODY_MAX), Ok(Split::Incomplete(4097)));
        let largest = [0x03, 0x80, 0x20];
        assert_eq!(
            split(&largest, CONNECT_BODY_MAX),
            Ok(Split::Incomplete(4096))
        );
    }

    #[test]
    fn endless_varint_is_refused() {
        assert!(split(&[0xff; 10], BODY_MAX).is_err());
        assert!(split(&[[0x05; 1].as_slice(), &[0xff; 10]].concat(), BODY_MAX).is_err());
    }

    /// What a reader gets that is fed `pieces` one after the other.
    fn read_all(pieces: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
        let mut buffer = Vec::new();
        let mut frames = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Split::Frame(frame) = split(&buffer, BODY_MAX).unwrap() {
                frames.push((frame.message_type, buffer[frame.body.clone()].to_vec()));
                buffer.drain(..frame.body.end);
            }
        }
        assert!(buffer.is_empty(), "the last frame was not found");
        frames
    }

    proptest! {
        #[test]
        fn cut_and_glued_anywhere_the_frames_are_the_same(
            frames in proptest::collection::vec(
                (0_u64..300, proptest::collection::vec(any::<u8>(), 0..200)),
                1..5,
            ),
        ) {
            let mut stream = Vec::new();
            for (message_type, body) in &frames {
                write(*message_type, body, &mut stream);
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&read_all(&bytes), &frames);
            for cut in 0..stream.len() {
                let (head, tail) = stream.split_at(cut);
                prop_assert_eq!(&read_all(&[head, tail]), &frames);
            }
        }

        #[test]
        fn incomplete_never_asks_for_more_than_is_needed(
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut frame = Vec::new();
            write(6, &body, &mut frame);
            for cut in 0..frame.len() {
                let Ok(Split::Incomplete(more)) = split(&frame[..cut], BODY_MAX) else {
                    return Err(TestCaseError::fail("a part was taken for the whole"));
                };
                prop_assert!(0 < more && more <= frame.len() - cut);
            }
        }
    }
}
