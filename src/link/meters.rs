//! What one way in for devices counts.

use metrics::{Counter, Gauge};

use crate::metrics::{Meter, table};

/// The handles of one listener.
#[derive(Clone)]
pub struct Meters {
    /// Connections that got a free place in the waiting room.
    pub seated: Counter,
    /// Those that got the place of another.
    pub evicted: Counter,
    /// Those that had to wait, because the room was full.
    pub held: Counter,
    /// Those of a source that had its share of the places.
    pub refused: Counter,
    /// Accepts that failed.
    pub error: Counter,
    /// 1 while it holds its queue.
    pub holding: Gauge,
}

impl Meters {
    /// `listener` is a value of the label of that name.
    pub fn new(meter: &Meter, listener: &str) -> Self {
        let accepts = |outcome| meter.counter(&table::ACCEPTS, &[listener, outcome]);
        Self {
            seated: accepts("seated"),
            evicted: accepts("evicted"),
            held: accepts("held"),
            refused: accepts("refused"),
            error: accepts("error"),
            holding: meter.gauge(&table::ACCEPT_HELD, &[listener]),
        }
    }
}
