//! What devices offer: their resources described, read, run and streamed.

pub mod address;
pub mod answer;
mod call;
mod given;

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value as JsonValue;

use crate::access::Role;
use crate::codec::pson::Value;
use crate::codec::pson::json::{from_json, to_json};
use crate::device::DeviceId;
use crate::http::extract::{MaybeJson, Path};
use crate::http::problem::Problem;
use crate::http::resources::address::{SECURED, Target};
use crate::http::resources::call::{Call, Way, no_stream};
use crate::http::routes::Routes;
use crate::http::sse;
use crate::http::websocket::conversation::Terms;
use crate::http::websocket::socket::{self, MESSAGE_MAX, Subject};
use crate::session::machine::Request;
use crate::session::security::is_security;
use crate::stream::Pace;
use crate::stream::hub::Sink;

const ALL: &str = "/v3/users/{user}/devices/{device}/resources";
const ONE: &str = "/v3/users/{user}/devices/{device}/resources/{*resource}";

/// Adds the routes of this file.
pub fn routes(routes: Routes) -> Routes {
    routes
        .on(Method::GET, ALL, all)
        .on(Method::GET, ONE, one)
        .on(Method::POST, ONE, run)
}

async fn all(
    call: Call,
    Path((user, device)): Path<(String, String)>,
) -> Result<Response, Problem> {
    call.no_pace()?;
    let id = call.device(&user, &device)?;
    match call.way {
        Way::WebSocket(_) => Ok(open_socket(call, (user, device), id, None)),
        Way::Events => Err(no_stream()),
        Way::Once => describe(&call, id, None).await,
    }
}

async fn one(
    call: Call,
    Path((user, device, resource)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let id = call.device(&user, &device)?;
    let resource = match (Target::of(&resource, call.uri.path()), &call.way) {
        (Target::Resource(resource), _) => resource,
        (Target::All | Target::Description(_), Way::WebSocket(_) | Way::Events) => {
            return Err(no_stream());
        }
        (Target::All, Way::Once) => return describe(&call, id, None).await,
        (Target::Description(resource), Way::Once) => {
            return describe(&call, id, Some(resource)).await;
        }
    };
    if matches!(call.way, Way::Once) {
        call.no_pace()?;
        return read(&call, id, resource).await;
    }
    let pace = call.pace()?;
    let sink = call.app.services.streams.open(id, &resource, pace)?;
    if matches!(call.way, Way::Events) {
        let lease = call.app.lease(&call.pass);
        let open = call.app.counts.event_stream();
        return Ok(sse::answer(sink, async move {
            let _open = open;
            lease.over().await
        }));
    }
    let first = Some((resource.into(), sink, pace));
    Ok(open_socket(call, (user, device), id, first))
}

async fn run(
    call: Call,
    Path((user, device, resource)): Path<(String, String, String)>,
    MaybeJson(body): MaybeJson<JsonValue>,
) -> Result<Response, Problem> {
    call.no_pace()?;
    let id = call.device(&user, &device)?;
    let Target::Resource(resource) = Target::of(&resource, call.uri.path()) else {
        return Ok(only(
            "GET",
            "a description is read; the path of the resource itself is run",
        ));
    };
    if is_security(&resource) {
        return Err(Problem::forbidden(SECURED));
    }
    let payload = body.as_ref().map(from_json).transpose();
    let payload = payload.map_err(|error| Problem::bad_request(error.to_string()))?;
    let request = Request::Run { resource, payload };
    Ok(shown(call.ask(id, request).await?.as_ref()))
}

async fn read(call: &Call, id: DeviceId, resource: String) -> Result<Response, Problem> {
    match call.ask(id, Request::Read { resource }).await {
        Ok(value) => Ok(shown(value.as_ref())),
        Err(problem) if problem.status == StatusCode::METHOD_NOT_ALLOWED => {
            Ok(only("POST", problem.detail))
        }
        Err(problem) => Err(problem),
    }
}

async fn describe(
    call: &Call,
    id: DeviceId,
    resource: Option<String>,
) -> Result<Response, Problem> {
    call.no_pace()?;
    let described = call.ask(id, Request::Describe { resource }).await?;
    // What takes nothing and tells nothing is described by nothing.
    let described = described.unwrap_or(Value::Map(Vec::new()));
    Ok(shown(Some(&described)))
}

/// A value, or 204 without one.
fn shown(value: Option<&Value>) -> Response {
    match value {
        Some(value) => Json(to_json(value)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// 405 with the one method that is right.
fn only(method: &'static str, detail: impl Into<std::borrow::Cow<'static, str>>) -> Response {
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(method));
    response
}

fn open_socket(
    call: Call,
    (user, device): (String, String),
    id: DeviceId,
    first: Option<(Arc<str>, Sink, Pace)>,
) -> Response {
    let Call {
        app,
        pass,
        peer,
        way,
        ..
    } = call;
    let Way::WebSocket(upgrade) = way else {
        return no_stream().into_response();
    };
    let (only, first) = match first {
        Some((resource, sink, pace)) => (Some(resource), Some((sink, pace))),
        None => (None, None),
    };
    let terms = Terms {
        may_input: pass.caller.role >= Role::Operator,
        only,
    };
    let lease = app.lease(&pass);
    let services = &app.services;
    let subject = Subject {
        hub: services.streams.clone(),
        device: id,
        terms,
        first,
        give: given::give(
            services.gateway.clone(),
            services.guard.audit().clone(),
            given::Giver {
                pass,
                peer,
                user,
                device,
                id,
            },
        ),
    };
    bounded(upgrade).on_upgrade(async move |socket| {
        let _open = app.counts.socket();
        socket::serve(socket, subject, async { lease.over().await }).await;
    })
}

fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
}
