//! Who the caller is to the gateway, and tickets for streams.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::Method;
use serde::Serialize;

use crate::callers::guard::Pass;
use crate::http::app::App;
use crate::http::problem::Problem;
use crate::http::routes::Routes;
use crate::http::tickets::LIFETIME;

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, "/v3/whoami", whoami)
        .on(Method::POST, "/v3/tickets", ticket)
}

#[derive(Serialize)]
struct WhoAmI {
    name: Box<str>,
    role: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Ticket {
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

async fn whoami(Extension(pass): Extension<Pass>) -> Json<WhoAmI> {
    Json(WhoAmI {
        role: pass.caller.role.as_str(),
        name: pass.caller.name,
        version: env!("CARGO_PKG_VERSION"),
    })
}

async fn ticket(
    State(app): State<Arc<App>>,
    Extension(pass): Extension<Pass>,
) -> Result<Json<Ticket>, Problem> {
    let ticket = app.issue_ticket(pass)?;
    Ok(Json(Ticket {
        ticket,
        expires_in: LIFETIME.as_secs(),
    }))
}
