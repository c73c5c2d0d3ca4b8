//! Style as a test: the pure files are pure, and imports point left only.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders that take events and the time and return outputs.
const PURE: &[&str] = &[
    "access.rs",
    "access",
    "time.rs",
    "device.rs",
    "cause.rs",
    "identity.rs",
    "event.rs",
    "config",
    "metrics/table.rs",
    "metrics/page.rs",
    "metrics/counted.rs",
    "metrics/mailbox.rs",
    "codec",
    "link/expiry.rs",
    "logs/level.rs",
    "logs/limit.rs",
    "link/noise.rs",
    "link/noise",
    "link/link_key.rs",
    "link/keyring.rs",
    "link/role.rs",
    "link/tls/certificate.rs",
    "link/tls/device.rs",
    "link/tls/error.rs",
    "link/tls/hello.rs",
    "link/tls/stream.rs",
    "link/tls/tickets.rs",
    "link/certificate.rs",
    "link/revocation.rs",
    "link/seal.rs",
    "link/waiting_room.rs",
    "link/websocket/frames.rs",
    "search/message.rs",
    "service/pulse.rs",
    "search/answers.rs",
    "session/keepalive.rs",
    "session/requests.rs",
    "session/machine.rs",
    "session/machine",
    "session/wire.rs",
    "session/connect.rs",
    "session/closing.rs",
    "session/server_run.rs",
    "session/asked.rs",
    "session/description.rs",
    "session/directory.rs",
    "session/in_hand.rs",
    "session/streams.rs",
    "session/streams",
    "session/security.rs",
    "stream/mod.rs",
    "stream/delivery.rs",
    "stream/planner.rs",
    "stream/reading.rs",
    "stream/planner",
    "functions/event.rs",
    "functions/refusal.rs",
    "functions/states.rs",
    "functions/subscriptions.rs",
    "functions/topic.rs",
    "functions/topics.rs",
    "functions/endpoints/answer.rs",
    "functions/endpoints/retry.rs",
    "registry/machine",
    "registry/entry.rs",
    "registry/backoff.rs",
    "registry/admission.rs",
    "registry/accept_filter.rs",
    "registry/pending.rs",
    "registry/tries.rs",
    "registry/trouble.rs",
    "registry/trouble",
    "registry/decisions.rs",
    "registry/identities.rs",
    "registry/conflate.rs",
    "registry/records.rs",
    "registry/snapshot.rs",
    "registry/watch.rs",
    "store/record.rs",
    "store/property.rs",
    "store/bucket.rs",
    "store/bucket_index.rs",
    "store/bucket_record.rs",
    "store/limits.rs",
    "store/space.rs",
    "store/coverage.rs",
    "store/desired.rs",
    "store/gather.rs",
    "store/audit.rs",
    "store/stored_record.rs",
    "store/export_line.rs",
    "store/export_log.rs",
    "store/export_record.rs",
    "store/writes.rs",
    "vault/ledger.rs",
    "vault/ledger",
    "grpc/convert.rs",
    "grpc/convert",
    "grpc/content.rs",
    "grpc/ip_config.rs",
    "grpc/capability.rs",
    "grpc/contracts.rs",
    "callers/client_certificate.rs",
    "http/fleet_view.rs",
    "http/top_view.rs",
    "http/pace.rs",
    "http/resources/address.rs",
    "http/resources/answer.rs",
    "http/websocket/conversation.rs",
    "http/websocket/frames.rs",
    "http/websocket/liveness.rs",
    "http/hosts.rs",
    "http/problem.rs",
    "http/rules.rs",
    "http/tickets.rs",
    "grpc/fleet_view.rs",
    "grpc/top_view.rs",
    "grpc/approvals_view.rs",
    "sim/ask.rs",
    "sim/device.rs",
    "sim/device",
    "sim/ip_config.rs",
    "sim/panel.rs",
    "sim/quirks.rs",
    "sim/resources.rs",
    "sim/state.rs",
    "sim/streams.rs",
    "sim/wire.rs",
    "cli/ctl/accept.rs",
    "cli/ctl/blame.rs",
    "cli/ctl/escape.rs",
    "cli/ctl/exit.rs",
    "cli/ctl/follow.rs",
    "cli/ctl/input.rs",
    "cli/ctl/multi.rs",
    "cli/ctl/output.rs",
    "cli/ctl/profile.rs",
    "cli/ctl/row.rs",
    "cli/ctl/rows.rs",
    "cli/ctl/stamp.rs",
    "cli/ctl/waiting.rs",
    "cli/man/page.rs",
    "cli/man/prose.rs",
    "cli/man/settings.rs",
];

