//! PSON: the values inside messages, and their two encodings.

pub mod json;
pub mod v1;
pub mod v2;

use std::collections::BTreeSet;

use crate::codec::error::DecodeError;
use crate::codec::reader::Reader;

/// The deepest nesting of arrays and maps that is read. The peers themselves have no limit; this
/// one keeps a hostile body from using up the stack.
pub const NESTING_MAX: usize = 64;

/// Room that a container takes before its first element is read, whatever it announces: as much
/// as the first element would make a vector take.
const FIRST_CAPACITY: usize = 4;

/// A PSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Always below zero.
    Negative(i64),
    /// Whole numbers within 64 bits are sent as integers and come back as such.
    Float(f64),
    /// Bytes that are not UTF-8 were replaced when it was read.
    String(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// In the order of the wire; no key occurs twice.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// A map of these pairs, which have no key twice.
    pub fn map<K: Into<String>, V: Into<Self>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Negative(value), Self::Unsigned)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

/// Which encoding a value is in. The two share no first byte of an array or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Protoson: `legacy` and the 2020 dialects.
    V1,
    /// Since 2026.
    V2,
}

impl Version {
    /// Reads one value and stops behind it.
    ///
    /// # Errors
    /// When the bytes are no value of this encoding, nest deeper than [`NESTING_MAX`], or announce
    /// more than is left.
    pub fn decode(self, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        match self {
            Self::V1 => v1::decode(reader),
            Self::V2 => v2::decode(reader),
        }
    }

    /// Appends `value` in the shortest form.
    pub fn encode(self, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::V1 => v1::encode(value, out),
            Self::V2 => v2::encode(value, out),
        }
    }
}

/// A number of magnitude `magnitude` below zero; 0 stands for itself.
fn negative(magnitude: u64) -> Result<Value, DecodeError> {
    if magnitude == 0 {
        return Ok(Value::Unsigned(0));
    }
    0_i64
        .checked_sub_unsigned(magnitude)
        .map(Value::Negative)
        .ok_or(DecodeError::TooNegative)
}

