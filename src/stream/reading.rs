//! A value that many sinks share, and its JSON, which is made once for all of them.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use crate::codec::pson::Value;
use crate::codec::pson::json::to_json;

/// A value of a resource, as a device gave it.
pub struct Reading {
    value: Value,
    json: OnceLock<Box<str>>,
}

impl Reading {
    pub const fn new(value: Value) -> Self {
        Self {
            value,
            json: OnceLock::new(),
        }
    }

    /// As JSON on one line. Who asks first makes it; without anybody who asks there is none.
    pub fn json(&self) -> &str {
        self.json
            .get_or_init(|| to_json(&self.value).to_string().into())
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl Deref for Reading {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_made_once_and_has_one_line() {
        let reading = Reading::new(Value::from("a\r\nb"));
        let (first, second) = (reading.json(), reading.json());
        assert_eq!(first, r#""a\r\nb""#);
        assert!(std::ptr::eq(first, second));
    }
}
