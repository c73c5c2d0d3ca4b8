//! Hands each call to the service it names, once its caller may make it, and puts right what the codes of the wire demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::access::calls::rule;
use crate::access::{Caller, Role};
use crate::callers::guard::{Guard, Refusal};
use crate::callers::peer::Peer;
use crate::grpc::audit;
use crate::grpc::body::{Ending, Overheard, Trailers, Watched, Withdrawn};
use crate::grpc::code::code;
use crate::grpc::counts::Counts;
use crate::grpc::generation::{Call, Target};
use crate::grpc::observed::Observed;
use crate::metrics::Meter;
use crate::trace::{Observer, Span};

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
/// The answer of a call, as it comes.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The services of one server, by name. Cheap to clone.
///
/// Both generations of paths reach a service; its handler finds the
/// [`Generation`](crate::grpc::generation::Generation) and the [`Caller`] in the extensions of the
/// request.
#[derive(Clone)]
pub struct Routes {
    guard: Guard,
    observer: Observer,
    handlers: Arc<HashMap<&'static str, Handler>>,
    counts: Counts,
}

impl Routes {
    /// No service yet; the guard judges every call before any of them sees it.
    pub fn new(guard: Guard) -> Self {
        Self {
            guard,
            observer: Observer::silent(),
            handlers: Arc::default(),
            counts: Counts::new(&Meter::off()),
        }
    }

    /// Counts every call, also those that are refused before a service sees them.
    #[must_use]
    pub fn counted_by(mut self, meter: &Meter) -> Self {
        self.counts = Counts::new(meter);
        self
    }

    /// Tells this observer of every call.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Adds a service under its own name.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Arc::make_mut(&mut self.handlers).insert(S::NAME, Handler::new(service));
        self
    }

    /// The names of the services so far.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.handlers.keys().copied()
    }

    /// Judges the caller before anything is told of what is served, then hands the call over.
    fn route(&self, mut request: Request<Body>, span: Option<Span>) -> Answer {
        let peer = request.extensions().get::<Peer>().cloned();
        let path = request.uri().path().to_owned();
        let call = Call::parse(&path);
        let target = call.and_then(|call| call.target(|name| self.handlers.contains_key(name)));
        let rule = call
            .zip(target.as_ref())
            .and_then(|(call, target)| rule(&format!("{}/{}", target.service, call.method)));
        let mut ending = Ending {
            ticket: None,
            count: self.counts.begin(rule.map(|rule| rule.call)),
            span,
        };
        let is_open = rule.is_some_and(|rule| rule.needs.is_none());
        let admitted = match is_open {
            true => Ok(None),
            false => {
                let pass = self.guard.admit(peer.as_ref(), request.headers());
                pass.map(Some)
            }
        };
        let pass = match admitted {
            Ok(pass) => pass,
            Err(refusal) => {
                if let Some(rule) = rule.filter(|rule| rule.changes) {
                    self.guard.audit().stranger(peer.as_ref(), rule.call);
                }
                return refuse(refusal.into(), ending);
            }
        };
        let Some(call) = call else {
            return unimplemented(format!("malformed path {path}"), ending);
        };
        let handler = target.and_then(|target| {
            let handler = self.handlers.get(target.service.as_str())?.clone();
            readdress(&mut request, &target, call.method).then_some(handler)
        });
        let Some(handler) = handler else {
            return unimplemented(format!("unknown service {}", call.service), ending);
        };
        let unknown_method = format!(
            "unknown method {} for service {}",
            call.method, call.service
        );
        let Some(rule) = rule else {
            return unimplemented(unknown_method, ending);
        };
        let caller = pass.as_ref().map(|pass| &pass.caller);
        ending.ticket = caller.filter(|_| rule.changes).map(|caller| {
            self.guard
                .audit()
                .begin(&caller.name, peer.as_ref(), rule.call, audit::summary)
        });
        if let (Some(caller), Some(needs)) = (caller, rule.needs) {
            if caller.role < needs {
                return refuse(wrong_role(caller, rule.call, needs), ending);
            }
            request.extensions_mut().insert(caller.clone());
        }
        if let Some(ticket) = &ending.ticket {
            let heard = ticket.heard();
            request = request.map(|body| Body::new(Overheard { body, heard }));
        }
        let withdrawn = pass
            .filter(Guard::can_end)
            .map(|pass| -> Withdrawn { Box::pin(self.guard.clone().withdrawn(pass)) });
        let deadline = deadline(request.headers());
        Box::pin(async move {
            // It is told when the call ends, also when it is dropped before.
            let mut ending = ending;
            let response = in_time(handler.oneshot(request), deadline).await?;
            let response = put_right(response, unknown_method);
            if response.headers().contains_key(Status::GRPC_STATUS) {
                ending.is(code(response.headers()));
                return Ok(details_in_trailers(response));
            }
            ending.count.answered();
            Ok(response.map(|body| {
                Body::new(Watched {
                    body: Some(body),
                    withdrawn,
                    ending: Some(ending),
                })
            }))
        })
    }
}

