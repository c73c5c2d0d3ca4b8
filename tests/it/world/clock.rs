//! The one clock of a world: it jumps to what is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use gatehouse::time::{Instant, Now};

/// When every world begins.
const START: Now = Now {
    instant: Instant::from_micros(1_000_000_000),
    unix_ms: 1_700_000_000_000,
};

pub struct Clock<T> {
    now: Instant,
    count: u64,
    queue: BinaryHeap<Reverse<Entry<T>>>,
}

struct Entry<T> {
    due: Instant,
    /// What was put in first comes first.
    count: u64,
    what: T,
}

impl<T> Clock<T> {
    pub fn new() -> Self {
        Self {
            now: START.instant,
            count: 0,
            queue: BinaryHeap::new(),
        }
    }

    pub const fn instant(&self) -> Instant {
        self.now
    }

    pub fn now(&self) -> Now {
        let passed = self.now.since(START.instant).as_millis();
        Now {
            instant: self.now,
            unix_ms: START.unix_ms + passed as u64,
        }
    }

    pub fn after(&mut self, delay: Duration, what: T) {
        self.at(self.now + delay, what);
    }

    pub fn at(&mut self, due: Instant, what: T) {
        self.count += 1;
        self.queue.push(Reverse(Entry {
            due: due.max(self.now),
            count: self.count,
            what,
        }));
    }

    /// Jumps to the next thing that is due; where nothing is until `end`, to the end.
    pub fn next(&mut self, end: Instant) -> Option<T> {
        if self.queue.peek().is_none_or(|entry| entry.0.due > end) {
            self.now = self.now.max(end);
            return None;
        }
        let Reverse(entry) = self.queue.pop()?;
        self.now = entry.due;
        Some(entry.what)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.count) == (other.due, other.count)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.count).cmp(&(other.due, other.count))
    }
}
