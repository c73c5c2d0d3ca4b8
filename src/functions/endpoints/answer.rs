//! What a device is handed of an endpoint's answer.

use crate::codec::pson::{Value, json};

/// The longest answer, in bytes: as much as a device takes.
pub const ANSWER_MAX_BYTES: usize = 32 << 10;

/// Why an answer is not handed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("its answer is longer than {ANSWER_MAX_BYTES} bytes")]
    TooLong,
    #[error("its answer says that it is JSON, and is not")]
    NoJson,
    #[error("its answer nests too deep for a device")]
    TooDeep,
}

/// JSON is a value, text a text, all else bytes; nothing is nothing.
///
/// # Errors
/// [`Unfit`].
pub fn payload(content_type: Option<&str>, body: Vec<u8>) -> Result<Option<Value>, Unfit> {
    if body.is_empty() {
        return Ok(None);
    }
    if content_type.is_some_and(is_json) {
        let json = serde_json::from_slice(&body).map_err(|_| Unfit::NoJson)?;
        return json::from_json(&json).map(Some).map_err(|_| Unfit::TooDeep);
    }
    let text = String::from_utf8(body).map(Value::String);
    Ok(Some(
        text.unwrap_or_else(|error| Value::Bytes(error.into_bytes())),
    ))
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_values() {
        for (content_type, body, expected) in [
            (Some("application/json"), "", Ok(None)),
            (
                Some("Application/JSON; charset=utf-8"),
                r#"{"ok":true}"#,
                Ok(Some(Value::map([("ok", true)]))),
            ),
            (
                Some("application/problem+json"),
                "7",
                Ok(Some(Value::from(7_u32))),
            ),
            (Some("application/json"), "{", Err(Unfit::NoJson)),
            (Some("text/plain"), "{", Ok(Some(Value::from("{")))),
            (None, "done", Ok(Some(Value::from("done")))),
        ] {
            let given = payload(content_type, body.into());
            assert_eq!(given, expected, "{content_type:?} {body}");
        }
        let bytes = payload(None, vec![0xFF, 0]);
        assert_eq!(bytes, Ok(Some(Value::Bytes(vec![0xFF, 0]))));
        let deep = "[".repeat(100) + &"]".repeat(100);
        let deep = payload(Some("application/json"), deep.into());
        assert_eq!(deep, Err(Unfit::TooDeep));
    }
}
