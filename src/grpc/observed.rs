//! What is told of a call beside its answer: a span where it is traced, a line where it was slow.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry::KeyValue;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};

use crate::callers::peer::Peer;
use crate::clock;
use crate::grpc::audit::code_name;
use crate::grpc::body::code;
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

    /// The span lasts until the end of the body, which is that of the stream.
    pub fn watch(self, answer: Answer) -> Answer {
        Box::pin(async move {
            let response = match &self.span {
                None => answer.await?,
                Some(span) => span.carry(answer).await?,
            };
            let code = code(response.headers());
            let took = clock::now().instant.since(self.began);
            self.observer.slow.call(&self.name, code_name(code), took);
            let Some(span) = self.span else {
                return Ok(response);
            };
            if response.headers().contains_key(Status::GRPC_STATUS) {
                note(&span, code);
                return Ok(response);
            }
            let traced = |body| Body::new(Traced { body, span });
            Ok(response.map(traced))
        })
    }
}

fn note(span: &Span, code: Code) {
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

/// A body at whose end a span is told how it ended.
struct Traced {
    body: Body,
    span: Span,
}

impl HttpBody for Traced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    note(&self.span, code(trailers));
                }
            }
            Poll::Ready(Some(Err(status))) => note(&self.span, status.code()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
