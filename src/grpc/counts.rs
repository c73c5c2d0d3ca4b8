//! What is counted of gRPC calls.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram};
use tonic::Code;

use crate::access::calls::RULES;
use crate::clock;
use crate::grpc::code::code_name;
use crate::metrics::{Counted, Meter, table};
use crate::time::Instant;

/// The codes of the protocol, 0 to 16.
const CODES: usize = 17;
/// The method of every call that is not served, so that nobody outside makes a new series.
const UNKNOWN: &str = "unknown";

/// Counts the calls of one server. Cheap to clone.
#[derive(Clone)]
pub struct Counts {
    in_flight: Gauge,
    /// By their full name, without end the same.
    methods: Arc<HashMap<&'static str, Arc<Method>>>,
    unknown: Arc<Method>,
}

/// The series of one method. Each is made when it first counts: most never do.
struct Method {
    meter: Meter,
    name: &'static str,
    seconds: OnceLock<Histogram>,
    ended: [OnceLock<Counter>; CODES],
}

/// One call, until it has ended. One that is dropped before was cancelled.
pub struct Count {
    method: Arc<Method>,
    since: Instant,
    is_answered: bool,
    code: Code,
    _in_flight: Counted,
}

impl Counts {
    pub fn new(meter: &Meter) -> Self {
        let method = |name| {
            Arc::new(Method {
                meter: meter.clone(),
                name,
                seconds: OnceLock::new(),
                ended: [const { OnceLock::new() }; CODES],
            })
        };
        let methods = RULES.iter().map(|rule| (rule.call, method(rule.call)));
        Self {
            in_flight: meter.gauge(&table::GRPC_IN_FLIGHT, &[]),
            methods: Arc::new(methods.collect()),
            unknown: method(UNKNOWN),
        }
    }

    /// A call began. `call` is the name under which it is served, `None` when it is not.
    pub fn begin(&self, call: Option<&str>) -> Count {
        let known = call.and_then(|call| self.methods.get(call));
        Count {
            method: Arc::clone(known.unwrap_or(&self.unknown)),
            since: clock::now().instant,
            is_answered: false,
            code: Code::Cancelled,
            _in_flight: Counted::one_more(&self.in_flight),
        }
    }
}

impl Count {
    /// Its answer begins.
    pub fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            let took = clock::now().instant.since(self.since);
            self.method.seconds().record(took.as_secs_f64());
        }
    }

    /// How it ended; the last word counts.
    pub fn ended(&mut self, code: Code) {
        self.answered();
        self.code = code;
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.method.ended(self.code).increment(1);
    }
}

impl Method {
    fn seconds(&self) -> &Histogram {
        self.seconds.get_or_init(|| {
            let (meter, metric) = (&self.meter, &table::GRPC_REQUEST_SECONDS);
            meter.histogram(metric, &[self.name])
        })
    }

    fn ended(&self, code: Code) -> &Counter {
        self.ended[code as usize].get_or_init(|| {
            let (meter, metric) = (&self.meter, &table::GRPC_REQUESTS);
            meter.counter(metric, &[self.name, code_name(code)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "gatehouse.v1.Fleet/Get";

    #[test]
    fn a_call_is_counted_once_with_its_last_code() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        let mut count = counts.begin(Some(GET));
        meter.assert_has("gatehouse_grpc_requests_in_flight 1");
        count.ended(Code::Ok);
        count.ended(Code::Unavailable);
        drop(count);
        meter.assert_has("gatehouse_grpc_requests_in_flight 0");
        let series = format!("gatehouse_grpc_requests_total{{method=\"{GET}\"");
        meter.assert_has(&format!("{series},code=\"UNAVAILABLE\"}} 1"));
        let text = meter.render();
        assert_eq!(text.matches(&series).count(), 1, "{text}");
        let answered = format!("gatehouse_grpc_request_seconds_count{{method=\"{GET}\"}} 1");
        meter.assert_has(&answered);
    }

    #[test]
    fn one_that_is_dropped_was_cancelled_and_took_no_time_to_an_answer() {
        let meter = Meter::new();
        drop(Counts::new(&meter).begin(Some(GET)));
        let series = format!("gatehouse_grpc_requests_total{{method=\"{GET}\"");
        meter.assert_has(&format!("{series},code=\"CANCELLED\"}} 1"));
        assert!(!meter.render().contains("gatehouse_grpc_request_seconds_c"));
    }

    #[test]
    fn what_is_not_served_is_one_series() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        let names = (0..1000).map(|number| format!("gatehouse.v1.Fleet/Get{number}"));
        for name in names {
            counts.begin(Some(&name)).ended(Code::Unimplemented);
        }
        counts.begin(None).ended(Code::Unimplemented);
        let series = "gatehouse_grpc_requests_total{";
        meter.assert_has(&format!(
            "{series}method=\"unknown\",code=\"UNIMPLEMENTED\"}} 1001"
        ));
        assert_eq!(meter.render().matches(series).count(), 1);
    }

    #[test]
    fn each_code_has_its_place() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        for code in 0..=16 {
            counts.begin(Some(GET)).ended(Code::from_i32(code));
        }
        for code in 0..=16 {
            let name = code_name(Code::from_i32(code));
            let series = format!("gatehouse_grpc_requests_total{{method=\"{GET}\"");
            meter.assert_has(&format!("{series},code=\"{name}\"}} 1"));
        }
    }
}
