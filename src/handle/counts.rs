//! What is counted of requests to devices.

use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::metrics::{Meter, table};
use crate::session::requests::{Answered, RequestError};

/// What a request came to, in the words of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Refused,
    Timeout,
    NotConnected,
    Lost,
    Busy,
    Invalid,
    Cancelled,
}

/// Counts the requests of one gateway.
pub struct Counts {
    by_outcome: [Counter; Outcome::ALL.len()],
    seconds: Histogram,
}

/// One request, until it came to something. One that is dropped before was cancelled.
pub struct Count<'a> {
    counts: &'a Counts,
    outcome: Outcome,
}

impl Outcome {
    /// In the order of their numbers as `usize`.
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Refused,
        Self::Timeout,
        Self::NotConnected,
        Self::Lost,
        Self::Busy,
        Self::Invalid,
        Self::Cancelled,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::NotConnected => "not_connected",
            Self::Lost => "lost",
            Self::Busy => "busy",
            Self::Invalid => "invalid",
            Self::Cancelled => "cancelled",
        }
    }

    const fn of(answered: &Result<Answered, RequestError>) -> Self {
        match answered {
            Ok(Answered::Ok(_)) => Self::Ok,
            Ok(Answered::Error(_)) => Self::Refused,
            Err(error) => match error {
                RequestError::TimedOut => Self::Timeout,
                RequestError::NotConnected => Self::NotConnected,
                RequestError::SessionEnded(_) => Self::Lost,
                RequestError::TooMany { .. } | RequestError::TooManyBytes { .. } => Self::Busy,
                RequestError::TooLarge { .. }
                | RequestError::NotSecured
                | RequestError::UnknownResource
                | RequestError::IsAction
                | RequestError::NotStreamed => Self::Invalid,
            },
        }
    }
}

impl Counts {
    pub fn new(meter: &Meter) -> Self {
        let counter =
            |outcome: Outcome| meter.counter(&table::DEVICE_REQUESTS, &[outcome.as_str()]);
        Self {
            by_outcome: Outcome::ALL.map(counter),
            seconds: meter.histogram(&table::DEVICE_REQUEST_SECONDS, &[]),
        }
    }

    pub const fn begin(&self) -> Count<'_> {
        Count {
            counts: self,
            outcome: Outcome::Cancelled,
        }
    }
}

impl Count<'_> {
    /// It took so long to come to this.
    pub fn ended(mut self, answered: &Result<Answered, RequestError>, took: Duration) {
        self.outcome = Outcome::of(answered);
        if answered.is_ok() {
            self.counts.seconds.record(took.as_secs_f64());
        }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.counts.by_outcome[self.outcome as usize].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::CauseKind;
    use crate::codec::message::Answer;

    fn answer() -> Answer {
        Answer {
            stream_id: Some(1),
            parameters: None,
            payload: None,
        }
    }

    #[test]
    fn each_request_is_counted_by_what_it_came_to() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        let max = 1;
        let ended = [
            Ok(Answered::Ok(answer())),
            Ok(Answered::Error(answer())),
            Err(RequestError::TimedOut),
            Err(RequestError::NotConnected),
            Err(RequestError::SessionEnded(CauseKind::ClosedByDevice.into())),
            Err(RequestError::TooMany { max }),
            Err(RequestError::TooManyBytes { max }),
            Err(RequestError::TooLarge { size: 2, max }),
            Err(RequestError::NotSecured),
            Err(RequestError::UnknownResource),
            Err(RequestError::IsAction),
            Err(RequestError::NotStreamed),
        ];
        for answered in &ended {
            counts.begin().ended(answered, Duration::from_millis(40));
        }
        drop(counts.begin());
        for (outcome, count) in [
            ("ok", 1),
            ("refused", 1),
            ("timeout", 1),
            ("not_connected", 1),
            ("lost", 1),
            ("busy", 2),
            ("invalid", 5),
            ("cancelled", 1),
        ] {
            let line = format!("gatehouse_device_requests_total{{outcome=\"{outcome}\"}} {count}");
            meter.assert_has(&line);
        }
        let seconds = "gatehouse_device_request_seconds";
        meter.assert_has(&format!("{seconds}_bucket{{le=\"0.025\"}} 0"));
        // Those alone that were answered.
        meter.assert_has(&format!("{seconds}_bucket{{le=\"0.05\"}} 2"));
        meter.assert_has(&format!("{seconds}_count 2"));
    }
}
