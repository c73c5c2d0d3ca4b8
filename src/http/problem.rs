//! What went wrong, as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::callers::guard;
use crate::device::DeviceId;
use crate::registry::hub::TooManySubscribers;
use crate::registry::{CommandError, NotStored};

/// An answer that says what was wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {detail}")]
pub struct Problem {
    pub status: StatusCode,
    /// One sentence for people.
    pub detail: Cow<'static, str>,
    /// The code of the device that refused, when one did.
    pub device_code: Option<u16>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            device_code: None,
        }
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The device is not in the managed list.
    pub fn unknown_device(id: DeviceId) -> Self {
        CommandError::UnknownDevice(id).into()
    }

    /// It as JSON, as it also travels in streams.
    pub fn to_json(&self) -> serde_json::Value {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.device_code {
            problem["device_code"] = code.into();
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        let content = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, content);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<guard::Refusal> for Problem {
    fn from(refusal: guard::Refusal) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, refusal.to_string())
    }
}

impl From<TooManySubscribers> for Problem {
    fn from(error: TooManySubscribers) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::CannotConnect(_) => StatusCode::BAD_GATEWAY,
            CommandError::LimitReached(_) => StatusCode::TOO_MANY_REQUESTS,
            CommandError::UnknownDevice(_) | CommandError::NotPending(_) => StatusCode::NOT_FOUND,
            CommandError::NotStored(ref error) => not_stored(error),
            CommandError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<NotStored> for Problem {
    fn from(error: NotStored) -> Self {
        Self::new(not_stored(&error), error.to_string())
    }
}

/// 507 says what is missing, also in the audit log; 503 would say: soon again, by itself.
const fn not_stored(error: &NotStored) -> StatusCode {
    match error {
        NotStored::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
        NotStored::Other(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The name of the gRPC status code that stands in the audit log for this answer.
pub fn code_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..400 => "OK",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "FAILED_PRECONDITION",
        413 | 429 | 507 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 => "UNKNOWN",
        503 => "UNAVAILABLE",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}
