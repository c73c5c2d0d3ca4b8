//! The level of the log: what the configuration says, and what was set meanwhile. Pure.

use std::time::Duration;

use crate::logs::InForce;
use crate::time::Instant;

/// See the module. Texts are handed in as they are; whoever carries them out has checked them.
#[derive(Clone, Debug)]
pub struct Level {
    configured: String,
    set: Option<Set>,
}

#[derive(Clone, Debug)]
struct Set {
    level: String,
    until: Option<Instant>,
}

impl Level {
    pub const fn new(configured: String) -> Self {
        Self {
            configured,
            set: None,
        }
    }

    /// `None` for the level puts that of the configuration in force again.
    pub fn handle_set(&mut self, level: Option<&str>, holds: Option<Duration>, now: Instant) {
        self.set = level.map(|level| Set {
            level: level.to_owned(),
            until: holds.map(|holds| now + holds),
        });
    }

    /// The configuration was read again: what it says counts from now on if it says something new.
    pub fn handle_configured(&mut self, level: &str) {
        if level != self.configured {
            level.clone_into(&mut self.configured);
            self.set = None;
        }
    }

    /// Whether the time of what was set is over. Harmless when early.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_over = self.poll_timeout().is_some_and(|until| until <= now);
        if is_over {
            self.set = None;
        }
        is_over
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.set.as_ref().and_then(|set| set.until)
    }

    pub fn text(&self) -> &str {
        self.set.as_ref().map_or(&self.configured, |set| &set.level)
    }

    pub fn in_force(&self, now: Instant) -> InForce {
        InForce {
            level: self.text().to_owned(),
            configured: self.configured.clone(),
            returns_in: self.poll_timeout().map(|until| until.since(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(minutes: u32) -> Instant {
        Instant::ZERO + MINUTE * minutes
    }

    fn level() -> Level {
        Level::new("info".to_owned())
    }

    #[test]
    fn what_is_set_for_a_time_returns() {
        let mut level = level();
        level.handle_set(Some("debug"), Some(10 * MINUTE), at(1));
        assert_eq!(level.text(), "debug");
        assert_eq!(level.poll_timeout(), Some(at(11)));
        assert!(!level.handle_timeout(at(10)));
        assert_eq!(level.in_force(at(10)).returns_in, Some(MINUTE));
        assert!(level.handle_timeout(at(11)));
        assert_eq!((level.text(), level.poll_timeout()), ("info", None));
        assert!(!level.handle_timeout(at(12)));
    }

    #[test]
    fn a_later_word_counts() {
        let mut level = level();
        level.handle_set(Some("debug"), Some(MINUTE), at(0));
        level.handle_set(Some("trace"), None, at(0));
        assert!(!level.handle_timeout(at(100)));
        assert_eq!(level.text(), "trace");
        level.handle_set(None, None, at(100));
        assert_eq!(level.text(), "info");
    }

    #[test]
    fn a_reload_ends_what_was_set_only_when_it_says_something_new() {
        let mut level = level();
        level.handle_set(Some("debug"), Some(MINUTE), at(0));
        level.handle_configured("info");
        assert_eq!(level.text(), "debug");
        level.handle_configured("warn");
        assert_eq!((level.text(), level.poll_timeout()), ("warn", None));
    }
}
