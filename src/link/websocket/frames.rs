//! The frames of a WebSocket (RFC 6455), as the side of the server reads and writes them.
//!
//! Stock devices send raw bytes in *text* frames, so nothing here looks for UTF-8, and since
//! messages may be cut or joined in them the payloads are one stream of bytes. It is passed on as
//! it arrives: the length that a frame announces costs no memory.

use soketto::Parsing;
use soketto::base::{Codec, Error, Header, OpCode};

/// The longest header of a frame: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;

/// How much may wait to be sent before pings are not answered any more: a peer that does not read
/// need not be told that it is heard.
const ANSWERS_MAX: usize = 4096;

/// The codes of a Close, by RFC 6455 §7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// Why a peer is not listened to any further.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the WebSocket frame is malformed: {0}")]
    Header(#[from] Error),
    #[error("the WebSocket frame is not masked, as those of a client must be")]
    NotMasked,
    #[error("a WebSocket frame of another message came before the last frame of a message")]
    Interrupted,
    #[error("a WebSocket frame continues a message that was not begun")]
    NotBegun,
    #[error("the Close of the WebSocket has a body of one byte, which is no code")]
    CloseCode,
    #[error("a WebSocket message is larger than {max} bytes")]
    TooBig { max: usize },
}

impl FrameError {
    const fn code(&self) -> u16 {
        match self {
            Self::TooBig { .. } | Self::Header(Error::PayloadTooLarge { .. }) => TOO_BIG,
            _ => PROTOCOL_ERROR,
        }
    }
}

/// Reads frames, cut anywhere, and answers those that want an answer.
#[derive(Debug)]
pub struct Frames {
    codec: Codec,
    message_max: usize,
    header: Vec<u8>,
    frame: Option<Frame>,
    /// How long the message is by now that is not at its end.
    message: Option<usize>,
    /// The body of a control frame.
    control: Vec<u8>,
    closed: bool,
    /// We have said Close, and nothing may follow.
    said_close: bool,
}

#[derive(Debug)]
struct Frame {
    header: Header,
    mask: [u8; 4],
    read: usize,
}

impl Frames {
    /// `message_max`: the largest message that is taken, in bytes.
    pub fn new(message_max: usize) -> Self {
        Self {
            codec: Codec::new(),
            message_max,
            header: Vec::new(),
            frame: None,
            message: None,
            control: Vec::new(),
            closed: false,
            said_close: false,
        }
    }

    /// Whether the peer has said Close: nothing more comes.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes bytes of the peer. The payload in them is moved to their beginning; returns how much
    /// it is. What must be answered goes to `out`.
    ///
    /// # Errors
    /// [`FrameError`]; the Close that says so is in `out`.
    pub fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> Result<usize, FrameError> {
        let received = self.take(bytes, out);
        if let Err(error) = &received {
            self.closed = true;
            self.close_with(&error.code().to_be_bytes(), out);
        }
        received
    }

    fn take(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> Result<usize, FrameError> {
        let mut payload = 0;
        let mut at = 0;
        while !self.closed {
            if self.frame.is_none() {
                at += self.read_header(&bytes[at..])?;
            }
            let Some(frame) = &mut self.frame else {
                break;
            };
            let count = frame.left().min(bytes.len() - at);
            frame.unmask(&mut bytes[at..at + count]);
            if frame.header.opcode().is_control() {
                self.control.extend_from_slice(&bytes[at..at + count]);
            } else {
                bytes.copy_within(at..at + count, payload);
                payload += count;
            }
            at += count;
            if frame.left() > 0 {
                break;
            }
            self.end_frame(out)?;
        }
        Ok(payload)
    }

    /// How many bytes of it are the header's.
    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let before = self.header.len();
        let count = (HEADER_MAX - before).min(bytes.len());
        self.header.extend_from_slice(&bytes[..count]);
        match self.codec.decode_header(&self.header)? {
            Parsing::NeedMore(_) => Ok(count),
            Parsing::Done { value, offset } => {
                self.header.clear();
                self.begin_frame(value)?;
                Ok(offset - before)
            }
        }
    }

