//! The gateway as a process of its own: it can be killed, and started again on the same ports and
//! the same data.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use gatehouse::link::key_files;
use gatehouse::link::link_key::LinkKey;
use tempfile::TempDir;
use tonic::transport::Channel;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{self, Client};
use super::gateway::fleet_key;
use super::netns::Host;

pub const BINARY: &str = env!("CARGO_BIN_EXE_gatehouse");

pub struct Process {
    child: Child,
    config: PathBuf,
    pub grpc: SocketAddr,
    pub aes: SocketAddr,
    pub tls: SocketAddr,
    pub http: SocketAddr,
    /// Where it listens for devices without encryption, if it does.
    pub plain: Option<SocketAddr>,
    directory: TempDir,
    log: Log,
}

/// So many lines of its log, calls aside, are told of a gateway whose test failed.
const LINES_TOLD: usize = 100;

/// What a gateway has logged since it last started.
type Log = Arc<Mutex<Vec<u8>>>;

/// Where a gateway listens: gRPC, aes, tls, HTTP.
type Addresses = [SocketAddr; 4];

impl Process {
    /// Starts on free ports; `more` is added to the configuration.
    pub fn start(more: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_in(tempfile::tempdir().expect("a directory"), free, more)
    }

    /// Starts with its data in this directory.
    pub fn start_at(directory: TempDir, more: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_in(directory, free, more)
    }

    fn start_in(directory: TempDir, free: SocketAddr, more: &str) -> Self {
        Self::start_by(&|| Command::new(BINARY), directory, free, more)
    }

    /// Starts on a host of its own, on free ports of all its addresses.
    pub fn start_on(host: &Host, more: &str) -> Self {
        let free = SocketAddr::from(([0, 0, 0, 0], 0));
        let directory = tempfile::tempdir().expect("a directory");
        Self::start_by(&|| host.command(BINARY), directory, free, more)
    }

    /// Starts on free ports by this command, which is to run the binary.
    pub fn start_as(command: &dyn Fn() -> Command, more: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let directory = tempfile::tempdir().expect("a directory");
        Self::start_by(command, directory, free, more)
    }

    fn start_by(
        command: &dyn Fn() -> Command,
        directory: TempDir,
        free: SocketAddr,
        more: &str,
    ) -> Self {
        let config = directory.path().join("gateway.toml");
        write_config(&config, directory.path(), [free; 4], more);
        let (child, addresses, plain, log) = spawn(command(), &config);
        // From now on on the ports that it was given.
        write_config(&config, directory.path(), addresses, more);
        let [grpc, aes, tls, http] = addresses;
        Self {
            child,
            config,
            grpc,
            aes,
            tls,
            http,
            plain,
            directory,
            log,
        }
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM, and waits for the orderly end.
    pub fn stop(&mut self) {
        let pid = self.pid().to_string();
        let told = Command::new("kill").arg(pid).status();
        assert!(told.expect("kill runs").success());
        self.child.wait().expect("ended");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts again after a kill or a stop.
    pub fn restart(&mut self) {
        let (child, addresses, plain, log) = spawn(Command::new(BINARY), &self.config);
        assert_eq!(addresses, [self.grpc, self.aes, self.tls, self.http]);
        self.child = child;
        self.plain = plain;
        self.log = log;
    }

    /// Has it read its keys and certificates again.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process ID");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for its end, which somebody brings about.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("ended")
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Changes its configuration file.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("readable");
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.config, text.replace(from, to)).expect("written");
    }

    /// What a verb of the binary makes of its arguments and this gateway's data directory.
    pub fn certs(&self, arguments: &[&str]) -> String {
        let data = self.data_dir();
        let data = data.to_str().expect("a path in UTF-8");
        let output = gatehouse(&[&["certs"], arguments, &["--data-dir", data]].concat());
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complained}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What it has logged since it started.
    pub fn log(&self) -> String {
        let log = self.log.lock().expect("not poisoned");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// A file with the fleet's link key in clear, as devices take it.
    pub fn fleet_key_file(&self) -> PathBuf {
        let path = self.directory.path().join("fleet.key");
        key_files::write(&path, &self.fleet_key()).expect("written");
        path
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn ca(&self) -> PathBuf {
        self.data_dir().join("certs/ca.crt")
    }

    pub fn fleet_key(&self) -> LinkKey {
        fleet_key(&self.data_dir().join("keys"))
    }

    pub async fn channel(&self) -> Channel {
        let ca = std::fs::read_to_string(self.ca()).expect("ca.crt");
        let channel = client::channel(self.grpc, "localhost", &ca).await;
        channel.expect("a channel")
    }

    pub async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let is_told = |line: &&str| !line.contains("\"target\":\"audit\"");
            let lines: Vec<_> = log.lines().filter(is_told).collect();
            let last = &lines[lines.len().saturating_sub(LINES_TOLD)..];
            println!("the gateway's log ended with\n{}", last.join("\n"));
        }
    }
}

/// Runs the binary to its end.
pub fn gatehouse(arguments: &[&str]) -> Output {
    let output = Command::new(BINARY).args(arguments).output();
    output.expect("the binary runs")
}

/// Whoever reads a file meanwhile finds the old one or the new one, whole.
pub fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, file).expect("replaced");
}

fn write_config(file: &Path, directory: &Path, [grpc, aes, tls, http]: Addresses, more: &str) {
    let data = directory.join("data");
    let text = format!(
        "data_dir = {data:?}\n\
         grpc.listen = \"{grpc}\"\n\
         aes.listen = \"{aes}\"\n\
         tls.listen = \"{tls}\"\n\
         http.listen = \"{http}\"\n\
         log.format = \"json\"\n\
         reconnect.min = \"50ms\"\n\
         reconnect.max = \"200ms\"\n\
         {more}\n"
    );
    replace(file, &text);
}

fn spawn(mut command: Command, config: &Path) -> (Child, Addresses, Option<SocketAddr>, Log) {
    let mut child = command
        .args(["gateway", "--config"])
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    match started(log) {
        Ok((addresses, plain, log)) => (child, addresses, plain, log),
        Err(seen) => {
            let status = child.wait().expect("ended");
            panic!("the gateway did not start ({status}):\n{seen}");
        }
    }
}

/// Reads the log until the gateway says where it listens; what it said instead otherwise.
fn started(
    mut log: BufReader<ChildStderr>,
) -> Result<(Addresses, Option<SocketAddr>, Log), String> {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        if log.read_line(&mut line).expect("a log") == 0 {
            return Err(seen);
        }
        seen.push_str(&line);
        let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        let fields = &entry["fields"];
        if fields["message"] == "gateway started" {
            let address = |key: &str| {
                let text = fields[key].as_str().expect("listens");
                text.parse().expect("an address")
            };
            let addresses = ["grpc", "aes", "tls", "http"].map(address);
            let plain = fields["plain"]
                .as_str()
                .map(|text| text.parse().expect("an address"));
            // Who logs must not block on a full pipe.
            let kept = Log::default();
            let keep = Arc::clone(&kept);
            std::thread::spawn(move || {
                let mut line = Vec::new();
                while log.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    keep.lock().expect("not poisoned").append(&mut line);
                }
            });
            return Ok((addresses, plain, kept));
        }
    }
}
