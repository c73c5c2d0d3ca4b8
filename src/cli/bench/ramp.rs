//! A fleet that connects: how fast, and for how much processor time.

use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use super::usage;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(1);
/// Within which a fleet must have connected, or have gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a fleet connected.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ramp {
    pub(super) sessions: usize,
    /// From the first session to the last.
    pub(super) sessions_per_second: f64,
    /// Processor time of this process for one session, in microseconds.
    pub(super) processor_us: f64,
}

/// Watches `seen` rise from `before` by `more`, and then waits until `is_settled`.
///
/// # Errors
/// When that takes longer than half a minute.
pub(super) async fn watch(
    before: usize,
    more: usize,
    seen: impl Fn() -> usize,
    is_settled: impl Fn() -> bool,
) -> Result<Ramp, Box<dyn Error>> {
    let processor = usage::processor()?;
    let started = Instant::now();
    let mut first = started;
    let last = loop {
        let now = Instant::now();
        match seen().saturating_sub(before) {
            0 => first = now,
            seen if seen >= more => break now,
            _ => {}
        }
        if started.elapsed() > PATIENCE {
            let came = seen().saturating_sub(before);
            return Err(format!("only {came} of {more} devices connected in {PATIENCE:?}").into());
        }
        sleep(LOOK).await;
    };
    until("the sessions settled", is_settled).await?;
    let processor = usage::processor()?.saturating_sub(processor);
    Ok(Ramp {
        sessions: more,
        sessions_per_second: more as f64 / (last - first).max(LOOK).as_secs_f64(),
        processor_us: processor.as_secs_f64() * 1e6 / more as f64,
    })
}

/// Waits until it is so.
///
/// # Errors
/// When that takes longer than half a minute.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain until {what}").into());
        }
        sleep(LOOK).await;
    }
    Ok(())
}
