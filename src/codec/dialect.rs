//! The wires that go by the name of IOTMP, and how the first frame tells which one a peer speaks.

use crate::codec::error::DecodeError;
use crate::codec::field::{Encoding, Field, Fields, PAYLOAD, STREAM_ID};
use crate::codec::frame::{self, CONNECT_BODY_MAX, Frame, FrameError, Split};
use crate::codec::pson::{Value, Version};

/// One generation of the protocol. Fixed by the Connect for the whole session: the same message
/// number means different things in different dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Since 2026: PSON v2 under wire type 2.
    Current,
    /// As current, but PSON v2 goes under wire type 1, as the published pages have it.
    Documented,
    /// 2020 to 2026: PSON v1 under wire type 1; some messages have their resource in field 3.
    Legacy,
    /// July 2020: other message numbers; field keys as every shipped encoder writes them.
    Code2020,
    /// July 2020; field keys as the pages of the time draw them.
    Doc2020,
}

impl Dialect {
    pub const ALL: [Self; 5] = [
        Self::Current,
        Self::Documented,
        Self::Legacy,
        Self::Code2020,
        Self::Doc2020,
    ];

    pub const fn is_2020(self) -> bool {
        matches!(self, Self::Code2020 | Self::Doc2020)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Documented => "documented",
            Self::Legacy => "legacy",
            Self::Code2020 => "2020-code",
            Self::Doc2020 => "2020-doc",
        }
    }
}

/// Why a peer is not spoken to: its first bytes begin no Connect. Nothing is answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a TLS handshake came where an IOTMP Connect was due; TLS has a port of its own")]
    Tls,
    #[error("an HTTP request came where an IOTMP Connect was due")]
    Http,
    #[error("this device speaks the pre-IOTMP protocol")]
    PreIotmp,
    #[error("an empty Connect, or a Keep Alive of 2020, came where a Connect was due")]
    EmptyConnect,
    #[error("a frame of type 8 came whose fields make no Connect of 2020")]
    NotConnect2020,
    #[error("a frame beginning {0:#04x} came where an IOTMP Connect was due")]
    NotConnect(u8),
    #[error("the Connect cannot be read: {0}")]
    Frame(#[from] FrameError),
    #[error("the Connect cannot be read: {0}")]
    Body(#[from] DecodeError),
}

const CONNECT: u8 = 0x03;
const CONNECT_2020: u8 = 0x08;

/// Tells the dialect by all that was received so far; `None` when that is too little.
///
/// Most that is no Connect is refused by its first byte.
///
/// # Errors
/// [`Refusal`], with a text for the log.
pub fn detect(received: &[u8]) -> Result<Option<Dialect>, Refusal> {
    let Some(&first) = received.first() else {
        return Ok(None);
    };
    match first {
        CONNECT | CONNECT_2020 => {}
        0x16 => return Err(Refusal::Tls),
        b'A'..=b'Z' => return Err(Refusal::Http),
        0x01 => return Err(Refusal::PreIotmp),
        _ => return Err(Refusal::NotConnect(first)),
    }
    match frame::split(received, CONNECT_BODY_MAX)? {
        Split::Incomplete(_) => Ok(None),
        Split::Frame(Frame { body, .. }) if first == CONNECT => by_payload(&received[body]),
        Split::Frame(Frame { body, .. }) => by_first_key(&received[body]),
    }
}

/// The wire type of the payload tells, and under type 1 the first byte of the value.
fn by_payload(body: &[u8]) -> Result<Option<Dialect>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::EmptyConnect);
    }
    let mut dialect = Dialect::Current;
    for field in Fields::new(Dialect::Current, body) {
        let field = field?;
        if field.number == u64::from(PAYLOAD) {
            dialect = match (field.wire_type, field.encoding) {
                (1, Encoding::Pson(Version::V1)) => Dialect::Legacy,
                (1, _) => Dialect::Documented,
                _ => Dialect::Current,
            };
        }
    }
    Ok(Some(dialect))
}

