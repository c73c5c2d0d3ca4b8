//! What all sessions of a gateway count together.

use std::array;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::device::LinkKind;
use crate::metrics::mailbox::{Mailbox, Mailboxes};
use crate::metrics::{Meter, table};
use crate::session::course::Step;
use crate::session::machine::Counters;

/// The handles of the sessions.
pub struct Meters {
    links: [Link; LinkKind::ALL.len()],
    answers_dropped: Counter,
    stream_data_dropped: Counter,
    unknown_ignored: Counter,
    functions_dropped: Counter,
    pushes_dropped: Counter,
    /// Sessions that wait for a permit.
    pub handshakes_waiting: Gauge,
    /// The mailbox of the registry, which sessions report to.
    pub registry: Mailbox,
}

struct Link {
    bytes_in: Counter,
    bytes_out: Counter,
    frames_in: Counter,
    frames_out: Counter,
    steps: [Histogram; Step::ALL.len()],
}

impl Meters {
    pub fn new(meter: &Meter) -> Self {
        let ignored = |reason| meter.counter(&table::MESSAGES_IGNORED, &[reason]);
        Self {
            links: LinkKind::ALL.map(|link| Link::new(meter, link.as_str())),
            answers_dropped: ignored("late_answer"),
            stream_data_dropped: ignored("closed_stream"),
            unknown_ignored: ignored("unknown_type"),
            functions_dropped: ignored("function"),
            pushes_dropped: ignored("push"),
            handshakes_waiting: meter.gauge(&table::HANDSHAKES_WAITING, &[]),
            registry: Mailboxes::new(meter).registry,
        }
    }

    /// Adds what one session counted since it was asked last.
    pub fn count(&self, link: LinkKind, counted: &Counters) {
        let add = |counter: &Counter, count: u64| {
            if count > 0 {
                counter.increment(count);
            }
        };
        let here = &self.links[link as usize];
        add(&here.bytes_in, counted.bytes_in);
        add(&here.bytes_out, counted.bytes_out);
        add(&here.frames_in, counted.frames_in);
        add(&here.frames_out, counted.frames_out);
        add(&self.answers_dropped, counted.answers_dropped.into());
        add(
            &self.stream_data_dropped,
            counted.stream_data_dropped.into(),
        );
        add(&self.unknown_ignored, counted.unknown_ignored.into());
        add(&self.functions_dropped, counted.functions_dropped.into());
        add(&self.pushes_dropped, counted.pushes_dropped.into());
    }

    /// One step on the way to a session is done.
    pub fn step(&self, link: LinkKind, step: Step, took: Duration) {
        self.links[link as usize].steps[step as usize].record(took.as_secs_f64());
    }
}

impl Link {
    fn new(meter: &Meter, link: &str) -> Self {
        let bytes = |flow| meter.counter(&table::LINK_BYTES, &[link, flow]);
        let frames = |flow| meter.counter(&table::FRAMES, &[link, flow]);
        let step = |index: usize| {
            let phase = Step::ALL[index].as_str();
            meter.histogram(&table::CONNECTION_PHASE_SECONDS, &[phase, link])
        };
        Self {
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
            frames_in: frames("in"),
            frames_out: frames("out"),
            steps: array::from_fn(step),
        }
    }
}
