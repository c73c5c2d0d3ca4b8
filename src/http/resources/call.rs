//! What the routes below a device take out of their requests.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use http::header::{ACCEPT, UPGRADE};
use http::request::Parts;
use http::{StatusCode, Uri};

use crate::callers::guard::Pass;
use crate::callers::peer::Peer;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::http::app::App;
use crate::http::extract::{Query, has_word};
use crate::http::pace::of_query;
use crate::http::problem::Problem;
use crate::http::resources::address;
use crate::http::resources::answer::value_of;
use crate::session::machine::Request;
use crate::stream::Pace;

/// How the caller wants to be answered.
pub enum Way {
    Once,
    WebSocket(WebSocketUpgrade),
    Events,
}

/// A request below a device.
pub struct Call {
    pub app: Arc<App>,
    pub pass: Pass,
    pub peer: Option<Peer>,
    pub uri: Uri,
    pub way: Way,
    query: Vec<(String, String)>,
}

impl FromRequestParts<Arc<App>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let pass = parts.extensions.get::<Pass>().cloned();
        let Query(query) = Query::from_request_parts(parts, app).await?;
        Ok(Self {
            app: Arc::clone(app),
            // Every route here has a rule that wants a role, so that the gate has put one there.
            pass: pass.ok_or_else(|| Problem::forbidden("nobody knows who asks"))?,
            peer: parts.extensions.get().cloned(),
            uri: parts.uri.clone(),
            way: way(parts, app).await?,
            query,
        })
    }
}

async fn way(parts: &mut Parts, app: &Arc<App>) -> Result<Way, Problem> {
    if has_word(&parts.headers, UPGRADE, "websocket") {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, app).await;
        return upgrade
            .map(Way::WebSocket)
            .map_err(|error| Problem::new(error.status(), error.body_text()));
    }
    let wants_events = has_word(&parts.headers, ACCEPT, "text/event-stream");
    Ok(if wants_events { Way::Events } else { Way::Once })
}

impl Call {
    /// The listed device of this user.
    ///
    /// # Errors
    /// [`Problem`] with 404.
    pub fn device(&self, user: &str, device: &str) -> Result<DeviceId, Problem> {
        let snapshot = self.app.services.gateway.snapshot();
        let view = address::find(&snapshot, user, device).map_err(Problem::not_found)?;
        Ok(view.id)
    }

    /// The pace of a stream by the query.
    ///
    /// # Errors
    /// [`Problem`] with 400.
    pub fn pace(&self) -> Result<Pace, Problem> {
        let query = self.query.iter();
        let pairs = query.map(|(name, value)| (name.as_str(), value.as_str()));
        of_query(pairs).map_err(|error| Problem::bad_request(error.to_string()))
    }

    /// That the query asks for no stream, where there is none.
    ///
    /// # Errors
    /// [`Problem`] with 400.
    pub fn no_pace(&self) -> Result<(), Problem> {
        match self.pace()? {
            Pace::Events => Ok(()),
            Pace::Every(_) => Err(Problem::bad_request(
                "\"interval\" is of streams; ask for one with \"upgrade: websocket\" or \"accept: \
                 text/event-stream\", on the path of one resource",
            )),
        }
    }

    /// Asks the device.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn ask(&self, device: DeviceId, request: Request) -> Result<Option<Value>, Problem> {
        value_of(self.app.services.gateway.ask(device, request).await)
    }
}

/// 406 for a stream where there is none.
pub fn no_stream() -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "this is no stream; the path of one resource is one, and \"…/resources\" is a WebSocket",
    )
}
