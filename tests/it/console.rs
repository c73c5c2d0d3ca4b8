//! The console in a headless Chromium, against a gateway with a fleet of simulated devices.
//!
//! `tests/python/console.py` leads the browser. Now and then it wants something done to the gateway
//! or its devices: it says so in one word, and goes on when it is answered.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gatehouse::grpc::proto::gsdk::connect::AcceptFilter;

use crate::support::client::{add, allow_all, auto, set_filter};
use crate::support::process::{BINARY, Process};
use crate::support::run;

/// Those that dial in.
const FLEET: std::ops::RangeInclusive<u32> = 2001..=2220;
/// One that the gateway dials, which drops and returns.
const DOOR: u32 = 1001;
/// One that is nowhere.
const ABSENT: u32 = 3001;
/// One that the accept filter does not let in.
const STRANGER: u32 = 4001;

/// For the pictures: one that never answers, one of another link and those of owners.
const SILENT: u32 = 1003;
const CERTIFIED: u32 = 1004;
const OWNED: [(&str, u32); 3] = [("north", 1101), ("north", 1102), ("south", 1201)];

/// The Python that has playwright, where there is a Chromium; `.ci/run` installs both and allows no
/// skip.
fn python() -> Option<String> {
    let named = std::env::var("GATEHOUSE_PYTHON").ok();
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if works("chromium", &["--version"]) && works(&python, &["-c", "import playwright"]) {
        return Some(python);
    }
    let reason = "needs chromium and playwright (.ci/run installs them)";
    // Not by a macro: what those print is kept from the reader while the test passes.
    writeln!(std::io::stderr(), "skipped: {reason}").expect("a standard error");
    let allowed = std::env::var_os("GATEHOUSE_SKIP_IS_FAILURE").is_none();
    assert!(allowed, "{reason}");
    None
}

#[test]
fn the_console_shows_and_leads_a_live_fleet() {
    let Some(python) = python() else {
        return;
    };
    let mut play = Play::start();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    fs::create_dir_all(&shots).expect("a folder");
    let mut browser = Command::new(python)
        .arg(root.join("tests/python/console.py"))
        .env("GATEHOUSE_HTTP", format!("http://{}", play.gateway.http))
        .env(
            "GATEHOUSE_TOKEN_FILE",
            play.gateway.data_dir().join("admin.token"),
        )
        .env("GATEHOUSE_SHOTS", &shots)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut answers = browser.stdin.take().expect("piped");
    let words = BufReader::new(browser.stdout.take().expect("piped"));
    for word in words.lines() {
        play.act(&word.expect("text"));
        writeln!(answers, "done").expect("it listens");
    }
    let status = browser.wait().expect("ended");
    assert!(status.success(), "see above what the page did not show");
    if std::env::var_os("GATEHOUSE_SCREENSHOTS").is_some() {
        keep(&shots, &root.join("docs/console"));
    }
}

/// The pictures that documents show are refreshed only when somebody asks for it.
fn keep(shots: &Path, docs: &Path) {
    fs::create_dir_all(docs).expect("a folder");
    for name in ["light.png", "dark.png", "phone.png", "device.png"] {
        fs::copy(shots.join(name), docs.join(name)).expect("copied");
    }
}

/// What the page looks at.
struct Play {
    gateway: Process,
    key: PathBuf,
    /// The one that drops, while it is there, and where it listens.
    door: Option<Devices>,
    door_address: SocketAddr,
    others: Vec<Devices>,
    /// Takes connections, and no word from them.
    silent: TcpListener,
}

impl Play {
    fn start() -> Self {
        let gateway = Process::start("");
        let key = gateway.fleet_key_file();
        let mut door = listening(&key, 0);
        let door_address = door.listens();
        run(prepare(&gateway, door_address));
        let fleet = dialling(&gateway, &key, FLEET);
        Self {
            gateway,
            key,
            door: Some(door),
            door_address,
            others: vec![fleet],
            silent: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"),
        }
    }

