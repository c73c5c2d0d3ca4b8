//! One-time tickets: what stands in the URL of a WebSocket or a stream of events, where a browser
//! can send no header. Each is good once and for a short while.

use std::collections::HashMap;
use std::time::Duration;

use crate::access::tokens::digest;
use crate::time::Instant;

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// Random bytes in a ticket.
pub const RANDOM_BYTES: usize = 32;
/// Tickets that wait to be used, of all callers.
pub const TICKETS_MAX: usize = 4096;
/// The same of one caller; a caller's next one ends its oldest.
pub const TICKETS_A_CALLER_MAX: usize = 64;

/// The tickets that were not used yet, each with what it stands for.
pub struct Tickets<T> {
    /// By digest: a look-up tells by its time nothing that helps to guess a text.
    waiting: HashMap<[u8; 32], Waiting<T>>,
    issued: u64,
}

struct Waiting<T> {
    number: u64,
    owner: Box<str>,
    holder: T,
    expires: Instant,
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{TICKETS_MAX} tickets wait to be used, which is the limit; try again in a while")]
pub struct Full;

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            issued: 0,
        }
    }
}

impl<T> Tickets<T> {
    /// Makes a ticket that stands for `holder`; `owner` is whose it counts as.
    ///
    /// # Errors
    /// [`Full`].
    pub fn issue(
        &mut self,
        random: &[u8; RANDOM_BYTES],
        owner: Box<str>,
        holder: T,
        now: Instant,
    ) -> Result<String, Full> {
        self.waiting.retain(|_, ticket| ticket.expires > now);
        self.end_oldest_of(&owner);
        if self.waiting.len() >= TICKETS_MAX {
            return Err(Full);
        }
        let text = hex::encode(random);
        let ticket = Waiting {
            number: self.issued,
            owner,
            holder,
            expires: now + LIFETIME,
        };
        self.issued += 1;
        self.waiting.insert(digest(&text), ticket);
        Ok(text)
    }

    /// What a ticket stands for; it is spent then.
    pub fn spend(&mut self, text: &str, now: Instant) -> Option<T> {
        let ticket = self.waiting.remove(&digest(text))?;
        (ticket.expires > now).then_some(ticket.holder)
    }

    fn end_oldest_of(&mut self, owner: &str) {
        let own = self.waiting.iter().filter(|(_, one)| *one.owner == *owner);
        let (mut count, mut oldest) = (0, None);
        for (digest, ticket) in own {
            count += 1;
            oldest = oldest
                .min(Some((ticket.number, *digest)))
                .or(Some((ticket.number, *digest)));
        }
        if let Some((_, digest)) = oldest.filter(|_| count >= TICKETS_A_CALLER_MAX) {
            self.waiting.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn random(number: usize) -> [u8; RANDOM_BYTES] {
        let mut random = [0; RANDOM_BYTES];
        random[..8].copy_from_slice(&number.to_be_bytes());
        random
    }

    #[test]
    fn a_ticket_is_spent_once() {
        let mut tickets = Tickets::default();
        let text = tickets
            .issue(&[7; 32], "anna".into(), 5, at(0))
            .expect("room");
        assert_eq!(tickets.spend(&text[1..], at(1)), None);
        assert_eq!(tickets.spend(&text, at(1)), Some(5));
        assert_eq!(tickets.spend(&text, at(1)), None);
    }

    #[test]
    fn a_ticket_expires() {
        for (millis, expected) in [(29_999, Some(5)), (30_000, None)] {
            let mut tickets = Tickets::default();
            let text = tickets
                .issue(&[7; 32], "anna".into(), 5, at(0))
                .expect("room");
            assert_eq!(tickets.spend(&text, at(millis)), expected);
            assert_eq!(tickets.spend(&text, at(0)), None, "a late try spends it");
        }
    }

    #[test]
    fn a_caller_ends_only_tickets_of_its_own() {
        let mut tickets = Tickets::default();
        let mut issue = |number: usize, owner: &str| {
            let issued = tickets.issue(&random(number), owner.into(), number, at(0));
            issued.expect("room")
        };
        let first = issue(1, "anna");
        let texts: Vec<_> = (2..TICKETS_A_CALLER_MAX + 4)
            .map(|one| issue(one, "bob"))
            .collect();
        assert_eq!(tickets.spend(&first, at(0)), Some(1));
        assert_eq!(tickets.spend(&texts[0], at(0)), None);
        assert_eq!(tickets.spend(&texts[1], at(0)), None);
        assert_eq!(tickets.spend(&texts[2], at(0)), Some(4));
    }

    #[test]
    fn there_is_a_limit_and_time_makes_room() {
        let mut tickets = Tickets::default();
        for number in 0..TICKETS_MAX {
            let owner = (number / TICKETS_A_CALLER_MAX).to_string();
            assert!(
                tickets
                    .issue(&random(number), owner.into(), (), at(0))
                    .is_ok()
            );
        }
        let mut issue = |now| tickets.issue(&[9; 32], "late".into(), (), now).map(|_| ());
        assert_eq!(issue(at(29_999)), Err(Full));
        assert_eq!(issue(at(30_000)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_other_text_is_taken(text in ".{0,80}", cut in 0..64usize) {
            let mut tickets = Tickets::default();
            let right = tickets.issue(&[7; 32], "anna".into(), 5, at(0)).expect("room");
            prop_assert_eq!(tickets.spend(&text, at(0)), None);
            prop_assert_eq!(tickets.spend(&right[..cut], at(0)), None);
            prop_assert_eq!(tickets.spend(&right, at(0)), Some(5));
        }
    }
}
