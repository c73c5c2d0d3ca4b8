//! What is told of a request beside its answer: a span where it is traced, a line where it was slow.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::KeyValue;

use crate::clock;
use crate::http::app::App;
use crate::http::hosts::Via;

/// Until the head of the answer: a stream that follows it is not counted.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let observer = &app.services.observer;
    let began = clock::now().instant;
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    // Never the path itself: anybody can make up as many as he likes.
    let route = || route.as_ref().map_or("unknown", MatchedPath::as_str);
    let attributes = || {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", route().to_owned()),
        ];
        if let Some(via) = request.extensions().get::<Via>() {
            attributes.push(KeyValue::new("client.address", via.peer.to_string()));
        }
        attributes
    };
    let name = || format!("{method} {}", route());
    let span = observer.tracer.request(name, request.headers(), attributes);
    let response = match &span {
        None => next.run(request).await,
        Some(span) => span.carry(next.run(request)).await,
    };
    let status = response.status();
    let took = clock::now().instant.since(began);
    observer.slow.call(name, status.as_u16(), took);
    if let Some(span) = span {
        span.note("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.failed(status.canonical_reason().unwrap_or_default());
        }
    }
    response
}