/// Read in the other layout, each of these keys has field 0, a reserved wire type, or a field that
/// a Connect does not have.
fn by_first_key(body: &[u8]) -> Result<Option<Dialect>, Refusal> {
    let dialect = match body.first() {
        Some(0x01 | 0x03..=0x05 | 0x22 | 0x23 | 0x61..=0x63) => Dialect::Doc2020,
        Some(0x08 | 0x16 | 0x1a | 0x1e | 0x20 | 0x28) => Dialect::Code2020,
        _ => return Err(Refusal::NotConnect2020),
    };
    let fields: Vec<Field> = Fields::new(dialect, body).collect::<Result<_, _>>()?;
    let has = |number: u8, is_right: fn(&Value) -> bool| {
        let mut fields = fields.iter();
        fields.any(|field| field.number == u64::from(number) && is_right(&field.value))
    };
    let is_stream_id = |value: &Value| matches!(value, Value::Unsigned(_));
    let is_payload =
        |value: &Value| matches!(value, Value::Array(_) | Value::String(_) | Value::Bytes(_));
    if has(STREAM_ID, is_stream_id) && has(PAYLOAD, is_payload) {
        Ok(Some(dialect))
    } else {
        Err(Refusal::NotConnect2020)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(message_type: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::write(message_type, body, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_no_connect_is_refused_by_its_first_byte() {
        assert_eq!(detect(&[]), Ok(None));
        assert_eq!(detect(&[0x16]), Err(Refusal::Tls));
        assert_eq!(detect(b"G"), Err(Refusal::Http));
        assert_eq!(detect(&[0x01]), Err(Refusal::PreIotmp));
        assert_eq!(detect(&[0x05]), Err(Refusal::NotConnect(0x05)));
        assert_eq!(detect(&[0x83]), Err(Refusal::NotConnect(0x83)));
    }

    #[test]
    fn keep_alive_of_2020_is_no_connect() {
        assert_eq!(detect(&[0x03]), Ok(None));
        assert_eq!(detect(&[0x03, 0x00]), Err(Refusal::EmptyConnect));
    }

    #[test]
    fn oversize_connect_is_refused_from_its_header() {
        let refusal = detect(&[0x03, 0x81, 0x20]);
        assert!(matches!(
            refusal,
            Err(Refusal::Frame(FrameError::Oversize { size: 4097, .. }))
        ));
    }

    #[test]
    fn payload_tells_wherever_it_stands() {
        let with = |payload: &[u8]| {
            let behind = frame(3, &[&[0x08, 0x05], payload].concat());
            let before = frame(3, &[payload, &[0x08, 0x05]].concat());
            assert_eq!(detect(&behind), detect(&before));
            detect(&behind)
        };
        assert_eq!(with(&[0x1a, 0xe0]), Ok(Some(Dialect::Current)));
        assert_eq!(with(&[0x19, 0x72, 0x00]), Ok(Some(Dialect::Legacy)));
        assert_eq!(with(&[0x19, 0xe0]), Ok(Some(Dialect::Documented)));
        let last_wins = with(&[0x1a, 0xe0, 0x19, 0x72, 0x00]);
        assert_eq!(last_wins, Ok(Some(Dialect::Legacy)));
        // Without a payload there is still a peer to be told so.
        assert_eq!(with(&[]), Ok(Some(Dialect::Current)));
    }

    #[test]
    fn type_8_without_stream_id_or_payload_is_no_connect() {
        // A Start Stream of today: stream ID and resource.
        let start_stream = frame(8, &[0x08, 0x05, 0x22, 0x81, 0x61]);
        assert!(detect(&start_stream).is_err());
        let no_stream_id = frame(8, &[0x1e, 0x72, 0x00]);
        assert_eq!(detect(&no_stream_id), Err(Refusal::NotConnect2020));
        let number_as_payload = frame(8, &[0x01, 0x05, 0x63, 0x40]);
        assert_eq!(detect(&number_as_payload), Err(Refusal::NotConnect2020));
        assert_eq!(detect(&frame(8, &[])), Err(Refusal::NotConnect2020));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
            for first in [0x03, 0x08] {
                bytes[0] = first;
                let _ = detect(&bytes);
            }
        }
    }
}
