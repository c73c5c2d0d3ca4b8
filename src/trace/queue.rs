//! What was ended and is not sent yet: bounded, and told when the collector does not take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    self, BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor,
};

/// Spans that wait or are on their way, about a kilobyte each.
const WAITING_MAX: usize = 4096;
const BATCH_MAX: usize = 512;
/// How long a span waits for others at the most.
const GATHER: Duration = Duration::from_secs(1);

/// The library's batches behind a count of what waits: the library tells nobody what it drops.
#[derive(Debug)]
pub(super) struct Queue {
    batches: BatchSpanProcessor,
    tally: Arc<Tally>,
}

/// What became of the spans.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    is_failing: AtomicBool,
}

impl Queue {
    pub(super) fn new(exporter: SpanExporter) -> (Self, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        let counted = Counted {
            exporter,
            tally: Arc::clone(&tally),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(GATHER)
            .build();
        let batches = BatchSpanProcessor::builder(counted)
            .with_batch_config(config)
            .build();
        let queue = Self {
            batches,
            tally: Arc::clone(&tally),
        };
        (queue, tally)
    }
}

impl Tally {
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether there is room for one more, which has it then.
    fn has_room(&self) -> bool {
        let is_there = self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX;
        if !is_there {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_there
    }

    /// Told when it begins and when it is over, not for each batch.
    fn sent(&self, spans: usize, done: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match done {
            Ok(()) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    let dropped = self.dropped();
                    tracing::info!(dropped, "the collector takes spans again");
                }
            }
            Err(error) => {
                let spans_dropped = u64::try_from(spans).unwrap_or(u64::MAX);
                self.dropped.fetch_add(spans_dropped, Ordering::Relaxed);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the collector takes no spans; they are dropped until it does");
                }
            }
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut trace::Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.tally.has_room() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// The exporter, with an eye on what it does not get rid of.
#[derive(Debug)]
struct Counted {
    exporter: SpanExporter,
    tally: Arc<Tally>,
}

impl trace::SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let done = self.exporter.export(batch).await;
        self.tally.sent(spans, &done);
        done
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_waits_is_bounded_and_what_is_lost_is_counted() {
        let tally = Tally::default();
        let taken = (0..WAITING_MAX + 10).filter(|_| tally.has_room()).count();
        assert_eq!((taken, tally.dropped()), (WAITING_MAX, 10));
        tally.sent(512, &Err(OTelSdkError::AlreadyShutdown));
        assert_eq!(
            (tally.waiting(), tally.dropped()),
            (WAITING_MAX - 512, 10 + 512)
        );
        tally.sent(512, &Ok(()));
        assert_eq!(tally.dropped(), 10 + 512);
        assert!(tally.has_room());
    }
}
