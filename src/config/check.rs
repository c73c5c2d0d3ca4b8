//! The bounds of every key, and how keys depend on each other.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::error::Problem;
use super::sections::ClientCertificates;
use super::{Config, duration};

const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);
/// Deadlines below this only break connections.
const SHORTEST: Duration = Duration::from_millis(10);
const BUFFER_MAX: usize = 64 << 20;

/// Every problem of the configuration, in the order of its sections.
pub fn problems(config: &Config) -> Vec<Problem> {
    let mut check = Check::default();
    check.top(config);
    check.grpc(config);
    check.tls(config);
    check.inbound(config);
    check.dial(config);
    check.session(config);
    check.fleet(config);
    check.http(config);
    check.streams(config);
    check.functions(config);
    check.endpoints(config);
    check.drain(config);
    check.disk(config);
    check.log(config);
    check.trace(config);
    check.credentials(config);
    check.problems
}

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn top(&mut self, config: &Config) {
        if config.data_dir.as_os_str().is_empty() {
            self.wrong("data_dir", "\"\"", "name a directory");
        }
    }

    fn grpc(&mut self, config: &Config) {
        let grpc = &config.grpc;
        let required = grpc.client_certificates == ClientCertificates::Required;
        if required && !grpc.open_to.is_empty() {
            self.wrong(
                "grpc.open_to",
                format_args!("{:?}", grpc.open_to),
                "leave it empty, or set client_certificates = \"optional\": \
                 \"required\" asks every host for a certificate",
            );
        }
        for name in grpc.names.iter().filter(|name| !is_host(name)) {
            self.wrong(
                "grpc.names",
                format_args!("{name:?}"),
                "write a DNS name or an IP address",
            );
        }
        self.within(
            "grpc.message_max_bytes",
            grpc.message_max_bytes,
            4096..=256 << 20,
        );
        self.within(
            "grpc.commands_in_flight_max",
            grpc.commands_in_flight_max,
            1..=65_536,
        );
        self.within("grpc.subscribers_max", grpc.subscribers_max, 1..=65_536);
    }

    fn tls(&mut self, config: &Config) {
        let tls = &config.tls;
        if tls.versions.is_empty() {
            self.wrong("tls.versions", "[]", "name \"1.2\", \"1.3\" or both");
        }
        self.time(
            "tls.ticket_lifetime",
            tls.ticket_lifetime,
            MINUTE..=DAY.saturating_mul(7),
        );
    }

    fn http(&mut self, config: &Config) {
        let http = &config.http;
        for host in http.hosts.iter().filter(|host| !is_host(host)) {
            let why = "write a DNS name or an IP address";
            self.wrong("http.hosts", format_args!("{host:?}"), why);
        }
        for origin in http.origins.iter().filter(|origin| !is_origin(origin)) {
            let why = "write http:// or https://, a host, and its port unless it is the usual one";
            self.wrong("http.origins", format_args!("{origin:?}"), why);
        }
        self.within("http.body_max_bytes", http.body_max_bytes, 1024..=16 << 20);
        self.within("http.connections_max", http.connections_max, 1..=100_000);
    }

    fn streams(&mut self, config: &Config) {
        let stream = &config.stream;
        let interval = stream.interval_min;
        self.time(
            "stream.interval_min",
            interval,
            Duration::from_secs(1)..=Duration::from_hours(1),
        );
        if interval.subsec_nanos() != 0 {
            let value = format_args!("{interval:?}");
            self.wrong("stream.interval_min", value, "write whole seconds");
        }
        self.within("stream.sinks_max", stream.sinks_max, 1..=1_000_000);
        self.within(
            "stream.resources_per_device_max",
            stream.resources_per_device_max,
            1..=1024,
        );
        self.within("stream.queue_max", stream.queue_max, 1..=65_536);
    }

    fn functions(&mut self, config: &Config) {
        let functions = &config.functions;
        self.within("functions.in_flight_max", functions.in_flight_max, 1..=1024);
        self.within("functions.streams_max", functions.streams_max, 1..=1024);
        self.within(
            "functions.properties_max",
            functions.properties_max,
            0..=10_000,
        );
        self.within(
            "functions.property_max_bytes",
            functions.property_max_bytes,
            16..=1 << 20,
        );
        self.within("functions.buckets_max", functions.buckets_max, 0..=100_000);
        self.within(
            "functions.bucket_keep_max",
            functions.bucket_keep_max,
            10..=100_000_000,
        );
        self.time(
            "functions.bucket_keep_for",
            functions.bucket_keep_for,
            MINUTE..=DAY.saturating_mul(3650),
        );
        self.within(
            "functions.retained_max",
            functions.retained_max,
            0..=1_000_000,
        );
    }

    fn endpoints(&mut self, config: &Config) {
        let mut names = HashSet::new();
        for endpoint in &config.endpoint {
            let name = format!("{:?}", endpoint.name);
            if endpoint.name.is_empty() || endpoint.name.len() > 64 {
                self.wrong("endpoint.name", &name, "write 1 to 64 characters");
            }
            if !names.insert(&endpoint.name) {
                self.wrong(
                    "endpoint.name",
                    &name,
                    "give each endpoint a name of its own",
                );
            }
            if let Err(problem) = endpoint.address() {
                self.wrong("endpoint.url", format!("that of {name}"), problem);
            }
            if let Err(problem) = endpoint.header_map() {
                self.wrong("endpoint.headers", format!("those of {name}"), problem);
            }
            self.time(
                "endpoint.timeout",
                endpoint.timeout,
                Duration::from_millis(100)..=MINUTE,
            );
            self.within("endpoint.retries", endpoint.retries, 0..=10);
        }
    }

    fn inbound(&mut self, config: &Config) {
        let inbound = &config.inbound;
        self.within("inbound.waiting_max", inbound.waiting_max, 1..=100_000);
        self.within(
            "inbound.waiting_per_source_max",
            inbound.waiting_per_source_max,
            1..=100_000,
        );
        self.deadline("inbound.first_byte_deadline", inbound.first_byte_deadline);
        self.deadline("inbound.handshake_deadline", inbound.handshake_deadline);
        self.deadline("inbound.connect_deadline", inbound.connect_deadline);
        self.within(
            "inbound.handshakes_at_once_max",
            inbound.handshakes_at_once_max,
            0..=4096,
        );
    }

    fn dial(&mut self, config: &Config) {
        let Config {
            dial,
            reconnect,
            takeover,
            ..
        } = config;
        self.deadline("dial.deadline", dial.deadline);
        self.within("dial.in_flight_max", dial.in_flight_max, 1..=65_536);
        self.within("dial.rate_max", dial.rate_max, 1..=1_000_000);
        self.time(
            "reconnect.min",
            reconnect.min,
            SHORTEST..=Duration::from_hours(1),
        );
        self.time(
            "reconnect.max",
            reconnect.max,
            reconnect.min..=DAY.max(reconnect.min),
        );
        self.time(
            "reconnect.stable_after",
            reconnect.stable_after,
            Duration::ZERO..=DAY,
        );
        self.within("takeover.burst", takeover.burst, 1..=1000);
        self.time("takeover.interval", takeover.interval, SHORTEST..=DAY);
    }

    fn session(&mut self, config: &Config) {
        let session = &config.session;
        let frame = 1024..=16 << 20;
        self.within(
            "session.frame_in_max_bytes",
            session.frame_in_max_bytes,
            frame.clone(),
        );
        self.within(
            "session.frame_out_max_bytes",
            session.frame_out_max_bytes,
            frame,
        );
        self.within(
            "session.requests_in_flight_max",
            session.requests_in_flight_max,
            1..=1024,
        );
        // One largest frame must fit, or it could never be sent.
        let buffer = session.frame_out_max_bytes.min(BUFFER_MAX)..=BUFFER_MAX;
        self.within(
            "session.requests_bytes_max",
            session.requests_bytes_max,
            buffer.clone(),
        );
        self.time(
            "session.request_deadline",
            session.request_deadline,
            SHORTEST..=10 * MINUTE,
        );
        self.within(
            "session.out_buffer_max_bytes",
            session.out_buffer_max_bytes,
            buffer,
        );
        self.within("session.sessions_max", session.sessions_max, 1..=1_000_000);
    }

    fn fleet(&mut self, config: &Config) {
        self.within(
            "registry.devices_max",
            config.registry.devices_max,
            1..=1_000_000,
        );
        self.within(
            "registry.pending_max",
            config.registry.pending_max,
            1..=100_000,
        );
        self.within(
            "registry.unproven_max",
            config.registry.unproven_max,
            1..=100_000,
        );
        self.within(
            "registry.trouble_max",
            config.registry.trouble_max,
            1..=100_000,
        );
        let advertise = &config.device.advertise;
        if !advertise.is_empty() && !is_host(advertise) {
            self.wrong(
                "device.advertise",
                format_args!("{advertise:?}"),
                "write a DNS name or an IPv4 address, or leave it empty",
            );
        }
        self.within(
            "device.multi_in_flight_max",
            config.device.multi_in_flight_max,
            1..=4096,
        );
        let broadcast = &config.search.broadcast;
        if !(1..=64).contains(&broadcast.len()) {
            self.wrong(
                "search.broadcast",
                format_args!("{} addresses", broadcast.len()),
                "name 1 to 64",
            );
        }
        for address in broadcast.iter().filter(|address| address.port() == 0) {
            self.wrong(
                "search.broadcast",
                format_args!("\"{address}\""),
                "write a port of 1 to 65535, as in \"255.255.255.255:51210\"",
            );
        }
        self.within("search.answers_max", config.search.answers_max, 1..=100_000);
    }

    fn drain(&mut self, config: &Config) {
        let drain = &config.drain;
        self.within("drain.pace", drain.pace, 1..=1_000_000);
        self.time(
            "drain.grace",
            drain.grace,
            Duration::from_secs(1)..=15 * MINUTE,
        );
    }

    fn disk(&mut self, config: &Config) {
        self.within(
            "events.keep_max",
            config.events.keep_max,
            1000..=100_000_000,
        );
        self.time(
            "events.keep_for",
            config.events.keep_for,
            MINUTE..=3650 * DAY,
        );
        self.within("store.free_min", config.store.free_min, 0..=1 << 40);
        self.within(
            "access.audit_keep_max",
            config.access.audit_keep_max,
            1000..=10_000_000,
        );
        self.time(
            "access.refusal_for",
            config.access.refusal_for,
            MINUTE..=3650 * DAY,
        );
    }

    fn log(&mut self, config: &Config) {
        let log = &config.log;
        if !is_log_level(&log.level) {
            self.wrong(
                "log.level",
                format_args!("{:?}", log.level),
                "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\", \
                 or for single parts as in \"info,gatehouse::session=debug\"",
            );
        }
        self.within("log.device_burst", log.device_burst, 1..=10_000);
        self.time(
            "log.device_interval",
            log.device_interval,
            SHORTEST..=Duration::from_hours(1),
        );
        self.within("log.total_burst", log.total_burst, 100..=10_000_000);
        self.within("log.total_rate_max", log.total_rate_max, 1..=1_000_000);
        self.time("log.slow_after", log.slow_after, SHORTEST..=MINUTE);
    }

    fn trace(&mut self, config: &Config) {
        let trace = &config.trace;
        if let Err(right) = trace.address() {
            self.wrong(
                "trace.endpoint",
                format_args!("{:?}", trace.endpoint),
                right,
            );
        }
        if trace.certificate.is_empty() != trace.key.is_empty() {
            let why = "write both for a certificate that is shown to the collector, or neither";
            self.wrong(
                "trace.certificate and trace.key",
                "one without the other",
                why,
            );
        }
        if let Some(name) = trace.headers.iter().find_map(|(name, value)| {
            let is_header =
                HeaderName::try_from(name).is_ok() && HeaderValue::from_str(value).is_ok();
            (!is_header).then_some(name)
        }) {
            let why = "write names of small letters, digits and hyphens, and values in ASCII";
            self.wrong("trace.headers", format_args!("that of {name:?}"), why);
        }
        self.within("trace.sample_one_in", trace.sample_one_in, 1..=1_000_000);
        if trace.service_name.is_empty() {
            self.wrong("trace.service_name", "\"\"", "write a name");
        }
        self.time(
            "trace.timeout",
            trace.timeout,
            Duration::from_millis(100)..=MINUTE,
        );
    }

    fn credentials(&mut self, config: &Config) {
        let mut seen = HashSet::new();
        for credential in &config.credential {
            let identity = match credential.identity() {
                Ok(identity) => identity,
                Err(error) => {
                    let name = format!("{:?}", credential.device);
                    self.wrong("credential.device", name, error);
                    continue;
                }
            };
            // Of a serial number there is one device, whatever owner it names.
            let subject = match identity.serial() {
                Some(id) => id.to_string(),
                None => identity.to_string(),
            };
            if !seen.insert(subject) {
                let name = format!("{:?}", credential.device);
                self.wrong(
                    "credential.device",
                    name,
                    "give each device one [[credential]]",
                );
            }
        }
    }

    fn within<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let right = format!("{} to {}", range.start(), range.end());
            self.wrong(key, value, right);
        }
    }

    fn deadline(&mut self, key: &str, value: Duration) {
        self.time(key, value, SHORTEST..=5 * MINUTE);
    }

    fn time(&mut self, key: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (least, most) = (
                duration::format(*range.start()),
                duration::format(*range.end()),
            );
            self.wrong(
                key,
                duration::format(value),
                format_args!("{least} to {most}"),
            );
        }
    }

    fn wrong(&mut self, key: &str, value: impl Display, right: impl Display) {
        self.problems.push(Problem {
            key: key.to_owned(),
            value: value.to_string(),
            right: right.to_string(),
        });
    }
}

/// Whether it is a level for the whole log, with or without levels for single targets.
pub fn is_log_level(text: &str) -> bool {
    text.split(',').all(is_log_directive)
}

/// A level, or a target with its level. A target alone would mean all of its lines, and is rather
/// a mistyped level.
fn is_log_directive(text: &str) -> bool {
    let text = text.trim();
    let is_level = !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    is_level || text.contains('=') && text.parse::<Targets>().is_ok()
}

/// Whether it can stand in a certificate: an address, or labels of letters, digits and hyphens.
pub fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

/// Whether a text is the origin of a web page: scheme, host and port, nothing after them.
fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    match rest.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => is_host(host),
        _ => is_host(rest),
    }
}
