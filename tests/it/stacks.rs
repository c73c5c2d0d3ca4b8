//! Devices that share no code with the gateway: OpenSSL, Python's ssl, and noiseprotocol of PyPI,
//! each through handshake, Connect and keep-alive.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use gatehouse::grpc::proto::gsdk::connect::Status;
use tempfile::TempDir;

use crate::support::client::{self, Client, Statuses, add, allow_all};
use crate::support::link::Link;
use crate::support::needed;
use crate::support::process::Process;
use crate::support::run;

const ID: u32 = 7;

const MODULES: &str = "ssl, noise";

/// A program that ends with its value.
struct Running(Child);

impl Running {
    fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("piped"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for [`ID`] beside the gateway.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    fn make(gateway: &Process, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().to_str().expect("a path in UTF-8");
        let id = ID.to_string();
        gateway.certs(&[&["device", &id, "--out-dir", out], more].concat());
        Self {
            chain: directory.path().join(format!("device_{ID}.crt")),
            key: directory.path().join(format!("device_{ID}_key.pem")),
            _directory: directory,
        }
    }
}

/// `tests/python/device.py` with these arguments; what it says, line by line.
struct PythonDevice {
    process: Running,
    lines: BufReader<ChildStdout>,
}

impl PythonDevice {
    fn start(python: &str, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(python)
            .arg(root.join("tests/python/device.py"))
            .args(["--id", &ID.to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Running(child.expect("Python runs"));
        let lines = process.output();
        Self { process, lines }
    }

    fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("readable");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    fn address(&mut self) -> SocketAddr {
        let port = self.line()["listens"].as_u64().expect("a port");
        let port = u16::try_from(port).expect("a port");
        ([127, 0, 0, 1], port).into()
    }

    /// Ends well after its keep-alives were answered.
    fn done(mut self) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("readable");
        let status = self.process.0.wait().expect("ended");
        assert!(status.success(), "{rest}");
        assert!(rest.contains("\"keep_alive\": 3"), "{rest}");
    }
}

async fn statuses(gateway: &Process) -> (Client, Statuses) {
    let mut client = gateway.client().await;
    let statuses = Statuses::subscribe(&mut client, 64).await;
    (client, statuses)
}

#[test]
fn openssl_is_a_device_that_dials() {
    let Some(openssl) = needed::program("openssl", &["version"], "openssl") else {
        return;
    };
    run(async {
        let gateway = Process::start("");
        let (mut client, mut statuses) = statuses(&gateway).await;
        allow_all(&mut client).await;
        let certificate = Certificate::make(&gateway, &[]);
        for version in ["-tls1_2", "-tls1_3"] {
            let mut child = Command::new(&openssl)
                .args(["s_client", "-quiet", "-verify_return_error", version])
                .args(["-connect", &gateway.tls.to_string()])
                .arg("-CAfile")
                .arg(gateway.ca())
                .arg("-cert")
                .arg(&certificate.chain)
                .arg("-key")
                .arg(&certificate.key)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("openssl runs");
            let mut says = child.stdin.take().expect("piped");
            let mut process = Running(child);
            let mut hears = process.output();
            // Connect as device "7" without owner and credential, stream ID 42.
            says.write_all(b"\x03\x08\x1a\xe3\x80\x817\x80\x08\x2a")
                .expect("written");
            let mut answer = [0; 4];
            hears.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, [0x01, 0x02, 0x08, 0x2a], "Ok on stream 42");
            statuses.wait_for(ID, Status::TlsConnected).await;
            for _ in 0..3 {
                says.write_all(b"\x05\x00").expect("written");
                until_keep_alive(&mut hears);
            }
            says.write_all(b"\x04\x00").expect("written");
            statuses.wait_for(ID, Status::Disconnected).await;
        }
    });
}

/// Reads on until a keep-alive; requests of the gateway are passed over.
fn until_keep_alive(hears: &mut impl Read) {
    loop {
        let mut head = [0; 2];
        hears.read_exact(&mut head).expect("a frame");
        let mut body = vec![0; usize::from(head[1])];
        hears.read_exact(&mut body).expect("a body");
        if head[0] == 5 {
            return;
        }
    }
}

#[test]
fn pythons_ssl_is_a_device_that_dials() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        let gateway = Process::start("");
        let (mut client, mut statuses) = statuses(&gateway).await;
        allow_all(&mut client).await;
        let certificate = Certificate::make(&gateway, &[]);
        for version in ["1.2", "1.3"] {
            let device = PythonDevice::start(
                &python,
                &[
                    "--link",
                    "tls",
                    "--dial",
                    &gateway.tls.to_string(),
                    "--tls-version",
                    version,
                    "--ca",
                    path(&gateway.ca()),
                    "--cert",
                    path(&certificate.chain),
                    "--cert-key",
                    path(&certificate.key),
                ],
            );
            statuses.wait_for(ID, Status::TlsConnected).await;
            device.done();
            statuses.wait_for(ID, Status::Disconnected).await;
        }
    });
}

#[test]
fn pythons_ssl_is_a_device_that_is_dialled_in_both_roles() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        for (role, link, more) in [
            ("server", "tls", &[][..]),
            ("client", "tls-server", &["--server"]),
        ] {
            let gateway = Process::start(&format!("tls.dial_role = \"{role}\""));
            let (mut client, mut statuses) = statuses(&gateway).await;
            let certificate = Certificate::make(&gateway, more);
            let mut device = PythonDevice::start(
                &python,
                &[
                    "--link",
                    link,
                    "--listen",
                    "--ca",
                    path(&gateway.ca()),
                    "--cert",
                    path(&certificate.chain),
                    "--cert-key",
                    path(&certificate.key),
                ],
            );
            let address = device.address();
            add(&mut client, vec![Link::Tls.auto(ID, address)]).await;
            statuses.wait_for(ID, Status::TlsConnected).await;
            device.done();
            statuses.wait_for(ID, Status::Disconnected).await;
        }
    });
}

#[test]
fn noiseprotocol_is_a_device_in_both_directions() {
    let Some(python) = needed::python(MODULES) else {
        return;
    };
    run(async {
        let gateway = Process::start("");
        let (mut client, mut statuses) = statuses(&gateway).await;
        allow_all(&mut client).await;
        let key = gateway.fleet_key().to_hex();
        let aes = gateway.aes.to_string();
        let device =
            PythonDevice::start(&python, &["--link", "aes", "--dial", &aes, "--key", &key]);
        statuses.wait_for(ID, Status::TcpConnected).await;
        device.done();
        statuses.wait_for(ID, Status::Disconnected).await;

        let mut device =
            PythonDevice::start(&python, &["--link", "aes", "--listen", "--key", &key]);
        let address = device.address();
        add(&mut client, vec![client::auto(ID, address)]).await;
        statuses.wait_for(ID, Status::TcpConnected).await;
        device.done();
        statuses.wait_for(ID, Status::Disconnected).await;
    });
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
