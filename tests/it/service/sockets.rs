//! Listening sockets of a service manager: over a restart nobody finds a closed port.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gatehouse::sim::report::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::client::{self, Client};
use crate::support::device::{self, Spec};
use crate::support::gateway::fleet_key;
use crate::support::process::BINARY;
use crate::support::{needed, run};

const TOOL: &str = "systemd-socket-activate";

fn tool() -> Option<String> {
    needed::program(
        TOOL,
        &["--version"],
        "systemd-socket-activate (Debian: systemd)",
    )
}

/// Two gateways, one after the other, with the sockets of one manager, who waits for the first to
/// end. The first line of each on the standard output is its process ID.
const TWO_RUNS: &str = r#"
for run in 1 2; do
    sh -c 'export LISTEN_PID=$$; exec "$0" "$@"' "$@" &
    echo $!
    wait $!
done"#;

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("bound")
}

fn config(directory: &Path, grpc: SocketAddr, aes: SocketAddr) -> std::path::PathBuf {
    let file = directory.join("gateway.toml");
    let data = directory.join("data");
    let text = format!(
        "data_dir = {data:?}\ngrpc.listen = \"{grpc}\"\naes.listen = \"{aes}\"\n\
         tls.listen = \"\"\nhttp.listen = \"\"\n"
    );
    std::fs::write(&file, text).expect("written");
    file
}

/// The tool, which hands these sockets to a command at the first connection.
fn activate(sockets: &[(&str, SocketAddr)], command: &[&str]) -> Child {
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let mut tool = Command::new(TOOL);
    for (_, address) in sockets {
        tool.arg("--listen").arg(address.to_string());
    }
    tool.arg(format!("--fdname={}", names.join(":")))
        .args(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs")
}

/// Ends the tool, or what became of it.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects again and again until it is told to stop; how often, and the first failure.
fn knock(at: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<(u64, Option<std::io::Error>)> {
    std::thread::spawn(move || {
        let mut times = 0;
        while !stop.load(Ordering::Relaxed) {
            match TcpStream::connect(at) {
                Ok(_) => times += 1,
                Err(error) => return (times, Some(error)),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        (times, None)
    })
}

async fn gateway_client(ca: &str, grpc: SocketAddr) -> Client {
    let channel = client::channel(grpc, "localhost", ca).await;
    Client::new(channel.expect("a channel"))
}

#[test]
fn over_a_restart_a_device_finds_no_closed_port() {
    if tool().is_none() {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    let (grpc, aes) = (free_port(), free_port());
    let file = config(directory.path(), grpc, aes);
    let file = file.to_str().expect("text");
    let sockets = [("grpc", grpc), ("aes", aes)];
    let command = [
        "sh", "-c", TWO_RUNS, "sh", BINARY, "gateway", "--config", file,
    ];
    let mut tool = Ends(activate(&sockets, &command));
    let mut pids = BufReader::new(tool.0.stdout.take().expect("piped")).lines();
    let mut log = tool.0.stderr.take().expect("piped");
    // Who logs must not block on a full pipe; and the tool listens once it has said so.
    let (listens, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(&mut log).lines();
        let mut count = 0;
        while let Some(Ok(line)) = lines.next() {
            count += usize::from(line.contains("Listening on"));
            if count == 2 {
                count += 1;
                let _ = listens.send(());
            }
        }
    });
    listening.recv().expect("it listens");
    run(async {
        // The first connection is what starts the gateway; it waits until that is there.
        drop(TcpStream::connect(aes).expect("open"));
        let mut pid = || -> i32 {
            let line = pids.next().expect("a run").expect("readable");
            line.parse().expect("a process ID")
        };
        let first = pid();
        let data = directory.path().join("data");
        let ca = loop {
            // It is made at the first start.
            match std::fs::read_to_string(data.join("certs/ca.crt")) {
                Ok(ca) if ca.contains("END CERTIFICATE") => break ca,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        client::allow_all(&mut gateway_client(&ca, grpc).await).await;
        let key = fleet_key(&data.join("keys"));
        let spec = Spec::keyed(7, key).redial(Duration::from_millis(5));
        let mut device = device::dial(spec, aes);
        device.admitted(1).await;
        let stop = Arc::new(AtomicBool::new(false));
        let knocking = [grpc, aes].map(|at| knock(at, Arc::clone(&stop)));
        kill(Pid::from_raw(first), Signal::SIGTERM).expect("it runs");
        let second = pid();
        assert_ne!(first, second);
        device.admitted(2).await;
        let listed = client::listed(&mut gateway_client(&ca, grpc).await, 7).await;
        assert!(listed.is_some(), "the second one has it");
        stop.store(true, Ordering::Relaxed);
        for knocking in knocking {
            let (times, failed) = knocking.join().expect("no panic");
            assert!(failed.is_none(), "after {times}: {failed:?}");
            assert!(times > 1, "{times}");
        }
        let mut admitted = 0;
        while admitted < 2 {
            let event = device.next().await;
            admitted += usize::from(event.is_admitted());
            let closed = matches!(event, Event::Unreachable(_));
            assert!(!closed, "a closed port: {event}");
        }
        kill(Pid::from_raw(second), Signal::SIGTERM).expect("it runs");
        device.stop().await;
    });
    assert!(tool.0.wait().expect("ended").success());
}

/// What the gateway says when it is handed these sockets.
fn refusal(sockets: &[(&str, SocketAddr)], grpc: SocketAddr, aes: SocketAddr) -> String {
    let directory = TempDir::new().expect("a directory");
    let file = config(directory.path(), grpc, aes);
    let file = file.to_str().expect("text");
    let mut tool = Ends(activate(sockets, &[BINARY, "gateway", "--config", file]));
    let mut log = BufReader::new(tool.0.stderr.take().expect("piped"));
    for _ in sockets {
        let mut line = String::new();
        while !line.contains("Listening on") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "it listens");
        }
    }
    drop(TcpStream::connect(sockets[0].1).expect("open"));
    let status = tool.0.wait().expect("ended");
    assert_eq!(status.code(), Some(78), "{status}");
    let mut said = String::new();
    log.read_to_string(&mut said).expect("text");
    let line = said.lines().find(|line| line.starts_with("gatehouse: "));
    line.unwrap_or_else(|| panic!("one line that says it: {said}"))
        .to_owned()
}

#[test]
fn sockets_that_do_not_fit_are_refused_in_one_line() {
    if tool().is_none() {
        return;
    }
    let (grpc, aes, other) = (free_port(), free_port(), free_port());
    let said = refusal(&[("gatehouse.socket", aes)], grpc, aes);
    assert!(said.contains("\"gatehouse.socket\""), "{said}");
    assert!(said.contains("FileDescriptorName="), "{said}");
    let said = refusal(&[("aes", other)], grpc, aes);
    assert!(said.contains(&format!("aes.listen = \"{aes}\"")), "{said}");
    assert!(said.contains(&other.to_string()), "{said}");
    let said = refusal(&[("tls", other)], grpc, aes);
    assert!(
        said.contains("tls.listen") && said.contains("off"),
        "{said}"
    );
}