impl Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let (uri, handlers) = (request.uri().clone(), Arc::clone(&self.handlers));
        let name = move || name(&handlers, uri.path());
        let observed = Observed::begin(&self.observer, &request, name);
        let answer = self.route(request, observed.span());
        observed.watch(answer)
    }
}

/// The full name of a call, whichever generation of paths it came by; those that are not served
/// share one, for anybody can make them up.
fn name(handlers: &HashMap<&'static str, Handler>, path: &str) -> &'static str {
    let full = || {
        let call = Call::parse(path)?;
        let target = call.target(|name| handlers.contains_key(name))?;
        rule(&format!("{}/{}", target.service, call.method))
    };
    full().map_or("unknown", |rule| rule.call)
}

/// The timer must start with the call and not at the first poll: tonic starts one of its own right
/// after the call, and that one would answer CANCELLED.
fn deadline(headers: &HeaderMap) -> Option<Sleep> {
    grpc_timeout(headers).map(tokio::time::sleep)
}

async fn in_time(
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
    deadline: Option<Sleep>,
) -> Result<Response<Body>, Infallible> {
    let Some(deadline) = deadline else {
        return answer.await;
    };
    tokio::select! {
        biased;
        response = answer => response,
        () = deadline => Ok(Status::deadline_exceeded("the deadline of the call has passed").into_http()),
    }
}

fn wrong_role(caller: &Caller, call: &str, needs: Role) -> Status {
    let role = caller.role;
    Status::permission_denied(format!(
        "{call} wants the role {needs}, and {caller} has the role {role}"
    ))
}

fn refuse(status: Status, ending: Ending) -> Answer {
    ending.is(status.code());
    Box::pin(async move { Ok(status.into_http()) })
}

fn unimplemented(message: String, ending: Ending) -> Answer {
    refuse(Status::unimplemented(message), ending)
}

/// Gives the request the name under which the service is served, and its generation.
fn readdress(request: &mut Request<Body>, target: &Target, method: &str) -> bool {
    request.extensions_mut().insert(target.generation);
    let path = format!("/{}/{method}", target.service);
    let Ok(path) = PathAndQuery::try_from(path) else {
        return false;
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(path);
    let Ok(uri) = Uri::from_parts(parts) else {
        return false;
    };
    *request.uri_mut() = uri;
    true
}

/// A message over the limit is OUT_OF_RANGE to tonic, and a method it does not know has no text.
/// None of our own services answers either of the two.
fn put_right(mut response: Response<Body>, unknown_method: String) -> Response<Body> {
    let headers = response.headers_mut();
    let code = headers
        .get(Status::GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()));
    match code {
        Some(Code::OutOfRange) => {
            let code = HeaderValue::from(Code::ResourceExhausted as i32);
            headers.insert(Status::GRPC_STATUS, code);
            response
        }
        Some(Code::Unimplemented) if !headers.contains_key(Status::GRPC_MESSAGE) => {
            Status::unimplemented(unknown_method).into_http()
        }
        _ => response,
    }
}

/// An error with details has its status behind the head: in an answer that is a head alone the
/// headers of HTTP are trailers too, and clients take each trailer for details.
fn details_in_trailers(response: Response<Body>) -> Response<Body> {
    if !response.headers().contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    let (mut head, _) = response.into_parts();
    let mut trailers = HeaderMap::new();
    for name in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        if let Some(value) = head.headers.remove(&name) {
            trailers.insert(name, value);
        }
    }
    Response::from_parts(head, Body::new(Trailers(Some(trailers))))
}

