//! PSON v2: a tag `type << 5 | argument`, where 31 means that the argument follows as a varint;
//! containers state how many elements they have.

use super::{FIRST_CAPACITY, Value, deeper, last_wins, negative, text, whole};
use crate::codec::error::DecodeError;
use crate::codec::reader::Reader;
use crate::codec::varint;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const FLOATING: u8 = 2;
const DISCRETE: u8 = 3;
const STRING: u8 = 4;
const BYTES: u8 = 5;
const MAP: u8 = 6;
const ARRAY: u8 = 7;

const FLOAT_32: u8 = FLOATING << 5;
const FLOAT_64: u8 = FLOATING << 5 | 1;
const FALSE: u8 = DISCRETE << 5;
const TRUE: u8 = DISCRETE << 5 | 1;
const NULL: u8 = DISCRETE << 5 | 2;

/// In the place of an argument: it follows as a varint.
const LONG: u8 = 31;

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    decode_at(reader, 0)
}

fn decode_at(reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    let tag = reader.byte()?;
    if matches!(tag >> 5, FLOATING | DISCRETE) {
        return fixed(tag, reader);
    }
    let argument = argument(tag, reader)?;
    match tag >> 5 {
        UNSIGNED => Ok(Value::Unsigned(argument)),
        NEGATIVE => negative(argument),
        STRING => Ok(Value::String(text(reader.take(argument)?))),
        BYTES => Ok(Value::Bytes(reader.take(argument)?.to_vec())),
        MAP => map(reader, argument, deeper(depth)?),
        _ => array(reader, argument, deeper(depth)?),
    }
}

fn argument(tag: u8, reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match tag & LONG {
        LONG => reader.varint(),
        inline => Ok(inline.into()),
    }
}

fn fixed(tag: u8, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    match tag {
        FLOAT_32 => Ok(Value::Float(f32::from_le_bytes(reader.array()?).into())),
        FLOAT_64 => Ok(Value::Float(f64::from_le_bytes(reader.array()?))),
        FALSE => Ok(Value::Bool(false)),
        TRUE => Ok(Value::Bool(true)),
        NULL => Ok(Value::Null),
        _ => Err(DecodeError::BadTag(tag)),
    }
}

fn map(reader: &mut Reader<'_>, announced: u64, depth: usize) -> Result<Value, DecodeError> {
    let count = reader.check_count(announced, 2)?;
    let mut pairs = Vec::with_capacity(FIRST_CAPACITY.min(count));
    for _ in 0..count {
        let key = key(reader)?;
        pairs.push((key, decode_at(reader, depth)?));
    }
    Ok(Value::Map(last_wins(pairs)))
}

fn key(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let tag = reader.byte()?;
    if tag >> 5 != STRING {
        return Err(DecodeError::KeyNotString);
    }
    let len = argument(tag, reader)?;
    Ok(text(reader.take(len)?))
}

fn array(reader: &mut Reader<'_>, announced: u64, depth: usize) -> Result<Value, DecodeError> {
    let count = reader.check_count(announced, 1)?;
    let mut values = Vec::with_capacity(FIRST_CAPACITY.min(count));
    for _ in 0..count {
        values.push(decode_at(reader, depth)?);
    }
    Ok(Value::Array(values))
}

pub(super) fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(true) => out.push(TRUE),
        Value::Bool(false) => out.push(FALSE),
        Value::Unsigned(number) => encode_tag(UNSIGNED, *number, out),
        Value::Negative(number) => encode_tag(NEGATIVE, number.unsigned_abs(), out),
        Value::Float(number) => encode_float(*number, out),
        Value::String(text) => encode_bytes(STRING, text.as_bytes(), out),
        Value::Bytes(bytes) => encode_bytes(BYTES, bytes, out),
        Value::Array(values) => {
            encode_tag(ARRAY, values.len() as u64, out);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::Map(pairs) => {
            encode_tag(MAP, pairs.len() as u64, out);
            for (key, value) in pairs {
                encode_bytes(STRING, key.as_bytes(), out);
                encode(value, out);
            }
        }
    }
}

fn encode_tag(kind: u8, argument: u64, out: &mut Vec<u8>) {
    match u8::try_from(argument) {
        Ok(inline) if inline < LONG => out.push(kind << 5 | inline),
        _ => {
            out.push(kind << 5 | LONG);
            varint::write(argument, out);
        }
    }
}

fn encode_float(number: f64, out: &mut Vec<u8>) {
    if let Some(integer) = whole(number) {
        return encode(&integer, out);
    }
    let short = number as f32;
    if f64::from(short) == number {
        out.push(FLOAT_32);
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(FLOAT_64);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn encode_bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    encode_tag(kind, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::tests::decoded;
    use super::super::{Value, Version};
    use super::*;

    #[test]
    fn counts_beyond_what_is_left_are_refused() {
        let too_large = |announced, left| Err(DecodeError::CountTooLarge { announced, left });
        assert_eq!(decoded(Version::V2, &[0xe2, 0x62]), too_large(2, 1));
        // Two pairs cost four bytes at least.
        let map = [0xc2, 0x80, 0x62, 0x80];
        assert_eq!(decoded(Version::V2, &map), too_large(2, 3));
    }

    #[test]
    fn container_as_key_is_refused() {
        let key = decoded(Version::V2, &[0xc1, 0xe0, 0x62]);
        assert_eq!(key, Err(DecodeError::KeyNotString));
    }

    #[test]
    fn not_a_number_comes_through() {
        let mut bytes = Vec::new();
        encode(&Value::Float(f64::NAN), &mut bytes);
        let value = decoded(Version::V2, &bytes);
        assert!(matches!(value, Ok(Value::Float(number)) if number.is_nan()));
    }
}
