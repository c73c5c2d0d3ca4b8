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
