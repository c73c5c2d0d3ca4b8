//! The fields of a Connect, of which every dialect has its own.

use crate::codec::dialect::Dialect;
use crate::codec::field::PAYLOAD;
use crate::codec::message::{Authentication, Connect, StreamId};
use crate::codec::pson::Value;
use crate::codec::wire::{Body, PARAMETERS, Slots};

/// A map with what the device wants to be treated like.
const KEEP_ALIVE: &str = "ka";
const AUTHENTICATION: &str = "at";
const PSON_VERSION: &str = "pv";

const KEEP_ALIVE_LEGACY: u8 = 4;
const AUTHENTICATION_2020: u8 = 4;
const KEEP_ALIVE_2020: u8 = 5;

/// In `legacy` and 2020; a map's `at` counts from 0.
const BY_CREDENTIALS: u64 = 1;
const BY_CERTIFICATE_2020: u64 = 2;
/// The highest authentication type that any revision of the 2020 pages has.
const AUTHENTICATION_2020_MAX: u64 = 3;

const WANTED: &str =
    "the payload of a Connect is an array of three strings: user, device, credential";

pub(super) fn decode(
    dialect: Dialect,
    stream_id: Option<StreamId>,
    parameters: Option<Value>,
    payload: Option<Value>,
    slots: Slots,
) -> Connect {
    let (authentication, keep_alive) = if dialect.is_2020() {
        decode_2020(payload, slots)
    } else {
        decode_today(parameters, payload, slots)
    };
    Connect {
        stream_id,
        authentication,
        keep_alive,
    }
}

fn decode_today(
    parameters: Option<Value>,
    payload: Option<Value>,
    mut slots: Slots,
) -> (Authentication, Option<u64>) {
    let in_map = |key| parameters.as_ref().and_then(|map| map.get(key)).cloned();
    let keep_alive = in_map(KEEP_ALIVE).or_else(|| slots.take(KEEP_ALIVE_LEGACY));
    let by_credentials = match (&parameters, in_map(AUTHENTICATION)) {
        (_, Some(at)) => at == Value::Unsigned(0),
        (Some(Value::Unsigned(number)), None) => *number <= BY_CREDENTIALS,
        _ => true,
    };
    let authentication = if by_credentials {
        credentials(payload)
    } else {
        Authentication::Malformed("only authentication by credentials is offered here".to_owned())
    };
    (authentication, keep_alive.map(seconds))
}

fn decode_2020(payload: Option<Value>, mut slots: Slots) -> (Authentication, Option<u64>) {
    let (kind, keep_alive) = match (slots.take(AUTHENTICATION_2020), slots.take(KEEP_ALIVE_2020)) {
        // Some days after the first pages keep alive had become field 4.
        (Some(Value::Unsigned(number)), None) if number > AUTHENTICATION_2020_MAX => {
            (None, Some(Value::Unsigned(number)))
        }
        fields => fields,
    };
    let authentication = match kind {
        None | Some(Value::Unsigned(BY_CREDENTIALS)) => credentials(from_json(payload)),
        Some(Value::Unsigned(BY_CERTIFICATE_2020)) => certificate(payload),
        Some(_) => Authentication::Malformed(
            "the authentication type of a Connect is 1, credentials, or 2, certificate".to_owned(),
        ),
    };
    (authentication, keep_alive.map(seconds))
}

fn credentials(payload: Option<Value>) -> Authentication {
    let malformed = || Authentication::Malformed(WANTED.to_owned());
    let Some(Value::Array(values)) = payload else {
        return malformed();
    };
    match <[Value; 3]>::try_from(values) {
        Ok([Value::String(_), Value::String(device), Value::String(_)]) if device.is_empty() => {
            Authentication::Malformed("the device name in the Connect is empty".to_owned())
        }
        Ok(
            [
                Value::String(username),
                Value::String(device),
                Value::String(credential),
            ],
        ) => Authentication::Credentials {
            username,
            device,
            credential: credential.into_bytes(),
        },
        _ => malformed(),
    }
}

/// 2020 allows a payload whose encoding was never agreed upon; what begins like JSON is taken so.
fn from_json(payload: Option<Value>) -> Option<Value> {
    match payload {
        Some(Value::Bytes(bytes)) => serde_json::from_slice::<[String; 3]>(&bytes)
            .ok()
            .map(|strings| Value::Array(strings.map(Value::String).into())),
        other => other,
    }
}

