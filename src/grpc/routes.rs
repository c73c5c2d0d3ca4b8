//! Hands each call to the service it names, and puts right what the codes of the wire demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::grpc::generation::{Call, Target};

type Handler = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The services of one server, by name. Cheap to clone.
///
/// Both generations of paths reach a service; its handler finds the
/// [`Generation`](crate::grpc::generation::Generation) in the extensions of the request.
#[derive(Clone, Default)]
pub struct Routes {
    handlers: Arc<HashMap<&'static str, Handler>>,
}

impl Routes {
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

    fn route(&self, mut request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let Some(call) = Call::parse(&path) else {
            return refuse(format!("malformed path {path}"));
        };
        let handler = call
            .target(|name| self.handlers.contains_key(name))
            .and_then(|target| {
                let handler = self.handlers.get(target.service.as_str())?.clone();
                readdress(&mut request, &target, call.method).then_some(handler)
            });
        let Some(handler) = handler else {
            return refuse(format!("unknown service {}", call.service));
        };
        let unknown_method = format!(
            "unknown method {} for service {}",
            call.method, call.service
        );
        Box::pin(async move {
            let response = handler.oneshot(request).await?;
            Ok(put_right(response, unknown_method))
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
        // The timer must start here and not at the first poll: tonic starts one of its own right
        // after this call, and that one would answer CANCELLED.
        let deadline = grpc_timeout(request.headers()).map(tokio::time::sleep);
        let answer = self.route(request);
        match deadline {
            None => answer,
            Some(deadline) => Box::pin(async move {
                tokio::select! {
                    biased;
                    response = answer => response,
                    () = deadline => Ok(Status::deadline_exceeded("the deadline of the call has passed").into_http()),
                }
            }),
        }
    }
}

fn refuse(message: String) -> Answer {
    Box::pin(async move { Ok(Status::unimplemented(message).into_http()) })
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

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use tokio::sync::mpsc;

    use super::*;
    use crate::grpc::generation::Generation;
    use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
    use crate::grpc::stop;
    use crate::grpc::testing::{Seen, Stub};

    /// Answers with the path and the generation that reached it.
    #[derive(Clone)]
    struct Echo;

    impl NamedService for Echo {
        const NAME: &'static str = "gsdk.echo.Echo";
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
        (Routes::default().with(Echo).with(fleet), seen, stopper)
    }

    /// A call with one message. Its bytes are ASCII, because a text is the one ready-made body.
    fn request(path: &str, message: &str) -> Request<Body> {
        let length = u8::try_from(message.len()).expect("a short message");
        let body = format!("\0\0\0\0{}{message}", char::from(length));
        Request::builder()
            .method("POST")
            .uri(path)
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
            ("/gsdk.echo.Echo/Say", "Some(Prefixed) /gsdk.echo.Echo/Say"),
            ("/echo.Echo/Say", "Some(Bare) /gsdk.echo.Echo/Say"),
            (
                "http://gate:4000/echo.Echo/Say",
                "Some(Bare) http://gate:4000/gsdk.echo.Echo/Say",
            ),
        ] {
            assert_eq!(status(path, "").await, (Code::Aborted, seen.to_owned()));
        }
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
