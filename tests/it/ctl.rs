//! `gatehouse ctl` as scripts meet it: a real gateway, the built binary, its output and exit codes.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use gatehouse::grpc::proto::gsdk::connect::Status;
use serde_json::Value;

use crate::support::client;
use crate::support::device::{self, Spec, closed_port};
use crate::support::process::{BINARY, Process};
use crate::support::run;

/// A `ctl` for this gateway, in an environment without profiles and tokens.
fn ctl(gateway: &Process, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command
        .arg("--address")
        .arg(gateway.grpc.to_string())
        .arg("--data-dir")
        .arg(gateway.data_dir());
    command
}

fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("ctl")
        .args(arguments)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env_remove("GATEHOUSE_TOKEN")
        .stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

/// What a command answers that must succeed.
fn answer(gateway: &Process, arguments: &[&str]) -> String {
    let output = output(ctl(gateway, arguments));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(gateway: &Process, arguments: &[&str]) -> Value {
    let answer = answer(gateway, &[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&answer).expect("one document")
}

/// The exit code of a command that must fail, and its one sentence.
fn refusal(command: Command) -> (i32, String) {
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("gatehouse: "), "{said}");
    (output.status.code().expect("ended"), said)
}

fn refused(gateway: &Process, arguments: &[&str]) -> (i32, String) {
    refusal(ctl(gateway, arguments))
}

fn ids(list: &Value) -> Vec<u64> {
    let rows = list.as_array().expect("an array").iter();
    rows.map(|row| row["id"].as_u64().expect("an ID")).collect()
}

fn spec(id: u32, gateway: &Process) -> Spec {
    Spec::keyed(id, gateway.fleet_key())
}

#[test]
fn devices_are_added_shown_retried_and_forgotten() {
    run(async {
        let gateway = Process::start("");
        let device = device::listen(spec(1001, &gateway)).await;
        let address = device.address().to_string();
        assert_eq!(ids(&json(&gateway, &["list"])), [0_u64; 0]);
        let output = output(ctl(&gateway, &["add", "1001", &address, "--wait", "60s"]));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");

        let one = json(&gateway, &["get", "1001"]);
        assert_eq!(one["status"], "TCP_CONNECTED");
        assert_eq!(one["address"], address.as_str());
        assert_eq!(
            (&one["link"], &one["proof"]),
            (&"LINK_AES".into(), &"PROOF_FLEET_KEY".into())
        );
        let since = one["since"].as_str().expect("a time");
        assert!(since.starts_with("20") && since.ends_with('Z'), "{since}");
        let table = answer(&gateway, &["list"]);
        assert!(table.starts_with("ID    STATUS"), "{table}");
        assert_eq!(table.lines().count(), 2, "{table}");
        let csv = answer(&gateway, &["list", "--connect-api", "--output", "csv"]);
        assert!(
            csv.contains(&format!(
                "\n1001,TCP_CONNECTED,SERVER_TO_DEVICE,{address},true,false,"
            )),
            "{csv}"
        );

        answer(&gateway, &["retry", "1001"]);
        let (code, said) = refused(&gateway, &["retry", "1001", "1002"]);
        assert_eq!(code, 5, "{said}");
        let (code, said) = refused(&gateway, &["get", "1002"]);
        assert_eq!((code, said.contains("1002")), (5, true), "{said}");
        answer(&gateway, &["disconnect", "1001"]);
        answer(&gateway, &["disconnect", "--all"]);
        answer(&gateway, &["delete", "1001", "1002"]);
        assert_eq!(ids(&json(&gateway, &["list"])), [0_u64; 0]);

        let dialled = json(&gateway, &["connect", &address]);
        assert_eq!(dialled["id"], 1001);
    });
}

#[test]
fn a_file_is_applied_whole_or_not_at_all() {
    let gateway = Process::start("");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    let mut lines = "id,address,port,ssl\n".to_owned();
    for id in 1..=3000 {
        lines.push_str(&format!("{id},192.0.2.7,51300,\n"));
    }
    let bad = write("bad.csv", &format!("{lines}3001,192.0.2.7,514000,\n"));
    let (code, said) = refused(&gateway, &["add", "--file", &bad]);
    assert_eq!(code, 7, "{said}");
    assert!(
        said.contains("bad.csv, line 3002: the port is \"514000\"") && said.contains("nothing"),
        "{said}"
    );
    assert_eq!(ids(&json(&gateway, &["list"])), [0_u64; 0]);

    let good = write("good.csv", &lines);
    answer(&gateway, &["add", "--file", &good]);
    let listed = ids(&json(&gateway, &["list"]));
    assert_eq!(listed, (1..=3000).collect::<Vec<u64>>());

    // What one command prints another one reads.
    let all = answer(&gateway, &["list", "--output", "jsonl"]);
    let mut delete = ctl(&gateway, &["delete", "--file", "-", "--format", "jsonl"]);
    let mut child = delete
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(all.as_bytes()).expect("taken");
    drop(stdin);
    assert!(child.wait().expect("ended").success());
    assert_eq!(ids(&json(&gateway, &["list"])), [0_u64; 0]);

    let none = folder.path().join("none.csv");
    let (code, _) = refused(&gateway, &["add", "--file", none.to_str().expect("text")]);
    assert_eq!(code, 7);
    let (code, said) = refused(&gateway, &["add", "--file", "-"]);
    assert_eq!((code, said.contains("--format")), (2, true), "{said}");
}

#[test]
fn what_is_not_connected_in_time_is_listed() {
    run(async {
        let gateway = Process::start("");
        let device = device::listen(spec(1001, &gateway)).await;
        let good = device.address();
        let bad = closed_port().await;
        let line =
            |id: u32, address: SocketAddr| format!("{{\"id\":{id},\"address\":\"{address}\"}}\n");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("devices.jsonl");
        std::fs::write(&file, line(1001, good) + &line(1002, bad)).expect("written");
        // The good device first, so that the time is for the other one alone.
        answer(
            &gateway,
            &["add", "1001", &good.to_string(), "--wait", "60s"],
        );
        let file = file.to_str().expect("text");
        let arguments = ["add", "--file", file, "--wait", "2s", "--output", "jsonl"];
        let output = output(ctl(&gateway, &arguments));
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        let missing: Value = serde_json::from_slice(&output.stdout).expect("one line");
        assert_eq!(missing["id"], 1002);
    });
}

#[test]
fn the_filter_is_shown_as_it_was_set() {
    let gateway = Process::start("");
    let get = || json(&gateway, &["filter", "get"]);
    assert_eq!(get()["allow_all"], false);
    let set = ["filter", "set", "--device", "7", "--from", "192.0.2.0/24"];
    answer(&gateway, &set);
    let filter = get();
    assert_eq!(filter["device_ids"], serde_json::json!([7]));
    assert_eq!(filter["addresses"], serde_json::json!(["192.0.2.0"]));
    assert_eq!(filter["subnet_masks"], serde_json::json!(["255.255.255.0"]));
    answer(&gateway, &["filter", "allow-all"]);
    assert_eq!(get()["allow_all"], true);
    answer(&gateway, &["filter", "deny-all"]);
    assert_eq!(get()["allow_all"], false);
    let pending = json(&gateway, &["pending", "list", "--connect-api"]);
    assert_eq!(ids(&pending), [0_u64; 0]);
}

/// A `watch` that runs.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    words: BufReader<ChildStderr>,
}

