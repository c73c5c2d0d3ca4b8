//! Whether the other end of a WebSocket is still there.

use std::time::Duration;

use crate::time::Instant;

/// How often a ping is sent.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// How long nothing, no pong either, may come.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Ping,
    Close,
}

/// One socket's.
#[derive(Debug)]
pub struct Liveness {
    ping_at: Instant,
    close_at: Instant,
}

impl Liveness {
    pub fn new(now: Instant) -> Self {
        Self {
            ping_at: now + PING_EVERY,
            close_at: now + SILENCE_MAX,
        }
    }

    /// Something came from the other end.
    pub fn handle_heard(&mut self, now: Instant) {
        self.close_at = now + SILENCE_MAX;
    }

    /// What is due now, if anything.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.close_at <= now {
            return Some(Due::Close);
        }
        if self.ping_at > now {
            return None;
        }
        self.ping_at = now + PING_EVERY;
        Some(Due::Ping)
    }

    /// When to ask next.
    pub fn poll_timeout(&self) -> Instant {
        self.ping_at.min(self.close_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// What is due and when, until it closes or ten minutes are over; `pong` says whether the
    /// other end answers the n-th ping.
    fn trace(pong: impl Fn(usize) -> bool) -> Vec<(u64, Due)> {
        let mut liveness = Liveness::new(at(0));
        let mut due = Vec::new();
        let mut pings = 0;
        loop {
            let now = liveness.poll_timeout();
            if now > at(600) {
                return due;
            }
            let what = liveness.handle_timeout(now).expect("something is due");
            assert_eq!(
                liveness.handle_timeout(now).filter(|_| what == Due::Ping),
                None
            );
            due.push((now.since(at(0)).as_secs(), what));
            match what {
                Due::Close => return due,
                Due::Ping if pong(pings) => liveness.handle_heard(now),
                Due::Ping => {}
            }
            pings += 1;
        }
    }

    #[test]
    fn who_never_answers_is_closed_after_a_minute() {
        let expected = [(20, Due::Ping), (40, Due::Ping), (60, Due::Close)];
        assert_eq!(trace(|_| false), expected);
    }

    #[test]
    fn who_answers_stays() {
        let due = trace(|_| true);
        assert_eq!(due.len(), 30);
        assert!(due.iter().all(|(_, due)| *due == Due::Ping));
    }

    #[test]
    fn who_stops_answering_is_closed_a_minute_later() {
        assert_eq!(trace(|ping| ping < 5).last(), Some(&(160, Due::Close)));
    }

    #[test]
    fn early_calls_do_nothing() {
        let mut liveness = Liveness::new(at(0));
        assert_eq!(liveness.handle_timeout(at(19)), None);
        assert_eq!(liveness.poll_timeout(), at(20));
    }
}
