//! The audit log on its way to the disk: numbered, bounded, and never in the way of a commit.

use std::collections::VecDeque;
use std::ops::Range;

use crate::registry::records::AuditEntry;

/// So many entries wait at most while the disk does not take them: about 8 MiB.
pub const AUDIT_WAITING_MAX: usize = 16_384;

/// Entries that are not yet written, and which numbers are on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLog {
    /// Ascending by number, all above those on disk.
    waiting: VecDeque<AuditEntry>,
    /// The number of the next entry.
    next: u64,
    /// The oldest number that may be on disk.
    oldest: u64,
    keep_max: u64,
}

impl AuditLog {
    /// `stored`: the first and the last number on disk. `base`: where to begin when there is none.
    /// At least one entry is always kept, so that the numbers go on after a restart.
    pub fn new(stored: Option<(u64, u64)>, base: u64, keep_max: u64) -> Self {
        let (oldest, next) = match stored {
            Some((first, last)) => (first, last.saturating_add(1)),
            None => (base, base),
        };
        Self {
            waiting: VecDeque::new(),
            next,
            oldest,
            keep_max: keep_max.max(1),
        }
    }

    /// Another number of entries is kept when something is written next.
    pub fn keep(&mut self, keep_max: u64) {
        self.keep_max = keep_max.max(1);
    }

    /// Numbers an entry and has it wait; whether there was room. What waits already is kept, so
    /// that nobody drives an entry out by causing more of them.
    pub fn push(&mut self, mut entry: AuditEntry) -> bool {
        if self.waiting.len() >= AUDIT_WAITING_MAX {
            return false;
        }
        entry.number = self.next;
        self.next = self.next.saturating_add(1);
        self.waiting.push_back(entry);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn waiting(&self) -> impl Iterator<Item = &AuditEntry> {
        self.waiting.iter()
    }

    /// The numbers to drop when what waits is written.
    pub fn trimmed(&self) -> Range<u64> {
        self.oldest..self.next.saturating_sub(self.keep_max).max(self.oldest)
    }

    /// What waits is on disk, and what was to be dropped is gone.
    pub fn written(&mut self) {
        self.oldest = self.trimmed().end;
        self.waiting.clear();
        self.waiting.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            number: 77,
            unix_ms: 1,
            caller: "anonymous".into(),
            peer: "127.0.0.1:1".into(),
            call: "a.B/C".into(),
            arguments: "".into(),
            result: "OK".into(),
        }
    }

    fn numbers(log: &AuditLog) -> Vec<u64> {
        log.waiting().map(|entry| entry.number).collect()
    }

    #[test]
    fn numbers_go_on_after_what_is_on_disk() {
        for (stored, base, first) in [(None, 1, 1), (None, 5000, 5000), (Some((3, 9)), 1, 10)] {
            let mut log = AuditLog::new(stored, base, 100);
            assert!(log.push(entry()) && log.push(entry()));
            assert_eq!(numbers(&log), [first, first + 1]);
        }
    }

    #[test]
    fn the_oldest_are_dropped_beyond_the_bound() {
        let mut log = AuditLog::new(Some((1, 3)), 1, 4);
        log.push(entry());
        assert!(log.trimmed().is_empty());
        log.push(entry());
        log.push(entry());
        assert_eq!(log.trimmed(), 1..3);
        log.written();
        assert!(log.is_empty());
        assert!(log.trimmed().is_empty());
        log.push(entry());
        assert_eq!(log.trimmed(), 3..4);
    }

    #[test]
    fn the_newest_stays_whatever_the_bound() {
        let mut log = AuditLog::new(None, 1, 0);
        log.push(entry());
        log.push(entry());
        assert_eq!(log.trimmed(), 1..2);
    }

    #[test]
    fn what_waits_is_bounded_and_not_driven_out() {
        let mut log = AuditLog::new(None, 1, 10);
        assert!((0..AUDIT_WAITING_MAX).all(|_| log.push(entry())));
        assert!(!log.push(entry()));
        assert_eq!(numbers(&log).first(), Some(&1));
        assert_eq!(log.waiting().count(), AUDIT_WAITING_MAX);
    }
}
