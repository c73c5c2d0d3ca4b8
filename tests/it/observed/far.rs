//! A Prometheus on another host: over TLS, with the token of a viewer, as the documentation says.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use super::prometheus;
use crate::support::netns::Pair;
use crate::support::process::{Process, gatehouse};
use crate::support::{PATIENCE, needed};

/// The example of the documentation, with our files and our gateway.
fn configuration(folder: &Path, target: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, example) = page
        .split_once("```yaml\n  - job_name")
        .expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let example = example
        .replace("/etc/prometheus", folder.to_str().expect("a path in UTF-8"))
        .replace("gateway.example.org:4080", target);
    format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name{example}")
}

/// A token of a viewer, made as the documentation says.
fn token(gateway: &Process, at: &str) -> String {
    let ca = gateway.ca();
    let admin = gateway.data_dir().join("admin.token");
    let [ca, admin] = [&ca, &admin].map(|path| path.to_str().expect("a path in UTF-8"));
    let who = ["--address", at, "--ca", ca, "--token-file", admin];
    let make = [
        "ctl",
        "token",
        "create",
        "prometheus",
        "--role",
        "viewer",
        "--expires",
        "365d",
    ];
    let output = gatehouse(&[&make[..], &who, &["--output", "json"]].concat());
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complained}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    told["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_prometheus_on_another_host_scrapes_over_tls_with_the_token_of_a_viewer() {
    let Some(program) = prometheus::program() else {
        return;
    };
    if needed::program("curl", &["--version"], "curl").is_none() {
        return;
    }
    let Some(Pair { near, far }) = Pair::make() else {
        return;
    };
    let gateway = Process::start_on(&near, "");
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path();
    let made = near.inside(|| token(&gateway, &format!("127.0.0.1:{}", gateway.grpc.port())));
    fs::write(path.join("gatehouse.token"), made).expect("written");
    fs::copy(gateway.ca(), path.join("gatehouse-ca.crt")).expect("copied");
    let target = format!("{}:{}", near.address, gateway.http.port());
    let file = path.join("prometheus.yml");
    fs::write(&file, configuration(path, &target)).expect("written");
    let mut child = far
        .command(&program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            path.join("data").display()
        ))
        .args(["--web.listen-address=127.0.0.1:9090", "--log.level=error"])
        .stdin(Stdio::null())
        .spawn()
        .expect("Prometheus runs");
    let begun = Instant::now();
    let ask = "http://127.0.0.1:9090/api/v1/query?query=gatehouse_pending_devices";
    let found = loop {
        let output = far
            .command("curl")
            .args(["-s", ask])
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains(&target) || begun.elapsed() > PATIENCE {
            break said;
        }
        std::thread::yield_now();
    };
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(found.contains(&target), "{found}");
}
