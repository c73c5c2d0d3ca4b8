//! When a try is followed by another one.
//!
//! What may have reached the endpoint is sent again only where twice is the same as once: GET, PUT
//! and DELETE. POST and PATCH are sent again only where no connection was made. A try that took its
//! whole time is the last one in any case, for the device waits.

use std::time::Duration;

use crate::config::EndpointMethod;
use crate::registry::backoff::{Backoff, BackoffError};

/// The shortest and the longest wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What became of a try that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection, so nothing was sent.
    NoConnection,
    /// The answer did not come to its end in time.
    TimedOut,
    /// The connection broke.
    Broken,
    /// The endpoint refused with this HTTP status, 300 and above.
    Status(u16),
    /// The answer cannot be handed to a device.
    Unfit,
}

impl Failure {
    pub const fn is_tried_again(self, method: EndpointMethod) -> bool {
        let is_idempotent = matches!(
            method,
            EndpointMethod::Get | EndpointMethod::Put | EndpointMethod::Delete
        );
        match self {
            Self::NoConnection => true,
            Self::Broken | Self::Status(429 | 500..=599) => is_idempotent,
            Self::TimedOut | Self::Status(_) | Self::Unfit => false,
        }
    }
}

/// # Errors
/// Never with the bounds above.
pub fn backoff() -> Result<Backoff, BackoffError> {
    Backoff::new(WAIT.0, WAIT.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointMethod::{Delete, Get, Patch, Post, Put};

    #[test]
    fn what_may_have_been_done_is_not_sent_twice() {
        let again = |failure: Failure| {
            let all = [Get, Put, Delete, Post, Patch];
            all.map(|method| failure.is_tried_again(method))
        };
        assert_eq!(again(Failure::NoConnection), [true; 5]);
        for failure in [
            Failure::Broken,
            Failure::Status(429),
            Failure::Status(500),
            Failure::Status(503),
        ] {
            let expected = [true, true, true, false, false];
            assert_eq!(again(failure), expected, "{failure:?}");
        }
        for failure in [
            Failure::TimedOut,
            Failure::Unfit,
            Failure::Status(302),
            Failure::Status(404),
        ] {
            assert_eq!(again(failure), [false; 5], "{failure:?}");
        }
    }
}
