//! Rules that change while the machine runs.

use super::{Machine, Policy};
use crate::time::Now;

impl Machine {
    /// Applies other rules from now on. They hold for what comes: no session is closed and no
    /// device leaves the list because a limit is lower than before. The room of the lists of who
    /// was turned away, and what is forgotten at a start, stay as they were.
    pub fn handle_policy(&mut self, policy: Policy, now: Now) {
        let Policy {
            dial,
            takeover_burst: burst,
            takeover_interval: interval,
            ..
        } = &policy;
        self.dials.set_limits(dial.in_flight_max, dial.rate_max);
        for entry in self.entries.values_mut() {
            entry.takeovers.set(*burst, *interval);
        }
        self.policy = policy;
        self.start_dials(now);
    }
}
