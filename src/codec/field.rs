//! The key/value fields that a body is a run of.

use crate::codec::dialect::Dialect;
use crate::codec::error::DecodeError;
use crate::codec::pson::{Value, Version};
use crate::codec::reader::Reader;
use crate::codec::varint;

/// The stream ID, in every dialect.
pub const STREAM_ID: u8 = 1;
/// The payload, in every dialect.
pub const PAYLOAD: u8 = 3;

const TYPE_VARINT: u8 = 0;
const TYPE_PSON_V1: u8 = 1;
const TYPE_PSON_V2: u8 = 2;

const TYPE_2020_FIXED_64: u8 = 1;
const TYPE_2020_DELIMITED: u8 = 2;
const TYPE_2020_FIXED_32: u8 = 5;
const TYPE_2020_PSON: u8 = 6;

/// A bare integer up to here goes as a varint; peers read field varints as 32 bits.
const BARE_INTEGER_MAX: u64 = u32::MAX as u64;

/// One field as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u64,
    pub wire_type: u8,
    pub encoding: Encoding,
    /// An integer for a varint, bytes for what is delimited or fixed.
    pub value: Value,
}

/// How the value of a field was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Varint,
    Pson(Version),
    /// Only in 2020: bytes whose meaning was never agreed upon.
    Delimited,
    /// Only in 2020, and never with a meaning.
    Fixed,
}

/// Reads the fields of a body in their order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    dialect: Dialect,
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    pub const fn new(dialect: Dialect, body: &'a [u8]) -> Self {
        Self {
            dialect,
            reader: Reader::new(body),
        }
    }

    fn field(&mut self) -> Result<Field, DecodeError> {
        let (number, wire_type) = split_key(self.dialect, self.reader.varint()?)?;
        let encoding = self.encoding(wire_type)?;
        let reader = &mut self.reader;
        let value = match encoding {
            Encoding::Varint => Value::Unsigned(reader.varint()?),
            Encoding::Pson(version) => version.decode(reader)?,
            Encoding::Delimited => {
                let len = reader.varint()?;
                Value::Bytes(reader.take(len)?.to_vec())
            }
            Encoding::Fixed if wire_type == TYPE_2020_FIXED_64 => {
                Value::Bytes(reader.array::<8>()?.to_vec())
            }
            Encoding::Fixed => Value::Bytes(reader.array::<4>()?.to_vec()),
        };
        Ok(Field {
            number,
            wire_type,
            encoding,
            value,
        })
    }

    fn encoding(&self, wire_type: u8) -> Result<Encoding, DecodeError> {
        if wire_type == TYPE_VARINT {
            return Ok(Encoding::Varint);
        }
        match (self.dialect.is_2020(), wire_type) {
            (false, TYPE_PSON_V1) => Ok(Encoding::Pson(self.version_under_type_1())),
            (false, TYPE_PSON_V2) => Ok(Encoding::Pson(Version::V2)),
            (true, TYPE_2020_PSON) => Ok(Encoding::Pson(Version::V1)),
            (true, TYPE_2020_DELIMITED) => Ok(Encoding::Delimited),
            (true, TYPE_2020_FIXED_64 | TYPE_2020_FIXED_32) => Ok(Encoding::Fixed),
            _ => Err(DecodeError::WireType(wire_type)),
        }
    }

    /// No v1 value begins with the top bit set, while every string, map and array of v2 does.
    fn version_under_type_1(&self) -> Version {
        let is_v2 = self.reader.peek().is_some_and(|tag| tag & 0x80 != 0);
        if is_v2 || self.dialect == Dialect::Documented {
            Version::V2
        } else {
            Version::V1
        }
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // What follows a broken field cannot be told apart any more.
            self.reader = Reader::new(&[]);
        }
        Some(field)
    }
}

/// Appends a field: a bare integer of 32 bits as a varint, all else in the dialect's PSON.
pub fn write(dialect: Dialect, number: u8, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(integer) if *integer <= BARE_INTEGER_MAX => {
            out.push(key(dialect, number, TYPE_VARINT));
            varint::write(*integer, out);
        }
        _ => {
            out.push(key(dialect, number, pson_type(dialect)));
            version(dialect).encode(value, out);
        }
    }
}

const fn pson_type(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Current => TYPE_PSON_V2,
        Dialect::Legacy | Dialect::Documented => TYPE_PSON_V1,
        Dialect::Code2020 | Dialect::Doc2020 => TYPE_2020_PSON,
    }
}

const fn version(dialect: Dialect) -> Version {
    match dialect {
        Dialect::Current | Dialect::Documented => Version::V2,
        Dialect::Legacy | Dialect::Code2020 | Dialect::Doc2020 => Version::V1,
    }
}

/// The key of a field below 16, which is one byte.
const fn key(dialect: Dialect, number: u8, wire_type: u8) -> u8 {
    match dialect {
        Dialect::Doc2020 => wire_type << 4 | number,
        _ => number << 3 | wire_type,
    }
}

/// Field number and wire type.
fn split_key(dialect: Dialect, key: u64) -> Result<(u64, u8), DecodeError> {
    match dialect {
        // How a longer key would go on was never drawn.
        Dialect::Doc2020 if key > 0x7f => Err(DecodeError::BadKey(key)),
        Dialect::Doc2020 => Ok((key & 0x0f, (key >> 4) as u8)),
        _ => Ok((key >> 3, (key & 0x07) as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: Dialect, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write(dialect, 3, value, &mut out);
        out
    }

    #[test]
    fn keys_of_a_payload() {
        assert_eq!(written(Dialect::Current, &Value::Null), [0x1a, 0x62]);
        assert_eq!(written(Dialect::Documented, &Value::Null), [0x19, 0x62]);
        assert_eq!(written(Dialect::Legacy, &Value::Null), [0x19, 0x00]);
        assert_eq!(written(Dialect::Code2020, &Value::Null), [0x1e, 0x00]);
        assert_eq!(written(Dialect::Doc2020, &Value::Null), [0x63, 0x00]);
    }

    #[test]
    fn bare_integers_above_32_bits_go_as_pson() {
        let largest = written(Dialect::Current, &u32::MAX.into());
        assert_eq!(largest, [0x18, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        let above = written(Dialect::Current, &(1_u64 << 32).into());
        assert_eq!(above, [0x1a, 0x1f, 0x80, 0x80, 0x80, 0x80, 0x10]);
        assert_eq!(written(Dialect::Current, &(-1_i64).into()), [0x1a, 0x21]);
    }

    #[test]
    fn fixed_fields_of_2020_are_stepped_over() {
        let body = [0x45, 1, 2, 3, 4, 0x41, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 7];
        let fields: Vec<_> = Fields::new(Dialect::Code2020, &body)
            .map(|field| field.map(|field| (field.number, field.encoding)))
            .collect();
        let expected = [
            Ok((8, Encoding::Fixed)),
            Ok((8, Encoding::Fixed)),
            Ok((1, Encoding::Varint)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn reading_ends_at_a_broken_field() {
        let mut fields = Fields::new(Dialect::Current, &[0x1b, 0x00, 0x08, 0x01]);
        assert_eq!(fields.next(), Some(Err(DecodeError::WireType(3))));
        assert_eq!(fields.next(), None);
    }

    #[test]
    fn long_key_as_drawn_in_2020_is_refused() {
        let mut fields = Fields::new(Dialect::Doc2020, &[0x81, 0x01, 0x05]);
        assert_eq!(fields.next(), Some(Err(DecodeError::BadKey(0x81))));
    }
}
