//! What a client may ask of a stream: nothing for events, or an interval in whole seconds. The hub
//! refuses what is shorter than this gateway asks of a device.

use std::num::NonZeroU32;

use crate::stream::Pace;

/// The longest interval in seconds: devices hold it as milliseconds in 32 bits.
pub const INTERVAL_MAX: u32 = u32::MAX / 1000;

/// Why there is no such pace; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaceError {
    #[error(
        "\"interval\" is {0}; it is whole seconds from 1 to {INTERVAL_MAX}, or is left out for events"
    )]
    Interval(String),
    #[error("\"interval\" is given more than once")]
    Twice,
    #[error("\"{0}\" is no parameter of a stream; \"interval\" is one")]
    Unknown(String),
}

/// An interval of `seconds`.
///
/// # Errors
/// [`PaceError::Interval`].
pub fn every(seconds: u64) -> Result<Pace, PaceError> {
    let interval = u32::try_from(seconds).ok().and_then(NonZeroU32::new);
    let interval = interval.filter(|interval| interval.get() <= INTERVAL_MAX);
    interval
        .map(Pace::Every)
        .ok_or_else(|| PaceError::Interval(seconds.to_string()))
}

/// The pace that the parameters of a URL ask for. What lets the caller in may stand among them.
///
/// # Errors
/// [`PaceError`].
pub fn of_query<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Pace, PaceError> {
    let mut pace = None;
    for (name, value) in pairs {
        match name {
            "interval" if pace.is_some() => return Err(PaceError::Twice),
            "interval" => pace = Some(every(seconds(value)?)?),
            "ticket" | "authorization" => {}
            other => return Err(PaceError::Unknown(other.to_owned())),
        }
    }
    Ok(pace.unwrap_or(Pace::Events))
}

/// Digits and nothing else: `+5` and `5s` are no seconds here.
fn seconds(text: &str) -> Result<u64, PaceError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().unwrap_or(u64::MAX));
    number.ok_or_else(|| PaceError::Interval(format!("{text:?}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(query: &[(&str, &str)]) -> Result<Pace, PaceError> {
        of_query(query.iter().copied())
    }

    #[test]
    fn without_an_interval_it_is_events() {
        assert_eq!(asked(&[]), Ok(Pace::Events));
        assert_eq!(asked(&[("ticket", "x")]), Ok(Pace::Events));
    }

    #[test]
    fn an_interval_is_whole_seconds_within_bounds() {
        let five = NonZeroU32::new(5).map(Pace::Every);
        assert_eq!(asked(&[("interval", "5")]).ok(), five);
        assert!(asked(&[("interval", "1")]).is_ok());
        assert!(asked(&[("interval", "4294967")]).is_ok());
        let wrong = [
            "",
            "0",
            "-5",
            "+5",
            "5s",
            "5.0",
            "0x5",
            "4294968",
            "99999999999999999999999",
        ];
        for text in wrong {
            let error = asked(&[("interval", text)]).expect_err(text).to_string();
            assert!(error.contains("whole seconds from 1 to 4294967"), "{error}");
        }
    }

    #[test]
    fn what_is_unknown_or_twice_is_refused() {
        let twice = asked(&[("interval", "5"), ("interval", "5")]);
        assert_eq!(twice, Err(PaceError::Twice));
        let unknown = asked(&[("Interval", "5")])
            .expect_err("unknown")
            .to_string();
        assert!(unknown.contains("\"Interval\""), "{unknown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,30}") {
            if let Ok(Pace::Every(interval)) = of_query([("interval", text.as_str())]) {
                prop_assert!(interval.get() <= INTERVAL_MAX);
            }
        }
    }
}
