//! The log and the traces of a gateway as whoever runs it meets them: a process of its own, and a
//! collector in another language.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatehouse::codec::dialect::Dialect;
use gatehouse::config::CredentialDigest;
use gatehouse::grpc::proto::gatehouse::v1::GetLogLevelRequest;
use gatehouse::grpc::proto::gatehouse::v1::SetLogLevelRequest;
use gatehouse::grpc::proto::gatehouse::v1::access_client::AccessClient;
use gatehouse::grpc::proto::gatehouse::v1::operation_client::OperationClient;
use gatehouse::grpc::proto::gatehouse::v1::{CreateTokenRequest, Role};
use gatehouse::grpc::proto::gsdk::connect::GetDeviceListRequest;
use gatehouse::grpc::proto::gsdk::device::GetInfoRequest;
use gatehouse::grpc::proto::gsdk::device::device_client::DeviceClient;
use gatehouse::sim::device::Behaviour;
use serde_json::Value as Json;
use tonic::Code;

use crate::support::client::{add, allow_all, auto, with_token};
use crate::support::device::{self, Event, Spec, closed_port};
use crate::support::peer::{Peer, connect};
use crate::support::process::{self, BINARY, Process};
use crate::support::web::Web;
use crate::support::{needed, run, soon};

const MODULES: &str =
    "grpc, cryptography, opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc";

const TAKES_NONE: &str = "the collector takes no spans; they are dropped until it does";

fn ctl(gateway: &Process, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command
        .arg("ctl")
        .args(arguments)
        .arg("--address")
        .arg(gateway.grpc.to_string())
        .arg("--data-dir")
        .arg(gateway.data_dir())
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env_remove("GATEHOUSE_TOKEN");
    command.output().expect("the binary runs")
}

