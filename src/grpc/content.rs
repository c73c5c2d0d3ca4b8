//! What devices answer on their resources, read by name; and what becomes of a refusal.

use tonic::{Code, Status};

use crate::codec::message::Answer;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::session::requests::RequestError;

/// How much of a text from a device goes into a message, in characters.
const TEXT_MAX: usize = 200;

/// Why something asked of a device did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Nothing was sent. The words are those that clients know.
    #[error("Cannot get connection")]
    NotConnected,
    /// Nothing was sent.
    #[error("device {device} was not asked for {resource}: {limit}")]
    Limit {
        device: DeviceId,
        resource: &'static str,
        limit: RequestError,
    },
    /// Nothing was sent.
    #[error("device {device} was not sent {resource}: {reason}")]
    Unable {
        device: DeviceId,
        resource: &'static str,
        reason: RequestError,
    },
    /// The device answered with an Error: it changed nothing.
    #[error("device {device} refused {resource}: {said}")]
    Refused {
        device: DeviceId,
        resource: &'static str,
        /// Escaped and bounded.
        said: String,
    },
    /// Whether the device did it is not known.
    #[error("device {device} did not answer {resource} in time")]
    TimedOut {
        device: DeviceId,
        resource: &'static str,
    },
    /// Whether the device did it is not known.
    #[error("device {device} was lost before it answered {resource}: {cause}")]
    Lost {
        device: DeviceId,
        resource: &'static str,
        cause: RequestError,
    },
    #[error("device {device} answered {resource} with {problem}")]
    Malformed {
        device: DeviceId,
        resource: &'static str,
        problem: String,
    },
}

impl ResourceError {
    /// What becomes of a request without an answer.
    pub fn unanswered(device: DeviceId, resource: &'static str, error: RequestError) -> Self {
        match error {
            RequestError::NotConnected => Self::NotConnected,
            RequestError::TimedOut => Self::TimedOut { device, resource },
            RequestError::TooMany { .. }
            | RequestError::TooManyBytes { .. }
            | RequestError::TooLarge { .. } => Self::Limit {
                device,
                resource,
                limit: error,
            },
            RequestError::NotSecured
            | RequestError::UnknownResource
            | RequestError::IsAction
            | RequestError::NotStreamed => Self::Unable {
                device,
                resource,
                reason: error,
            },
            RequestError::SessionEnded(_) => Self::Lost {
                device,
                resource,
                cause: error,
            },
        }
    }

    /// What becomes of an Error of the device.
    pub fn refused(device: DeviceId, resource: &'static str, answer: &Answer) -> Self {
        Self::Refused {
            device,
            resource,
            said: said(answer),
        }
    }

    /// Whether the device surely changed nothing.
    pub const fn is_certain(&self) -> bool {
        matches!(
            self,
            Self::NotConnected | Self::Limit { .. } | Self::Unable { .. } | Self::Refused { .. }
        )
    }
}

