//! What is counted of what devices ask.

use metrics::Counter;

use crate::metrics::{Meter, table};
use crate::session::asked::{Answerer, Function, Outcome, Subscription};

/// Every value of the label.
const NAMES: [&str; 9] = [
    "read_property",
    "set_property",
    "call_device",
    "call_endpoint",
    "write_bucket",
    "subscribe_property",
    "subscribe_event",
    "subscribe_topic",
    "publish_topic",
];

/// By the place of the name.
pub(super) struct Counts([Asked; NAMES.len()]);

/// The counters of one function. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asked {
    ok: Counter,
    refused: Counter,
}

impl Counts {
    pub(super) fn new(meter: &Meter) -> Self {
        Self(NAMES.map(|name| {
            let counter = |outcome| meter.counter(&table::DEVICE_FUNCTIONS, &[name, outcome]);
            Asked {
                ok: counter("ok"),
                refused: counter("refused"),
            }
        }))
    }

    pub(super) fn function(&self, function: &Function) -> &Asked {
        &self.0[match function {
            Function::ReadProperty { .. } => 0,
            Function::SetProperty { .. } => 1,
            Function::CallDevice { .. } => 2,
            Function::CallEndpoint { .. } => 3,
            Function::WriteBucket { .. } => 4,
        }]
    }

    pub(super) fn subscription(&self, subscription: &Subscription) -> &Asked {
        &self.0[match subscription {
            Subscription::Property { .. } => 5,
            Subscription::Event { .. } => 6,
            Subscription::TopicIn { .. } => 7,
            Subscription::TopicOut { .. } => 8,
        }]
    }
}

impl Asked {
    pub(super) fn came_to(&self, outcome: &Outcome) {
        let counter = if outcome.is_ok() {
            &self.ok
        } else {
            &self.refused
        };
        counter.increment(1);
    }

    /// Counts what this is told.
    pub(super) fn counting(&self, answer: Answerer) -> Answerer {
        let asked = self.clone();
        Box::new(move |outcome| {
            asked.came_to(&outcome);
            answer(outcome);
        })
    }
}
