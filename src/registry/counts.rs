//! What the registry has seen so far, in plain numbers.

use std::time::Duration;

use crate::cause::PerCause;
use crate::device::{ConnectionMode, LinkKind};

const LINKS: usize = LinkKind::ALL.len();
const MODES: usize = ConnectionMode::ALL.len();

/// Sums since the start, but where a field says that it is how things are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Devices let in, by link and by who dialled.
    pub opened: [[u64; MODES]; LINKS],
    /// Sessions that ended.
    pub closed: PerCause,
    /// Tries at a session that came to none, by who dialled.
    pub failed: [PerCause; MODES],
    /// Sessions that ended before they lasted as long as a stable one.
    pub short: u64,
    /// Sessions told to end for a newer one of their device.
    pub takeovers: u64,
    /// Dials in flight, now.
    pub dials_in_flight: usize,
    /// Dials that are due and wait for their turn, now.
    pub dials_queued: usize,
    /// Devices that wait for their next dial, now.
    pub backing_off: usize,
}

impl Counts {
    /// Tries that came to a session, by who dialled.
    pub fn connected(&self, mode: ConnectionMode) -> u64 {
        self.opened.iter().map(|link| link[mode as usize]).sum()
    }
}

/// Something that lasted for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    SessionLasted(Duration),
    /// The wait that was drawn before the next dial.
    BackedOff(Duration),
}

/// What was observed and nobody took yet.
#[derive(Debug, Default)]
pub struct Observations(Vec<Observed>);

impl Observations {
    /// The shell takes them after each batch; where nobody does they must not pile up.
    const MAX: usize = 1 << 17;

    pub fn add(&mut self, observed: Observed) {
        if self.0.len() < Self::MAX {
            self.0.push(observed);
        }
    }

    pub fn take(&mut self) -> Vec<Observed> {
        std::mem::take(&mut self.0)
    }
}
