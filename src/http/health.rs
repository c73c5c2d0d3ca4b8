//! For whoever watches over the process: is it alive, does it take work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::Method;
use serde_json::{Value, json};

use crate::http::app::App;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::service::pulse::{Part, SILENT_AFTER};
use crate::service::readiness;
use crate::store::Health;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/healthz", alive)
        .on(Method::GET, "/readyz", ready)
}

/// Whether the parts without which there is no gateway still answer.
async fn alive(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    answer(app.services.vitals.silent())
}

fn answer(silent: Vec<Part>) -> Result<Json<Value>, Problem> {
    if silent.is_empty() {
        return Ok(Json(json!({ "alive": true })));
    }
    let names: Vec<&str> = silent.into_iter().map(Part::name).collect();
    let (names, time) = (names.join(", "), SILENT_AFTER.as_secs());
    Err(Problem::unavailable(format!(
        "no answer for {time} s: {names}"
    )))
}

/// A store whose disk refuses is told and is no reason to send nobody here: sessions go on, and
/// what reads is served. To take the gateway away would only take its devices along.
async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    match app.services.readiness.get() {
        readiness::State::Starting => Err(Problem::unavailable("the gateway is starting")),
        readiness::State::Draining => Err(Problem::unavailable("the gateway is stopping")),
        readiness::State::Ready => match app.services.store.health() {
            Health::Good => Ok(Json(json!({ "ready": true, "store": "good" }))),
            Health::NoSpace(_) => Ok(Json(json!({ "ready": true, "store": "full" }))),
            Health::Degraded(_) => Ok(Json(json!({ "ready": true, "store": "degraded" }))),
            Health::Closed => Err(Problem::unavailable("the store is closed")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_is_told_by_name() {
        assert!(answer(Vec::new()).is_ok());
        let problem = answer(Part::ALL.into()).expect_err("both hang");
        assert_eq!(problem.status, http::StatusCode::SERVICE_UNAVAILABLE);
        let detail = "no answer for 15 s: registry, store";
        assert_eq!(problem.detail, detail);
    }
}
