//! Every published vector: bytes and what they mean, most of them made or sent by real clients.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::codec::dialect::{self, Dialect};
use crate::codec::error::DecodeError;
use crate::codec::field::{Encoding, Field, Fields};
use crate::codec::frame::{self, BODY_MAX, Frame, Split};
use crate::codec::message::{self, Message, StreamDataKind};
use crate::codec::pson::{Value, Version};
use crate::codec::reader::Reader;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    dialect: String,
    meaning: Meaning,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Meaning {
    Value {
        value: Json,
    },
    Frame {
        #[serde(rename = "type")]
        type_name: String,
        type_code: u64,
        body_len: usize,
        fields: Vec<FieldMeaning>,
    },
    Error,
}

#[derive(Deserialize)]
struct FieldMeaning {
    id: u64,
    wire: String,
    value: Json,
}

/// In what a vector is written.
#[derive(Clone, Copy)]
enum Wire {
    Value(Version),
    Frame(Dialect),
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.hex).unwrap()
    }

    fn wire(&self) -> Wire {
        match self.dialect.as_str() {
            "pson-v1" => Wire::Value(Version::V1),
            "pson-v2" => Wire::Value(Version::V2),
            "iotmp-current" => Wire::Frame(Dialect::Current),
            "iotmp-legacy" => Wire::Frame(Dialect::Legacy),
            "iotmp-2020-code" => Wire::Frame(Dialect::Code2020),
            "iotmp-2020-doc" => Wire::Frame(Dialect::Doc2020),
            other => panic!("no dialect {other}"),
        }
    }

    /// Whether an encoder makes these bytes of that value.
    fn is_canonical(&self) -> bool {
        let marks = ["non canonical", "duplicate", "infinity", "NaN", "marker"];
        !marks.iter().any(|mark| self.name.contains(mark))
    }
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../tests/data/iotmp-vectors.json")).unwrap();
    assert_eq!(vectors.len(), 134);
    vectors
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => Value::Array(values.iter().map(value_of).collect()),
        Json::Number(number) => number
            .as_u64()
            .map(Value::from)
            .or_else(|| number.as_i64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap(),
        Json::Object(map) => {
            if let Some(Json::String(bytes)) = map.get("$bytes") {
                return Value::Bytes(hex::decode(bytes).unwrap());
            }
            if let Some(Json::String(float)) = map.get("$float") {
                return Value::Float(float.parse().unwrap());
            }
            Value::map(map.iter().map(|(key, value)| (key, value_of(value))))
        }
    }
}

/// Equal also where floats are not a number; a map may have its keys in another order.
fn assert_same(name: &str, read: &Value, meant: &Value) {
    match (read, meant) {
        (Value::Float(read), Value::Float(meant)) if read.is_nan() && meant.is_nan() => {}
        (Value::Map(read), Value::Map(meant)) => {
            assert_eq!(read.len(), meant.len(), "{name}");
            for (key, value) in read {
                let meant = meant.iter().find(|(meant, _)| meant == key);
                assert_same(name, value, &meant.expect(name).1);
            }
        }
        (Value::Array(read), Value::Array(meant)) => {
            assert_eq!(read.len(), meant.len(), "{name}");
            for (read, meant) in read.iter().zip(meant) {
                assert_same(name, read, meant);
            }
        }
        _ => assert_eq!(read, meant, "{name}"),
    }
}

/// The whole frame that `bytes` are.
fn split(bytes: &[u8]) -> (u64, &[u8]) {
    match frame::split(bytes, BODY_MAX).unwrap() {
        Split::Frame(Frame { message_type, body }) if body.end == bytes.len() => {
            (message_type, &bytes[body])
        }
        other => panic!("{other:?}"),
    }
}

fn decode(dialect: Dialect, bytes: &[u8]) -> Result<Message, DecodeError> {
    let (message_type, body) = split(bytes);
    message::decode(dialect, message_type, body)
}

#[test]
fn values_are_read_and_written_back() {
    for vector in vectors() {
        let (Meaning::Value { value }, Wire::Value(version)) = (&vector.meaning, vector.wire())
        else {
            continue;
        };
        let bytes = vector.bytes();
        let mut reader = Reader::new(&bytes);
        let read = version.decode(&mut reader).expect(&vector.name);
        assert!(reader.is_empty(), "{}", vector.name);
        assert_same(&vector.name, &read, &value_of(value));
        if vector.is_canonical() {
            let mut written = Vec::new();
            version.encode(&read, &mut written);
            assert_eq!(hex::encode(written), vector.hex, "{}", vector.name);
        }
    }
}

