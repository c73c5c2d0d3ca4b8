//! What Prometheus scrapes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CONTENT_TYPE;

use crate::http::app::App;
use crate::http::problem::Problem;
use crate::http::routes::Routes;

/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Adds the route of this file.
pub fn routes(routes: Routes) -> Routes {
    routes.on(Method::GET, "/metrics", metrics)
}

/// Off the threads that serve: a large fleet takes some milliseconds to count.
async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let meter = app.services.meter.clone();
    if !meter.is_on() {
        let detail = "nothing is counted; set metrics.enabled = true";
        return Err(Problem::not_found(detail));
    }
    let rendered = tokio::task::spawn_blocking(move || meter.render()).await;
    let text = rendered.map_err(|error| {
        tracing::error!(%error, "the metrics could not be rendered");
        Problem::unavailable("the metrics could not be rendered, which is a fault of the gateway")
    })?;
    Ok(([(CONTENT_TYPE, EXPOSITION)], text).into_response())
}
