//! What is told of a call beside its answer: a span where it is traced, a line where it was slow.

use http::Request;
use opentelemetry::KeyValue;
use tonic::Code;
use tonic::body::Body;

use crate::callers::peer::Peer;
use crate::clock;
use crate::grpc::code::{code, code_name};
use crate::grpc::routes::Answer;
use crate::time::Instant;
use crate::trace::{Observer, Span};

/// A call from its begin on.
pub struct Observed<N> {
    observer: Observer,
    /// Finds the name of the call, which most calls need not.
    name: N,
    began: Instant,
    span: Option<Span>,
}

impl<N: Fn() -> &'static str + Send + 'static> Observed<N> {
    pub fn begin(observer: &Observer, request: &Request<Body>, name: N) -> Self {
        let attributes = || {
            let peer = request.extensions().get::<Peer>();
            let (service, method) = name().rsplit_once('/').unwrap_or(("", ""));
            let mut attributes = vec![
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", service),
                KeyValue::new("rpc.method", method),
            ];
            if let Some(peer) = peer {
                let address = peer.address.to_string();
                attributes.push(KeyValue::new("client.address", address));
            }
            attributes
        };
        let headers = request.headers();
        let span = observer
            .tracer
            .request(|| name().to_owned(), headers, attributes);
        Self {
            observer: observer.clone(),
            name,
            began: clock::now().instant,
            span,
        }
    }

    /// For who hears how the call ends.
    pub fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    /// What is done for the answer is told as part of the call.
    pub fn watch(self, answer: Answer) -> Answer {
        Box::pin(async move {
            let response = match &self.span {
                None => answer.await?,
                Some(span) => span.carry(answer).await?,
            };
            let code = code_name(code(response.headers()));
            let took = clock::now().instant.since(self.began);
            self.observer.slow.call(&self.name, code, took);
            Ok(response)
        })
    }
}

/// Tells in the span of a call how it ended.
pub fn ended(span: &Span, code: Code) {
    span.note("rpc.grpc.status_code", i64::from(i32::from(code)));
    // What the client could have known is no fault of ours.
    let is_fault = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_fault {
        span.failed(code_name(code));
    }
}
