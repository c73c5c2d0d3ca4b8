//! Which of the device's samples a sink takes.
//!
//! How far a sink has come since its last value is kept in milliseconds, so that it outlives a
//! change of the plan. While the device keeps its beat an arrival counts whole beats: a sample late
//! by less than half a beat belongs to its beat, and a missing one is not made up. The first sample
//! after the device began anew counts the time that really went by, because devices begin their
//! beat at the start or at their next whole second, as they like.

use crate::time::Instant;

/// What arrives from the device in the sampled stream.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The last sample or state.
    last: Option<Instant>,
    /// The device began anew since the last sample.
    begun: bool,
}

/// How far a sink has come: milliseconds since its last value, as its beat counts them; `None`
/// before the first one.
#[derive(Debug, Default)]
pub(super) struct Progress(Option<u64>);

/// One sample or state, as it counts for every sampled sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    counts: Counts,
    /// In milliseconds.
    beat: u64,
    is_state: bool,
}

#[derive(Clone, Copy, Debug)]
enum Counts {
    /// Milliseconds.
    Time(u64),
    Beats(u64),
}

impl Ticks {
    /// The device begins its beat anew.
    pub(super) const fn begin(&mut self) {
        self.begun = true;
    }

    /// A state; `beat` is that of the device in milliseconds, 0 when it has none.
    pub(super) fn state(&mut self, beat: u64, now: Instant) -> Step {
        self.begun = true;
        Step {
            counts: Counts::Time(self.pass(now)),
            beat,
            is_state: true,
        }
    }

    pub(super) fn sample(&mut self, beat: u64, now: Instant) -> Step {
        let elapsed = self.pass(now);
        let begun = std::mem::take(&mut self.begun);
        let counts = if begun || beat == 0 {
            Counts::Time(elapsed)
        } else {
            Counts::Beats((elapsed.saturating_add(beat / 2) / beat).max(1))
        };
        Step {
            counts,
            beat,
            is_state: false,
        }
    }

    /// Milliseconds since the last sample or state.
    fn pass(&mut self, now: Instant) -> u64 {
        let last = self.last.replace(now).unwrap_or(now);
        u64::try_from(now.since(last).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Progress {
    /// Whether the sink, which wants a value every `own` milliseconds, takes this one.
    pub(super) fn advance(&mut self, step: Step, own: u64) -> bool {
        let Some(progress) = self.0 else {
            self.0 = Some(0);
            return true;
        };
        // A state is in nobody's beat. Who is a whole beat late has missed its own, over a gap or
        // over changes in quick succession, and is not kept waiting for the next sample.
        let due = if step.is_state {
            own.saturating_add(step.beat)
        } else {
            own.saturating_sub(step.beat / 2)
        };
        let (takes, progress) = match step.counts {
            Counts::Time(elapsed) => {
                let progress = progress.saturating_add(elapsed);
                let takes = progress >= due;
                (takes, if takes { 0 } else { progress })
            }
            Counts::Beats(beats) => count(progress, beats, step.beat, due),
        };
        self.0 = Some(progress);
        takes
    }
}

/// Counts beats of the device one by one, from `progress` on: whether the sink was due at one of
/// them, and how far it is after the last.
fn count(progress: u64, beats: u64, beat: u64, due: u64) -> (bool, u64) {
    let first = due.saturating_sub(progress).div_ceil(beat).max(1);
    if beats < first {
        return (false, progress.saturating_add(beats.saturating_mul(beat)));
    }
    let each = due.div_ceil(beat).max(1);
    (true, (beats - first) % each * beat)
}