/// What `ctl` answers in JSON.
fn told(gateway: &Process, arguments: &[&str]) -> Json {
    let output = ctl(gateway, &[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("one document")
}

/// The lines of the log with this message.
fn lines(gateway: &Process, message: &str) -> Vec<Json> {
    let log = gateway.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_it = |line: &Json| line["fields"]["message"] == message;
    lines.filter(is_it).collect()
}

/// The device that a line is about.
fn device_of(line: &Json) -> Option<u64> {
    let own = line["fields"]["device"].as_u64();
    own.or_else(|| line["span"]["device"].as_u64())
}

/// Waits until the log has so many lines with this message.
async fn logged(gateway: &Process, message: &str, count: usize) -> Vec<Json> {
    let there = async {
        loop {
            let found = lines(gateway, message);
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(message, there).await
}

#[test]
fn a_flapping_fleet_fills_no_disk_and_hides_no_other() {
    const FLAPPING: u32 = 15;
    const SESSIONS: usize = 900;
    run(async {
        // A device is back before its end was seen, which is a takeover.
        let mut gateway = Process::start(
            "log.device_burst = 3\nlog.device_interval = \"1h\"\n\
             takeover.burst = 1000\ntakeover.interval = \"10ms\"\n",
        );
        allow_all(&mut gateway.client().await).await;
        let spec = |id| Spec::keyed(id, gateway.fleet_key());
        let flap = |id| {
            let spec = spec(id).churning(Duration::from_millis(1));
            device::dial(spec.redial(Duration::from_millis(1)), gateway.aes)
        };
        let mut fleet: Vec<_> = (1..=FLAPPING).map(flap).collect();
        for turn in 0..SESSIONS {
            let device = &mut fleet[turn % FLAPPING as usize];
            device
                .wait_for(|event| matches!(event, Event::Admitted))
                .await;
        }
        let mut quiet = device::dial(spec(1001), gateway.aes);
        quiet
            .wait_for(|event| matches!(event, Event::Admitted))
            .await;
        quiet.described().await;
        quiet.stop().await;
        let quiet_is_told = async {
            while !lines(&gateway, "session ended")
                .iter()
                .any(|line| device_of(line) == Some(1001))
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the line of the quiet device", quiet_is_told).await;
        for device in fleet {
            device.stop().await;
        }
        gateway.stop();

        let left_out = logged(&gateway, "lines were left out of the log", 1).await;
        let ended = lines(&gateway, "session ended");
        for id in 1..=u64::from(FLAPPING) {
            let own = ended.iter().filter(|line| device_of(line) == Some(id));
            assert_eq!(own.count(), 3, "device {id}");
        }
        let sum = |field: &str| -> u64 {
            let fields = left_out.iter().map(|line| line["fields"][field].as_u64());
            fields.map(|field| field.expect("a number")).sum()
        };
        let flapped = SESSIONS as u64 - u64::from(FLAPPING) * 4;
        assert!(sum("suppressed") >= flapped, "{left_out:?}");
        let named = lines(&gateway, "lines of a device were left out");
        assert!(
            named.iter().all(|line| device_of(line).is_some()),
            "{named:?}"
        );
        let size = gateway.log().len();
        eprintln!(
            "{SESSIONS} sessions of {FLAPPING} devices: a log of {size} bytes, {} lines left out",
            sum("suppressed")
        );
        assert!(size < 100_000, "{size}");
    });
}

#[test]
fn every_line_of_a_session_says_whose_it_is() {
    run(async {
        let gateway = Process::start("log.level = \"debug\"\n");
        allow_all(&mut gateway.client().await).await;
        let device = device::dial(Spec::keyed(1001, gateway.fleet_key()), gateway.aes);
        device.described().await;
        device.stop().await;
        let ended = logged(&gateway, "session ended", 1).await;
        let span = &ended[0]["span"];
        assert_eq!(
            (&span["device"], &span["link"]),
            (&1001.into(), &"aes".into())
        );
        let peer = span["peer"].as_str().expect("a peer");
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
        assert!(
            span["generation"].is_string() || span["generation"].is_u64(),
            "{span}"
        );
        assert!(ended[0]["fields"]["cause"].is_string());
    });
}

#[test]
fn the_level_changes_by_a_call_for_a_time_and_returns_by_itself() {
    run(async {
        let gateway = Process::start("");
        allow_all(&mut gateway.client().await).await;
        let before = told(&gateway, &["log-level"]);
        assert_eq!(before["level"], "info");
        assert_eq!(before["returns_after_ms"], Json::Null);

        let set = told(&gateway, &["log-level", "info,gatehouse::session=debug"]);
        assert_eq!(
            (&set["level"], &set["configured"]),
            (&"info,gatehouse::session=debug".into(), &"info".into())
        );
        assert!(lines(&gateway, "session reports").is_empty());
        let device = device::dial(Spec::keyed(1, gateway.fleet_key()), gateway.aes);
        logged(&gateway, "session reports", 1).await;
        device.stop().await;

        let set = told(&gateway, &["log-level", "debug", "--for", "100ms"]);
        assert_eq!(set["level"], "debug");
        assert!(
            set["returns_after_ms"]
                .as_u64()
                .is_some_and(|left| left <= 100)
        );
        logged(&gateway, "the level of the log returned", 1).await;
        assert_eq!(told(&gateway, &["log-level"])["level"], "info");

        let long = told(&gateway, &["log-level", "debug", "--for", "1h"]);
        assert_eq!(long["level"], "debug");
        assert_eq!(told(&gateway, &["log-level", "default"])["level"], "info");

        let wrong = ctl(&gateway, &["log-level", "loud"]);
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
        let audit = String::from_utf8(ctl(&gateway, &["audit"]).stdout).expect("text");
        assert!(audit.contains("Operation/SetLogLevel"), "{audit}");
    });
}

#[test]
fn a_reload_changes_the_level_and_refuses_what_is_none() {
    run(async {
        let gateway = Process::start("log.level = \"info\" # here\n");
        gateway.reconfigure("\"info\" # here", "\"debug\" # here");
        gateway.hang_up();
        logged(
            &gateway,
            "the level of the log is that of the configuration",
            1,
        )
        .await;
        assert_eq!(told(&gateway, &["log-level"])["level"], "debug");
        gateway.reconfigure("\"debug\" # here", "\"loud\" # here");
        gateway.hang_up();
        let refused = async {
            while !gateway.log().contains("loud") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the refusal", refused).await;
        assert_eq!(told(&gateway, &["log-level"])["level"], "debug");
    });
}

#[test]
fn a_viewer_reads_the_level_and_changes_none() {
    run(async {
        let gateway = Process::start("");
        let admin = std::fs::read_to_string(gateway.data_dir().join("admin.token"));
        let channel = gateway.channel().await;
        let admin = with_token(channel.clone(), admin.expect("a token").trim());
        let request = CreateTokenRequest {
            name: "screen".to_owned(),
            role: Role::Viewer.into(),
            expires_after_seconds: 0,
        };
        let made = AccessClient::new(admin.clone()).create_token(request).await;
        let viewer = with_token(channel, &made.expect("made").into_inner().token);
        let mut viewer = OperationClient::new(viewer);
        let level = viewer.get_log_level(GetLogLevelRequest {}).await;
        let level = level
            .expect("read")
            .into_inner()
            .log_level
            .expect("a level");
        assert_eq!((level.level.as_str(), level.returns_after_ms), ("info", 0));
        let set = |for_ms| SetLogLevelRequest {
            level: "trace".to_owned(),
            for_ms,
        };
        let refused = viewer.set_log_level(set(0)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied);
        let mut admin = OperationClient::new(admin);
        let too_long = admin
            .set_log_level(set(u64::MAX))
            .await
            .expect_err("too long");
        assert_eq!(too_long.code(), Code::InvalidArgument);
    });
}

#[test]
fn what_is_slow_is_told_with_its_device() {
    run(async {
        let digest = String::from(CredentialDigest::of(b"secret"));
        let gateway = Process::start(&format!(
            "plain.listen = \"127.0.0.1:0\"\nlog.slow_after = \"10ms\"\n\
             [[credential]]\ndevice = \"1001\"\ndigest = \"{digest}\"\n"
        ));
        allow_all(&mut gateway.client().await).await;
        let plain = gateway.plain.expect("a plain listener");
        let mut device = Peer::admitted(plain, Dialect::Current, "", "1001").await;
        let channel = gateway.channel().await;
        let asked = tokio::spawn(async move {
            let request = GetInfoRequest { device_id: 1001 };
            DeviceClient::new(channel).get_info(request).await
        });
        // It takes its time.
        let run = device.hears_run("device/info").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        device
            .say(&crate::support::peer::error(run.stream_id))
            .await;
        asked
            .await
            .expect("done")
            .expect_err("an error of the device");
        let slow = logged(&gateway, "slow", 2).await;
        let request = slow
            .iter()
            .find(|line| line["fields"]["phase"] == "request");
        let request = request.expect("the request to the device");
        assert_eq!(device_of(request), Some(1001));
        assert!(
            request["fields"]["seconds"]
                .as_f64()
                .is_some_and(|took| took > 0.01)
        );
        let call = "gsdk.device.Device/GetInfo";
        assert!(
            slow.iter().any(|line| line["fields"]["call"] == call),
            "{slow:?}"
        );
    });
}

#[test]
fn what_counts_as_slow_changes_at_once_in_the_log_and_at_the_top() {
    run(async {
        let gateway = Process::start("log.slow_after = \"1m\"\n");
        allow_all(&mut gateway.client().await).await;
        let slow = Behaviour::Slow(Duration::from_millis(30));
        let spec = Spec::keyed(1001, gateway.fleet_key()).behaving(slow);
        let device = device::dial(spec, gateway.aes);
        device.described().await;
        let channel = gateway.channel().await;
        let ask = async || {
            let request = GetInfoRequest { device_id: 1001 };
            let mut client = DeviceClient::new(channel.clone());
            client.get_info(request).await.expect("told");
        };
        ask().await;
        assert!(lines(&gateway, "slow").is_empty());
        let slow = || told(&gateway, &["top", "--by", "slow"]);
        assert_eq!(slow(), Json::Array(Vec::new()));

        process::replace(
            gateway.config(),
            &std::fs::read_to_string(gateway.config())
                .expect("a file")
                .replace("\"1m\"", "\"10ms\""),
        );
        logged(&gateway, "the settings were read again", 1).await;
        ask().await;
        let line = &logged(&gateway, "slow", 1).await[0];
        assert_eq!(device_of(line), Some(1001));
        let counted = async {
            while slow() == Json::Array(Vec::new()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the slow device at the top", counted).await;
    });
}

/// A collector, and what it received.
struct Collector {
    child: Child,
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Json>>>,
}

impl Collector {
    fn start(python: &str, port: u16) -> Self {
        Self::start_with(python, &[&port.to_string()])
    }

    /// One that speaks TLS, and writes what belongs to it to this directory.
    fn secured(python: &str, how: &str, directory: &Path) -> Self {
        Self::start_with(python, &[how, directory.to_str().expect("UTF-8")])
    }

    fn start_with(python: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/collector.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = lines.next().expect("it runs").expect("readable");
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
        let spans: Arc<Mutex<Vec<Json>>> = Arc::default();
        let received = Arc::clone(&spans);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let span = serde_json::from_str(&line).expect("JSON");
                received.lock().expect("not poisoned").push(span);
            }
        });
        Self {
            child,
            address,
            spans,
        }
    }

    fn spans(&self, name: &str) -> Vec<Json> {
        let spans = self.spans.lock().expect("not poisoned");
        let named = spans.iter().filter(|span| span["name"] == name);
        named.cloned().collect()
    }

    /// Waits for so many spans of this name.
    async fn received(&self, name: &str, count: usize) -> Vec<Json> {
        let there = async {
            loop {
                let found = self.spans(name);
                if found.len() >= count {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(name, there).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[test]
fn a_collector_has_sessions_with_their_phases_and_requests_with_their_parents() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        let collector = Collector::start(&python, 0);
        let mut gateway = Process::start(&format!(
            "trace.endpoint = \"http://{}\"\ntrace.instance = \"north\"\n\
             trace.headers = {{ authorization = \"Bearer hush\" }}\n",
            collector.address
        ));
        allow_all(&mut gateway.client().await).await;
        let dialled = device::listen(Spec::keyed(1001, gateway.fleet_key())).await;
        add(
            &mut gateway.client().await,
            vec![auto(1001, dialled.address())],
        )
        .await;
        dialled.described().await;
        let inbound = device::dial(Spec::keyed(1002, gateway.fleet_key()), gateway.aes);
        inbound.described().await;

        let parent = format!("00-{TRACE}-{CALLER}-01");
        let mut request = tonic::Request::new(GetInfoRequest { device_id: 1002 });
        request
            .metadata_mut()
            .insert("traceparent", parent.parse().expect("ascii"));
        let mut client = DeviceClient::new(gateway.channel().await);
        client.get_info(request).await.expect("told");
        let answer = Web::new(gateway.http).traced("/v3/fleet/9", &parent).await;
        assert_eq!(answer.status(), 404);
        gateway.stop();

        let call = &collector.received("gsdk.device.Device/GetInfo", 1).await[0];
        assert_eq!(
            (&call["trace"], &call["parent"]),
            (&TRACE.into(), &CALLER.into())
        );
        assert_eq!(call["attributes"]["rpc.grpc.status_code"], 0);
        assert_eq!(call["attributes"]["rpc.method"], "GetInfo");
        assert_eq!(call["authorization"], "Bearer hush");
        assert_eq!(call["resource"]["service.name"], "gatehouse");
        assert_eq!(call["resource"]["service.instance.id"], "north");
        let asked = &collector.received("device request", 1).await[0];
        assert_eq!(
            (&asked["trace"], &asked["parent"]),
            (&TRACE.into(), &call["id"])
        );
        assert_eq!(asked["attributes"]["device"], 1002);
        let http = collector.received("GET /v3/fleet/{id}", 1).await;
        assert_eq!(http[0]["parent"], CALLER);
        assert_eq!(http[0]["attributes"]["http.response.status_code"], 404);
        let commits = collector.received("store commit", 1).await;
        assert!(
            commits[0]["attributes"]["changes"]
                .as_u64()
                .is_some_and(|count| count >= 1)
        );

        let sessions = collector.received("session", 2).await;
        for (id, dials) in [(1001, true), (1002, false)] {
            let session = sessions
                .iter()
                .find(|span| span["attributes"]["device"] == id);
            let session = session.unwrap_or_else(|| panic!("no session of {id}: {sessions:?}"));
            let attributes = &session["attributes"];
            assert_eq!(attributes["link"], "aes");
            assert!(
                attributes["peer"]
                    .as_str()
                    .is_some_and(|peer| peer.starts_with("127.0.0.1:"))
            );
            assert!(attributes["generation"].is_string(), "{attributes}");
            assert!(attributes["cause"].is_string(), "{attributes}");
            let phases = ["dial", "handshake", "connect"].map(|phase| {
                let spans = collector.spans(phase);
                let is_its = |span: &&Json| span["parent"] == session["id"];
                spans.iter().find(is_its).cloned()
            });
            assert_eq!(
                phases.clone().map(|phase| phase.is_some()),
                [dials, true, true],
                "{id}"
            );
            let times = |span: &Json| {
                let time = |key: &str| span[key].as_u64().expect("a time");
                (time("began"), time("ended"))
            };
            let (mut last, end) = times(session);
            for phase in phases.iter().flatten() {
                assert_eq!(phase["trace"], session["trace"]);
                let (began, ended) = times(phase);
                // The clock of the system is read for each, so they lie side by side within a millisecond.
                assert!(
                    began + 1_000_000 >= last && ended <= end + 1_000_000,
                    "{phase} in {session}"
                );
                last = began;
            }
        }
    });
}

#[test]
fn a_collector_that_is_absent_or_silent_changes_nothing() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let silent = silent.expect("a port");
        for endpoint in [closed_port().await, silent.local_addr().expect("bound")] {
            let mut gateway = Process::start(&format!(
                "trace.endpoint = \"http://{endpoint}\"\ntrace.timeout = \"500ms\"\n"
            ));
            let mut client = gateway.client().await;
            allow_all(&mut client).await;
            let device = device::dial(Spec::keyed(1, gateway.fleet_key()), gateway.aes);
            device.described().await;
            logged(&gateway, TAKES_NONE, 1).await;
            for _ in 0..100 {
                let list = client.get_device_list(GetDeviceListRequest {}).await;
                assert_eq!(list.expect("a list").into_inner().device_infos.len(), 1);
            }
            gateway.stop();
            assert_eq!(lines(&gateway, TAKES_NONE).len(), 1, "{}", gateway.log());
        }

        // It comes later.
        let free = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        let address = free.expect("a port").local_addr().expect("bound");
        let gateway = Process::start(&format!("trace.endpoint = \"http://{address}\"\n"));
        let mut client = gateway.client().await;
        logged(&gateway, TAKES_NONE, 1).await;
        let collector = Collector::start(&python, address.port());
        let again = async {
            while lines(&gateway, "the collector takes spans again").is_empty() {
                let list = client.get_device_list(GetDeviceListRequest {}).await;
                list.expect("a list");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        soon("the collector to be found", again).await;
        collector
            .received("gsdk.connect.Connect/GetDeviceList", 1)
            .await;
    });
}

#[test]
fn a_collector_over_tls_has_spans_of_whoever_knows_its_root_and_shows_a_certificate() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        for how in ["--tls", "--mutual"] {
            let directory = tempfile::tempdir().expect("a directory");
            let collector = Collector::secured(&python, how, directory.path());
            let file = |name: &str| directory.path().join(name);
            let trusting = |ca: &str| {
                let (address, ca) = (collector.address, file(ca));
                format!("trace.endpoint = \"https://{address}\"\ntrace.ca = {ca:?}\n")
            };
            let (certificate, key) = (file("client.crt"), file("client.key"));
            let shown = format!("trace.certificate = {certificate:?}\ntrace.key = {key:?}\n");
            let (whole, stranger, why) = match how {
                "--tls" => (
                    trusting("ca.crt"),
                    trusting("other.crt"),
                    "invalid peer certificate",
                ),
                _ => (
                    trusting("ca.crt") + &shown,
                    trusting("ca.crt"),
                    "connection",
                ),
            };

            let mut gateway = Process::start(&stranger);
            told_once_that_nothing_is_taken(&mut gateway, why).await;
            assert_eq!(collector.spans.lock().expect("not poisoned").len(), 0);

            let headers = "trace.headers = { authorization = \"Bearer hush\" }\n";
            let mut gateway = Process::start(&(whole + headers));
            let list = "gsdk.connect.Connect/GetDeviceList";
            let mut client = gateway.client().await;
            let listed = client.get_device_list(GetDeviceListRequest {}).await;
            listed.expect("a list");
            let span = &collector.received(list, 1).await[0];
            assert_eq!(span["authorization"], "Bearer hush");
            let shown = match how {
                "--tls" => Json::Null,
                _ => "client".into(),
            };
            assert_eq!(span["shown"], shown);
            gateway.stop();
            assert!(lines(&gateway, TAKES_NONE).is_empty(), "{}", gateway.log());
        }
    });
}

/// Calls are answered while batch after batch is dropped, and that is one line that says why.
async fn told_once_that_nothing_is_taken(gateway: &mut Process, why: &str) {
    let web = Web::new(gateway.http);
    let mut client = gateway.client().await;
    let mut drops = std::collections::BTreeSet::new();
    let dropped = async {
        while drops.len() < 3 {
            let list = client.get_device_list(GetDeviceListRequest {}).await;
            list.expect("a list");
            let page = web.get("/metrics").await.to_string();
            let (_, dropped) = page
                .split_once("\\ngatehouse_spans_dropped_total ")
                .expect("told");
            let (dropped, _) = dropped.split_once("\\n").expect("a line");
            drops.insert(dropped.to_owned());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("batches that are dropped", dropped).await;
    let told = logged(gateway, TAKES_NONE, 1).await;
    let error = told[0]["fields"]["error"].as_str().expect("an error");
    assert!(error.contains(why), "{error}");
    gateway.stop();
    assert_eq!(lines(gateway, TAKES_NONE).len(), 1, "{}", gateway.log());
}

#[test]
fn what_secures_the_way_to_a_collector_is_refused_at_the_start_where_it_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let endpoint = "trace.endpoint = \"https://127.0.0.1:4317\"\n";
    let data = directory.path().join("data");
    let missing = directory.path().join("missing.crt");
    let nothing = file("nothing.crt", "no certificate\n");
    for (settings, code, error) in [
        (format!("trace.ca = {missing:?}\n"), 1, "trace.ca: "),
        (
            format!("trace.certificate = {nothing:?}\ntrace.key = {missing:?}\n"),
            1,
            "trace.key: ",
        ),
        (
            format!("trace.certificate = {nothing:?}\ntrace.key = {nothing:?}\n"),
            1,
            "trace.ca, trace.certificate, trace.key: ",
        ),
        // The configuration by itself, whatever its files are like.
        (
            format!("trace.certificate = {nothing:?}\n"),
            78,
            "trace.certificate and trace.key = one without the other",
        ),
    ] {
        let ports = ["grpc", "http", "aes", "tls"];
        let ports = ports.map(|port| format!("{port}.listen = \"127.0.0.1:0\"\n"));
        let text = format!(
            "data_dir = {data:?}\n{}{endpoint}{settings}",
            ports.concat()
        );
        let config = file("gateway.toml", &text);
        let output = process::gatehouse(&["gateway", "--config", config.to_str().expect("UTF-8")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(error), "{said}");
    }
}

#[test]
fn one_trace_of_many_is_kept() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        let collector = Collector::start(&python, 0);
        let mut gateway = Process::start(&format!(
            "trace.endpoint = \"http://{}\"\ntrace.sample_one_in = 1000000\n",
            collector.address
        ));
        let mut client = gateway.client().await;
        for _ in 0..50 {
            let list = client.get_device_list(GetDeviceListRequest {}).await;
            list.expect("a list");
        }
        // The caller has decided already.
        let mut asked = tonic::Request::new(GetDeviceListRequest {});
        let parent = format!("00-{TRACE}-{CALLER}-01");
        asked
            .metadata_mut()
            .insert("traceparent", parent.parse().expect("ascii"));
        client.get_device_list(asked).await.expect("a list");
        gateway.stop();
        let kept = collector
            .received("gsdk.connect.Connect/GetDeviceList", 1)
            .await;
        assert!(kept.len() < 10, "{}", kept.len());
        assert!(kept.iter().any(|span| span["parent"] == CALLER), "{kept:?}");
    });
}

#[test]
fn a_stranger_that_comes_and_goes_is_no_session() {
    run(async {
        let gateway = Process::start("plain.listen = \"127.0.0.1:0\"\n");
        let plain = gateway.plain.expect("a plain listener");
        for _ in 0..50 {
            let mut stranger = Peer::dial(plain).await;
            stranger.say(&connect("", "1001")).await;
            while stranger.frame().await.is_some() {}
        }
        assert!(lines(&gateway, "session ended").is_empty());
    });
}