fn certificate(payload: Option<Value>) -> Authentication {
    let text = match payload {
        Some(Value::String(text)) => Some(text),
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    text.map_or_else(
        || Authentication::Malformed("the certificate in the Connect is not a text".to_owned()),
        Authentication::Certificate,
    )
}

fn seconds(value: Value) -> u64 {
    value.as_unsigned().unwrap_or(u64::MAX)
}

/// The body of a Connect, payload before stream ID as the Linux client sends it.
pub(super) fn encode(dialect: Dialect, connect: &Connect) -> Vec<u8> {
    let mut body = Body::new(dialect);
    if !dialect.is_2020() {
        body.put(PARAMETERS, parameters(dialect, connect).as_ref());
    }
    body.put(PAYLOAD, Some(&payload(&connect.authentication)));
    body.stream_id(connect.stream_id);
    let keep_alive = connect.keep_alive.map(Value::Unsigned);
    if dialect.is_2020() {
        let kind = match connect.authentication {
            Authentication::Certificate(_) => BY_CERTIFICATE_2020,
            _ => BY_CREDENTIALS,
        };
        body.put(AUTHENTICATION_2020, Some(&Value::Unsigned(kind)));
        body.put(KEEP_ALIVE_2020, keep_alive.as_ref());
    } else if dialect == Dialect::Legacy {
        body.put(KEEP_ALIVE_LEGACY, keep_alive.as_ref());
    }
    body.into_bytes()
}

fn parameters(dialect: Dialect, connect: &Connect) -> Option<Value> {
    let keep_alive = connect.keep_alive.map(|seconds| (KEEP_ALIVE, seconds));
    match dialect {
        Dialect::Documented => Some(Value::map(
            keep_alive.into_iter().chain([(PSON_VERSION, 1)]),
        )),
        Dialect::Current => keep_alive.map(|pair| Value::map([pair])),
        _ => Some(Value::Unsigned(BY_CREDENTIALS)),
    }
}

fn payload(authentication: &Authentication) -> Value {
    match authentication {
        Authentication::Credentials {
            username,
            device,
            credential,
        } => {
            let credential = String::from_utf8_lossy(credential);
            let strings = [username, device, &*credential];
            Value::Array(strings.map(Value::from).into())
        }
        Authentication::Certificate(text) | Authentication::Malformed(text) => {
            Value::from(text.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::field;
    use crate::codec::message::{self, Message};

    fn connect_of(dialect: Dialect, fields: &[(u8, Value)]) -> Connect {
        let mut body = Vec::new();
        for (number, value) in fields {
            field::write(dialect, *number, value, &mut body);
        }
        let message_type = if dialect.is_2020() { 8 } else { 3 };
        match message::decode(dialect, message_type, &body) {
            Ok(Message::Connect(connect)) => connect,
            other => panic!("{other:?}"),
        }
    }

    fn strings(strings: &[&str]) -> (u8, Value) {
        let values = strings.iter().copied().map(Value::from);
        (3, Value::Array(values.collect()))
    }

    #[test]
    fn keep_alive_is_read_where_the_dialect_has_it() {
        let good = strings(&["u", "d", "c"]);
        let keep_alive = |dialect, field: &[(u8, Value)]| {
            connect_of(dialect, &[field, std::slice::from_ref(&good)].concat()).keep_alive
        };
        let map = |value: Value| (2, Value::map([("ka", value)]));
        let number = |field: u8, value: u64| (field, Value::Unsigned(value));
        assert_eq!(keep_alive(Dialect::Current, &[]), None);
        assert_eq!(
            keep_alive(Dialect::Current, &[map(120_u64.into())]),
            Some(120)
        );
        assert_eq!(keep_alive(Dialect::Legacy, &[number(4, 90)]), Some(90));
        let no_number = keep_alive(Dialect::Current, &[map("soon".into())]);
        assert_eq!(no_number, Some(u64::MAX));
        let of_2020 = |fields: &[(u8, Value)]| keep_alive(Dialect::Doc2020, fields);
        assert_eq!(of_2020(&[number(4, 1), number(5, 30)]), Some(30));
        assert_eq!(of_2020(&[number(4, 45)]), Some(45));
        assert_eq!(of_2020(&[number(4, 1)]), None);
    }

    #[test]
    fn payload_that_is_no_three_strings_is_malformed() {
        let is_malformed = |dialect, fields: &[(u8, Value)]| {
            let authentication = connect_of(dialect, fields).authentication;
            matches!(authentication, Authentication::Malformed(_))
        };
        for dialect in Dialect::ALL {
            assert!(!is_malformed(dialect, &[strings(&["", "d", ""])]));
            assert!(is_malformed(dialect, &[]));
            assert!(is_malformed(dialect, &[strings(&["u", "d"])]));
            assert!(is_malformed(dialect, &[strings(&["u", "d", "c", "e"])]));
            assert!(is_malformed(dialect, &[strings(&["u", "", "c"])]));
            assert!(is_malformed(
                dialect,
                &[(3, Value::Array(vec![Value::Null; 3]))]
            ));
        }
        let good = strings(&["u", "d", "c"]);
        let token = (2, Value::Unsigned(2));
        assert!(is_malformed(Dialect::Legacy, &[token, good.clone()]));
        let token = (2, Value::map([("at", 2_u64)]));
        assert!(is_malformed(Dialect::Current, &[token, good.clone()]));
        let token = (4, Value::Unsigned(3));
        assert!(is_malformed(Dialect::Code2020, &[token, good]));
    }

    #[test]
    fn json_in_a_payload_of_2020_is_read() {
        let body = [b"\x01\x01\x23\x0d".as_slice(), br#"["u","d","c"]"#].concat();
        let Ok(Message::Connect(connect)) = message::decode(Dialect::Doc2020, 8, &body) else {
            panic!("no Connect");
        };
        let credentials = Authentication::Credentials {
            username: "u".into(),
            device: "d".into(),
            credential: b"c".to_vec(),
        };
        assert_eq!(connect.authentication, credentials);
    }
}
