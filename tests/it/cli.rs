//! The binary as its user meets it: what it says, and how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::support::process::{Process, gatehouse};

/// What a failed start says: one line, and an exit code that is not 0.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    let complaint: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("gatehouse: "))
        .collect();
    assert_eq!(complaint.len(), 1, "{said}");
    complaint[0].to_owned()
}

/// The same, where no other try would come to anything else: a service manager is told so.
fn misconfigured(output: &Output) -> String {
    let said = refusal(output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    said
}

fn start_with(folder: &Path, config: &str) -> Output {
    let file = folder.join("gateway.toml");
    let data = folder.join("data");
    let text = format!("data_dir = {data:?}\naes.listen = \"\"\ntls.listen = \"\"\n{config}\n");
    std::fs::write(&file, text).expect("written");
    gatehouse(&["gateway", "--config", file.to_str().expect("text")])
}

#[test]
fn the_demo_shows_both_directions_every_link_a_return_and_a_switch() {
    let output = gatehouse(&["demo", "--for", "11s"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let path = |device: &str| -> Vec<&str> {
        let lines = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mine = lines.filter(|words| words.get(1) == Some(&device));
        mine.filter_map(|words| words.get(2).copied()).collect()
    };
    let [up, down, dial] = ["TCP_CONNECTED", "DISCONNECTED", "TRY_TO_CONNECT"];
    assert_eq!(path("1001"), [dial, up, down, dial, up], "{said}");
    assert_eq!(path("2001"), [up], "{said}");
    assert_eq!(path("2006"), ["TCP_NOT_ALLOWED"], "{said}");
    assert_eq!(path("1007"), [dial, "TCP_CANNOT_CONNECT"], "{said}");
    assert_eq!(path("1008"), [dial, "TLS_CONNECTED"], "{said}");
    assert_eq!(path("2007"), ["TLS_CONNECTED"], "{said}");
    let [first, refused, last] = [up, "TCP_NOT_ALLOWED", "TLS_CONNECTED"];
    let switched: Vec<&str> = path("3001")
        .into_iter()
        .filter(|word| *word != "->")
        .collect();
    let statuses = [first, down, refused, up, down, last];
    assert_eq!(switched, statuses, "{said}");
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("grpc.listen = \"{address}\"");
    let output = start_with(folder.path(), &config);
    assert_eq!(output.status.code(), Some(1), "the port may be free later");
    let said = refusal(&output);
    assert!(
        said.contains("grpc.listen") && said.contains(&address.to_string()),
        "{said}"
    );
}

#[test]
fn a_configuration_that_cannot_be_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let said = misconfigured(&gatehouse(&[
        "gateway",
        "--config",
        missing.to_str().expect("text"),
    ]));
    assert!(said.contains("missing.toml"), "{said}");
    let said = misconfigured(&start_with(folder.path(), "grpc.listn = \"127.0.0.1:0\""));
    assert!(said.contains("listn") && said.contains("listen"), "{said}");
    let said = misconfigured(&start_with(
        folder.path(),
        "reconnect.min = \"1 fortnight\"",
    ));
    assert!(
        said.contains("reconnect.min") || said.contains("fortnight"),
        "{said}"
    );
    let said = misconfigured(&start_with(
        folder.path(),
        "grpc.client_certificates = \"required\"\ngrpc.open_to = [\"10.0.0.0/8\"]",
    ));
    assert!(
        said.contains("open_to") && said.contains("client_certificates"),
        "{said}"
    );
}

#[test]
fn a_second_gateway_on_the_same_data_is_told_who_has_it() {
    let first = Process::start("");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    let config = format!(
        "data_dir = {:?}\ngrpc.listen = \"127.0.0.1:0\"\naes.listen = \"\"\ntls.listen = \"\"\n",
        first.data_dir()
    );
    std::fs::write(&file, config).expect("written");
    let said = refusal(&gatehouse(&[
        "gateway",
        "--config",
        file.to_str().expect("text"),
    ]));
    assert!(said.contains(&first.pid().to_string()), "{said}");
}

#[test]
fn a_simulator_with_arguments_that_do_not_go_together_ends_with_2() {
    let output = gatehouse(&["simulate", "--dial", "127.0.0.1:1", "--listen", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
