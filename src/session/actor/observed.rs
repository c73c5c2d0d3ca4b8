//! What is told of a session beside its reports: a span of all of it where it is traced, and a line
//! for each step on the way to it that was slow.

use std::time::Duration;

use opentelemetry::KeyValue;

use super::Session;
use crate::cause::Cause;
use crate::clock;
use crate::device::DeviceId;
use crate::session::SessionEvent;
use crate::session::course::Step;
use crate::time::Instant;
use crate::trace::Span;

/// Boxed where it is kept: a session that is up and not traced has none.
#[derive(Default)]
pub(super) struct Observed {
    /// The steps of a connection of which nobody knows yet whose it is, with their ends.
    steps: Vec<(Step, Instant, Duration)>,
    /// From the admission on.
    span: Option<Span>,
}

impl Session {
    /// A step has ended; the verdict is the last one.
    pub(super) fn observe(&mut self, step: Step, took: Duration) {
        let observer = &self.guard.deps.observer;
        if observer.tracer.is_on() || observer.slow.is_slow(took) {
            let now = clock::now().instant;
            let observed = self.observed.get_or_insert_default();
            observed.steps.push((step, now, took));
        }
        if step == Step::Verdict {
            self.observe_verdict();
        }
    }

    /// Whoever was not let in is not told: anybody can connect, and take his time for it.
    fn observe_verdict(&mut self) {
        let (Some(mut observed), Some(device)) = (self.observed.take(), self.device) else {
            return;
        };
        let slow = &self.guard.deps.observer.slow;
        let steps = std::mem::take(&mut observed.steps);
        self.span().in_scope(|| {
            for (step, _, took) in &steps {
                slow.device(Some(device), step.as_str(), *took);
            }
        });
        observed.span = self.begin_span(device, &steps);
        if observed.span.is_some() {
            self.observed = Some(observed);
        }
    }

    fn begin_span(&self, device: DeviceId, steps: &[(Step, Instant, Duration)]) -> Option<Span> {
        let tracer = &self.guard.deps.observer.tracer;
        let now = clock::now().instant;
        let ago = |ended: Instant, took| now.since(ended) + took;
        let began = steps
            .first()
            .map_or(Duration::ZERO, |(_, ended, took)| ago(*ended, *took));
        let attributes = || {
            vec![
                KeyValue::new("device", i64::from(device.get())),
                KeyValue::new("peer", self.peer.to_string()),
                KeyValue::new("link", self.link.as_str()),
                KeyValue::new("generation", self.guard.generation.to_string()),
            ]
        };
        let span = tracer.root("session", began, attributes)?;
        for (step, ended, took) in steps {
            span.part(tracer, step.as_str(), ago(*ended, *took), *took);
        }
        Some(span)
    }

    /// The device was let in, and had taken this long to its Connect.
    pub(super) fn observe_admission(&mut self, took: Duration) {
        if self.guard.deps.observer.slow.is_slow(took) {
            self.guard.report(SessionEvent::Slow { took }, None);
        }
    }

    pub(super) fn observe_end(&mut self, cause: &Cause) {
        let observed = self.observed.take();
        if let Some(span) = observed.and_then(|observed| observed.span) {
            span.note("cause", cause.to_string());
        }
    }
}
