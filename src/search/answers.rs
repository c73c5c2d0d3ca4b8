//! What comes back on one search.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::search::message::{Found, NoAnswer, Question, parse_answer};
use crate::time::Instant;

/// Gathers the answers to one question: each device once, whose first answer counts.
#[derive(Debug)]
pub struct Answers {
    question: Question,
    until: Instant,
    max: usize,
    found: BTreeMap<Key, Found>,
    dropped: Dropped,
}

/// A device that knows only its name is told from others by its address.
type Key = (u32, Option<(Ipv4Addr, u16)>);

/// Datagrams that were no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub malformed: u64,
    /// Answers to other questions.
    pub foreign: u64,
    pub late: u64,
    /// Of devices that had answered, from the same address or another.
    pub repeated: u64,
    /// Of devices beyond the limit.
    pub over_limit: u64,
}

impl Answers {
    /// `max` devices are taken, before `until`.
    pub const fn new(question: Question, until: Instant, max: usize) -> Self {
        Self {
            question,
            until,
            max,
            found: BTreeMap::new(),
            dropped: Dropped {
                malformed: 0,
                foreign: 0,
                late: 0,
                repeated: 0,
                over_limit: 0,
            },
        }
    }

    /// Takes a datagram, whoever sent it.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        if now >= self.until {
            self.dropped.late += 1;
            return;
        }
        let found = match parse_answer(&self.question, datagram) {
            Ok(found) => found,
            Err(NoAnswer::Malformed) => return self.dropped.malformed += 1,
            Err(NoAnswer::Foreign) => return self.dropped.foreign += 1,
        };
        let key = match found.id {
            0 => (0, Some((found.address, found.port))),
            id => (id, None),
        };
        if self.found.contains_key(&key) {
            self.dropped.repeated += 1;
        } else if self.found.len() == self.max {
            self.dropped.over_limit += 1;
        } else {
            self.found.insert(key, found);
        }
    }

    /// When the search ends.
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// What was found, by ID, and what was not taken.
    pub fn finish(self) -> (Vec<Found>, Dropped) {
        (self.found.into_values().collect(), self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ConnectionMode;
    use crate::search::message::answer;
    use crate::search::message::tests::question;

    const NOW: Instant = Instant::from_micros(5);
    const UNTIL: Instant = Instant::from_micros(10);

    fn found(id: u32, address: &str) -> Found {
        Found {
            id,
            device_type: 9,
            use_dhcp: false,
            mode: ConnectionMode::ServerToDevice,
            address: address.parse().expect("an address"),
            port: 51211,
            use_ssl: false,
            server_addr: String::new(),
        }
    }

    fn answers(datagrams: &[Vec<u8>]) -> (Vec<Found>, Dropped) {
        let mut answers = Answers::new(question(7), UNTIL, 2);
        for datagram in datagrams {
            answers.handle_datagram(datagram, NOW);
        }
        answers.finish()
    }

    #[test]
    fn one_device_is_one_result_and_its_first_answer_counts() {
        let question = question(7);
        let (first, second) = (found(1, "192.0.2.1"), found(1, "192.0.2.2"));
        let datagrams = [answer(&question, &first), answer(&question, &second)];
        let dropped = Dropped {
            repeated: 1,
            ..Dropped::default()
        };
        assert_eq!(answers(&datagrams), (vec![first], dropped));
    }

    #[test]
    fn devices_without_a_number_are_told_by_their_addresses() {
        let question = question(7);
        let devices = vec![found(0, "192.0.2.1"), found(0, "192.0.2.2")];
        let datagrams: Vec<_> = devices.iter().map(|one| answer(&question, one)).collect();
        assert_eq!(answers(&datagrams), (devices, Dropped::default()));
    }

    #[test]
    fn what_is_no_answer_is_dropped_and_counted() {
        let good = |id| answer(&question(7), &found(id, "192.0.2.1"));
        let foreign = answer(&question(8), &found(1, "192.0.2.1"));
        let noise = vec![0xff; 100];
        let (found, dropped) = answers(&[noise, foreign, good(3), good(2), good(1)]);
        let ids: Vec<u32> = found.iter().map(|found| found.id).collect();
        assert_eq!(ids, [2, 3]);
        let expected = Dropped {
            malformed: 1,
            foreign: 1,
            over_limit: 1,
            ..Dropped::default()
        };
        assert_eq!(dropped, expected);
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut answers = Answers::new(question(7), UNTIL, 2);
        answers.handle_datagram(&answer(&question(7), &found(1, "192.0.2.1")), UNTIL);
        let late = Dropped {
            late: 1,
            ..Dropped::default()
        };
        assert_eq!(answers.finish(), (Vec::new(), late));
    }
}
