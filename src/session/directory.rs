//! What is known of a device's resources, and who waits to know.

use std::time::Duration;

use crate::codec::pson::Value;
use crate::session::description::{Description, Resource};
use crate::time::Instant;

/// How old a description is before a name that is not in it is looked up again.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// The description of one device in one session. `T` is what waits for it.
#[derive(Debug)]
pub struct Directory<T> {
    known: Option<(Description, Instant)>,
    /// The device did not tell, the last time it was asked.
    untold: bool,
    waiting: Vec<T>,
}

/// What the directory says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Resource(Resource),
    /// The device has no such resource.
    Unknown,
    /// The device is to be asked for its description first.
    NotKnown,
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self {
            known: None,
            untold: false,
            waiting: Vec::new(),
        }
    }
}

impl<T> Directory<T> {
    pub fn find(&self, name: &str, now: Instant) -> Found {
        let Some((description, since)) = &self.known else {
            return Found::NotKnown;
        };
        match description.find(name) {
            Some(resource) => Found::Resource(resource),
            None if now.since(*since) < FRESH_FOR => Found::Unknown,
            None => Found::NotKnown,
        }
    }

    /// Whether the device refused to describe itself, or did not answer.
    pub const fn is_untold(&self) -> bool {
        self.untold
    }

    /// Waits for the description; true when the device must be asked for it.
    pub fn wait(&mut self, who: T) -> bool {
        self.waiting.push(who);
        self.waiting.len() == 1
    }

    pub fn waiting(&self) -> &[T] {
        &self.waiting
    }

    /// The device described itself; who waited for it.
    pub fn described(&mut self, payload: Option<&Value>, now: Instant) -> Vec<T> {
        self.known = Some((Description::new(payload), now));
        self.untold = false;
        std::mem::take(&mut self.waiting)
    }

    /// The device did not describe itself; who waited for it. What was known stays.
    pub fn failed(&mut self) -> Vec<T> {
        self.untold = true;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::description::Kind;

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn a_missing_name_is_asked_for_again_when_the_description_is_old() {
        let mut directory = Directory::default();
        assert_eq!(directory.find("a", at(100)), Found::NotKnown);
        assert!(directory.wait('a'));
        assert!(!directory.wait('b'));
        let payload = Value::map([("a", Value::map([("fn", 3_u64)]))]);
        assert_eq!(directory.described(Some(&payload), at(100)), ['a', 'b']);
        let found = Found::Resource(Resource {
            kind: Kind::Output,
            streams: true,
        });
        assert_eq!(directory.find("a", at(100)), found);
        assert_eq!(directory.find("b", at(109)), Found::Unknown);
        assert_eq!(directory.find("b", at(110)), Found::NotKnown);
        assert_eq!(directory.find("a", at(1000)), found);
    }

    #[test]
    fn a_refusal_leaves_what_was_known() {
        let mut directory = Directory::default();
        directory.wait(1);
        assert_eq!(directory.failed(), [1]);
        assert!(directory.is_untold());
        assert_eq!(directory.find("a", at(1)), Found::NotKnown);
        assert!(directory.wait(2));
    }
}
