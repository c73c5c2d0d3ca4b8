//! A gateway with all that can happen to one, for a Prometheus to look at.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gatehouse::codec::dialect::Dialect;
use gatehouse::config::CredentialDigest;
use gatehouse::grpc::proto::gsdk::connect::{
    AcceptFilter, AsyncConnectInfo, SubscribeStatusRequest,
};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::support::client::{Client, add, list, set_filter};
use crate::support::peer::Peer;
use crate::support::process::{BINARY, Process};
use crate::support::web::Web;

/// Those of the fleet, by how they come: 500 in all.
const AES: Range = (1, 300);
const TLS: Range = (1001, 60);
const PLAIN: Range = (2001, 40);
const DIALLED: Range = (3001, 100);
pub const FLEET: usize = 500;
/// Those that connect and fall silent.
const SILENT: Range = (4001, 40);
/// Those that the accept filter does not know.
const STRANGERS: Range = (5001, 10);
/// Those that cannot show who they are.
const UNPROVEN: Range = (6001, 5);
/// One that asks the gateway for something.
const ASKING: u32 = 8001;
/// One that nobody finds.
const ABSENT: u32 = 7001;

/// The first ID and how many.
type Range = (u32, u32);

const SECRET: &str = "a secret of the fleet";

/// Processes of simulated devices; they end with their value, and after two minutes by themselves.
#[derive(Default)]
pub struct Devices(Vec<Child>);

impl Drop for Devices {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Devices {
    fn command(arguments: &[&str], (first, count): Range) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(["simulate", "--format", "json", "--quiet", "--for", "2m"])
            .args([
                "--first-id",
                &first.to_string(),
                "--count",
                &count.to_string(),
            ])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn dial(&mut self, arguments: &[&str], devices: Range) {
        let child = Self::command(arguments, devices)
            .stdout(Stdio::null())
            .spawn();
        self.0.push(child.expect("the binary runs"));
    }

