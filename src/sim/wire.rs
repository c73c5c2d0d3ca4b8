//! How a client writes and reads bodies, where it differs from the codec.

use crate::codec::dialect::Dialect;
use crate::codec::error::DecodeError;
use crate::codec::field::{self, Field, Fields, PAYLOAD};
use crate::codec::frame::{self, BODY_MAX, Split};
use crate::codec::message::{self, Answer, Message};
use crate::codec::pson::Value;
use crate::codec::varint;
use crate::sim::quirks::{BareNegative, Quirks};

const PARAMETERS: u8 = 2;
/// Stream ID 0, which the codec leaves out.
const NO_STREAM: [u8; 2] = [0x08, 0x00];

/// The frame of `message`, its fields in the other order when `backwards`.
pub(super) fn encode(
    dialect: Dialect,
    quirks: &Quirks,
    message: &Message,
    backwards: bool,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode(dialect, message, &mut bytes);
    if *quirks == Quirks::NONE || dialect.is_2020() || matches!(message, Message::Connect(_)) {
        return bytes;
    }
    rewritten(dialect, quirks, message, backwards, &bytes).unwrap_or(bytes)
}

/// `None` for a frame that is too large to be looked at again.
fn rewritten(
    dialect: Dialect,
    quirks: &Quirks,
    message: &Message,
    backwards: bool,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let Ok(Split::Frame(frame)) = frame::split(bytes, BODY_MAX) else {
        return None;
    };
    let mut fields = Vec::new();
    if is_answer_to_nobody(message) {
        fields.push(NO_STREAM.to_vec());
    }
    for field in Fields::new(dialect, &bytes[frame.body]) {
        fields.push(written(dialect, quirks, field.ok()?));
    }
    if backwards && quirks.varies_fields {
        fields.reverse();
    }
    let mut out = Vec::new();
    frame::write(frame.message_type, &fields.concat(), &mut out);
    Some(out)
}

fn is_answer_to_nobody(message: &Message) -> bool {
    let (Message::Ok(Answer { stream_id, .. }) | Message::Error(Answer { stream_id, .. })) =
        message
    else {
        return false;
    };
    *stream_id == Some(0)
}

fn written(dialect: Dialect, quirks: &Quirks, field: Field) -> Vec<u8> {
    // The codec writes no number above 4.
    let number = field.number as u8;
    let is_value = number == PAYLOAD || number == PARAMETERS;
    let as_varint = match (&field.value, quirks.bare_negative) {
        _ if !is_value => None,
        (Value::Float(float), _) if quirks.truncates_floats => {
            Some((*float as i64).cast_unsigned())
        }
        (Value::Negative(_), BareNegative::Zero) => Some(0),
        (Value::Negative(number), BareNegative::TwosComplement) => Some(number.cast_unsigned()),
        _ => None,
    };
    let mut out = Vec::new();
    if let Some(varint) = as_varint {
        varint::write(u64::from(number << 3), &mut out);
        varint::write(varint, &mut out);
        return out;
    }
    let mut value = field.value;
    if quirks.sorts_maps {
        sort(&mut value);
    }
    field::write(dialect, number, &value, &mut out);
    out
}

