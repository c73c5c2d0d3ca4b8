//! What a device, or the gateway for it, made of a request, as an answer over HTTP.

use http::StatusCode;

use crate::codec::message::Answer;
use crate::codec::pson::Value;
use crate::http::problem::Problem;
use crate::session::requests::{Answered, RequestError};
use crate::stream::hub::OpenError;

/// So many characters of what a device says of its Error are passed on.
const TEXT_MAX: usize = 1024;

/// The value that a device answered with, if any.
///
/// # Errors
/// [`Problem`] when it answered with an Error, or did not answer.
pub fn value_of(answered: Result<Answered, RequestError>) -> Result<Option<Value>, Problem> {
    match answered {
        Ok(Answered::Ok(answer)) => Ok(answer.payload),
        Ok(Answered::Error(answer)) => Err(device_error(&answer)),
        Err(error) => Err(error.into()),
    }
}

/// An Error of a device: its own code where that is one of HTTP; without one it is 404 when it says
/// nothing, as stock clients answer for a resource that they do not have.
fn device_error(answer: &Answer) -> Problem {
    let code = answer.code();
    let status = code
        .filter(|code| (400..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok());
    let text = answer.text().and_then(shown);
    let (status, detail) = match (status, text) {
        (Some(status), Some(text)) => (status, format!("the device answers: {text}")),
        (Some(status), None) => (status, format!("the device answers with error {status}")),
        (None, Some(text)) => (
            StatusCode::BAD_GATEWAY,
            format!("the device answers: {text}"),
        ),
        (None, None) => match code {
            Some(code) => (
                StatusCode::BAD_GATEWAY,
                format!("the device answers with error {code}"),
            ),
            None => (
                StatusCode::NOT_FOUND,
                "the device answers with an error and says nothing; most do so when they have no \
                 such resource"
                    .to_owned(),
            ),
        },
    };
    Problem {
        device_code: code,
        ..Problem::new(status, detail)
    }
}

/// As much of a text as is passed on; none of one that is blank.
fn shown(text: &str) -> Option<String> {
    let text: String = text.chars().take(TEXT_MAX).collect();
    (!text.trim().is_empty()).then_some(text)
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::BAD_GATEWAY);
        Self::new(status, error.to_string())
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        let status = match error {
            OpenError::TooManySinks { .. } => StatusCode::SERVICE_UNAVAILABLE,
            OpenError::TooManyResources { .. } => StatusCode::TOO_MANY_REQUESTS,
            OpenError::TooShort { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::CauseKind;

    fn error(parameters: Option<Value>, payload: Option<Value>) -> (u16, String, Option<u16>) {
        let answer = Answer {
            stream_id: Some(1),
            parameters,
            payload,
        };
        let problem = value_of(Ok(Answered::Error(answer))).expect_err("an error");
        let detail = problem.detail.into_owned();
        (problem.status.as_u16(), detail, problem.device_code)
    }

    fn text(text: &str) -> Option<Value> {
        Some(Value::map([("error", text)]))
    }

    #[test]
    fn the_code_of_the_device_is_passed_on() {
        let teapot = error(Some(418_u64.into()), text("teapot"));
        assert_eq!(
            teapot,
            (418, "the device answers: teapot".into(), Some(418))
        );
        assert_eq!(error(Some(503_u64.into()), None).0, 503);
        assert_eq!(error(Some(599_u64.into()), Some("odd".into())).0, 599);
    }

    #[test]
    fn without_a_code_of_http_the_text_decides() {
        assert_eq!(error(None, None).0, 404);
        assert_eq!(error(None, text("")).0, 404);
        assert_eq!(error(None, text("broken")).0, 502);
        assert_eq!(error(Some(3_u64.into()), None).0, 502);
        for code in [200_u64, 399, 600, 65_936, u64::MAX] {
            assert_eq!(error(Some(code.into()), text("broken")).0, 502, "{code}");
        }
        let map = Value::map([("why", 1_u64)]);
        assert_eq!(error(Some(map), None).0, 404);
    }

    #[test]
    fn what_a_device_says_is_bounded() {
        let long = error(None, Some("ä".repeat(1 << 20).into()));
        assert!(long.1.chars().count() < 1100);
    }

    #[test]
    fn requests_without_an_answer_have_a_status() {
        let status = |error: RequestError| Problem::from(error).status.as_u16();
        assert_eq!(status(RequestError::NotConnected), 404);
        assert_eq!(status(RequestError::UnknownResource), 404);
        assert_eq!(status(RequestError::IsAction), 405);
        assert_eq!(status(RequestError::TooMany { max: 1 }), 429);
        assert_eq!(status(RequestError::TooLarge { size: 2, max: 1 }), 413);
        assert_eq!(status(RequestError::TimedOut), 504);
        assert_eq!(
            status(RequestError::SessionEnded(CauseKind::Drain.into())),
            502
        );
    }
}