/// The integer that `number` is, if it is one and fits an `i64`: both encodings send it as such.
fn whole(number: f64) -> Option<Value> {
    const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
    let fits = (-TWO_POW_63..TWO_POW_63).contains(&number) && number.fract() == 0.0;
    fits.then(|| Value::from(number as i64))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One level further in.
fn deeper(depth: usize) -> Result<usize, DecodeError> {
    if depth == NESTING_MAX {
        return Err(DecodeError::TooDeep);
    }
    Ok(depth + 1)
}

/// Of the pairs with the same key only the last one counts.
fn last_wins(mut pairs: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut seen = BTreeSet::new();
    let mut keep: Vec<bool> = pairs
        .iter()
        .rev()
        .map(|(key, _)| seen.insert(key.as_str()))
        .collect();
    if keep.iter().any(|keep| !keep) {
        pairs.retain(|_| keep.pop().unwrap_or(true));
    }
    pairs
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value whose encoding keeps it: no whole floats, no key twice.
    pub fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::Unsigned),
            (0_u64..40).prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Negative),
            (-40_i64..0).prop_map(Value::Negative),
            any::<f32>()
                .prop_map(f64::from)
                .prop_filter("whole or NaN", |f| f.is_finite() && whole(*f).is_none())
                .prop_map(Value::Float),
            ".{0,40}".prop_map(Value::String),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Map(map.into_iter().collect())),
            ]
        })
    }

    fn any_version() -> impl Strategy<Value = Version> {
        prop_oneof![Just(Version::V1), Just(Version::V2)]
    }

    pub fn encoded(version: Version, value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        version.encode(value, &mut bytes);
        bytes
    }

    pub fn decoded(version: Version, bytes: &[u8]) -> Result<Value, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = version.decode(&mut reader)?;
        assert!(reader.is_empty(), "bytes behind the value were left");
        Ok(value)
    }

    /// Bytes that `value` holds on the heap.
    fn footprint(value: &Value) -> usize {
        match value {
            Value::String(text) => text.capacity(),
            Value::Bytes(bytes) => bytes.capacity(),
            Value::Array(values) => {
                let own = values.capacity() * size_of::<Value>();
                own + values.iter().map(footprint).sum::<usize>()
            }
            Value::Map(pairs) => {
                let own = pairs.capacity() * size_of::<(String, Value)>();
                let inner = |(key, value): &(String, Value)| key.capacity() + footprint(value);
                own + pairs.iter().map(inner).sum::<usize>()
            }
            _ => 0,
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let in_array = |value| Value::Array(vec![value]);
        let in_map = |value| Value::map([("", value)]);
        let nested = |container: fn(Value) -> Value, depth| {
            (0..depth).fold(Value::Null, |value, _| container(value))
        };
        for version in [Version::V1, Version::V2] {
            for container in [in_array, in_map] {
                let deepest = nested(container, NESTING_MAX);
                assert!(decoded(version, &encoded(version, &deepest)).is_ok());
                let too_deep = nested(container, NESTING_MAX + 1);
                let refused = decoded(version, &encoded(version, &too_deep));
                assert_eq!(refused, Err(DecodeError::TooDeep));
            }
        }
    }

    #[test]
    fn not_utf8_is_replaced() {
        assert_eq!(decoded(Version::V2, &[0x81, 0xff]), Ok("\u{fffd}".into()));
        assert_eq!(
            decoded(Version::V1, &[0x4a, 1, 0xff]),
            Ok("\u{fffd}".into())
        );
    }

    #[test]
    fn magnitude_ends_at_two_pow_63() {
        for (version, tag) in [(Version::V1, 0x10), (Version::V2, 0x3f)] {
            let mut bytes = vec![tag];
            crate::codec::varint::write(1 << 63, &mut bytes);
            assert_eq!(decoded(version, &bytes), Ok(Value::Negative(i64::MIN)));
            bytes.truncate(1);
            crate::codec::varint::write((1 << 63) + 1, &mut bytes);
            assert_eq!(decoded(version, &bytes), Err(DecodeError::TooNegative));
        }
    }

    #[test]
    fn last_of_equal_keys_counts() {
        let twice = Value::map([("a", 1_u64), ("a", 2), ("b", 3)]);
        for version in [Version::V1, Version::V2] {
            let value = decoded(version, &encoded(version, &twice));
            assert_eq!(value, Ok(Value::map([("a", 2_u64), ("b", 3)])));
        }
    }

    #[test]
    fn whole_floats_go_as_integers_while_they_fit() {
        let two_pow_63 = 2_f64.powi(63);
        for version in [Version::V1, Version::V2] {
            let through =
                |number: f64| decoded(version, &encoded(version, &Value::Float(number))).unwrap();
            assert_eq!(through(2.0), Value::Unsigned(2));
            assert_eq!(through(-7.0), Value::Negative(-7));
            assert_eq!(through(-two_pow_63), Value::Negative(i64::MIN));
            assert_eq!(through(two_pow_63), Value::Float(two_pow_63));
        }
    }

    proptest! {
        #[test]
        fn round_trip(version in any_version(), value in any_value()) {
            // v1 keeps floats only to 0.00001; what it made of them it keeps.
            let once = decoded(version, &encoded(version, &value)).unwrap();
            if version == Version::V2 {
                prop_assert_eq!(&once, &value);
            }
            prop_assert_eq!(&decoded(version, &encoded(version, &once)).unwrap(), &once);
        }

        #[test]
        fn every_truncation_is_refused(version in any_version(), value in any_value()) {
            let bytes = encoded(version, &value);
            for cut in 0..bytes.len() {
                prop_assert!(decoded(version, &bytes[..cut]).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_take_no_more_than_they_justify(
            version in any_version(),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = version.decode(&mut reader) {
                let used = bytes.len() - reader.left();
                prop_assert!(footprint(&value) <= 100 * used);
            }
        }

        #[test]
        fn floats_come_back(number: f64) {
            let bytes = encoded(Version::V2, &Value::Float(number));
            match decoded(Version::V2, &bytes).unwrap() {
                Value::Float(read) => prop_assert!(read == number || number.is_nan()),
                Value::Unsigned(read) => prop_assert_eq!(read as f64, number),
                Value::Negative(read) => prop_assert_eq!(read as f64, number),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
