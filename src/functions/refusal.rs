//! How a device is told that something is not done.

use crate::registry::NotStored;
use crate::session::asked::Denied;
use crate::session::requests::RequestError;
use crate::store::{BucketError, PropertyError};

/// So much of a name that a device gave is said back to it, in characters.
const SHOWN_MAX: usize = 64;

pub(super) fn denied(code: u16, text: impl Into<String>) -> Denied {
    Denied {
        code,
        text: text.into(),
    }
}

/// A name that a device gave, in quotes, escaped and not too long.
pub(super) fn quoted(name: &str) -> String {
    match name.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

pub(super) fn property(error: &PropertyError) -> Denied {
    denied(error.code(), error.to_string())
}

pub(super) fn bucket(error: &BucketError) -> Denied {
    let code = match error {
        BucketError::TooMany(_) | BucketError::NotStored(NotStored::NoSpace(_)) => 507,
        BucketError::TooLarge(_) => 413,
        BucketError::BadName => 400,
        BucketError::Busy | BucketError::NotStored(NotStored::Other(_)) => 503,
    };
    denied(code, error.to_string())
}

/// Why a called device has not answered.
pub(super) fn request(error: &RequestError) -> Denied {
    denied(error.code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_back_escaped_and_bounded() {
        assert_eq!(quoted("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        let long = quoted(&"ü".repeat(1_000_000));
        assert_eq!(long.chars().count(), SHOWN_MAX + 3);
    }
}
