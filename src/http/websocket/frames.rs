//! The frames of a WebSocket for streams: what a client may say, and what it is told.
//!
//! ```text
//! {"resource":"temp","interval":5}            a sample every 5 s; no interval: events
//! {"resource":"temp","enabled":false}         no more of it
//! {"resource":"setpoint","payload":21.5}      input
//!
//! {"resource":"temp","signal":"start","interval":5,"events":false}     the device streams
//! {"resource":"temp","signal":"data","ts":1763728000000,"payload":20.5}
//! {"resource":"temp","signal":"data","ts":…,"lost":3,"payload":…}      three before it were lost
//! {"resource":"temp","signal":"stop","reason":"…"}                     nothing comes for now
//! {"resource":"temp","signal":"error","code":404,"reason":"…"}
//! ```

use std::fmt::Write;

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use crate::codec::pson::Value;
use crate::codec::pson::json::from_json;
use crate::http::pace::{PaceError, every};
use crate::stream::Pace;

/// The longest frame of a client, in bytes.
pub const FRAME_MAX: usize = 64 << 10;

/// What a client wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Stream(Pace),
    Stop,
    Input(Value),
}

/// One frame of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Absent where the URL names it.
    pub resource: Option<String>,
    pub wanted: Wanted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    resource: Option<String>,
    interval: Option<Json>,
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Json>,
}

/// A payload of null is one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Reads a frame.
///
/// # Errors
/// A sentence that says what was wrong and what would be right.
pub fn read(text: &str) -> Result<Said, String> {
    let raw: Raw = serde_json::from_str(text).map_err(|error| {
        format!("a frame is {{\"resource\",\"interval\",\"enabled\"}} or {{\"resource\",\"payload\"}}: {error}")
    })?;
    let is_about_a_stream = raw.interval.is_some() || raw.enabled.is_some();
    let wanted = match (raw.payload, raw.enabled) {
        (Some(_), _) if is_about_a_stream => {
            return Err(
                "a frame has \"payload\", or \"interval\" and \"enabled\"; not both".into(),
            );
        }
        (Some(payload), _) => {
            Wanted::Input(from_json(&payload).map_err(|error| error.to_string())?)
        }
        (None, Some(false)) => Wanted::Stop,
        (None, _) => Wanted::Stream(pace(raw.interval.as_ref())?),
    };
    Ok(Said {
        resource: raw.resource,
        wanted,
    })
}

fn pace(interval: Option<&Json>) -> Result<Pace, String> {
    let Some(interval) = interval else {
        return Ok(Pace::Events);
    };
    let seconds = interval.as_u64();
    let seconds = seconds.ok_or_else(|| PaceError::Interval(interval.to_string()));
    seconds.and_then(every).map_err(|error| error.to_string())
}

/// What is told of one resource.
#[derive(Clone, Debug)]
pub struct Frames {
    /// `{"resource":"temp"`, made once.
    head: Box<str>,
}

impl Frames {
    pub fn of(resource: &str) -> Self {
        let resource = Json::from(resource);
        Self {
            head: format!("{{\"resource\":{resource}").into(),
        }
    }

    /// The device streams, every `interval` seconds or its events.
    pub fn start(&self, interval: Option<u32>, events: bool) -> String {
        let mut frame = self.begin("start", 0);
        if let Some(interval) = interval {
            write(&mut frame, format_args!(",\"interval\":{interval}"));
        }
        write(&mut frame, format_args!(",\"events\":{events}}}"));
        frame
    }

    /// A value as JSON, from this time in milliseconds since the Unix epoch; `lost` older ones
    /// before it were dropped.
    pub fn data(&self, json: &str, unix_ms: u64, lost: u64) -> String {
        let mut frame = self.begin("data", json.len());
        write(&mut frame, format_args!(",\"ts\":{unix_ms}"));
        if lost > 0 {
            write(&mut frame, format_args!(",\"lost\":{lost}"));
        }
        write(&mut frame, format_args!(",\"payload\":{json}}}"));
        frame
    }

    /// Nothing comes for now.
    pub fn stop(&self, reason: &str) -> String {
        let mut frame = self.begin("stop", reason.len());
        let reason = Json::from(reason);
        write(&mut frame, format_args!(",\"reason\":{reason}}}"));
        frame
    }

    /// Something was wrong, with the HTTP-like code of it.
    pub fn error(&self, code: u16, reason: &str) -> String {
        let mut frame = self.begin("error", reason.len());
        let reason = Json::from(reason);
        write(
            &mut frame,
            format_args!(",\"code\":{code},\"reason\":{reason}}}"),
        );
        frame
    }

    fn begin(&self, signal: &str, more: usize) -> String {
        let mut frame = String::with_capacity(self.head.len() + more + 80);
        write(
            &mut frame,
            format_args!("{},\"signal\":\"{signal}\"", self.head),
        );
        frame
    }
}