#[test]
fn frames_have_the_fields_they_state() {
    for vector in vectors() {
        let (
            Meaning::Frame {
                type_code,
                body_len,
                fields: meant,
                ..
            },
            Wire::Frame(dialect),
        ) = (&vector.meaning, vector.wire())
        else {
            continue;
        };
        let bytes = vector.bytes();
        let (message_type, body) = split(&bytes);
        assert_eq!(message_type, *type_code, "{}", vector.name);
        assert_eq!(body.len(), *body_len, "{}", vector.name);
        let fields: Vec<Field> = Fields::new(dialect, body)
            .collect::<Result<_, _>>()
            .expect(&vector.name);
        assert_eq!(fields.len(), meant.len(), "{}", vector.name);
        for (field, meant) in fields.iter().zip(meant) {
            assert_eq!(field.number, meant.id, "{}", vector.name);
            assert_eq!(
                wire_name(field.encoding),
                Some(&*meant.wire),
                "{}",
                vector.name
            );
            assert_same(&vector.name, &field.value, &value_of(&meant.value));
        }
    }
}

fn wire_name(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Varint => Some("varint"),
        Encoding::Pson(Version::V1) => Some("pson_v1"),
        Encoding::Pson(Version::V2) => Some("pson_v2"),
        Encoding::Delimited => Some("length_delimited"),
        Encoding::Fixed => None,
    }
}

#[test]
fn frames_are_the_messages_they_state_and_stay_so() {
    for vector in vectors() {
        let (Meaning::Frame { type_name, .. }, Wire::Frame(dialect)) =
            (&vector.meaning, vector.wire())
        else {
            continue;
        };
        let read = decode(dialect, &vector.bytes()).expect(&vector.name);
        assert_eq!(name_of(&read), type_name, "{}", vector.name);
        let mut written = Vec::new();
        message::encode(dialect, &read, &mut written);
        let again = decode(dialect, &written);
        assert_eq!(again, Ok(read), "{}", vector.name);
    }
}

fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Ok(_) => "OK",
        Message::Error(_) => "ERROR",
        Message::Connect(_) => "CONNECT",
        Message::Disconnect { .. } => "DISCONNECT",
        Message::KeepAlive => "KEEP_ALIVE",
        Message::Run(_) => "RUN",
        Message::Describe { .. } => "DESCRIBE",
        Message::StartStream { .. } => "START_STREAM",
        Message::StopStream { .. } => "STOP_STREAM",
        Message::StreamData(data) => match data.kind {
            None => "STREAM_DATA",
            Some(StreamDataKind::Event) => "STREAM_EVENT",
            Some(StreamDataKind::Sample) => "STREAM_SAMPLE",
        },
        Message::Unknown(_) => "UNKNOWN",
    }
}

#[test]
fn connects_tell_their_dialect() {
    let mut told = 0;
    for vector in vectors() {
        let (Meaning::Frame { type_name, .. }, Wire::Frame(dialect)) =
            (&vector.meaning, vector.wire())
        else {
            continue;
        };
        if type_name == "CONNECT" {
            let bytes = vector.bytes();
            assert_eq!(
                dialect::detect(&bytes),
                Ok(Some(dialect)),
                "{}",
                vector.name
            );
            for cut in 0..bytes.len() {
                assert_eq!(
                    dialect::detect(&bytes[..cut]),
                    Ok(None),
                    "{} to {cut}",
                    vector.name
                );
            }
            told += 1;
        }
    }
    assert_eq!(told, 8);
}

#[test]
fn broken_bytes_are_refused() {
    let mut refused = 0;
    for vector in vectors() {
        if !matches!(vector.meaning, Meaning::Error) {
            continue;
        }
        let bytes = vector.bytes();
        let is_refused = match vector.wire() {
            Wire::Value(version) => version.decode(&mut Reader::new(&bytes)).is_err(),
            Wire::Frame(dialect) => decode(dialect, &bytes).is_err(),
        };
        assert!(is_refused, "{}", vector.name);
        refused += 1;
    }
    assert_eq!(refused, 8);
}
