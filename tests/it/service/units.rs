//! The unit files, as systemd reads them, and against the configuration that they stand for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gatehouse::cli::gateway::Misconfigured;
use gatehouse::config::Config;
use gatehouse::service::passed::Face;

use crate::support::needed;
use crate::support::process::BINARY;

const TOOL: &str = "systemd-analyze";
const NEEDS: &str = "systemd-analyze (Debian: systemd)";
/// The exposure that the unit may have, in tenths: 2.0.
const EXPOSURE_MAX: &str = "20";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd")
}

/// The names and texts of all units.
fn units() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).expect("a folder");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), fs::read_to_string(&path).expect("text"))
    };
    entries.map(read).collect()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    if needed::program(TOOL, &["--version"], NEEDS).is_none() {
        return;
    }
    // The binary is not installed where the unit says.
    let directory = tempfile::tempdir().expect("a directory");
    let mut files = Vec::new();
    for (name, text) in units() {
        let path = directory.path().join(name);
        fs::write(&path, text.replace("/usr/bin/gatehouse", BINARY)).expect("written");
        files.push(path);
    }
    assert!(files.len() >= 5, "{files:?}");
    let output = Command::new(TOOL)
        .args(["verify", "--man=no"])
        .args(&files)
        .output()
        .expect("it runs");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let about_us: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("gatehouse"))
        .collect();
    assert!(about_us.is_empty(), "{said}");
}

#[test]
fn the_service_is_hardly_exposed() {
    if needed::program(TOOL, &["--version"], NEEDS).is_none() {
        return;
    }
    let output = Command::new(TOOL)
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={EXPOSURE_MAX}"))
        .arg(folder().join("gatehouse.service"))
        .output()
        .expect("it runs");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let overall = said.lines().find(|line| line.contains("Overall exposure"));
    println!("{}", overall.expect("an exposure").trim());
}

/// The value of a key of a unit.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn the_unit_knows_the_exit_code_of_a_configuration_at_fault() {
    let service = fs::read_to_string(folder().join("gatehouse.service")).expect("text");
    let code = Misconfigured::CODE.to_string();
    assert_eq!(value(&service, "RestartPreventExitStatus"), Some(&*code));
}

#[test]
fn socket_units_are_named_and_placed_as_the_configuration_has_it() {
    let config = Config::default();
    let mut named = Vec::new();
    for (name, text) in units() {
        if !name.ends_with(".socket") {
            continue;
        }
        let face = value(&text, "FileDescriptorName").expect("a name");
        let face = Face::ALL.into_iter().find(|known| known.name() == face);
        let face = face.unwrap_or_else(|| panic!("{name} is for nothing known"));
        let address = value(&text, "ListenStream").expect("an address");
        let configured = face.configured(&config).expect("on by default");
        assert_eq!(address, configured.to_string(), "{name}");
        assert_eq!(value(&text, "Service"), Some("gatehouse.service"), "{name}");
        named.push(face);
    }
    named.sort();
    assert_eq!(named, [Face::Grpc, Face::Http, Face::Aes, Face::Tls]);
}
