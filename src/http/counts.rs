//! What is counted of HTTP requests.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use metrics::{Gauge, Histogram};

use crate::clock;
use crate::http::app::App;
use crate::http::rules::RULES;
use crate::metrics::{Counted, Meter, table};

/// The route of every request that none is for, so that nobody outside makes a new series.
const UNKNOWN: &str = "unknown";
/// The same for methods and status codes. A device that answers with an Error may make up a code.
const OTHER: &str = "other";

/// Counts the requests of one server.
pub struct Counts {
    meter: Meter,
    /// How long answers took, by the pattern of the path. Each is made when it first counts.
    routes: HashMap<&'static str, OnceLock<Histogram>>,
    unknown: OnceLock<Histogram>,
    sockets: Gauge,
    event_streams: Gauge,
}

impl Counts {
    pub fn new(meter: &Meter) -> Self {
        let streams = |kind| meter.gauge(&table::HTTP_STREAMS, &[kind]);
        Self {
            meter: meter.clone(),
            routes: RULES
                .iter()
                .map(|rule| (rule.path, OnceLock::new()))
                .collect(),
            unknown: OnceLock::new(),
            sockets: streams("websocket"),
            event_streams: streams("sse"),
        }
    }

    /// A WebSocket is open as long as this is held.
    pub fn socket(&self) -> Counted {
        Counted::one_more(&self.sockets)
    }

    /// The same for a stream of events.
    pub fn event_stream(&self) -> Counted {
        Counted::one_more(&self.event_streams)
    }

    fn answered(&self, path: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let known = path.and_then(|path| self.routes.get_key_value(path));
        let (route, seconds) = known.map_or((UNKNOWN, &self.unknown), |(path, it)| (*path, it));
        let metric = &table::HTTP_REQUEST_SECONDS;
        let seconds = seconds.get_or_init(|| self.meter.histogram(metric, &[route]));
        seconds.record(took.as_secs_f64());
        let is_known = status.canonical_reason().is_some();
        let code = if is_known { status.as_str() } else { OTHER };
        let values = [route, method_name(method), code];
        let requests = self.meter.counter(&table::HTTP_REQUESTS, &values);
        requests.increment(1);
    }
}

/// Counts each request that is answered, whoever answers it.
pub async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let since = clock::now().instant;
    let path = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let took = clock::now().instant.since(since);
    let path = path.as_ref().map(MatchedPath::as_str);
    app.counts.answered(path, &method, response.status(), took);
    response
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: &str = "gatehouse_http_requests_total{";

    fn answered(counts: &Counts, path: Option<&str>, method: &str, status: u16) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let status = StatusCode::from_u16(status).expect("a status");
        counts.answered(path, &method, status, Duration::from_millis(3));
    }

    #[test]
    fn routes_are_told_apart_by_their_patterns() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        let route = "/v3/fleet/{id}";
        answered(&counts, Some(route), "GET", 200);
        answered(&counts, Some(route), "GET", 200);
        answered(&counts, Some(route), "HEAD", 404);
        meter.assert_has(&format!(
            "{REQUESTS}route=\"{route}\",method=\"GET\",code=\"200\"}} 2"
        ));
        meter.assert_has(&format!(
            "{REQUESTS}route=\"{route}\",method=\"HEAD\",code=\"404\"}} 1"
        ));
        meter.assert_has(&format!(
            "gatehouse_http_request_seconds_bucket{{route=\"{route}\",le=\"0.0025\"}} 0"
        ));
        meter.assert_has(&format!(
            "gatehouse_http_request_seconds_bucket{{route=\"{route}\",le=\"0.005\"}} 3"
        ));
    }

    #[test]
    fn nobody_outside_makes_new_series() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        for number in 0..1000_u16 {
            let path = format!("/v3/fleet/{number}");
            answered(&counts, Some(&path), &format!("GET{number}"), 404);
        }
        answered(&counts, None, "BREW", 404);
        meter.assert_has(&format!(
            "{REQUESTS}route=\"unknown\",method=\"other\",code=\"404\"}} 1001"
        ));
        assert_eq!(meter.render().matches(REQUESTS).count(), 1);
    }

    #[test]
    fn a_device_that_makes_codes_up_makes_few_series() {
        let meter = Meter::new();
        let counts = Counts::new(&meter);
        (400..600).for_each(|code| answered(&counts, None, "POST", code));
        let series = meter.render().matches(REQUESTS).count();
        assert!((30..60).contains(&series), "{series}");
        let text = meter.render();
        assert!(text.contains("code=\"418\"} 1") && text.contains("code=\"other\"} "));
    }
}