/// What only a shell may name.
const IMPURE: &[&str] = &[
    "tokio",
    "actix",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "::now()",
    "std::fs",
    "rand::rng(",
    "rand::random",
    "SysRng",
];

/// The rooms from left to right; a room imports from its left and from what lies under all. The
/// simulator is a device: it stands where the wire is.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("device", &[]),
    ("cause", &[]),
    ("access", &[]),
    ("identity", &["device"]),
    ("event", &["cause", "device"]),
    ("logs", &["device", "time", "metrics"]),
    ("config", &["identity", "device", "time", "logs"]),
    ("clock", &["time"]),
    ("trace", &["config", "clock", "logs", "metrics"]),
    ("metrics", &["time"]),
    ("link", BASE),
    ("codec", BASE),
    ("search", &["codec"]),
    ("service", &[]),
    ("stream", &["codec"]),
    ("session", &["link", "codec", "stream"]),
    ("registry", &["link", "codec", "session"]),
    ("store", &["codec", "registry"]),
    ("handle", &["session", "registry", "store"]),
    ("callers", &["link", "registry", "store"]),
    (
        "functions",
        &["codec", "stream", "session", "registry", "store", "handle"],
    ),
    ("vault", &["link", "codec", "session", "registry", "handle"]),
    (
        "grpc",
        &[
            "link", "codec", "search", "service", "session", "registry", "store", "handle",
            "vault", "callers",
        ],
    ),
    (
        "http",
        &[
            "link",
            "codec",
            "stream",
            "service",
            "session",
            "registry",
            "store",
            "handle",
            "callers",
            "functions",
        ],
    ),
    ("sim", &["link", "codec", "search"]),
];

const BASE: &[&str] = &[
    "access", "time", "device", "cause", "identity", "event", "config", "clock", "metrics", "logs",
    "trace",
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path: PathBuf = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .expect("below")
                    .display()
                    .to_string();
                files.push((name, fs::read_to_string(path).expect("readable")));
            }
        }
    }
    files
}

fn is_test(name: &str) -> bool {
    name.contains("tests") || name.contains("testing")
}

/// A file without its comments and without the tests at its end.
fn code(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_files_are_pure() {
    let mut found = Vec::new();
    let sources = sources();
    for pure in PURE {
        let inside = |name: &str| name == *pure || name.starts_with(&format!("{pure}/"));
        assert!(
            sources.iter().any(|(name, _)| inside(name)),
            "{pure} is gone"
        );
    }
    for (name, text) in &sources {
        let is_pure = PURE
            .iter()
            .any(|pure| name == pure || name.starts_with(&format!("{pure}/")));
        if !is_pure || is_test(name) {
            continue;
        }
        let code = code(text);
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            found.push(format!("src/{name} is pure and names {word}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn imports_point_left() {
    let mut found = Vec::new();
    for (name, text) in &sources() {
        let room = name.split(['/', '.']).next().expect("a name");
        let Some((_, allowed)) = ROOMS.iter().find(|(other, _)| *other == room) else {
            continue;
        };
        if is_test(name) {
            continue;
        }
        for part in code(text).split("crate::").skip(1) {
            let end = part.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let target = &part[..end.unwrap_or(part.len())];
            let under_all = BASE.contains(&target) && !BASE.contains(&room);
            let known = ROOMS.iter().any(|(other, _)| *other == target)
                || ["gateway", "cli"].contains(&target);
            if known && target != room && !under_all && !allowed.contains(&target) {
                found.push(format!(
                    "src/{name} imports {target}, which lies to its right"
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
