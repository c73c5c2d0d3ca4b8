//! The table of all metrics.
//!
//! Names follow the rules of Prometheus: base units, `_total` on counters. No label names a device,
//! an owner or an address, and each takes its values from a list that does not grow: the number of
//! series is the same for ten devices and for a hundred thousand.

/// One metric.
#[derive(Debug, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// The names of its labels, in the order of the values given to [`Meter`](super::Meter).
    pub labels: &'static [&'static str],
    /// One sentence, as in the scrape and in the documentation.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Up alone, from 0 at each start.
    Counter,
    /// Up and down.
    Gauge,
    /// With the upper bounds of its buckets, in the unit of its name, ascending.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Metrics of one subject.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    pub metrics: &'static [&'static Metric],
}

/// From a cached lookup to the longest deadline of a call, in seconds.
const CALLS: Kind = Kind::Histogram(&[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
]);
/// From loopback to the longest deadline of a phase: the same range.
const PHASES: Kind = CALLS;
/// From a moment to a month, in seconds.
const LIVES: Kind = Kind::Histogram(&[
    1.0,
    10.0,
    60.0,
    300.0,
    1800.0,
    3600.0,
    21600.0,
    86400.0,
    604_800.0,
    2_592_000.0,
]);
/// The default range of the backoff and beyond, in seconds.
const WAITS: Kind = Kind::Histogram(&[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0, 3600.0,
]);
/// What an actor may leave a message waiting, in seconds.
const QUEUES: Kind = Kind::Histogram(&[
    0.00001, 0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
]);
/// What goes to the disk together.
const BATCHES: Kind = Kind::Histogram(&[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 10_000.0,
]);
const COUNTER: Kind = Kind::Counter;
const GAUGE: Kind = Kind::Gauge;

