//! PSON as JSON and back, for everybody who is no device.
//!
//! Bytes are `{"bytes":[0,1,255]}`, and an object with nothing but such a list is bytes again. NaN
//! and the infinities have no JSON and become null.

use serde_json::{Map, Number, Value as Json};

use super::{NESTING_MAX, Value, whole};

/// The one key of an object that stands for bytes.
const BYTES: &str = "bytes";

/// The JSON nests deeper than a device could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JSON nests deeper than {NESTING_MAX} arrays and objects")]
pub struct TooDeep;

/// The JSON of a value. Of the pairs of a map with the same key the last one counts.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Unsigned(number) => Json::from(*number),
        Value::Negative(number) => Json::from(*number),
        Value::Float(number) => float(*number),
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => {
            let list = Json::from(bytes.as_slice());
            Json::Object(Map::from_iter([(BYTES.to_owned(), list)]))
        }
        Value::Array(values) => values.iter().map(to_json).collect(),
        Value::Map(pairs) => {
            let pair = |(key, value): &(String, Value)| (key.clone(), to_json(value));
            Json::Object(pairs.iter().map(pair).collect())
        }
    }
}

/// The value of a JSON. Integers beyond 64 bits are floats already in what `serde_json` reads.
///
/// # Errors
/// [`TooDeep`] where arrays and objects nest deeper than [`NESTING_MAX`].
pub fn from_json(json: &Json) -> Result<Value, TooDeep> {
    from_json_at(json, 0)
}

fn from_json_at(json: &Json, depth: usize) -> Result<Value, TooDeep> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => number(value),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(values) => {
            let depth = deeper(depth)?;
            let inner = values.iter().map(|value| from_json_at(value, depth));
            Value::Array(inner.collect::<Result<_, _>>()?)
        }
        Json::Object(pairs) => match bytes(pairs) {
            Some(bytes) => Value::Bytes(bytes),
            None => {
                let depth = deeper(depth)?;
                let inner = pairs
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), from_json_at(value, depth)?)));
                Value::Map(inner.collect::<Result<_, _>>()?)
            }
        },
    })
}

/// A float in its shortest form. Devices measure in 32 bits: what was one of those is shown as that
/// one is written (20.1 and not 20.100000381469727).
fn float(number: f64) -> Json {
    if let Some(integer) = whole(number) {
        return to_json(&integer);
    }
    let short = number as f32;
    let is_short = number.fract() != 0.0 && f64::from(short) == number;
    let shown = if is_short {
        format!("{short:e}").parse().unwrap_or(number)
    } else {
        number
    };
    Number::from_f64(shown).map_or(Json::Null, Json::Number)
}

fn number(number: &Number) -> Value {
    number
        .as_u64()
        .map(Value::Unsigned)
        .or_else(|| number.as_i64().map(Value::from))
        .or_else(|| number.as_f64().map(Value::Float))
        .unwrap_or(Value::Null)
}

fn bytes(pairs: &Map<String, Json>) -> Option<Vec<u8>> {
    if pairs.len() != 1 {
        return None;
    }
    let byte = |value: &Json| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    pairs.get(BYTES)?.as_array()?.iter().map(byte).collect()
}