    /// Where each of them listens.
    fn listen(&mut self, arguments: &[&str], devices: Range) -> Vec<AsyncConnectInfo> {
        let mut child = Self::command(arguments, devices)
            .args(["--listen", "127.0.0.1", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut lines = lines.map(|line| line.expect("text"));
        let told = lines.by_ref().take(devices.1 as usize).map(|line| {
            let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            let address: SocketAddr = said["listens"]
                .as_str()
                .expect("it listens")
                .parse()
                .expect("an address");
            let id = said["device"].as_u64().expect("a device");
            crate::support::client::auto(u32::try_from(id).expect("an ID"), address)
        });
        let told = told.collect();
        // Who talks must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.0.push(child);
        told
    }
}

/// The gateway that is looked at.
pub struct Play {
    pub gateway: Process,
    key: PathBuf,
    /// The work of clients, until the end.
    clients: JoinSet<()>,
}

impl Play {
    pub async fn start() -> Self {
        let gateway = Process::start(&config());
        let key = gateway.fleet_key_file();
        let ranges = [AES, TLS, PLAIN, SILENT];
        let known = ranges
            .iter()
            .flat_map(|(first, count)| *first..first + count);
        let known = known.chain([ASKING]);
        let filter = AcceptFilter {
            device_i_ds: known.collect(),
            ..AcceptFilter::default()
        };
        let mut client = gateway.client().await;
        set_filter(&mut client, filter).await;
        // Nobody listens at the discard port.
        let absent = SocketAddr::from(([127, 0, 0, 1], 9));
        add(
            &mut client,
            vec![crate::support::client::auto(ABSENT, absent)],
        )
        .await;
        Self {
            gateway,
            key,
            clients: JoinSet::new(),
        }
    }

    /// The fleet, which `more` is said of.
    pub async fn fleet(&self, more: &[&str]) -> Devices {
        let (gateway, mut devices) = (&self.gateway, Devices::default());
        let key = ["--key", self.key.to_str().expect("a path in UTF-8")];
        let ca = gateway.ca();
        let ca = ca.to_str().expect("a path in UTF-8");
        let [aes, tls] = [gateway.aes, gateway.tls].map(|address| address.to_string());
        let plain = gateway.plain.expect("it listens").to_string();
        let proven = ["--credential", SECRET, "--redial", "1s"];
        let dialled = devices.listen(&[&key[..], more].concat(), DIALLED);
        devices.dial(
            &[&["--dial", &aes, "--redial", "1s"], &key[..], more].concat(),
            AES,
        );
        let by_tls = ["--dial", &tls, "--link", "tls", "--ca", ca];
        devices.dial(&[&by_tls[..], &proven, more].concat(), TLS);
        let in_clear = ["--dial", &plain, "--link", "plain"];
        devices.dial(&[&in_clear[..], &proven, more].concat(), PLAIN);
        add(&mut gateway.client().await, dialled).await;
        devices
    }

    /// Those that nobody wants, and those that fall silent.
    pub fn bad(&self) -> Devices {
        let mut devices = Devices::default();
        let [aes, tls] = [self.gateway.aes, self.gateway.tls].map(|address| address.to_string());
        let key = ["--key", self.key.to_str().expect("a path in UTF-8")];
        let ca = self.gateway.ca();
        let ca = ca.to_str().expect("a path in UTF-8");
        let dial = [&["--dial", &aes, "--redial", "2s"], &key[..]].concat();
        let silent = ["--behaviour", "silent", "--keep-alive", "1s"];
        devices.dial(&[&dial[..], &silent].concat(), SILENT);
        devices.dial(&dial, STRANGERS);
        for behaviour in ["garbage", "half-handshake", "mute", "no-connect"] {
            devices.dial(&[&dial[..], &["--behaviour", behaviour]].concat(), UNPROVEN);
        }
        let tls = [
            "--dial", &tls, "--link", "tls", "--ca", ca, "--redial", "2s",
        ];
        let wrong = ["--behaviour", "wrong-credential"];
        devices.dial(&[&tls[..], &wrong].concat(), UNPROVEN);
        devices
    }

    /// Clients that ask, follow, and are too slow, until the end.
    pub async fn clients(&mut self) {
        let web = Arc::new(Web::new(self.gateway.http));
        self.clients
            .spawn(ask(self.gateway.client().await, Arc::clone(&web)));
        self.clients.spawn(follow(web));
        self.clients
            .spawn(ask_as_device(self.gateway.plain.expect("it listens")));
        let slow = self.slow_client().await;
        self.clients
            .spawn(do_not_read(slow, self.gateway.client().await));
    }

    /// One that takes a kilobyte and no more.
    async fn slow_client(&self) -> Client {
        let ca = std::fs::read_to_string(self.gateway.ca()).expect("ca.crt");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let url = format!("https://localhost:{}", self.gateway.grpc.port());
        let endpoint = Endpoint::from_shared(url).expect("a URL");
        let endpoint = endpoint
            .tls_config(tls)
            .expect("TLS")
            .initial_stream_window_size(1024);
        Client::new(endpoint.connect().await.expect("a channel"))
    }

    /// What the gateway says when it is scraped.
    pub async fn scrape(&self) -> String {
        let web = Web::new(self.gateway.http);
        let answer = web.call(Method::GET, "/metrics", None).await;
        answer.text().await.expect("text")
    }

    /// No client gave up; now all of them may.
    pub async fn end(mut self) {
        if let Some(ended) = self.clients.try_join_next() {
            panic!("a client ended: {ended:?}");
        }
        self.clients.shutdown().await;
    }

    /// A list as the gateway gives it: of those that are connected.
    pub async fn connected(&self) -> usize {
        let list = list(&mut self.gateway.client().await).await;
        list.iter().filter(|info| is_connected(info.status)).count()
    }
}

fn is_connected(status: i32) -> bool {
    let status = gatehouse::device::Status::from_wire(status);
    status.is_some_and(gatehouse::device::Status::is_connected)
}

fn config() -> String {
    let mut text = String::from(
        "plain.listen = \"127.0.0.1:0\"\n\
         grpc.subscribers_max = 8\n\
         inbound.first_byte_deadline = \"2s\"\n\
         inbound.handshake_deadline = \"2s\"\n\
         inbound.connect_deadline = \"2s\"\n\
         takeover.burst = 1000\n",
    );
    let known = [TLS, PLAIN]
        .iter()
        .flat_map(|(first, count)| *first..first + count);
    let known = known.map(|id| (id, SECRET)).chain([(ASKING, "secret")]);
    for (id, secret) in known {
        let digest = String::from(CredentialDigest::of(secret.as_bytes()));
        text += &format!("[[credential]]\ndevice = \"{id}\"\ndigest = \"{digest}\"\n");
    }
    text
}

/// Calls of people and programs, a few a second: those that do well and those that do not.
async fn ask(mut client: Client, web: Arc<Web>) {
    let mut pace = interval(Duration::from_millis(250));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let resource = |id: u32, name: &str| format!("/v3/users/~/devices/{id}/resources/{name}");
    loop {
        pace.tick().await;
        list(&mut client).await;
        let not_there = gatehouse::grpc::proto::gsdk::connect::ConnectRequest::default();
        client.connect(not_there).await.expect_err("no address");
        web.try_get("/v3/fleet").await;
        web.try_get("/v3/nothing").await;
        for id in [AES.0, TLS.0, PLAIN.0, DIALLED.0, ABSENT] {
            web.try_get(&resource(id, "temperature")).await;
        }
        web.try_get(&resource(AES.0, "nothing")).await;
        web.post(&resource(AES.0, "relay"), json!({"on": true}))
            .await;
        web.call(Method::DELETE, "/v3/fleet", None).await;
    }
}

/// Streams of resources over a WebSocket and as events.
async fn follow(web: Arc<Web>) {
    let path = |id: u32| format!("/v3/users/~/devices/{id}/resources/temperature?interval=1");
    let mut sockets = Vec::new();
    for id in DIALLED.0..DIALLED.0 + 20 {
        sockets.push(web.socket(&path(id)).await);
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let events = client.get(web.url("/v3/fleet/events"));
    let events = events.header("accept", "text/event-stream").send().await;
    let mut events = events.expect("an answer");
    loop {
        for socket in &mut sockets {
            socket.next().await;
        }
        events.chunk().await.expect("it goes on");
    }
}

/// A device that sets a property, and asks for what there is not.
async fn ask_as_device(plain: SocketAddr) {
    let mut peer = Peer::admitted(plain, Dialect::Current, "", &ASKING.to_string()).await;
    let mut pace = interval(Duration::from_secs(1));
    loop {
        pace.tick().await;
        for asked in [
            "061008e9b0021ac181610112836366672002",
            "060a08a64712836e6f6e2001",
        ] {
            peer.say_hex(asked).await;
            peer.frame().await.expect("an answer");
        }
    }
}

/// A subscriber that never reads, and more of them than may be.
async fn do_not_read(mut slow: Client, mut other: Client) {
    let request = SubscribeStatusRequest { queue_size: 1 };
    let unread = slow.subscribe_status(request).await.expect("subscribed");
    let mut open = Vec::new();
    while let Ok(stream) = other.subscribe_status(request).await {
        open.push(stream);
    }
    // The first keeps what it has and the others are read by nobody either.
    std::future::pending::<()>().await;
    drop((unread, open));
}

/// A gateway with a waiting room for four, and hundreds that wait at its door without a word.
pub struct Crowd {
    pub gateway: Process,
    _silent: Vec<TcpStream>,
}

impl Crowd {
    pub async fn gather() -> Self {
        let gateway =
            Process::start("inbound.waiting_max = 4\ninbound.first_byte_deadline = \"5m\"");
        let mut silent = Vec::new();
        for _ in 0..400 {
            let stream = TcpStream::connect(gateway.aes).await;
            silent.push(stream.expect("the kernel takes it"));
        }
        Self {
            gateway,
            _silent: silent,
        }
    }
}
