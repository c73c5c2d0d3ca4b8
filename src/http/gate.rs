//! Judges who asks before anything is told of what is served, and writes what changes something to
//! the audit log.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Query, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ALLOW, AUTHORIZATION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::callers::audit::{Heard, Ticket, as_text};
use crate::callers::guard::Pass;
use crate::callers::peer::Peer;
use crate::http::app::App;
use crate::http::extract::has_word;
use crate::http::problem::{Problem, code_name};
use crate::http::rules::{Rule, methods, rule};

/// What a handler adds to the audit entry of its call.
#[derive(Clone)]
pub struct Note(Heard);

impl Note {
    /// Adds ` name value`. No secrets.
    pub fn add(&self, name: &str, value: impl std::fmt::Display) {
        self.0.hear(format!(" {name} {value}").as_bytes());
    }
}

/// Puts the [`Pass`] of the caller, and for a change a [`Note`], into the extensions.
pub async fn gate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let path = path.as_ref().map(MatchedPath::as_str);
    let rule = path.and_then(|path| rule(parts.method.as_str(), path));
    if rule.is_some_and(|rule| rule.needs.is_none()) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let peer = parts.extensions.get::<Peer>().cloned();
    let pass = match admit(&app, &parts, rule) {
        Ok(pass) => pass,
        Err(problem) => {
            if let Some(rule) = rule.filter(|rule| rule.changes) {
                let audit = app.services.guard.audit();
                audit.stranger(peer.as_ref(), &call(rule));
            }
            return problem.into_response();
        }
    };
    let Some(rule) = rule else {
        return not_served(&parts, path);
    };
    let mut ticket = match rule.changes {
        true => Some(begin(&app, &pass, peer.as_ref(), rule, &mut parts).await),
        false => None,
    };
    let response = if Some(pass.caller.role) < rule.needs {
        wrong_role(&pass, rule).into_response()
    } else {
        parts.extensions.insert(pass);
        next.run(Request::from_parts(parts, body)).await
    };
    if let Some(ticket) = &mut ticket {
        ticket.ended(code_name(response.status()));
    }
    response
}

/// What the gate never lets through.
pub async fn unreached() -> Problem {
    Problem::not_found("nothing is served here")
}

fn admit(app: &App, parts: &Parts, rule: Option<&Rule>) -> Result<Pass, Problem> {
    let asked = |name: &str| query_values(&parts.uri, name);
    if rule.is_some_and(|rule| rule.streams)
        && wants_stream(&parts.headers)
        && let [ticket] = asked("ticket").as_slice()
    {
        return app.spend_ticket(ticket);
    }
    let guard = &app.services.guard;
    let peer = parts.extensions.get::<Peer>();
    let in_url = asked("authorization");
    if in_url.is_empty() {
        return Ok(guard.admit(peer, &parts.headers)?);
    }
    if !app.services.http.token_in_url {
        let detail = "a token in the URL is not taken here: send the header \"authorization: \
                      Bearer <token>\", or for a stream a ticket of POST /v3/tickets";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
    }
    let mut headers = HeaderMap::new();
    for given in parts.headers.get_all(AUTHORIZATION) {
        headers.append(AUTHORIZATION, given.clone());
    }
    for token in in_url {
        let token = token.strip_prefix("Bearer ").unwrap_or(&token);
        let shown = HeaderValue::from_str(&format!("Bearer {token}"));
        // What is no header value is no token either.
        let shown = shown.unwrap_or(HeaderValue::from_static("Bearer"));
        headers.append(AUTHORIZATION, shown);
    }
    Ok(guard.admit(peer, &headers)?)
}

/// Every value of this name in the query.
fn query_values(uri: &Uri, name: &str) -> Vec<String> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Vec::new();
    };
    let named = pairs.into_iter().filter(|(one, _)| one == name);
    named.map(|(_, value)| value).collect()
}

fn wants_stream(headers: &HeaderMap) -> bool {
    has_word(headers, UPGRADE, "websocket") || has_word(headers, ACCEPT, "text/event-stream")
}

async fn begin(
    app: &App,
    pass: &Pass,
    peer: Option<&Peer>,
    rule: &Rule,
    parts: &mut Parts,
) -> Ticket {
    let audit = app.services.guard.audit();
    let ticket = audit.begin(&pass.caller.name, peer, &call(rule), as_text);
    ticket.heard().hear(arguments(parts).await.as_bytes());
    parts.extensions.insert(Note(ticket.heard()));
    ticket
}

/// The parameters of the path: `id "7"`.
async fn arguments(parts: &mut Parts) -> String {
    let mut text = String::new();
    if let Ok(params) = RawPathParams::from_request_parts(parts, &()).await {
        for (name, value) in &params {
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a text does not fail.
            let _ = write!(text, "{space}{name} {value:?}");
        }
    }
    text
}

fn call(rule: &Rule) -> String {
    format!("{} {}", rule.method, rule.path)
}

fn wrong_role(pass: &Pass, rule: &Rule) -> Problem {
    let needs = rule.needs.map_or("none", crate::access::Role::as_str);
    let (caller, role) = (&pass.caller, pass.caller.role);
    Problem::forbidden(format!(
        "{} wants the role {needs}, and {caller} has the role {role}",
        call(rule)
    ))
}

fn not_served(parts: &Parts, path: Option<&str>) -> Response {
    let allowed = path.map(methods).unwrap_or_default().join(", ");
    let path = parts.uri.path();
    if allowed.is_empty() {
        return Problem::not_found(format!("there is nothing at {path}")).into_response();
    }
    let detail = format!("{} is not served at {path}; {allowed} is", parts.method);
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
