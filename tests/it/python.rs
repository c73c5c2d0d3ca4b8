//! A client in another language, with stubs made from our contracts.

use std::path::Path;
use std::process::Command;

use crate::support::needed;
use crate::support::process::{BINARY, Process};

const MODULES: &str = "grpc, grpc_status, grpc_tools";

#[test]
fn a_python_client_adds_watches_lists_disconnects_and_deletes() {
    let Some(python) = needed::python(MODULES) else {
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
    let Some(python) = needed::python(MODULES) else {
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