fn sort(value: &mut Value) {
    match value {
        Value::Map(pairs) => {
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
            pairs.iter_mut().for_each(|(_, value)| sort(value));
        }
        Value::Array(values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}

/// What the body of a frame says.
///
/// # Errors
/// As [`message::decode`], but for a client that drops the rest of a body at a wire type that it
/// does not know: what it read before is the message then.
pub(super) fn decode(
    dialect: Dialect,
    quirks: &Quirks,
    message_type: u64,
    body: &[u8],
) -> Result<Message, DecodeError> {
    match message::decode(dialect, message_type, body) {
        Err(DecodeError::WireType(_)) if quirks.drops_the_rest => {
            let mut known = Vec::new();
            for field in Fields::new(dialect, body).map_while(Result::ok) {
                if let Ok(number @ ..=15) = u8::try_from(field.number) {
                    field::write(dialect, number, &field.value, &mut known);
                }
            }
            message::decode(dialect, message_type, &known)
        }
        decoded => decoded,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::message::{Run, StreamData};
    use crate::codec::pson::tests::any_value;
    use crate::sim::quirks::Like;

    fn ok(stream_id: u16, payload: Option<Value>) -> Message {
        Message::Ok(Answer {
            stream_id: Some(stream_id),
            parameters: None,
            payload,
        })
    }

    fn hex_of(quirks: &Quirks, message: &Message, backwards: bool) -> String {
        let dialect = if *quirks == Quirks::LEGACY {
            Dialect::Legacy
        } else {
            Dialect::Current
        };
        hex::encode(encode(dialect, quirks, message, backwards))
    }

    #[test]
    fn bare_numbers_are_sent_as_each_client_sends_them() {
        let minus_five = ok(5, Some(Value::Negative(-5)));
        let complement = "010d080518fbffffffffffffffff01";
        assert_eq!(hex_of(&Quirks::EMBEDDED, &minus_five, false), complement);
        assert_eq!(hex_of(&Quirks::LEGACY, &minus_five, false), complement);
        assert_eq!(hex_of(&Quirks::LINUX, &minus_five, false), "010408051800");
        assert_eq!(hex_of(&Quirks::NONE, &minus_five, false), "010408051a25");
        let float = ok(5, Some(Value::Float(22.75)));
        assert_eq!(hex_of(&Quirks::LEGACY, &float, false), "010408051816");
        let in_map = ok(5, Some(Value::map([("t", 22.75)])));
        assert!(!hex_of(&Quirks::LEGACY, &in_map, false).contains("1816"));
    }

    #[test]
    fn the_linux_client_turns_its_fields_round_and_sorts_its_maps() {
        let data = Message::StreamData(StreamData {
            stream_id: 5,
            kind: None,
            parameters: None,
            payload: Some(Value::map([
                ("n", Value::from(3_u32)),
                ("celsius", 23.5.into()),
            ])),
        });
        let sorted = "1ac28763656c73697573400000bc41816e03";
        let plain = format!("0a140805{sorted}");
        let turned = format!("0a14{sorted}0805");
        assert_eq!(hex_of(&Quirks::LINUX, &data, false), plain);
        assert_eq!(hex_of(&Quirks::LINUX, &data, true), turned);
        assert_eq!(hex_of(&Quirks::LINUX, &ok(0, None), false), "01020800");
    }

    #[test]
    fn the_rest_of_a_body_is_dropped_at_an_unknown_wire_type() {
        let body = hex::decode("0804228373756d1b00").unwrap();
        let read = decode(Dialect::Current, &Quirks::LINUX, 6, &body);
        let run = Run {
            stream_id: Some(4),
            resource: Some("sum".into()),
            ..Run::default()
        };
        assert_eq!(read, Ok(Message::Run(run)));
        let read = decode(Dialect::Current, &Quirks::EMBEDDED, 6, &body);
        assert_eq!(read, Err(DecodeError::WireType(3)));
    }

    proptest! {
        /// Whatever a client writes its own way, a reader takes for the same.
        #[test]
        fn what_is_written_is_read(
            like in prop::sample::select(Like::ALL.as_slice()),
            backwards in any::<bool>(),
            inner in any_value(),
        ) {
            let (dialect, quirks) = (like.dialect(), like.quirks());
            let message = ok(7, Some(Value::Array(vec![inner])));
            let bytes = encode(dialect, &quirks, &message, backwards);
            let Ok(Split::Frame(frame)) = frame::split(&bytes, BODY_MAX) else {
                return Err(TestCaseError::fail("no frame"));
            };
            let read = message::decode(dialect, frame.message_type, &bytes[frame.body.clone()]);
            let again = encode(dialect, &quirks, &read.clone().unwrap(), backwards);
            prop_assert_eq!(again, bytes.clone());
            for cut in 0..frame.body.len() {
                let body = &bytes[frame.body.clone()][..cut];
                let _ = decode(dialect, &quirks, frame.message_type, body);
            }
        }
    }
}