/// A time that ran out is DEADLINE_EXCEEDED, because the device may have done what was asked:
/// UNAVAILABLE would invite to do it again.
impl From<ResourceError> for Status {
    fn from(error: ResourceError) -> Self {
        let code = match error {
            ResourceError::NotConnected => Code::NotFound,
            ResourceError::Limit { .. } => Code::ResourceExhausted,
            ResourceError::Unable { .. } | ResourceError::Refused { .. } => {
                Code::FailedPrecondition
            }
            ResourceError::TimedOut { .. } => Code::DeadlineExceeded,
            ResourceError::Lost { .. } => Code::Unavailable,
            ResourceError::Malformed { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// What an Error says: its code and its text, as far as it has them.
fn said(answer: &Answer) -> String {
    match (answer.code(), answer.text()) {
        (Some(code), Some(text)) => format!("{code}: {}", shown(text)),
        (Some(code), None) => format!("code {code}"),
        (None, Some(text)) => shown(text),
        (None, None) => "it gave no reason".to_owned(),
    }
}

/// A text of a device as it may stand in a message: without control characters, and bounded.
fn shown(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

/// What one resource of one device holds.
#[derive(Clone, Debug)]
pub struct Content {
    pub device: DeviceId,
    pub resource: &'static str,
    /// Absent where the answer had no payload.
    pub value: Option<Value>,
}

/// Fields that are missing are empty, false or 0.
impl Content {
    /// # Errors
    /// [`ResourceError::Malformed`] for anything but a text.
    pub fn text(&self, key: &str) -> Result<String, ResourceError> {
        match self.get(key)? {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// # Errors
    /// [`ResourceError::Malformed`] for anything but true and false.
    pub fn flag(&self, key: &str) -> Result<bool, ResourceError> {
        match self.get(key)? {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// # Errors
    /// [`ResourceError::Malformed`] for anything but a number from 0 to 2147483647.
    pub fn number(&self, key: &str) -> Result<i32, ResourceError> {
        let Some(value) = self.get(key)? else {
            return Ok(0);
        };
        let number = value
            .as_unsigned()
            .and_then(|number| number.try_into().ok());
        number.ok_or_else(|| self.wrong(key, "a number from 0 to 2147483647"))
    }

    /// # Errors
    /// [`ResourceError::Malformed`] for anything but a list of device IDs.
    pub fn ids(&self, key: &str) -> Result<Vec<u32>, ResourceError> {
        let ids = match self.get(key)? {
            None => return Ok(Vec::new()),
            Some(Value::Array(ids)) => ids,
            Some(_) => return Err(self.wrong(key, "a list of device IDs")),
        };
        let id = |value: &Value| {
            let id = u32::try_from(value.as_unsigned()?).ok()?;
            DeviceId::new(id).map(DeviceId::get)
        };
        let ids: Option<Vec<u32>> = ids.iter().map(id).collect();
        ids.ok_or_else(|| self.wrong(key, "a list of device IDs"))
    }

    /// Whether the map has this key.
    ///
    /// # Errors
    /// [`ResourceError::Malformed`] for anything but a map.
    pub fn has(&self, key: &str) -> Result<bool, ResourceError> {
        Ok(self.get(key)?.is_some())
    }

    fn get(&self, key: &str) -> Result<Option<&Value>, ResourceError> {
        match &self.value {
            Some(value @ Value::Map(_)) => Ok(value.get(key)),
            Some(_) => Err(self.malformed("something else than a map".to_owned())),
            None => Err(self.malformed("nothing".to_owned())),
        }
    }

    fn wrong(&self, key: &str, right: &str) -> ResourceError {
        self.malformed(format!("a {key} that is not {right}"))
    }

    const fn malformed(&self, problem: String) -> ResourceError {
        ResourceError::Malformed {
            device: self.device,
            resource: self.resource,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::CauseKind;

    fn id() -> DeviceId {
        DeviceId::new(7).expect("not 0")
    }

    fn content(value: Option<Value>) -> Content {
        Content {
            device: id(),
            resource: "network/ip",
            value,
        }
    }

    #[test]
    fn what_is_missing_is_nothing_and_what_is_wrong_is_named() {
        let good = content(Some(Value::map([("a", Value::Null)])));
        assert_eq!(good.text("b"), Ok(String::new()));
        assert_eq!(good.flag("b"), Ok(false));
        assert_eq!(good.number("b"), Ok(0));
        assert_eq!(good.ids("b"), Ok(Vec::new()));
        let problems = [
            good.text("a").map(drop),
            good.flag("a").map(drop),
            good.number("a").map(drop),
            good.ids("a").map(drop),
        ];
        for (problem, right) in problems.into_iter().zip([
            "a text",
            "true or false",
            "a number from 0 to 2147483647",
            "a list of device IDs",
        ]) {
            let status = Status::from(problem.expect_err("null is nothing of all this"));
            assert_eq!(status.code(), Code::Internal);
            let text = format!("device 7 answered network/ip with a a that is not {right}");
            assert_eq!(status.message(), text);
        }
    }

    #[test]
    fn lists_of_ids_hold_ids() {
        let ids = |ids: &[u64]| {
            let ids = ids.iter().copied().map(Value::from).collect();
            content(Some(Value::map([("ids", Value::Array(ids))]))).ids("ids")
        };
        assert_eq!(ids(&[1, 4_294_967_295]), Ok(vec![1, u32::MAX]));
        assert!(ids(&[1, 0]).is_err());
        assert!(ids(&[4_294_967_296]).is_err());
    }

    #[test]
    fn an_answer_that_is_no_map_is_malformed() {
        for (value, text) in [
            (None, "device 7 answered network/ip with nothing"),
            (
                Some(Value::Null),
                "device 7 answered network/ip with something else than a map",
            ),
        ] {
            let error = content(value).flag("useDHCP").expect_err("no map");
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn every_failure_has_its_code() {
        let lost = RequestError::SessionEnded(CauseKind::Disconnected.into());
        for (error, code, is_certain) in [
            (RequestError::NotConnected, Code::NotFound, true),
            (
                RequestError::TooMany { max: 1 },
                Code::ResourceExhausted,
                true,
            ),
            (
                RequestError::TooManyBytes { max: 1 },
                Code::ResourceExhausted,
                true,
            ),
            (
                RequestError::TooLarge { size: 2, max: 1 },
                Code::ResourceExhausted,
                true,
            ),
            (RequestError::NotSecured, Code::FailedPrecondition, true),
            (RequestError::TimedOut, Code::DeadlineExceeded, false),
            (lost, Code::Unavailable, false),
        ] {
            let error = ResourceError::unanswered(id(), "network/ip", error);
            assert_eq!(error.is_certain(), is_certain, "{error}");
            assert_eq!(Status::from(error).code(), code);
        }
    }

    #[test]
    fn what_a_device_says_is_escaped_and_bounded() {
        let said = |parameters, payload| {
            let answer = Answer {
                stream_id: None,
                parameters,
                payload,
            };
            Status::from(ResourceError::refused(id(), "network/ip", &answer))
        };
        let nasty = Value::map([("error", "no\n\u{1b}[31m way")]);
        let status = said(Some(Value::Unsigned(403)), Some(nasty));
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(
            status.message(),
            "device 7 refused network/ip: 403: no\\n\\u{1b}[31m way"
        );
        let long = said(None, Some("x".repeat(100_000).into()));
        assert_eq!(long.message().len(), 29 + TEXT_MAX);
        let mute = said(None, None);
        assert_eq!(
            mute.message(),
            "device 7 refused network/ip: it gave no reason"
        );
    }
}
