//! The pending list, and what is decided on it.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::callers::guard::Pass;
use crate::clock;
use crate::config::duration;
use crate::http::app::App;
use crate::http::extract::{MaybeJson, Path, device_id};
use crate::http::fleet_view;
use crate::http::gate::Note;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::registry::Command;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/v3/pending", pending)
        .on(Method::POST, "/v3/pending/{id}/approve", approve)
        .on(Method::POST, "/v3/pending/{id}/refuse", refuse)
}

async fn pending(State(app): State<Arc<App>>) -> Json<fleet_view::PendingJson> {
    Json(fleet_view::pending(&app.services.gateway.snapshot()))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    /// Give it a link key of its own when it comes in with the fleet key alone.
    #[serde(default)]
    enrol: bool,
}

async fn approve(
    State(app): State<Arc<App>>,
    Extension(pass): Extension<Pass>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
    MaybeJson(approval): MaybeJson<Approval>,
) -> Result<StatusCode, Problem> {
    let enrol = approval.unwrap_or_default().enrol;
    note.add("enrol", enrol);
    let command = Command::Approve {
        ids: vec![device_id(&id)?],
        enrol,
        by: pass.caller.name,
    };
    app.services.gateway.command(command).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    /// How long it holds: `"30d"`.
    #[serde(rename = "for")]
    holds: Option<String>,
}

async fn refuse(
    State(app): State<Arc<App>>,
    Extension(pass): Extension<Pass>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
    MaybeJson(refusal): MaybeJson<Refusal>,
) -> Result<StatusCode, Problem> {
    let holds = match refusal.unwrap_or_default().holds {
        None => app.services.refusal_for,
        Some(text) => duration::parse(&text).ok_or_else(|| {
            let detail =
                format!("{text:?} is no time; write a whole number with its unit: \"30d\"");
            Problem::bad_request(detail)
        })?,
    };
    note.add("for", duration::format(holds));
    let holds = u64::try_from(holds.as_millis()).unwrap_or(u64::MAX);
    let command = Command::Refuse {
        ids: vec![device_id(&id)?],
        until_unix_ms: clock::now().unix_ms.saturating_add(holds),
        by: pass.caller.name,
    };
    app.services.gateway.command(command).await?;
    Ok(StatusCode::NO_CONTENT)
}