/// The deadline that the client set: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::unauthenticated(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, poll_fn, ready};

    use http_body::Body as _;
    use tokio::sync::mpsc;

    use super::*;
    use crate::grpc::generation::Generation;
    use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
    use crate::grpc::stop;
    use crate::grpc::testing::{self, Seen, Stub};

    /// Answers with the path and the generation that reached it.
    #[derive(Clone)]
    struct Echo;

    impl NamedService for Echo {
        const NAME: &'static str = "gsdk.connect.Connect";
    }

    impl Service<Request<Body>> for Echo {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let generation = request.extensions().get::<Generation>();
            let text = format!("{generation:?} {}", request.uri());
            ready(Ok(Status::aborted(text).into_http()))
        }
    }

    fn routes() -> (Routes, mpsc::UnboundedReceiver<Seen>, stop::Stopper) {
        let (stopper, stop) = stop::channel();
        let (calls, seen) = mpsc::unbounded_channel();
        let fleet = FleetServer::new(Stub { stop, calls }).max_decoding_message_size(64);
        let guard = testing::open_guard();
        (Routes::new(guard).with(Echo).with(fleet), seen, stopper)
    }

    /// A call with one message. Its bytes are ASCII, because a text is the one ready-made body.
    fn request(path: &str, message: &str) -> Request<Body> {
        let length = u8::try_from(message.len()).expect("a short message");
        let body = format!("\0\0\0\0{}{message}", char::from(length));
        Request::builder()
            .method("POST")
            .uri(path)
            .extension(testing::loopback_peer())
            .body(Body::new(body))
            .expect("a request")
    }

    async fn status(path: &str, message: &str) -> (Code, String) {
        let (mut routes, _seen, _stopper) = routes();
        let Ok(response) = routes.call(request(path, message)).await;
        let status = Status::from_header_map(response.headers()).expect("a status in the head");
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn both_generations_reach_one_handler() {
        for (path, seen) in [
            (
                "/gsdk.connect.Connect/Disconnect",
                "Some(Prefixed) /gsdk.connect.Connect/Disconnect",
            ),
            (
                "/connect.Connect/Disconnect",
                "Some(Bare) /gsdk.connect.Connect/Disconnect",
            ),
            (
                "http://gate:4000/connect.Connect/Disconnect",
                "Some(Bare) http://gate:4000/gsdk.connect.Connect/Disconnect",
            ),
        ] {
            assert_eq!(status(path, "").await, (Code::Aborted, seen.to_owned()));
        }
    }

    #[tokio::test]
    async fn an_error_with_details_has_its_status_in_the_trailers_alone() {
        let details = Status::with_details(Code::NotFound, "one failed", "details".into());
        let mut response = details_in_trailers(details.into_http());
        assert_eq!(response.headers().len(), 1, "{response:?}");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let frame = poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await;
        let trailers = frame.expect("a frame").expect("no error").into_trailers();
        let trailers = trailers.expect("trailers");
        let status = Status::from_header_map(&trailers).expect("a status");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "one failed");
        assert_eq!(status.details(), b"details");
        let end = poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await;
        assert!(end.is_none());

        let plain = details_in_trailers(Status::not_found("nobody").into_http());
        assert!(plain.headers().contains_key(Status::GRPC_STATUS));
    }

    #[tokio::test]
    async fn what_is_not_served_is_named() {
        for (path, text) in [
            ("/config.Config/Get", "unknown service config.Config"),
            ("/gsdk.input.Input/Get", "unknown service gsdk.input.Input"),
            (
                "/gatehouse.v1.Fleet/Fly",
                "unknown method Fly for service gatehouse.v1.Fleet",
            ),
            ("/nonsense", "malformed path /nonsense"),
        ] {
            assert_eq!(
                status(path, "").await,
                (Code::Unimplemented, text.to_owned())
            );
        }
    }

    #[tokio::test]
    async fn a_call_without_a_rule_is_not_served_even_where_there_is_code_for_it() {
        let (code, text) = status("/connect.Connect/Say", "").await;
        assert_eq!(code, Code::Unimplemented);
        assert_eq!(text, "unknown method Say for service connect.Connect");
    }

    #[tokio::test]
    async fn strangers_learn_nothing_of_what_is_served() {
        for path in [
            "/gatehouse.v1.Fleet/Get",
            "/a.B/C",
            "/gatehouse.v1.Fleet/Fly",
            "/nonsense",
        ] {
            let (mut routes, _seen, _stopper) = routes();
            let mut request = request(path, "");
            request.extensions_mut().remove::<Peer>();
            let Ok(response) = routes.call(request).await;
            let status = Status::from_header_map(response.headers()).expect("a status");
            assert_eq!(status.code(), Code::Unauthenticated, "{path}");
        }
    }

    #[tokio::test]
    async fn too_large_and_undecodable_messages_are_told_apart() {
        let path = "/gatehouse.v1.Fleet/RetryNow";
        let too_large = "\0".repeat(65);
        assert_eq!(status(path, &too_large).await.0, Code::ResourceExhausted);
        // A list of which fewer bytes follow than it says.
        assert_eq!(status(path, "\n\x05\x01").await.0, Code::Internal);
        // A field nobody knows, which is passed over, and no ID.
        assert_eq!(status(path, "\x78\x01").await.0, Code::InvalidArgument);
    }

    #[tokio::test]
    async fn the_deadline_of_the_client_drops_the_call() {
        let (mut routes, mut seen, _stopper) = routes();
        let mut request = request("/gatehouse.v1.Fleet/List", "");
        let timeout = HeaderValue::from_static("10m");
        request.headers_mut().insert("grpc-timeout", timeout);
        let Ok(response) = routes.call(request).await;
        let status = Status::from_header_map(response.headers()).expect("a status in the head");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(seen.recv().await, Some(Seen::Begun));
        assert_eq!(seen.recv().await, Some(Seen::Over));
    }

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(value));
            grpc_timeout(&headers)
        };
        for (value, timeout) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("5m", Duration::from_millis(5)),
            ("6u", Duration::from_micros(6)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(read(value), Some(timeout), "{value}");
        }
        for value in ["", "5", "m", "5x", "-5m", "+5m", "123456789n"] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }
}