    fn add_variety(&mut self) {
        let silent = self.silent.local_addr().expect("it listens");
        run(async {
            let mut client = self.gateway.client().await;
            allow_all(&mut client).await;
            add(&mut client, vec![auto(SILENT, silent)]).await;
        });
        for (owner, id) in OWNED {
            let devices = dialling_as(&self.gateway, &self.key, id..=id, &["--owner", owner]);
            self.others.push(devices);
        }
        self.others.push(certified(&self.gateway));
    }

    fn act(&mut self, word: &str) {
        match word {
            "drop" => self.door = None,
            "return" => {
                let mut door = listening(&self.key, self.door_address.port());
                assert_eq!(door.listens(), self.door_address);
                self.door = Some(door);
            }
            "stranger" => {
                let stranger = dialling(&self.gateway, &self.key, STRANGER..=STRANGER);
                self.others.push(stranger);
            }
            "stop" => self.gateway.stop(),
            "restart" => self.gateway.restart(),
            "variety" => self.add_variety(),
            _ => panic!("the browser wants {word:?} done"),
        }
    }
}

async fn prepare(gateway: &Process, door: SocketAddr) {
    let mut client = gateway.client().await;
    let filter = AcceptFilter {
        device_i_ds: FLEET.collect(),
        ..AcceptFilter::default()
    };
    set_filter(&mut client, filter).await;
    // Nobody listens at the discard port.
    let absent = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    add(&mut client, vec![auto(DOOR, door), auto(ABSENT, absent)]).await;
}

/// A process of simulated devices; they end with their value.
struct Devices(Child);

impl Devices {
    fn start(arguments: &[&str], key: &Path) -> Self {
        let key = key.to_str().expect("a path in UTF-8");
        Self::start_with(&[arguments, &["--key", key]].concat())
    }

    fn start_with(arguments: &[&str]) -> Self {
        let child = Command::new(BINARY)
            .args(["simulate", "--format", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("the binary runs"))
    }

    /// Where the first of them listens. To be asked once.
    fn listens(&mut self) -> SocketAddr {
        let mut lines = BufReader::new(self.0.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("it runs").expect("text");
        // Who talks must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let address = said["listens"].as_str().expect("it listens");
        address.parse().expect("an address")
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one that is dialled, whose resources are markup as well.
fn listening(key: &Path, port: u16) -> Devices {
    let (port, id) = (port.to_string(), DOOR.to_string());
    let listen = ["--listen", "127.0.0.1", "--port", &port];
    let who = ["--count", "1", "--first-id", &id, "--hostile-text"];
    Devices::start(&[&listen[..], &who[..]].concat(), key)
}

fn dialling(gateway: &Process, key: &Path, ids: std::ops::RangeInclusive<u32>) -> Devices {
    dialling_as(gateway, key, ids, &[])
}

fn dialling_as(
    gateway: &Process,
    key: &Path,
    ids: std::ops::RangeInclusive<u32>,
    more: &[&str],
) -> Devices {
    let count = (ids.end() - ids.start() + 1).to_string();
    let (first, to) = (ids.start().to_string(), gateway.aes.to_string());
    let dial = ["--dial", &to, "--redial", "200ms", "--quiet"];
    let who = ["--count", &count, "--first-id", &first];
    Devices::start(&[&dial[..], &who[..], more].concat(), key)
}

/// One that dials in over TLS and shows a certificate of its own.
fn certified(gateway: &Process) -> Devices {
    let (id, to) = (CERTIFIED.to_string(), gateway.tls.to_string());
    let data = gateway.data_dir();
    let data = data.to_str().expect("a path in UTF-8");
    gateway.certs(&["device", &id, "--out-dir", data]);
    let (cert, key) = (
        format!("{data}/device_{id}.crt"),
        format!("{data}/device_{id}_key.pem"),
    );
    let link = ["--link", "tls", "--data-dir", data];
    let proof = ["--cert", &cert, "--cert-key", &key];
    let dial = ["--dial", &to, "--redial", "200ms", "--quiet"];
    let who = ["--count", "1", "--first-id", &id];
    Devices::start_with(&[&link[..], &proof[..], &dial[..], &who[..]].concat())
}