    fn begin_frame(&mut self, header: Header) -> Result<(), FrameError> {
        if !header.is_masked() {
            return Err(FrameError::NotMasked);
        }
        let continues = header.opcode() == OpCode::Continue;
        if !header.opcode().is_control() {
            let message = match (self.message, continues) {
                (Some(before), true) => before.saturating_add(header.payload_len()),
                (None, false) => header.payload_len(),
                (Some(_), false) => return Err(FrameError::Interrupted),
                (None, true) => return Err(FrameError::NotBegun),
            };
            if message > self.message_max {
                let max = self.message_max;
                return Err(FrameError::TooBig { max });
            }
            self.message = (!header.is_fin()).then_some(message);
        }
        let mask = header.mask().to_be_bytes();
        let read = 0;
        self.frame = Some(Frame { header, mask, read });
        Ok(())
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let Some(frame) = self.frame.take() else {
            return Ok(());
        };
        let body = std::mem::take(&mut self.control);
        match frame.header.opcode() {
            OpCode::Ping if out.len() < ANSWERS_MAX => self.write(OpCode::Pong, &body, out),
            OpCode::Close => {
                if body.len() == 1 {
                    return Err(FrameError::CloseCode);
                }
                self.closed = true;
                self.close_with(&body[..body.len().min(2)], out);
            }
            _ => {}
        }
        Ok(())
    }

    /// One message as one binary frame.
    pub fn message(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.write(OpCode::Binary, message, out);
    }

    /// Says Close, once.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.close_with(&NORMAL.to_be_bytes(), out);
    }

    fn close_with(&mut self, code: &[u8], out: &mut Vec<u8>) {
        self.write(OpCode::Close, code, out);
        self.said_close = true;
    }

    fn write(&mut self, opcode: OpCode, body: &[u8], out: &mut Vec<u8>) {
        if self.said_close {
            return;
        }
        let mut header = Header::new(opcode);
        header.set_payload_len(body.len());
        out.extend_from_slice(self.codec.encode_header(&header));
        out.extend_from_slice(body);
    }
}

impl Frame {
    fn left(&self) -> usize {
        self.header.payload_len() - self.read
    }

    fn unmask(&mut self, bytes: &mut [u8]) {
        let mask = self.mask.iter().cycle().skip(self.read % 4);
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        self.read += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1000;

    /// A frame as a client sends it.
    fn frame(first: u8, body: &[u8]) -> Vec<u8> {
        let mut codec = Codec::new();
        let mut header = Header::new(OpCode::Text);
        header.set_masked(true).set_mask(0x1234_5678);
        header.set_payload_len(body.len());
        let mut bytes = codec.encode_header(&header).to_vec();
        bytes[0] = first;
        let mut body = body.to_vec();
        Codec::apply_mask(&header, &mut body);
        bytes.extend(body);
        bytes
    }

    /// What comes of the bytes when they come in pieces of this length.
    fn receive(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Option<u16>) {
        let mut frames = Frames::new(MAX);
        let mut payload = Vec::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut piece = piece.to_vec();
            match frames.receive(&mut piece, &mut out) {
                Ok(count) => payload.extend(&piece[..count]),
                Err(error) => return (payload, out, Some(error.code())),
            }
        }
        (payload, out, None)
    }

    fn check(bytes: &[u8], payload: &[u8], out: &[u8], error: Option<u16>) {
        for piece in 1..=bytes.len() {
            let (got, said, refused) = receive(bytes, piece);
            assert_eq!(
                (said.as_slice(), refused),
                (out, error),
                "pieces of {piece}"
            );
            // What came before a mistake in the same piece is not passed on.
            let is_as_expected = got == payload || refused.is_some() && payload.starts_with(&got);
            assert!(is_as_expected, "{got:?} in pieces of {piece}");
        }
    }