fn deeper(depth: usize) -> Result<usize, TooDeep> {
    if depth == NESTING_MAX {
        return Err(TooDeep);
    }
    Ok(depth + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Version;
    use super::super::tests::{any_value, decoded, encoded};
    use super::*;

    /// What a value is after JSON: floats of 32 bits are written short, objects are sorted.
    fn settled(value: &Value) -> Value {
        from_json(&to_json(value)).expect("not too deep")
    }

    #[test]
    fn bytes_are_a_list_under_one_key() {
        let bytes = Value::Bytes(vec![0, 1, 255]);
        let json = json!({"bytes": [0, 1, 255]});
        assert_eq!(to_json(&bytes), json);
        assert_eq!(from_json(&json), Ok(bytes));
        assert_eq!(from_json(&json!({"bytes": []})), Ok(Value::Bytes(vec![])));
    }

    #[test]
    fn what_only_looks_like_bytes_stays_an_object() {
        for json in [
            json!({"bytes": [256]}),
            json!({"bytes": [-1]}),
            json!({"bytes": [0.5]}),
            json!({"bytes": "x"}),
            json!({"bytes": [1], "more": 1}),
            json!({"Bytes": [1]}),
            json!({}),
        ] {
            let value = from_json(&json).expect("not too deep");
            assert!(matches!(value, Value::Map(_)), "{json}");
            assert_eq!(to_json(&value), json);
        }
    }

    #[test]
    fn no_number_is_null() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(to_json(&Value::Float(number)), Json::Null);
        }
    }

    #[test]
    fn floats_are_written_short() {
        let text = |number: f64| to_json(&Value::Float(number)).to_string();
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(f64::from(0.1_f32)), "0.1");
        assert_eq!(text(f64::from(20.1_f32)), "20.1");
        assert_eq!(text(1_234_567.891), "1234567.891");
        assert_eq!(text(2.0), "2");
        assert_eq!(text(-7.0), "-7");
        assert_eq!(text(1e20), "1e+20");
        // No fraction: shortening would change the number.
        assert_eq!(text(2_f64.powi(70)), "1.1805916207174113e+21");
        assert_eq!(text(f64::from(f32::from_bits(1))), "1e-45");
    }

    #[test]
    fn floats_of_either_encoding_are_written_short() {
        let value = decoded(Version::V1, &[0x1d, 0xcd, 0xcc, 0xcc, 0x3d]).expect("a float");
        assert_eq!(to_json(&value).to_string(), "0.1");
        let value = decoded(Version::V2, &[0x40, 0xcd, 0xcc, 0xcc, 0x3d]).expect("a float");
        assert_eq!(to_json(&value).to_string(), "0.1");
    }

    #[test]
    fn integers_keep_their_64_bits() {
        let read = |text: &str| from_json(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(read("18446744073709551615"), Ok(Value::Unsigned(u64::MAX)));
        assert_eq!(read("-9223372036854775808"), Ok(Value::Negative(i64::MIN)));
        assert_eq!(
            read("18446744073709551616"),
            Ok(Value::Float(18_446_744_073_709_551_616.0))
        );
        assert_eq!(
            read("-9223372036854775809"),
            Ok(Value::Float(-9_223_372_036_854_775_808.0))
        );
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        let json: Json = serde_json::from_str(r#"{"a":1,"a":2}"#).expect("JSON");
        assert_eq!(from_json(&json), Ok(Value::map([("a", 2_u64)])));
        let twice = Value::map([("a", 1_u64), ("a", 2)]);
        assert_eq!(to_json(&twice), json!({"a": 2}));
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let in_array = |json: Json| json!([json]);
        let in_object = |json: Json| json!({"a": json});
        for container in [in_array, in_object] {
            let nested = |depth| (0..depth).fold(Json::Null, |json, _| container(json));
            assert!(from_json(&nested(NESTING_MAX)).is_ok());
            assert_eq!(from_json(&nested(NESTING_MAX + 1)), Err(TooDeep));
        }
        // Bytes are no container.
        let bytes = (0..NESTING_MAX).fold(json!({"bytes": [1]}), |json, _| json!([json]));
        assert!(from_json(&bytes).is_ok());
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            ".{0,20}".prop_map(Json::from),
            proptest::collection::vec(any::<u8>(), 0..8)
                .prop_map(|bytes| json!({ "bytes": bytes })),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                proptest::collection::btree_map("[a-c]{0,2}|bytes", inner, 0..4)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_round_trip(value in any_value()) {
            let once = settled(&value);
            prop_assert_eq!(&settled(&once), &once);
            prop_assert_eq!(to_json(&once), to_json(&value));
        }

        #[test]
        fn values_without_floats_come_back_through_the_wire(json in any_json()) {
            let value = from_json(&json).expect("not too deep");
            prop_assert_eq!(to_json(&value), json.clone());
            for version in [Version::V1, Version::V2] {
                let there = decoded(version, &encoded(version, &value)).expect("a value");
                prop_assert_eq!(to_json(&there), json.clone());
            }
        }

        #[test]
        fn a_float_of_32_bits_is_the_same_one_when_read(bits: u32) {
            let number = f32::from_bits(bits);
            prop_assume!(number.is_finite());
            let read = to_json(&Value::Float(number.into())).as_f64().expect("a number");
            prop_assert_eq!(read as f32, number);
        }

        #[test]
        fn a_float_of_64_bits_is_kept(number: f64) {
            prop_assume!(number.is_finite() && f64::from(number as f32) != number);
            prop_assert_eq!(to_json(&Value::Float(number)).as_f64(), Some(number));
        }
    }
}
