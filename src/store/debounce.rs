//! When to write the export: soon after the last change, but not too often.

use std::time::Duration;

use crate::time::Instant;

/// So long after the last change …
const QUIET: Duration = Duration::from_secs(2);
/// … but not more often than this, nor later than this after the first one.
const APART: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default)]
pub struct Debounce {
    first_change: Option<Instant>,
    last_change: Instant,
    last_done: Option<Instant>,
}

impl Debounce {
    pub fn changed(&mut self, now: Instant) {
        self.first_change.get_or_insert(now);
        self.last_change = now;
    }

    /// Whether something changed since it was last done.
    pub fn is_pending(&self) -> bool {
        self.first_change.is_some()
    }

    /// When it is to be done; `None` when nothing changed.
    pub fn due(&self) -> Option<Instant> {
        let first = self.first_change?;
        let quiet = (self.last_change + QUIET).min(first + APART);
        let apart = self.last_done.map_or(Instant::ZERO, |done| done + APART);
        Some(quiet.max(apart))
    }

    pub fn done(&mut self, now: Instant) {
        self.first_change = None;
        self.last_done = Some(now);
    }

    /// It was tried and could not be done.
    pub fn failed(&mut self, now: Instant) {
        self.last_done = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_change_is_followed_in_time_and_not_too_often(
            pauses in vec(1..5_000_000u64, 1..200),
        ) {
            let mut debounce = Debounce::default();
            let mut now = Instant::from_micros(1);
            let (mut first, mut done) = (None, None);
            for pause in pauses {
                while let Some(due) = debounce.due().filter(|due| *due <= now) {
                    let first = first.take().expect("only done after a change");
                    prop_assert!(due.since(first) <= APART + APART);
                    prop_assert!(done.is_none_or(|done| due.since(done) >= APART));
                    done = Some(due);
                    debounce.done(due);
                }
                debounce.changed(now);
                first = first.or(Some(now));
                now = now + Duration::from_micros(pause);
            }
            prop_assert!(debounce.is_pending());
        }
    }

    #[test]
    fn one_change_is_followed_after_a_quiet_moment() {
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        let now = Instant::from_micros(5);
        debounce.changed(now);
        assert_eq!(debounce.due(), Some(now + QUIET));
        debounce.failed(now + QUIET);
        assert_eq!(debounce.due(), Some(now + QUIET + APART));
    }
}
