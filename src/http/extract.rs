//! What handlers take out of requests, with a [`Problem`] for what is not as it should be.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::device::DeviceId;
use crate::http::front::{is_json, not_json};
use crate::http::problem::Problem;

/// Within which a whole body must come.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A body of JSON.
pub struct Json<T>(pub T);

/// A body of JSON, or none.
pub struct MaybeJson<T>(pub Option<T>);

/// The parameters of the path.
pub struct Path<T>(pub T);

/// The parameters after the `?`.
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = MaybeJson::from_request(request, state).await?;
        let missing = || Problem::bad_request("the body is empty; it must be JSON");
        body.0.map(Self).ok_or_else(missing)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let says_json = says_json(request.headers());
        let reading = tokio::time::timeout(BODY_DEADLINE, Bytes::from_request(request, &state));
        let bytes = match reading.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) => return Err(unreadable(rejection.status())),
            Err(_) => return Err(unreadable(StatusCode::REQUEST_TIMEOUT)),
        };
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        if !says_json {
            return Err(not_json());
        }
        // It tells line and column.
        let read = serde_json::from_slice(&bytes);
        read.map(|value| Self(Some(value))).map_err(|error| {
            Problem::bad_request(format!("the body is not as it should be: {error}"))
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| Self(value))
            .map_err(|error| {
                Problem::bad_request(format!(
                    "the path is not as it should be: {}",
                    error.body_text()
                ))
            })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| {
                Problem::bad_request(format!(
                    "the query is not as it should be: {}",
                    error.body_text()
                ))
            })
    }
}

/// The device that stands in a path by its number.
///
/// # Errors
/// [`Problem`] with 400.
pub fn device_id(text: &str) -> Result<DeviceId, Problem> {
    let id = text.parse().ok().and_then(DeviceId::new);
    id.ok_or_else(|| {
        let detail = format!("{text:?} is no ID of a device; it is a number from 1 to 4294967295");
        Problem::bad_request(detail)
    })
}

/// Whether a header has this word, given in small letters, in any of its values.
pub fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name);
    let mut texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.any(|text| text.to_ascii_lowercase().contains(word))
}

fn says_json(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| is_json(content.as_bytes()))
}

fn unreadable(status: StatusCode) -> Problem {
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than http.body_max_bytes allows",
        StatusCode::REQUEST_TIMEOUT => "the body did not come within 30 s",
        _ => "the body could not be read to its end",
    };
    Problem::new(status, detail)
}
