//! Where handles come from, and what a scrape shows.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::process::Process;
use super::table::{self, Kind, Metric};

/// What [`Metadata`] is made of; nobody filters by it.
const METADATA: Metadata<'static> = Metadata::new("gatehouse", Level::INFO, None);

/// Makes handles, and renders what was counted with them. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Meter {
    /// `None`: nothing is counted, and every handle does nothing.
    inner: Option<Arc<Inner>>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    process: Process,
    sources: Mutex<Vec<Source>>,
}

/// Reads plain fields into handles of its own.
type Source = Arc<dyn Fn() + Send + Sync>;

impl Meter {
    /// A meter with every metric of the table described.
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in table::all() {
            if let Kind::Histogram(buckets) = metric.kind {
                let matcher = Matcher::Full(metric.name.to_owned());
                builder = builder
                    .set_buckets_for_metric(matcher, buckets)
                    .expect("no histogram of the table is without buckets");
            }
        }
        let recorder = builder.build_recorder();
        for metric in table::all() {
            let name = metrics::KeyName::from_const_str(metric.name);
            let help = metric.help.into();
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
            }
        }
        let handle = recorder.handle();
        let process = Process::new(|metric| recorder.register_gauge(&key(metric, &[]), &METADATA));
        let sources = Mutex::default();
        Self {
            inner: Some(Arc::new(Inner {
                recorder,
                handle,
                process,
                sources,
            })),
        }
    }

    /// A meter that counts nothing.
    pub const fn off() -> Self {
        Self { inner: None }
    }

    pub const fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The counter of the table with these values for its labels, in their order.
    pub fn counter(&self, metric: &'static Metric, values: &[&str]) -> Counter {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.handle(metric, values, Recorder::register_counter)
            .unwrap_or_else(Counter::noop)
    }

    /// The gauge of the table with these values for its labels, in their order.
    pub fn gauge(&self, metric: &'static Metric, values: &[&str]) -> Gauge {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.handle(metric, values, Recorder::register_gauge)
            .unwrap_or_else(Gauge::noop)
    }

    /// The histogram of the table with these values for its labels, in their order.
    pub fn histogram(&self, metric: &'static Metric, values: &[&str]) -> Histogram {
        debug_assert!(matches!(metric.kind, Kind::Histogram(_)), "{}", metric.name);
        self.handle(metric, values, Recorder::register_histogram)
            .unwrap_or_else(Histogram::noop)
    }

    fn handle<H>(
        &self,
        metric: &'static Metric,
        values: &[&str],
        register: fn(&PrometheusRecorder, &Key, &Metadata<'_>) -> H,
    ) -> Option<H> {
        let recorder = &self.inner.as_ref()?.recorder;
        Some(register(recorder, &key(metric, values), &METADATA))
    }

    /// Calls this before each rendering. It may take a lock for a moment and must not wait.
    pub fn read_at_scrape(&self, source: impl Fn() + Send + Sync + 'static) {
        if let Some(inner) = &self.inner {
            inner.sources().push(Arc::new(source));
        }
    }

    /// Everything, in the text format of Prometheus; empty where nothing is counted. Takes some
    /// milliseconds for a large fleet: not for a thread that others wait for.
    pub fn render(&self) -> String {
        let Some(inner) = &self.inner else {
            return String::new();
        };
        let sources = inner.sources().clone();
        sources.iter().for_each(|source| source());
        let processor = inner.process.read();
        inner.handle.render() + &processor
    }

    /// Sorts the samples of histograms into their buckets. To be called every few seconds: until
    /// then each sample takes its place in memory, whether somebody scrapes or not.
    pub fn tidy(&self) {
        if let Some(inner) = &self.inner {
            inner.handle.run_upkeep();
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(metric: &'static Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let labels = metric.labels.iter().zip(values);
    let labels: Vec<_> = labels
        .map(|(label, value)| Label::new(*label, (*value).to_owned()))
        .collect();
    Key::from_parts(metric.name, labels)
}

#[cfg(test)]
impl Meter {
    /// Fails unless a scrape has this line.
    #[track_caller]
    pub fn assert_has(&self, line: &str) {
        let text = self.render();
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_what_was_counted_with_its_help() {
        let meter = Meter::new();
        meter.counter(&table::TAKEOVERS, &[]).increment(2);
        meter.histogram(&table::BACKOFF_SECONDS, &[]).record(0.3);
        let events = meter.counter(&table::EVENTS, &["added"]);
        meter.read_at_scrape(move || events.absolute(7));
        for line in [
            "# TYPE gatehouse_takeovers_total counter",
            "gatehouse_takeovers_total 2",
            "gatehouse_events_total{change=\"added\"} 7",
            "gatehouse_backoff_seconds_bucket{le=\"0.25\"} 0",
            "gatehouse_backoff_seconds_bucket{le=\"0.5\"} 1",
        ] {
            meter.assert_has(line);
        }
        let text = meter.render();
        assert!(text.contains(table::TAKEOVERS.help), "{text}");
        assert!(text.contains("process_open_fds"), "{text}");
        let spent = text
            .lines()
            .find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        assert!(
            spent.is_some_and(|spent| spent.parse::<f64>().is_ok()),
            "{text}"
        );
    }

    #[test]
    fn two_meters_count_apart_and_none_counts_nothing() {
        let (one, other, off) = (Meter::new(), Meter::new(), Meter::off());
        one.counter(&table::TAKEOVERS, &[]).increment(1);
        off.counter(&table::TAKEOVERS, &[]).increment(1);
        assert!(one.render().contains("gatehouse_takeovers_total 1"));
        assert!(!other.render().contains("gatehouse_takeovers_total 1"));
        assert_eq!(off.render(), "");
    }
}
