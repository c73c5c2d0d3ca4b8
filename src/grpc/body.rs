//! Bodies of requests and answers, with an ear or an eye on them.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};

use crate::callers::audit::{Heard, Ticket};
use crate::callers::guard::Refusal;
use crate::grpc::code::{code, code_name};
use crate::grpc::counts::Count;
use crate::grpc::observed;
use crate::trace::Span;

/// A request that somebody listens to.
pub struct Overheard {
    pub body: Body,
    pub heard: Heard,
}

impl HttpBody for Overheard {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.heard.hear(data);
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

/// Says why a caller's access has ended, when it does.
pub type Withdrawn = Pin<Box<dyn Future<Output = Refusal> + Send>>;

/// Who hears how a call ends. Dropped before it was told, the call was cancelled.
pub struct Ending {
    /// For a call that is written to the audit log.
    pub ticket: Option<Ticket>,
    pub count: Count,
    /// For a call that is traced; it lasts as long as this.
    pub span: Option<Span>,
}

impl Ending {
    pub fn is(self, code: Code) {
        let Self {
            ticket,
            mut count,
            span,
        } = self;
        if let Some(mut ticket) = ticket {
            ticket.ended(code_name(code));
        }
        count.ended(code);
        if let Some(span) = span {
            observed::ended(&span, code);
        }
    }
}

/// An answer that ends with UNAUTHENTICATED when its caller's access ends, and whose own end is
/// told.
pub struct Watched {
    /// `None` once it has ended.
    pub body: Option<Body>,
    pub withdrawn: Option<Withdrawn>,
    pub ending: Option<Ending>,
}

impl Watched {
    fn end_with(&mut self, status: &Status) -> HeaderMap {
        // Ends the stream behind it.
        self.body = None;
        self.note(status.code());
        let mut trailers = HeaderMap::new();
        // It fails for texts that are no header, and ours are.
        let _ = status.add_header(&mut trailers);
        trailers
    }

    fn note(&mut self, code: Code) {
        if let Some(ending) = self.ending.take() {
            ending.is(code);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Some(withdrawn) = &mut this.withdrawn
            && let Poll::Ready(refusal) = withdrawn.as_mut().poll(context)
        {
            let trailers = this.end_with(&refusal.into());
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = Pin::new(body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.note(code(trailers));
                }
            }
            Poll::Ready(Some(Err(status))) => this.note(status.code()),
            Poll::Ready(None) => this.body = None,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}

/// An answer of trailers alone.
pub struct Trailers(pub Option<HeaderMap>);

impl HttpBody for Trailers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
