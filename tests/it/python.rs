//! A client in another language, with stubs made from our contracts.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::{BINARY, Process};

/// The Python that has grpcio, if there is one; `.ci/run` names it and allows no skip.
fn python() -> Option<String> {
    let named = std::env::var("GATEHOUSE_PYTHON").ok();
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let imports = Command::new(&python)
        .args(["-c", "import grpc, grpc_status, grpc_tools"])
        .stderr(Stdio::null())
        .status();
    if imports.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let reason = "needs Python 3 with grpcio and grpcio-tools (tests/python/requirements.txt)";
    // Not by a macro: what those print is kept from the reader while the test passes.
    writeln!(std::io::stderr(), "skipped: {reason}").expect("a standard error");
    let allowed = std::env::var_os("GATEHOUSE_SKIP_IS_FAILURE").is_none();
    assert!(allowed, "{reason}");
    None
}

#[test]
fn a_python_client_adds_watches_lists_disconnects_and_deletes() {
    let Some(python) = python() else {
        return;
    };
    let gateway = Process::start("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(root.join("tests/python/connect_client.py"))
        .env("GATEHOUSE_BIN", BINARY)
        .env(
            "GATEHOUSE_ADDRESS",
            format!("localhost:{}", gateway.grpc.port()),
        )
        .env("GATEHOUSE_CA", gateway.ca())
        .env("GATEHOUSE_KEY", gateway.fleet_key_file())
        .env("GATEHOUSE_PROTO", root.join("proto"))
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
}

#[test]
fn a_python_client_reads_the_errors_of_a_call_on_many_devices() {
    let Some(python) = python() else {
        return;
    };
    let gateway = Process::start("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let address = format!("localhost:{}", gateway.grpc.port());
    let output = Command::new(python)
        .arg(root.join("tests/python/multi_errors.py"))
        .env("GATEHOUSE_ADDRESS", address)
        .env("GATEHOUSE_CA", gateway.ca())
        .env("GATEHOUSE_PROTO", root.join("proto"))
        .output()
        .expect("Python runs");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
}
