//! The gateway as a process of its own: it can be killed, and started again on the same ports and
//! the same data.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use gatehouse::link::link_key::LinkKey;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::client::{self, Client};
use super::gateway::fleet_key;

pub const BINARY: &str = env!("CARGO_BIN_EXE_gatehouse");

pub struct Process {
    child: Child,
    config: PathBuf,
    pub grpc: SocketAddr,
    pub aes: SocketAddr,
    directory: TempDir,
}

impl Process {
    /// Starts on free ports; `more` is added to the configuration.
    pub fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = directory.path().join("gateway.toml");
        write_config(&config, directory.path(), free, free, more);
        let (child, grpc, aes) = spawn(&config);
        // From now on on the ports that it was given.
        write_config(&config, directory.path(), grpc, aes, more);
        Self {
            child,
            config,
            grpc,
            aes,
            directory,
        }
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts again after a kill.
    pub fn restart(&mut self) {
        let (child, grpc, aes) = spawn(&self.config);
        assert_eq!((grpc, aes), (self.grpc, self.aes));
        self.child = child;
    }

    /// The folder of the fleet's link keys.
    pub fn fleet_keys(&self) -> PathBuf {
        self.data_dir().join("keys/fleet")
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
    }
}

/// Runs the binary to its end.
pub fn gatehouse(arguments: &[&str]) -> Output {
    let output = Command::new(BINARY).args(arguments).output();
    output.expect("the binary runs")
}

fn write_config(file: &Path, directory: &Path, grpc: SocketAddr, aes: SocketAddr, more: &str) {
    let data = directory.join("data");
    let text = format!(
        "data_dir = {data:?}\n\
         grpc.listen = \"{grpc}\"\n\
         aes.listen = \"{aes}\"\n\
         tls.listen = \"\"\n\
         log.format = \"json\"\n\
         reconnect.min = \"50ms\"\n\
         reconnect.max = \"200ms\"\n\
         {more}\n"
    );
    std::fs::write(file, text).expect("written");
}

fn spawn(config: &Path) -> (Child, SocketAddr, SocketAddr) {
    let mut child = Command::new(BINARY)
        .args(["gateway", "--config"])
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    match started(log) {
        Ok((grpc, aes)) => (child, grpc, aes),
        Err(seen) => {
            let status = child.wait().expect("ended");
            panic!("the gateway did not start ({status}):\n{seen}");
        }
    }
}

/// Reads the log until the gateway says where it listens; what it said instead otherwise.
fn started(mut log: BufReader<ChildStderr>) -> Result<(SocketAddr, SocketAddr), String> {
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
            let addresses = (address("grpc"), address("aes"));
            // Who logs must not block on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok(addresses);
        }
    }
}
