//! The devices with the most trouble.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::Method;
use serde::Deserialize;

use crate::clock;
use crate::config::duration;
use crate::http::app::App;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::http::top_view::{self, TopJson};
use crate::registry::trouble::Measure;
use crate::registry::trouble::top;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes.on(Method::GET, "/v3/devices/top", devices)
}

#[derive(Deserialize)]
struct Asked {
    by: Option<String>,
    limit: Option<usize>,
    /// `"10m"`.
    window: Option<String>,
}

async fn devices(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
) -> Result<Json<TopJson>, Problem> {
    let query = asked.read()?;
    let snapshot = app.services.gateway.snapshot();
    let now = clock::now().instant;
    Ok(Json(top_view::top(&snapshot, &query, now)))
}

impl Asked {
    fn read(self) -> Result<top::Query, Problem> {
        let by = match self.by {
            None => Measure::default(),
            Some(name) => Measure::from_name(&name).ok_or_else(|| {
                let right = Measure::ALL.map(Measure::as_str).join(", ");
                let detail = format!("by={name:?} is nothing devices are ranked by; use {right}");
                Problem::bad_request(detail)
            })?,
        };
        let window = match &self.window {
            None => Some(top::WINDOW_MAX),
            Some(text) => duration::parse(text),
        };
        let limit = self.limit.unwrap_or(top::LIMIT_DEFAULT);
        let query = window.and_then(|window| top::Query::new(by, window, limit).ok());
        query.ok_or_else(|| {
            let text = self.window.unwrap_or_default();
            let detail = format!("window={text:?} must be 1 to 10 whole minutes, as in \"10m\"");
            Problem::bad_request(detail)
        })
    }
}
