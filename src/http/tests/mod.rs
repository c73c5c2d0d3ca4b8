//! The HTTP face over real sockets, before a real gateway.

mod access;
mod fleet;
mod front;
mod metrics;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::access::Role;
use crate::access::tokens::NewToken;
use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::config::{Config, Listen};
use crate::functions::ServerFunctions;
use crate::gateway::Running;
use crate::http::server::Settings;
use crate::store::Retention;
use crate::stream::hub::Limits;

/// A gateway without devices, and a server before it.
pub struct World {
    pub running: Running,
    pub server: Server,
    pub address: SocketAddr,
    pub callers: Arc<Credentials>,
    pub store: Store,
    pub readiness: Readiness,
    _directories: [TempDir; 2],
}

/// Settings that a test changes.
pub struct Setup {
    pub http: config::Http,
    /// Whether loopback is open, as it is outside of tests.
    pub is_open: bool,
    pub settings: Settings,
    pub meter: Meter,
}

fn store(directory: &Path) -> Store {
    let retention = Retention {
        events_max: 1000,
        age_max: Duration::from_secs(3600),
        audit_max: 1000,
        limits: crate::store::Limits::default(),
    };
    let (opened, _) = Store::open(directory, retention).expect("the store opens");
    opened.run(|_, _| ()).expect("a thread")
}

fn functions(store: &Store) -> ServerFunctions {
    let settings = config::Functions::default();
    ServerFunctions::new(&settings, &[], store.clone(), &crate::metrics::Meter::off())
        .expect("no endpoint is wrong")
}

async fn gateway(directory: &Path) -> Running {
    let mut config = Config {
        data_dir: directory.to_owned(),
        ..Config::default()
    };
    config.grpc.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.http.listen = Listen(None);
    config.aes.listen = Listen(None);
    config.tls.listen = Listen(None);
    config.tls.stock_listen = Listen(None);
    config.plain.listen = Listen(None);
    Running::start(config).await.expect("a gateway")
}

pub async fn world(change: impl FnOnce(&mut Setup)) -> World {
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let running = gateway(directories[0].path()).await;
    let store = store(directories[1].path());
    let callers = Arc::new(Credentials::new(store.clone(), []));
    let mut setup = Setup {
        http: config::Http::default(),
        is_open: true,
        settings: Settings::default(),
        meter: Meter::new(),
    };
    change(&mut setup);
    let audit = Audit::new(store.clone());
    let guard = if setup.is_open {
        Guard::for_loopback(Arc::clone(&callers), audit)
    } else {
        Guard::new(Arc::clone(&callers), Arc::new(|_| false), audit)
    };
    let readiness = Readiness::default();
    let services = Services {
        gateway: running.handle(),
        streams: Hub::new(Limits {
            sinks_max: 100,
            resources_per_device_max: 10,
            queue_max: 10,
            interval_min: 1,
        }),
        functions: functions(&store),
        iotmp: None,
        store: store.clone(),
        guard,
        http: setup.http,
        names: vec!["gate.example.org".to_owned()],
        refusal_for: Duration::from_secs(60),
        meter: setup.meter,
        readiness: readiness.clone(),
        vitals: Vitals::new(None),
        observer: crate::trace::Observer::silent(),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    World {
        running,
        address,
        server: start(services, setup.settings, listener),
        callers,
        store,
        readiness,
        _directories: directories,
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.starts_with(&format!("{name}: "));
        let line = self.head.lines().find(line)?;
        Some(&line[name.len() + 2..])
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The text of a problem.
    pub fn detail(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], self.status);
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A connection on which one request was sent; what follows can be read as it comes.
pub struct Asked<S> {
    stream: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Asked<S> {
    /// Sends a request as it stands, but for line ends; an empty line and the body may follow.
    pub async fn send(mut stream: S, request: &str) -> Self {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let head = head.trim().replace('\n', "\r\n");
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let request = format!("{head}\r\n{length}\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("sent");
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// All that was said up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            let said = String::from_utf8_lossy(&self.heard).into_owned();
            if let Some(at) = said.find(end) {
                let rest = said.as_bytes()[at + end.len()..].to_vec();
                self.heard = rest;
                return said[..at + end.len()].to_owned();
            }
            let count = self.stream.read_buf(&mut self.heard).await.expect("read");
            assert!(count > 0, "it ended without {end:?}: {said}");
        }
    }

    /// The status alone.
    pub async fn status(&mut self) -> u16 {
        let head = self.until("\r\n\r\n").await;
        head[9..12].parse().expect("a status")
    }

    /// All until the server closes.
    pub async fn answer(mut self) -> Answer {
        // A reset is as good an end as any.
        let _ = self.stream.read_to_end(&mut self.heard).await;
        let said = String::from_utf8(self.heard).expect("text");
        let (head, body) = said.split_once("\r\n\r\n").expect("a head");
        let is_chunked = head.contains("transfer-encoding: chunked");
        Answer {
            status: head[9..12].parse().expect("a status"),
            body: if is_chunked {
                unchunk(body)
            } else {
                body.to_owned()
            },
            head: head.to_ascii_lowercase(),
        }
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

impl World {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("listening")
    }

    /// Sends a request as it stands.
    pub async fn send(&self, request: &str) -> Asked<TcpStream> {
        Asked::send(self.connect().await, request).await
    }

    /// The answer to a request: its first line, more headers, and after an empty line its body.
    pub async fn ask(&self, request: &str) -> Answer {
        let (line, rest) = request.split_once('\n').unwrap_or((request, ""));
        let request = format!("{line} HTTP/1.1\nhost: localhost\nconnection: close\n{rest}");
        self.send(&request).await.answer().await
    }

    /// A token of this role, as the header.
    pub async fn token(&self, role: Role) -> String {
        let new = NewToken {
            name: role.as_str().into(),
            role,
            expires_after: None,
            created_by: "test".into(),
        };
        let number = role as u8;
        let token = self.callers.create(new, &[number; 32]).await;
        format!("authorization: Bearer {}", token.expect("made").as_str())
    }

    /// Stops everything in its order.
    pub async fn stop(self) {
        self.server.stop().await;
        self.running.stop().await;
    }
}
