//! Traces for a collector: sessions, requests of clients and of devices, commits of the store.
//!
//! A room is handed a [`Tracer`] at its start, as it is a meter. Where no collector is configured
//! it makes no span, and nothing is kept, counted or sent. What was ended goes into a bounded queue
//! that a thread of its own empties; nobody waits for the collector.

mod collector;
mod observer;
mod queue;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    FutureExt, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

pub use self::collector::TraceError;
pub use self::observer::Observer;
use self::queue::{Queue, Tally};
use crate::metrics::{Meter, table};
use crate::{clock, config};

/// How long the last spans may take at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Makes spans, or none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    tally: Arc<Tally>,
}

/// A span that is kept; it ends when the last of its clones is dropped, or before.
#[derive(Clone)]
pub struct Span(Context);

impl Tracer {
    /// No span is ever made.
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// Sends spans to the collector of the configuration, if it names one. Needs a tokio runtime
    /// around it. A collector that is not there is no error.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(config: &config::Trace) -> Result<Self, TraceError> {
        let Some(exporter) = collector::exporter(config)? else {
            return Ok(Self::off());
        };
        let (queue, tally) = Queue::new(exporter);
        let share = 1.0 / f64::from(config.sample_one_in);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler)
            .with_resource(collector::resource(config))
            .build();
        let tracer = provider.tracer("gatehouse");
        Ok(Self {
            inner: Some(Arc::new(Inner {
                provider,
                tracer,
                tally,
            })),
        })
    }

    pub const fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Spans that the collector did not take, or that were too many at once.
    pub fn dropped(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.tally.dropped())
    }

    /// Has each scrape tell what was dropped.
    pub fn count(&self, meter: &Meter) {
        let (tracer, dropped) = (self.clone(), meter.counter(&table::SPANS_DROPPED, &[]));
        meter.read_at_scrape(move || dropped.absolute(tracer.dropped()));
    }

    /// A span that begins a trace, and began so long ago.
    pub fn root(
        &self,
        name: &'static str,
        ago: Duration,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Span> {
        let inner = self.inner.as_ref()?;
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(clock::system_time() - ago);
        inner.start(builder, attributes, &Context::new())
    }

    /// The span of a request that a client makes; the trace is that of its `traceparent`, if it
    /// sends one.
    pub fn request(
        &self,
        name: impl FnOnce() -> String,
        headers: &HeaderMap,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Span> {
        let inner = self.inner.as_ref()?;
        let context = Context::new();
        let parent =
            TraceContextPropagator::new().extract_with_context(&context, &Headers(headers));
        let builder = SpanBuilder::from_name(name()).with_kind(SpanKind::Server);
        inner.start(builder, attributes, &parent)
    }

    /// A span inside the request that is [carried](Span::carry) here, and none outside of one.
    pub fn within(
        &self,
        name: &'static str,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Span> {
        let inner = self.inner.as_ref()?;
        let parent = Context::current();
        if !parent.span().span_context().is_sampled() {
            return None;
        }
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
        inner.start(builder, attributes, &parent)
    }

    /// Sends what is there and ends; takes two seconds at most. Blocks.
    pub fn shut_down(&self) {
        let Some(inner) = &self.inner else {
            return;
        };
        if inner
            .provider
            .shutdown_with_timeout(FLUSH_DEADLINE)
            .is_err()
        {
            let spans = inner.tally.waiting();
            tracing::warn!(spans, "the last spans were not exported in time");
        }
    }
}

impl Inner {
    /// `None` where the trace is not among those that are kept: then it costs nothing either.
    fn start(
        &self,
        builder: SpanBuilder,
        attributes: impl FnOnce() -> Vec<KeyValue>,
        parent: &Context,
    ) -> Option<Span> {
        let span = self.tracer.build_with_context(builder, parent);
        let context = parent.with_span(span);
        let span = context.span();
        if !span.is_recording() {
            return None;
        }
        span.set_attributes(attributes());
        Some(Span(context))
    }
}

impl Span {
    /// A part of this that is over: it began so long ago, and took so long.
    pub fn part(&self, tracer: &Tracer, name: &'static str, ago: Duration, took: Duration) {
        if let Some(inner) = &tracer.inner {
            let began = clock::system_time() - ago;
            let builder = SpanBuilder::from_name(name).with_start_time(began);
            let span = inner.tracer.build_with_context(builder, &self.0);
            let context = self.0.with_span(span);
            context.span().end_with_timestamp(began + took);
        }
    }

    /// Spans that are made [within](Tracer::within) the future are parts of this.
    pub fn carry<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        future.with_context(self.0.clone())
    }

    pub fn note(&self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// It did not end well, by a fault of the gateway or of the device.
    pub fn failed(&self, why: &str) {
        self.0.span().set_status(Status::error(why.to_owned()));
    }
}

/// Headers as the propagator reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_collector_there_is_no_span_and_nothing_is_asked() {
        let tracer = Tracer::start(&config::Trace::default()).expect("off");
        assert!(!tracer.is_on());
        let unasked = || -> Vec<KeyValue> { panic!("asked") };
        assert!(tracer.root("session", Duration::ZERO, unasked).is_none());
        let headers = HeaderMap::new();
        assert!(
            tracer
                .request(|| panic!("asked"), &headers, unasked)
                .is_none()
        );
        assert!(tracer.within("device request", unasked).is_none());
        tracer.shut_down();
    }
}