    #[test]
    fn text_that_is_no_utf8_is_taken_as_it_is() {
        let raw = [0x03, 0x02, 0xff, 0xfe, 0x80, 0x00];
        check(&frame(0x81, &raw), &raw, &[], None);
        check(&frame(0x82, &raw), &raw, &[], None);
    }

    #[test]
    fn fragments_and_frames_are_one_stream() {
        let bytes = [
            frame(0x01, &[1, 2]),
            frame(0x00, &[]),
            frame(0x89, b"ping"),
            frame(0x80, &[3]),
            frame(0x82, &[]),
            frame(0x82, &[4; 300]),
        ];
        let payload = [&[1, 2, 3][..], &[4; 300]].concat();
        let pong = b"\x8a\x04ping";
        let bytes = bytes.concat();
        for piece in [1, 2, 3, 5, 7, 100, bytes.len()] {
            assert_eq!(
                receive(&bytes, piece),
                (payload.clone(), pong.to_vec(), None)
            );
        }
    }

    #[test]
    fn a_close_is_answered_with_its_code_and_ends_it() {
        let code = [frame(0x88, b"\x03\xe9bye"), frame(0x82, &[1])].concat();
        check(&code, &[], b"\x88\x02\x03\xe9", None);
        check(&frame(0x88, &[]), &[], b"\x88\x00", None);
    }

    #[test]
    fn what_breaks_the_rules_is_told_by_a_code() {
        let protocol = b"\x88\x02\x03\xea";
        check(b"\x82\x01a", &[], protocol, Some(1002));
        check(&frame(0x80, &[1]), &[], protocol, Some(1002));
        check(&frame(0x88, &[1]), &[], protocol, Some(1002));
        check(&frame(0xc2, &[1]), &[], protocol, Some(1002));
        check(&frame(0x83, &[1]), &[], protocol, Some(1002));
        check(&frame(0x09, &[1]), &[], protocol, Some(1002));
        let interrupted = [frame(0x02, &[1]), frame(0x82, &[2])].concat();
        check(&interrupted, &[1], protocol, Some(1002));
    }

    #[test]
    fn a_message_too_large_is_refused_by_its_header() {
        let too_big = b"\x88\x02\x03\xf1";
        check(b"\x82\xfe\x03\xe9\0\0\0\0", &[], too_big, Some(1009));
        check(
            b"\x82\xff\x7f\0\0\0\0\0\0\0\0\0\0\0",
            &[],
            too_big,
            Some(1009),
        );
        let in_fragments = [frame(0x02, &[7; MAX]), frame(0x80, &[7])].concat();
        let (payload, out, error) = receive(&in_fragments, 100);
        assert_eq!((out.as_slice(), error), (&too_big[..], Some(1009)));
        assert!(payload.len() <= MAX);
    }

    #[test]
    fn pings_of_a_peer_that_does_not_read_do_not_pile_up() {
        let mut frames = Frames::new(MAX);
        let mut out = Vec::new();
        for _ in 0..1000 {
            assert!(
                frames
                    .receive(&mut frame(0x89, &[1; 125]), &mut out)
                    .is_ok()
            );
        }
        assert!(out.len() < ANSWERS_MAX + 128);
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut frames = Frames::new(MAX);
        let mut out = Vec::new();
        frames.message(&[5; 200], &mut out);
        assert_eq!(out[..4], [0x82, 126, 0, 200]);
        out.clear();
        frames.close(&mut out);
        frames.message(&[6], &mut out);
        frames.close(&mut out);
        assert_eq!(out, b"\x88\x02\x03\xe8");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>(), piece in 1..9_usize) {
            let whole = receive(&bytes, bytes.len().max(1));
            let (payload, out, error) = receive(&bytes, piece);
            prop_assert_eq!((&out, error), (&whole.1, whole.2));
            prop_assert!(payload.starts_with(&whole.0));
        }
    }
}