/// Something was wrong with a frame that names no resource.
pub fn error(code: u16, reason: &str) -> String {
    let reason = Json::from(reason);
    format!("{{\"signal\":\"error\",\"code\":{code},\"reason\":{reason}}}")
}

fn write(frame: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = frame.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn said(resource: Option<&str>, wanted: Wanted) -> Result<Said, String> {
        Ok(Said {
            resource: resource.map(str::to_owned),
            wanted,
        })
    }

    fn every(seconds: u32) -> Wanted {
        Wanted::Stream(Pace::Every(NonZeroU32::new(seconds).expect("above zero")))
    }

    #[test]
    fn streams_are_asked_for() {
        let temp = Some("temp");
        for (text, expected) in [
            (
                r#"{"resource":"temp","interval":5,"enabled":true}"#,
                every(5),
            ),
            (r#"{"resource":"temp","interval":5}"#, every(5)),
            (r#"{"resource":"temp"}"#, Wanted::Stream(Pace::Events)),
            (
                r#"{"resource":"temp","interval":null}"#,
                Wanted::Stream(Pace::Events),
            ),
            (
                r#"{"resource":"temp","enabled":true}"#,
                Wanted::Stream(Pace::Events),
            ),
            (r#"{"resource":"temp","enabled":false}"#, Wanted::Stop),
            (
                r#"{"resource":"temp","interval":5,"enabled":false}"#,
                Wanted::Stop,
            ),
        ] {
            assert_eq!(read(text), said(temp, expected), "{text}");
        }
        assert_eq!(read("{}"), said(None, Wanted::Stream(Pace::Events)));
    }

    #[test]
    fn inputs_are_given() {
        for (text, expected) in [
            (r#"{"resource":"a/b","payload":21.5}"#, Value::Float(21.5)),
            (r#"{"resource":"a/b","payload":null}"#, Value::Null),
            (
                r#"{"resource":"a/b","payload":{"bytes":[1]}}"#,
                Value::Bytes(vec![1]),
            ),
        ] {
            assert_eq!(read(text), said(Some("a/b"), Wanted::Input(expected)));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "EOF"),
            ("[]", "resource"),
            ("7", "a frame is"),
            (r#"{"resource":7}"#, "expected a string"),
            (r#"{"resource":"a","interval":"5"}"#, "\"5\""),
            (r#"{"resource":"a","interval":2.5}"#, "2.5"),
            (r#"{"resource":"a","interval":-1}"#, "-1"),
            (r#"{"resource":"a","interval":0}"#, "from 1 to"),
            (r#"{"resource":"a","interval":4294968}"#, "to 4294967"),
            (r#"{"resource":"a","enabled":1}"#, "boolean"),
            (r#"{"resource":"a","intervall":1}"#, "intervall"),
            (r#"{"resource":"a","payload":1,"enabled":true}"#, "not both"),
            (r#"{"resource":"a","payload":1,"interval":5}"#, "not both"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        let error = read(&format!(r#"{{"payload":{deep}}}"#)).expect_err("deep");
        assert!(error.contains("nests deeper"), "{error}");
    }

    #[test]
    fn frames_are_json_whatever_is_in_them() {
        let frames = Frames::of("a\"</script>\u{1b}");
        let parsed = |text: String| serde_json::from_str::<Json>(&text).expect("JSON");
        let name = "a\"</script>\u{1b}";
        assert_eq!(
            parsed(frames.start(Some(5), false)),
            json!({"resource": name, "signal": "start", "interval": 5, "events": false})
        );
        assert_eq!(
            parsed(frames.start(None, true)),
            json!({"resource": name, "signal": "start", "events": true})
        );
        assert_eq!(
            parsed(frames.data("[1]", 7, 0)),
            json!({"resource": name, "signal": "data", "ts": 7, "payload": [1]})
        );
        assert_eq!(
            parsed(frames.data("null", 7, 3)),
            json!({"resource": name, "signal": "data", "ts": 7, "lost": 3, "payload": null})
        );
        assert_eq!(
            parsed(frames.stop("\"\n")),
            json!({"resource": name, "signal": "stop", "reason": "\"\n"})
        );
        assert_eq!(
            parsed(frames.error(404, "no")),
            json!({"resource": name, "signal": "error", "code": 404, "reason": "no"})
        );
        assert_eq!(
            parsed(error(400, "no")),
            json!({"signal": "error", "code": 400, "reason": "no"})
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn every_truncation_is_refused(cut in 1..43usize) {
            let text = r#"{"resource":"temp","interval":5,"payload":1}"#;
            prop_assert!(read(&text[..cut]).is_err());
        }
    }
}
