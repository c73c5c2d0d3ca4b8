//! For whoever watches over the process: is it alive, does it take work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::Method;
use serde_json::{Value, json};

use crate::http::app::App;
use crate::http::problem::Problem;
use crate::http::routes::Routes;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/healthz", alive)
        .on(Method::GET, "/readyz", ready)
}

async fn alive() -> Json<Value> {
    Json(json!({ "alive": true }))
}

async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    if app.services.ready.get() {
        Ok(Json(json!({ "ready": true })))
    } else {
        Err(Problem::unavailable("the gateway is starting or stopping"))
    }
}
