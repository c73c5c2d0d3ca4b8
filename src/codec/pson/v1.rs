//! PSON v1 (Protoson): a tag `kind << 3 | wire`, then the value; containers state their length in
//! bytes.

use super::{FIRST_CAPACITY, Value, deeper, last_wins, negative, text, whole};
use crate::codec::error::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::varint;

const NULL: u8 = 0x00;
const UNSIGNED: u8 = 0x08;
const NEGATIVE: u8 = 0x10;
const FLOAT: u8 = 0x1d;
const DOUBLE: u8 = 0x21;
const TRUE: u8 = 0x28;
const FALSE: u8 = 0x30;
const ZERO: u8 = 0x38;
const ONE: u8 = 0x40;
const STRING: u8 = 0x4a;
const EMPTY_STRING: u8 = 0x50;
const BYTES: u8 = 0x5a;
const EMPTY_BYTES: u8 = 0x60;
const OBJECT: u8 = 0x6a;
const ARRAY: u8 = 0x72;
/// A value that was never set.
const EMPTY: u8 = 0x78;

const KIND: u8 = 0xf8;
const WIRE: u8 = 0x07;
const FLOAT_KIND: u8 = FLOAT & KIND;
const DOUBLE_KIND: u8 = DOUBLE & KIND;
const LENGTH_DELIMITED: u8 = 2;

/// How far the shorter float may be from the value, as every encoder of this version has it.
const FLOAT_TOLERANCE: f64 = 0.00001;

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    decode_at(reader, 0)
}

fn decode_at(reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    let tag = reader.byte()?;
    if tag & WIRE == LENGTH_DELIMITED {
        let len = reader.varint()?;
        let bytes = reader.take(len)?;
        return delimited(tag, bytes, depth);
    }
    // Of the other kinds the wire bits say nothing.
    Ok(match tag & KIND {
        NULL | EMPTY => Value::Null,
        UNSIGNED => Value::Unsigned(reader.varint()?),
        NEGATIVE => negative(reader.varint()?)?,
        FLOAT_KIND => Value::Float(f32::from_le_bytes(reader.array()?).into()),
        DOUBLE_KIND => Value::Float(f64::from_le_bytes(reader.array()?)),
        TRUE => Value::Bool(true),
        FALSE => Value::Bool(false),
        ZERO => Value::Unsigned(0),
        ONE => Value::Unsigned(1),
        EMPTY_STRING => Value::String(String::new()),
        EMPTY_BYTES => Value::Bytes(Vec::new()),
        _ => return Err(DecodeError::BadTag(tag)),
    })
}

fn delimited(tag: u8, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    match tag {
        STRING => Ok(Value::String(text(bytes))),
        BYTES => Ok(Value::Bytes(bytes.to_vec())),
        OBJECT => object(Reader::new(bytes), deeper(depth)?),
        ARRAY => array(Reader::new(bytes), deeper(depth)?),
        _ => Err(DecodeError::BadTag(tag)),
    }
}

fn object(mut reader: Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    let mut pairs = Vec::with_capacity(FIRST_CAPACITY.min(reader.left() / 2));
    while !reader.is_empty() {
        let name_len = reader.varint()?;
        let name = text(reader.take(name_len)?);
        pairs.push((name, decode_at(&mut reader, depth)?));
    }
    Ok(Value::Map(last_wins(pairs)))
}

fn array(mut reader: Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    let mut values = Vec::with_capacity(FIRST_CAPACITY.min(reader.left()));
    while !reader.is_empty() {
        values.push(decode_at(&mut reader, depth)?);
    }
    Ok(Value::Array(values))
}

pub(super) fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(true) => out.push(TRUE),
        Value::Bool(false) => out.push(FALSE),
        Value::Unsigned(0) => out.push(ZERO),
        Value::Unsigned(1) => out.push(ONE),
        Value::Unsigned(number) => encode_number(UNSIGNED, *number, out),
        Value::Negative(number) => encode_number(NEGATIVE, number.unsigned_abs(), out),
        Value::Float(number) => encode_float(*number, out),
        Value::String(text) if text.is_empty() => out.push(EMPTY_STRING),
        Value::String(text) => encode_bytes(STRING, text.as_bytes(), out),
        Value::Bytes(bytes) if bytes.is_empty() => out.push(EMPTY_BYTES),
        Value::Bytes(bytes) => encode_bytes(BYTES, bytes, out),
        Value::Array(values) => {
            out.push(ARRAY);
            with_length(out, |out| {
                values.iter().for_each(|value| encode(value, out))
            });
        }
        Value::Map(pairs) => {
            out.push(OBJECT);
            with_length(out, |out| {
                for (name, value) in pairs {
                    varint::write(name.len() as u64, out);
                    out.extend_from_slice(name.as_bytes());
                    encode(value, out);
                }
            });
        }
    }
}

fn encode_number(tag: u8, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    varint::write(number, out);
}

fn encode_float(number: f64, out: &mut Vec<u8>) {
    if let Some(integer) = whole(number) {
        return encode(&integer, out);
    }
    let short = number as f32;
    if (number - f64::from(short)).abs() <= FLOAT_TOLERANCE {
        out.push(FLOAT);
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(DOUBLE);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn encode_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends what `content` writes behind its own length.
fn with_length(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    content(out);
    let mut length = Vec::with_capacity(varint::LEN_MAX);
    varint::write((out.len() - start) as u64, &mut length);
    out.splice(start..start, length);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decoded, encoded};
    use super::super::{Value, Version};
    use super::*;

    #[test]
    fn wire_bits_matter_only_for_length_delimited() {
        assert_eq!(decoded(Version::V1, &[0x0d, 5]), Ok(Value::Unsigned(5)));
        let string_without_length = decoded(Version::V1, &[0x48]);
        assert_eq!(string_without_length, Err(DecodeError::BadTag(0x48)));
        let null_with_length = decoded(Version::V1, &[0x02, 0]);
        assert_eq!(null_with_length, Err(DecodeError::BadTag(0x02)));
    }

    #[test]
    fn empty_string_in_long_form_is_read() {
        assert_eq!(decoded(Version::V1, &[0x4a, 0]), Ok("".into()));
    }

    #[test]
    fn length_past_the_container_is_refused() {
        // The inner string is longer than the array, though not than the body.
        let mut reader = Reader::new(&[0x72, 2, 0x4a, 3, b'a', b'b', b'c']);
        let past = DecodeError::CountTooLarge {
            announced: 3,
            left: 0,
        };
        assert_eq!(decode(&mut reader), Err(past));
    }

    #[test]
    fn floats_are_short_within_the_tolerance() {
        assert_eq!(encoded(Version::V1, &Value::Float(1e-7))[0], FLOAT);
        assert_eq!(encoded(Version::V1, &Value::Float(1e9 + 0.3))[0], DOUBLE);
        assert_eq!(encoded(Version::V1, &Value::Float(f64::NAN))[0], DOUBLE);
        assert_eq!(encoded(Version::V1, &Value::Float(-0.0)), [ZERO]);
    }
}