/// Writes the constants and the list of sections at once, so that neither can miss one.
macro_rules! table {
    ($($title:literal { $($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)* })*) => {
        $($(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: $kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*)*

        /// Every metric there is, by subject.
        pub const SECTIONS: &[Section] = &[
            $(Section { title: $title, metrics: &[$(&$constant),*] }),*
        ];
    };
}

table! {
    "The gateway" {
        BUILD_INFO = GAUGE "gatehouse_build_info" ["version", "schema"]
            "Always 1; the labels tell the version of the gateway and the schema of its store.";
        READY = GAUGE "gatehouse_ready" []
            "1 while the gateway takes work, 0 while it starts or stops.";
        DRAINING = GAUGE "gatehouse_draining" []
            "1 from the order to stop until the end.";
        CONFIG_RELOADS = COUNTER "gatehouse_config_reloads_total" ["outcome"]
            "Reloads of configuration, certificates and keys, by outcome: applied or refused.";
        LIMIT = GAUGE "gatehouse_limit" ["of"]
            "What the configuration allows at most: devices, sessions, pending, subscribers, sinks, dials, waiting_room or http_connections.";
        CERTIFICATE_EXPIRY = GAUGE "gatehouse_certificate_expiry_timestamp_seconds" ["certificate"]
            "When what the gateway shows or trusts expires, in Unix time: server, root (the soonest of those trusted) or revocation_list (absent without one, NaN once it is gone).";
        DEVICE_CERTIFICATES_EXPIRING = GAUGE "gatehouse_device_certificates_expiring" []
            "Device certificates made here that expire within 30 days; a revoked one, or one whose device has a newer one, is not among them.";
        LOG_LINES = COUNTER "gatehouse_log_lines_total" ["level"]
            "Lines written to the log, by level.";
        LOG_LINES_SUPPRESSED = COUNTER "gatehouse_log_lines_suppressed_total" []
            "Lines left out of the log because one device or one place in the code said too much.";
        SPANS_DROPPED = COUNTER "gatehouse_spans_dropped_total" []
            "Spans that were not exported because the collector did not take them in time.";
    }
    "Devices" {
        DEVICES = GAUGE "gatehouse_devices" ["status", "direction", "origin"]
            "Devices of the managed list by status, by who dials (direction: server_to_device or device_to_server) and by origin (direct, auto or inbound).";
        SESSIONS = GAUGE "gatehouse_sessions" ["link", "direction", "proof"]
            "Authenticated sessions by link (plain, aes or tls), by who dialled and by what the device proved itself with.";
        PENDING_DEVICES = GAUGE "gatehouse_pending_devices" []
            "Proven devices that the accept filter did not let in and that wait for a decision.";
        UNPROVEN_PEERS = GAUGE "gatehouse_unproven_peers" []
            "Peers remembered that showed no proof that holds.";
        REFUSALS = GAUGE "gatehouse_refusals" []
            "Devices that an operator keeps off the pending list.";
        FLAPPING_DEVICES = GAUGE "gatehouse_flapping_devices" []
            "Devices that lost at least three sessions in the last ten minutes.";
    }
    "Sessions" {
        SESSIONS_OPENED = COUNTER "gatehouse_sessions_opened_total" ["link", "direction"]
            "Devices let in, by link and by who dialled.";
        SESSIONS_CLOSED = COUNTER "gatehouse_sessions_closed_total" ["cause"]
            "Ended sessions, by cause; keep_alive_timeout is the loss of a silent device.";
        SESSIONS_SHORT = COUNTER "gatehouse_sessions_short_total" []
            "Sessions that were lost before they lasted reconnect.stable_after.";
        SESSION_SECONDS = LIVES "gatehouse_session_seconds" []
            "How long sessions lasted.";
        TAKEOVERS = COUNTER "gatehouse_takeovers_total" []
            "Sessions that gave way to a newer one of the same device.";
    }
    "Attempts" {
        ATTEMPTS = COUNTER "gatehouse_attempts_total" ["direction", "outcome"]
            "Tries at a session by who dialled and by outcome: connected, or why not.";
        CONNECTION_PHASE_SECONDS = PHASES "gatehouse_connection_phase_seconds" ["phase", "link"]
            "How long the phases of a connection took that came to their end: dial, first_byte, handshake, permit (waiting for a turn to compute), connect and verdict.";
        DIALS_IN_FLIGHT = GAUGE "gatehouse_dials_in_flight" []
            "Dials under way, up to the Connect of their device.";
        DIALS_QUEUED = GAUGE "gatehouse_dials_queued" []
            "Dials that are due and wait for their turn.";
        BACKOFF_DEVICES = GAUGE "gatehouse_backoff_devices" []
            "Devices that wait for their next dial.";
        BACKOFF_SECONDS = WAITS "gatehouse_backoff_seconds" []
            "The waits that were drawn before a next dial.";
    }
    "Devices that dial" {
        ACCEPTS = COUNTER "gatehouse_accepts_total" ["listener", "outcome"]
            "Accepted connections by listener (aes, tls, tls_stock, plain or websocket) and outcome: seated, evicted (seated, another gave way), held (asked to wait), refused (its address has its share) or error.";
        ACCEPT_HELD = GAUGE "gatehouse_accept_held" ["listener"]
            "1 while a listener holds its queue because the waiting room is full.";
        WAITING_ROOM = GAUGE "gatehouse_waiting_room_connections" []
            "Accepted connections that are no session yet.";
        HANDSHAKES_WAITING = GAUGE "gatehouse_handshakes_waiting" []
            "Handshakes that wait for a turn to be computed.";
    }
    "Traffic with devices" {
        LINK_BYTES = COUNTER "gatehouse_link_bytes_total" ["link", "flow"]
            "Bytes on connections to devices, whatever secures them, by link and flow: in or out.";
        FRAMES = COUNTER "gatehouse_frames_total" ["link", "flow"]
            "IOTMP frames, by link and flow: in or out.";
        MESSAGES_IGNORED = COUNTER "gatehouse_messages_ignored_total" ["reason"]
            "What devices sent, or were to be sent, and what went nowhere: late_answer, closed_stream, unknown_type, function (not wanted done without an answer) or push (the device read too slowly).";
    }
    "Requests and streams" {
        DEVICE_REQUESTS = COUNTER "gatehouse_device_requests_total" ["outcome"]
            "Requests to devices by outcome: ok, refused (the device answered with an error), timeout, not_connected, lost (its session ended), busy (too much was waiting), invalid (it was not sent) or cancelled (who asked did not wait for the answer).";
        DEVICE_REQUEST_SECONDS = CALLS "gatehouse_device_request_seconds" []
            "How long requests to devices took to their answer; those without one are not among them.";
        DEVICE_FUNCTIONS = COUNTER "gatehouse_device_functions_total" ["function", "outcome"]
            "What devices asked of the gateway, by function (read_property, set_property, call_device, call_endpoint, write_bucket, subscribe_property, subscribe_event, subscribe_topic or publish_topic) and outcome: ok or refused.";
        STREAMS = GAUGE "gatehouse_streams" []
            "Resources that are streamed from devices.";
        SINKS = GAUGE "gatehouse_sinks" []
            "Readers of streams.";
        SAMPLES_DELIVERED = COUNTER "gatehouse_samples_delivered_total" []
            "Values handed to readers of streams; one value counts once for each reader.";
        SAMPLES_DROPPED = COUNTER "gatehouse_samples_dropped_total" []
            "Values that readers lost because they were too slow.";
    }
    "Status events" {
        EVENTS = COUNTER "gatehouse_events_total" ["change"]
            "Numbered events, by what changed: added, changed, removed, refused, approved or denied.";
        SUBSCRIBERS = GAUGE "gatehouse_subscribers" []
            "Open streams of status events.";
        SUBSCRIBERS_REFUSED = COUNTER "gatehouse_subscribers_refused_total" []
            "Streams of status events that were refused because too many were open.";
        EVENTS_CONFLATED = COUNTER "gatehouse_events_conflated_total" []
            "Events that slow subscribers got as part of a newer one.";
        SUBSCRIBER_QUEUE_DEEPEST = GAUGE "gatehouse_subscriber_queue_deepest" []
            "Events that wait for the slowest subscriber.";
    }
    "gRPC and HTTP" {
        GRPC_REQUESTS = COUNTER "gatehouse_grpc_requests_total" ["method", "code"]
            "Ended gRPC calls by method (service/method, whichever generation of names the client uses; unknown for what is not served) and status code; CANCELLED are those that the client left.";
        GRPC_REQUEST_SECONDS = CALLS "gatehouse_grpc_request_seconds" ["method"]
            "How long gRPC calls took to the first byte of their answer; of streams, to their beginning.";
        GRPC_IN_FLIGHT = GAUGE "gatehouse_grpc_requests_in_flight" []
            "gRPC calls in progress, open streams included.";
        GRPC_CONNECTIONS = GAUGE "gatehouse_grpc_connections" []
            "Connected gRPC clients, those in the handshake included.";
        HTTP_REQUESTS = COUNTER "gatehouse_http_requests_total" ["route", "method", "code"]
            "Answered HTTP requests by route (the pattern of the path; unknown for what is not served), method and status code; method and code are other where they are none of the common ones.";
        HTTP_REQUEST_SECONDS = CALLS "gatehouse_http_request_seconds" ["route"]
            "How long HTTP requests took to the head of their answer.";
        HTTP_CONNECTIONS = GAUGE "gatehouse_http_connections" []
            "Connected HTTP clients, those in the handshake and devices over a WebSocket included.";
        HTTP_STREAMS = GAUGE "gatehouse_http_streams" ["kind"]
            "WebSockets and event streams of clients, by kind: websocket or sse.";
    }
    "The store" {
        STORE_COMMIT_SECONDS = CALLS "gatehouse_store_commit_seconds" []
            "How long a group of changes took to the disk, from its first write to its sync.";
        STORE_BATCH_SIZE = BATCHES "gatehouse_store_batch_size" ["kind"]
            "What was written together, by kind: changes, events, audit or points.";
        STORE_WAITING = GAUGE "gatehouse_store_waiting" ["kind"]
            "What waits for the disk, by kind: changes, events or audit.";
        STORE_HEALTHY = GAUGE "gatehouse_store_healthy" []
            "1 while the store works, 0 while it failed and is to be opened again.";
        STORE_FULL = GAUGE "gatehouse_store_full" []
            "1 while changes are refused because the disk is full, or nearly so.";
        STORE_FAILURES = COUNTER "gatehouse_store_failures_total" ["reason"]
            "Failures of the store, by reason: no_space or other.";
        STORE_EVENTS_LOST = COUNTER "gatehouse_store_events_lost_total" []
            "Events that are missing in the event log because the disk did not take them.";
        STORE_SIZE_BYTES = GAUGE "gatehouse_store_size_bytes" []
            "Size of the store on disk.";
        STORE_FILESYSTEM_FREE_BYTES = GAUGE "gatehouse_store_filesystem_free_bytes" []
            "Space that is left on the file system of the store.";
        STORE_FILESYSTEM_SIZE_BYTES = GAUGE "gatehouse_store_filesystem_size_bytes" []
            "Size of the file system of the store.";
        STORE_EXPORT_TIMESTAMP = GAUGE "gatehouse_store_export_timestamp_seconds" []
            "When export.jsonl was last written, in Unix time; 0 before the first.";
    }
    "Inside" {
        MAILBOX_MESSAGES = GAUGE "gatehouse_mailbox_messages" ["actor"]
            "Messages that wait in mailboxes, by actor: registry or session (all of them together).";
        MAILBOX_WAIT_SECONDS = QUEUES "gatehouse_mailbox_wait_seconds" ["actor"]
            "How long messages waited in a mailbox.";
        RUNTIME_WORKERS = GAUGE "gatehouse_runtime_workers" []
            "Threads of the runtime that serves gRPC and HTTP.";
        RUNTIME_TASKS = GAUGE "gatehouse_runtime_tasks" []
            "Tasks that live on the runtime that serves gRPC and HTTP.";
        RUNTIME_QUEUE_DEPTH = GAUGE "gatehouse_runtime_queue_depth" []
            "Tasks that are ready and wait in the shared queue of the runtime.";
    }
    "The process" {
        PROCESS_CPU_SECONDS = COUNTER "process_cpu_seconds_total" []
            "Processor time spent.";
        PROCESS_OPEN_FDS = GAUGE "process_open_fds" []
            "Open file descriptors; each connection takes one.";
        PROCESS_MAX_FDS = GAUGE "process_max_fds" []
            "The most file descriptors that may be open.";
        PROCESS_VIRTUAL_MEMORY = GAUGE "process_virtual_memory_bytes" []
            "Size of the address space.";
        PROCESS_VIRTUAL_MEMORY_MAX = GAUGE "process_virtual_memory_max_bytes" []
            "The largest address space that is allowed.";
        PROCESS_RESIDENT_MEMORY = GAUGE "process_resident_memory_bytes" []
            "Memory in use.";
        PROCESS_START_TIME = GAUGE "process_start_time_seconds" []
            "When the process started, in Unix time.";
        PROCESS_THREADS = GAUGE "process_threads" []
            "Threads.";
    }
}

/// Every metric there is.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|section| section.metrics).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut names: Vec<_> = all().map(|metric| metric.name).collect();
        for metric in all() {
            let Metric {
                name,
                kind,
                labels,
                help,
            } = metric;
            assert!(
                name.starts_with("gatehouse_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            for forbidden in ["device", "id", "owner", "peer", "address"] {
                assert!(!labels.contains(&forbidden), "{name} grows with the fleet");
            }
            if let Kind::Histogram(buckets) = kind {
                assert!(buckets.is_sorted(), "{name}");
            }
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
    }
}
