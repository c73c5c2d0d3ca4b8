//! How full mailboxes are, and how long messages wait in them.

use std::time::Duration;

use metrics::{Gauge, Histogram};

use super::{Counted, Meter, table};
use crate::time::Instant;

/// Measures the mailbox of one kind of actor. Cheap to clone.
#[derive(Clone)]
pub struct Mailbox {
    messages: Gauge,
    wait: Histogram,
}

/// The mailboxes that clients and devices can fill.
#[derive(Clone)]
pub struct Mailboxes {
    pub registry: Mailbox,
    /// Those of all sessions together.
    pub session: Mailbox,
}

impl Mailboxes {
    pub fn new(meter: &Meter) -> Self {
        Self {
            registry: Mailbox::new(meter, "registry"),
            session: Mailbox::new(meter, "session"),
        }
    }
}

/// Goes with a message through a mailbox. Dropping it says that the message is there no more,
/// whatever became of it.
pub struct Waiting {
    wait: Histogram,
    since: Instant,
    _counted: Counted,
}

impl Mailbox {
    /// `actor` is a value of the label of that name.
    pub fn new(meter: &Meter, actor: &str) -> Self {
        Self {
            messages: meter.gauge(&table::MAILBOX_MESSAGES, &[actor]),
            wait: meter.histogram(&table::MAILBOX_WAIT_SECONDS, &[actor]),
        }
    }

    /// A message is put into the mailbox.
    pub fn enter(&self, now: Instant) -> Waiting {
        Waiting {
            wait: self.wait.clone(),
            since: now,
            _counted: Counted::one_more(&self.messages),
        }
    }
}

impl Waiting {
    /// The actor took the message out. How long it had waited.
    pub fn taken(self, now: Instant) -> Duration {
        let waited = now.since(self.since);
        self.wait.record(waited.as_secs_f64());
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_or_dropped_is_there_no_more() {
        let meter = Meter::new();
        let mailbox = Mailbox::new(&meter, "registry");
        let now = Instant::from_micros(1_000_000);
        let first = mailbox.enter(now);
        let second = mailbox.enter(now);
        let line = "gatehouse_mailbox_messages{actor=\"registry\"}";
        assert!(meter.render().contains(&format!("{line} 2")));
        assert_eq!(
            first.taken(now + Duration::from_millis(7)),
            Duration::from_millis(7)
        );
        drop(second);
        let text = meter.render();
        assert!(text.contains(&format!("{line} 0")), "{text}");
        assert!(
            text.contains("gatehouse_mailbox_wait_seconds_count{actor=\"registry\"} 1"),
            "{text}"
        );
    }
}
