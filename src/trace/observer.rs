//! What is told of something that was asked: a span where it is traced, a line where it was slow.

use std::time::Duration;

use super::Tracer;
use crate::logs::slow::Slow;

/// Handed to every room that serves requests. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    pub tracer: Tracer,
    pub slow: Slow,
}

impl Observer {
    pub fn new(tracer: Tracer, slow_after: Duration) -> Self {
        Self {
            tracer,
            slow: Slow::new(slow_after),
        }
    }

    /// Tells nothing.
    pub fn silent() -> Self {
        Self::new(Tracer::off(), Duration::MAX)
    }
}
