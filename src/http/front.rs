//! The first look at a request, before anything is told of what there is: is it meant for this
//! gateway, and does it come from a page that may use it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, StatusCode};

use crate::http::app::App;
use crate::http::hosts::{Foreign, Hosts, Via};
use crate::http::iotmp;
use crate::http::problem::Problem;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Lets a request through to the routes, or refuses it.
pub async fn front(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match check(&app.hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Problem> {
    let via = request.extensions().get::<Via>().copied();
    let via = via.ok_or_else(|| Problem::forbidden("nobody knows from where this request came"))?;
    let authority = authority(request)?;
    if request.uri().path() != iotmp::PATH {
        hosts.check_host(&authority, via)?;
    }
    check_page(hosts, request, &authority, via)?;
    check_content(request)
}

/// The host that a request names, in its target or in its header; both must say the same.
fn authority(request: &Request) -> Result<String, Foreign> {
    let mut given = request.headers().get_all(HOST).iter();
    let header = given.next();
    if given.next().is_some() {
        return Err(Foreign::NoHost);
    }
    let header = header.map(|host| host.to_str().map_err(|_| Foreign::Malformed));
    let header = header.transpose()?;
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    match (target, header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => {
            Err(Foreign::Malformed)
        }
        (Some(host), _) | (None, Some(host)) => Ok(host.to_owned()),
        (None, None) => Err(Foreign::NoHost),
    }
}

/// Old browsers send no `Sec-Fetch-Site`, and none sends `Origin` with every request.
fn check_page(hosts: &Hosts, request: &Request, authority: &str, via: Via) -> Result<(), Foreign> {
    let headers = request.headers();
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        let is_ours = match text(headers, &FETCH_SITE) {
            None => !headers.contains_key(FETCH_SITE),
            Some(site) => ["same-origin", "none"].contains(&site) || is_link(request),
        };
        return if is_ours { Ok(()) } else { Err(Foreign::Site) };
    }
    origins.try_for_each(|origin| {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        hosts.check_origin(&origin, authority, via)
    })
}

/// Somebody followed a link to the console: the page is shown, and the page that the link was on
/// sees nothing of it.
fn is_link(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.uri().path() == "/"
        && text(headers, &FETCH_MODE) == Some("navigate")
        && text(headers, &FETCH_DEST) == Some("document")
}

/// What a form of a page can send without asking is not taken.
fn check_content(request: &Request) -> Result<(), Problem> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    match request.headers().get(CONTENT_TYPE) {
        Some(content) if !reads && !is_json(content.as_bytes()) => Err(not_json()),
        _ => Ok(()),
    }
}

/// `application/json`, with or without parameters.
pub fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}

/// 415.
pub fn not_json() -> Problem {
    let detail = "a body must be JSON and say so: \"content-type: application/json\"";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl From<Foreign> for Problem {
    fn from(foreign: Foreign) -> Self {
        let status = match foreign {
            Foreign::NoHost | Foreign::Malformed => StatusCode::BAD_REQUEST,
            Foreign::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Foreign::Origin(_) | Foreign::Site => StatusCode::FORBIDDEN,
        };
        Self::new(status, foreign.to_string())
    }
}
