//! The examples of the README, run as they are written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::client::allow_all;
use crate::support::device::{self, Spec};
use crate::support::process::Process;
use crate::support::{needed, run};

const HEADING: &str = "## What devices offer, over HTTP";

/// The code blocks of one language below the heading.
fn blocks(language: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("README.md")).expect("readable");
    let (_, section) = text.split_once(HEADING).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let opening = format!("```{language}\n");
    let blocks = section.split(&opening).skip(1);
    blocks
        .map(|block| block.split("```").next().expect("its end").to_owned())
        .collect()
}

/// The commands of a block, each with the lines that it goes on over.
fn commands(block: &str) -> Vec<String> {
    let whole = block.replace("\\\n", " ");
    let lines = whole.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// A folder with a `curl` that finds the usual port of the gateway at another one.
struct Shim {
    folder: TempDir,
}

impl Shim {
    fn new(gateway: &Process) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let port = gateway.http.port();
        let script = format!(
            "#!/bin/sh\nPATH={path}\nexec curl --fail-with-body --connect-to 127.0.0.1:4080:127.0.0.1:{port} \"$@\"\n",
            path = std::env::var("PATH").expect("a path"),
        );
        let file = folder.path().join("curl");
        fs::write(&file, script).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
        Self { folder }
    }

    fn run(&self, command: &str) -> Output {
        let path = std::env::var("PATH").expect("a path");
        let folder: PathBuf = self.folder.path().into();
        let output = Command::new("sh")
            .args(["-c", command])
            .env("PATH", format!("{}:{path}", folder.display()))
            .output();
        output.expect("a shell")
    }
}

/// A gateway and the device of the examples, connected.
async fn gateway() -> (Process, device::Device) {
    let gateway = Process::start("");
    allow_all(&mut gateway.client().await).await;
    let device = device::dial(Spec::keyed(1001, gateway.fleet_key()), gateway.aes);
    device.described().await;
    (gateway, device)
}

#[test]
fn the_curl_examples_run_as_written() {
    if needed::program("curl", &["--version"], "curl").is_none() {
        return;
    }
    run(async {
        let (gateway, _device) = gateway().await;
        let shim = Shim::new(&gateway);
        let examples: Vec<String> = blocks("sh")
            .iter()
            .flat_map(|block| commands(block))
            .collect();
        assert!(examples.len() >= 7, "{examples:?}");
        for example in examples {
            let output = shim.run(&example);
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{example}\n{said}\n{complained}");
            if example.contains("event-stream") {
                assert!(said.contains("event: data"), "{example}\n{said}");
            } else {
                let json: Result<Json, _> = serde_json::from_str(&said);
                assert!(json.is_ok(), "{example}\n{said}");
            }
        }
    });
}

#[test]
fn the_websocket_example_runs_as_written() {
    let Some(python) = needed::python("websockets") else {
        return;
    };
    run(async {
        let (gateway, _device) = gateway().await;
        let [example] = &blocks("python")[..] else {
            panic!("one example");
        };
        let port = gateway.http.port().to_string();
        let example = example.replace("4080", &port);
        let output = Command::new(python).args(["-c", &example]).output();
        let output = output.expect("Python runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complained}");
        assert_eq!(said.lines().count(), 4, "{said}");
    });
}
