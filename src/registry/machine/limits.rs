//! Rules that change while the machine runs.

use super::{Machine, Policy, REFUSED_INTERVAL};
use crate::time::Now;

/// So many events of newly pending devices may come at once: those of a whole list.
pub(super) fn refused_burst(policy: &Policy) -> u32 {
    u32::try_from(policy.pending_max).unwrap_or(u32::MAX)
}

impl Machine {
    /// Applies other rules from now on. They hold for what comes: no session is closed and no
    /// device leaves the managed list because a limit is lower than before. The lists of who was
    /// turned away are cut to theirs. How much trouble is remembered, and what is forgotten at a
    /// start, stay as they were.
    pub fn handle_policy(&mut self, policy: Policy, now: Now) {
        let Policy {
            dial,
            takeover_burst: burst,
            takeover_interval: interval,
            ..
        } = &policy;
        self.pending.set_max(policy.pending_max);
        self.unproven.set_max(policy.unproven_max);
        self.refused_events
            .set(refused_burst(&policy), REFUSED_INTERVAL);
        self.is_changed = true;
        self.dials.set_limits(dial.in_flight_max, dial.rate_max);
        for entry in self.entries.values_mut() {
            entry.takeovers.set(*burst, *interval);
        }
        self.policy = policy;
        self.start_dials(now);
    }
}
