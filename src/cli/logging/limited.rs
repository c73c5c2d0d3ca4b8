//! The limit on lines as a filter: finds out whose line it is, and asks [`Limiter`].

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::logs::limit::{Limiter, Limits, Report, Source, Weight};
use crate::logs::{Counts, LEVELS};

/// Targets whose lines are few by themselves, or must be whole: the calls of clients, each of whom
/// was let in before, and what the log tells of itself.
const UNLIMITED: [&str; 2] = ["audit", OF_ITSELF];
/// The target of what the log tells of itself.
pub const OF_ITSELF: &str = "log";

/// Cheap to clone.
#[derive(Clone)]
pub struct Limited(Arc<Inner>);

struct Inner {
    limiter: Mutex<Limiter>,
    written: [AtomicU64; LEVELS.len()],
    suppressed: AtomicU64,
}

/// The device that a span is about, kept with the span.
struct Device(u32);

impl Limited {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limiter: Mutex::new(Limiter::new(limits)),
            written: Default::default(),
            suppressed: AtomicU64::new(0),
        }))
    }

    /// What was left out since the last time; `None` when nothing was.
    pub fn report(&self) -> Option<Report> {
        self.limiter().report()
    }

    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            written: std::array::from_fn(|level| read(&self.0.written[level])),
            suppressed: read(&self.0.suppressed),
        }
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        let limiter = self.0.limiter.lock();
        limiter.unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, level: usize, is_written: bool) {
        let counter = match is_written {
            true => &self.0.written[level],
            false => &self.0.suppressed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whose line it is, and how much it matters.
fn judge<S>(event: &Event<'_>, context: &Context<'_, S>) -> (Source, Weight)
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let metadata = event.metadata();
    let weight = match *metadata.level() {
        Level::ERROR => Weight::Must,
        _ if UNLIMITED.contains(&metadata.target()) => Weight::Must,
        Level::WARN | Level::INFO => Weight::Normal,
        Level::DEBUG | Level::TRACE => Weight::Detail,
    };
    let mut seen = Seen::default();
    event.record(&mut seen);
    let device = seen.0.or_else(|| device_of_spans(event, context));
    // A callsite is a static, so its address is a number of its own.
    let place = || std::ptr::from_ref(metadata).addr();
    let source = device.map_or_else(|| Source::Place(place()), Source::Device);
    (source, weight)
}

/// The place of a level in [`LEVELS`].
const fn index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

impl<S> Filter<S> for Limited
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Never `always`: the library would skip its first pass for such a line, and a second pass that
    /// leaves it out is then a fault to it.
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        let (source, weight) = judge(event, context);
        let now = clock::now().instant;
        let is_written = self.limiter().take(source, weight, now);
        self.count(index(*event.metadata().level()), is_written);
        is_written
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen::default();
        attributes.record(&mut seen);
        keep(seen, id, &context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut seen = Seen::default();
        values.record(&mut seen);
        keep(seen, id, &context);
    }
}

fn keep<S>(seen: Seen, id: &Id, context: &Context<'_, S>)
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    if let (Seen(Some(device)), Some(span)) = (seen, context.span(id)) {
        span.extensions_mut().replace(Device(device));
    }
}

fn device_of_spans<S>(event: &Event<'_>, context: &Context<'_, S>) -> Option<u32>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let mut spans = context.event_scope(event)?;
    spans.find_map(|span| span.extensions().get::<Device>().map(|Device(id)| *id))
}

/// The field `device`, when there is one.
#[derive(Default)]
struct Seen(Option<u32>);

impl Visit for Seen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "device" {
            self.0 = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "device" {
            self.0 = format!("{value:?}").parse().ok();
        }
    }
}
