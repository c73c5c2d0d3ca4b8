//! `gatehouse bench` as a person runs it. What it measures is not judged here.

use serde_json::Value;

use crate::support::process::gatehouse;

#[test]
fn a_quick_bench_tells_every_figure() {
    let output = gatehouse(&["bench", "--quick", "--format", "json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for link in ["plain", "aes", "tls"] {
        is_figure(&report, &format!("/{link}/sessions"));
        for figure in ["session_bytes", "bare_bytes"] {
            is_figure(&report, &format!("/{link}/memory/{figure}"));
        }
        for ramp in ["first", "again", "bare"] {
            for figure in ["sessions", "sessions_per_second", "processor_us"] {
                is_figure(&report, &format!("/{link}/{ramp}/{figure}"));
            }
        }
    }
    for path in ["subscriber", "bare_stream", "bare_socket"] {
        for figure in ["p50_us", "p99_us", "max_us"] {
            is_figure(&report, &format!("/status/{path}/{figure}"));
        }
    }
    for ramp in ["gateway", "bare"] {
        for figure in ["sessions", "sessions_per_second", "processor_us"] {
            is_figure(&report, &format!("/tls/resumed/{ramp}/{figure}"));
        }
    }
    is_storm(&report);
    for path in ["devices", "call_ms", "encode_ms", "decode_ms"] {
        is_figure(&report, &format!("/list/{path}"));
    }
    for counting in ["on", "off"] {
        for figure in ["sessions", "sessions_per_second", "processor_us"] {
            is_figure(&report, &format!("/counting/{counting}/{figure}"));
        }
    }
    for figure in ["devices", "bytes", "series", "ms", "empty_ms"] {
        is_figure(&report, &format!("/scrape/{figure}"));
    }
    for path in [
        "/cores",
        "/handshakes_per_second/aes",
        "/handshakes_per_second/tls",
        "/handshakes_per_second/tls_resumed",
        "/status/sessions",
        "/status/closes",
        "/samples/sockets",
        "/samples/per_second",
        "/samples/bare_per_second",
    ] {
        is_figure(&report, path);
    }
}

fn is_storm(report: &Value) {
    is_figure(report, "/storm/devices");
    for storm in ["anew", "resumed"] {
        for figure in ["gone_ms", "back_ms", "closes"] {
            is_figure(report, &format!("/storm/{storm}/{figure}"));
        }
    }
    for bystander in ["idle", "anew/bystander", "resumed/bystander"] {
        for figure in ["p50_us", "p99_us", "max_us"] {
            is_figure(report, &format!("/storm/{bystander}/{figure}"));
        }
    }
}

fn is_figure(report: &Value, path: &str) {
    let figure = report.pointer(path).and_then(Value::as_f64);
    let figure = figure.unwrap_or_else(|| panic!("no {path} in {report}"));
    assert!(figure > 0.0, "{path} is {figure}");
}