impl Watch {
    fn start(gateway: &Process, arguments: &[&str]) -> Self {
        let arguments = [&["watch", "--output", "jsonl"], arguments].concat();
        let mut child = ctl(gateway, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let words = BufReader::new(child.stderr.take().expect("piped"));
        Self {
            child,
            lines,
            words,
        }
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("readable");
        let line = line.trim_end();
        (!line.is_empty()).then(|| serde_json::from_str(line).expect("an object"))
    }

    /// Reads on until this kind of line, or this status of this device.
    fn until(&mut self, seen: &mut Vec<Value>, is_it: impl Fn(&Value) -> bool) {
        loop {
            let line = self.line().expect("the watch goes on");
            let found = is_it(&line);
            seen.push(line);
            if found {
                return;
            }
        }
    }

    /// Waits until it says something.
    fn word(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.words.read_line(&mut line).expect("readable");
            assert!(read > 0, "it ended before it said {part:?}");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is(id: u32, status: Status) -> impl Fn(&Value) -> bool {
    move |line| line["id"] == id && line["status"] == status.as_str_name()
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    let events = lines.iter().filter(|line| line["kind"] == "event");
    events
        .map(|line| line["number"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn a_watch_loses_no_event_over_a_restart_of_the_gateway() {
    run(async {
        let mut gateway = Process::start("");
        let device = device::listen(spec(1001, &gateway)).await;
        let address = device.address().to_string();
        let mut watch = Watch::start(&gateway, &["--snapshot"]);
        let mut seen = Vec::new();
        watch.until(&mut seen, |line| line["kind"] == "snapshot_end");
        answer(&gateway, &["add", "1001", &address]);
        watch.until(&mut seen, is(1001, Status::TcpConnected));
        let first = numbers(&seen)[0];

        gateway.stop();
        watch.word("lost the gateway");
        gateway.restart();
        watch.word("found the gateway");
        // What happened while nobody could follow: lost with the gateway, and connected again.
        watch.until(&mut seen, is(1001, Status::Disconnected));
        watch.until(&mut seen, is(1001, Status::TcpConnected));
        answer(&gateway, &["delete", "1001"]);
        watch.until(&mut seen, |line| line["change"] == "CHANGE_REMOVED");

        // Another watcher, who was there at no break, is told the same.
        let told = numbers(&seen);
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
        let count = (told.len() - 1).to_string();
        let after = first.to_string();
        let arguments = ["watch", "--after", &after, "--count", &count];
        let again = json(&gateway, &arguments);
        let again = numbers(again.as_array().expect("an array"));
        assert_eq!(again, told[1..]);

        let interrupt = Command::new("kill")
            .args(["-INT", &watch.child.id().to_string()])
            .status();
        assert!(interrupt.expect("kill runs").success());
        assert_eq!(watch.child.wait().expect("ended").code(), Some(0));
    });
}

#[test]
fn a_number_that_the_log_does_not_have_is_a_gap() {
    let gateway = Process::start("");
    let mut watch = Watch::start(&gateway, &["--after", "18446744073709551615"]);
    let gap = watch.line().expect("a line");
    assert_eq!(gap["kind"], "gap");
    assert!(gap["missed_to"].is_u64(), "{gap}");
    assert_eq!(watch.line().expect("a line")["kind"], "snapshot_begin");
    assert_eq!(watch.line().expect("a line")["kind"], "snapshot_end");
    watch.word("missed for good");
}

#[test]
fn statuses_are_followed_by_the_connect_api_too() {
    run(async {
        let gateway = Process::start("");
        let device = device::listen(spec(1001, &gateway)).await;
        let mut watch = Watch::start(&gateway, &["--connect-api", "--count", "2"]);
        let mut api = gateway.client().await;
        // The stream is open once a change of a device comes through; changes go on until then.
        let changes = async {
            loop {
                client::add(&mut api, vec![client::auto(1001, device.address())]).await;
                device.described().await;
                answer(&gateway, &["delete", "1001"]);
            }
        };
        let read = tokio::task::spawn_blocking(move || (watch.line(), watch.line(), watch));
        tokio::select! {
            () = changes => {}
            read = read => {
                let (one, two, mut watch) = read.expect("read");
                assert!(one.is_some_and(|line| line["id"] == 1001) && two.is_some());
                assert_eq!(watch.child.wait().expect("ended").code(), Some(0));
            }
        }
    });
}

#[test]
fn a_gateway_that_cannot_be_reached_is_code_3() {
    run(async {
        let gateway = Process::start("");
        let other = Process::start("");
        let closed = closed_port().await.to_string();
        let ca = gateway.ca();
        let ca = ca.to_str().expect("text");
        let other_ca = other.ca();
        let address = gateway.grpc.to_string();
        let port = gateway.grpc.port();
        let aes = gateway.aes.to_string();
        for (address, ca, told) in [
            (closed.as_str(), ca, "is the gateway running"),
            (
                &address,
                other_ca.to_str().expect("text"),
                "is not signed by",
            ),
            (&format!("127.0.0.2:{port}"), ca, "127.0.0.2"),
            (&aes, ca, &aes),
        ] {
            let (code, said) = refusal(bare(&[
                "list",
                "--address",
                address,
                "--ca",
                ca,
                "--timeout",
                "10s",
            ]));
            assert_eq!((code, said.contains(told)), (3, true), "{said}");
        }
    });
}

#[test]
fn what_is_wrong_with_the_command_line_is_code_2() {
    let empty = tempfile::tempdir().expect("a folder");
    let mut command = bare(&["list"]);
    command.current_dir(empty.path());
    let (code, said) = refusal(command);
    assert_eq!((code, said.contains("--ca FILE")), (2, true), "{said}");
    for (arguments, told) in [
        (&["list", "--ca", "none.crt"][..], "none.crt"),
        (&["list", "--profile", "office"], "ctl.toml"),
        (&["list", "--data-dir", ".", "--cert", "a"], "--cert-key"),
        (
            &["list", "--data-dir", ".", "--address", "::1"],
            "HOST:PORT",
        ),
    ] {
        let (code, said) = refusal(bare(arguments));
        assert_eq!((code, said.contains(told)), (2, true), "{said}");
    }
    let usage = output(bare(&["get", "door"]));
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

#[test]
fn a_profile_names_the_gateway() {
    let gateway = Process::start("");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gatehouse");
    std::fs::create_dir(&config).expect("made");
    let ca = gateway.ca();
    std::fs::copy(&ca, config.join("root.crt")).expect("copied");
    let text = format!(
        "[profile.default]\naddress = \"{}\"\nca = \"root.crt\"\n",
        gateway.grpc
    );
    std::fs::write(config.join("ctl.toml"), text).expect("written");
    let with_profile = |arguments: &[&str], folder: &Path| {
        let mut command = bare(arguments);
        command.env("XDG_CONFIG_HOME", folder);
        command
    };
    let listed = output(with_profile(&["list", "--output", "csv"], folder.path()));
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(listed.stdout.starts_with(b"id,status,since,"), "{listed:?}");
    let (code, said) = refusal(with_profile(&["list", "--profile", "b"], folder.path()));
    assert_eq!((code, said.contains("it has default")), (2, true), "{said}");
}

#[test]
fn a_gateway_that_wants_a_certificate_says_so() {
    let gateway = Process::start("grpc.client_certificates = \"required\"");
    // The gateway may have closed before its reason could be read; the mend is the same.
    let (code, said) = refused(&gateway, &["list"]);
    assert!(said.contains("--cert-key"), "{said}");
    assert_eq!(code, if said.contains("wants") { 4 } else { 3 }, "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(BINARY)
        .args(["certs", "operator", "anna", "--data-dir"])
        .arg(gateway.data_dir())
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    assert!(made.status.success(), "{made:?}");
    let mut command = ctl(
        &gateway,
        &["list", "--cert", "anna.crt", "--cert-key", "anna_key.pem"],
    );
    command.current_dir(folder.path());
    let listed = output(command);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
}

#[test]
fn the_help_tells_the_exit_codes_and_certs_are_reached() {
    let help = output(bare(&["--help"]));
    let text = String::from_utf8(help.stdout).expect("text");
    assert!(
        text.contains("Exit codes:") && text.contains("  7  a line of an input file"),
        "{text}"
    );
    let certs = output(bare(&["certs", "--help"]));
    assert_eq!(certs.status.code(), Some(0), "{certs:?}");
    let text = String::from_utf8(certs.stdout).expect("text");
    assert!(text.contains("operator"), "{text}");
    let key = output(bare(&["certs", "link-key"]));
    assert_eq!(
        (key.status.code(), key.stdout.len()),
        (Some(0), 65),
        "{key:?}"
    );
}
