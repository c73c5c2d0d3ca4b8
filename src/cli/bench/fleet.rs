//! Simulated devices in a process of their own, so that their memory and processor time are not
//! counted as the gateway's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The addresses that devices dial from, in turn: none may fill the gateway's waiting room alone.
const SOURCES: &str = "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6,127.0.0.7,127.0.0.8,127.0.0.9,\
     127.0.0.10,127.0.0.11,127.0.0.12,127.0.0.13,127.0.0.14,127.0.0.15,127.0.0.16,127.0.0.17";

/// The type that the devices tell, so that it is seen when they have told it.
pub(super) const TYPE: u32 = 1;

/// How devices prove who they are.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// On a plain link, with this credential.
    Credential(String),
    /// On an aes link, with the link key in this file.
    Key(PathBuf),
    /// On a tls link to a gateway under the root in this file, with this credential. No certificate:
    /// the gateway would keep it as long as the session.
    Tls { root: PathBuf, secret: String },
}

/// Devices in a child process, which ends with this.
#[derive(Debug)]
pub(super) struct Fleet(Child);

impl Fleet {
    /// Starts `count` devices, which dial `to`, at most `start_rate` of them a second.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(super) fn start(
        to: SocketAddr,
        proof: &Proof,
        first_id: u32,
        count: u32,
        start_rate: u32,
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["simulate", "--quiet", "--format", "json"])
            // One that had no luck must not be waited for at the end of a ramp.
            .args(["--redial", "200ms"])
            // Should this process be killed, they end all the same.
            .args(["--for", "5m"])
            .args(["--sources", SOURCES])
            .args(["--dial", &to.to_string()])
            .args(["--first-id", &first_id.to_string()])
            .args(["--count", &count.to_string()])
            .args(["--start-rate", &start_rate.to_string()])
            .args(["--type", &TYPE.to_string()]);
        proof.tell(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self(child))
    }

    /// Stops the devices where they are, so that they do not see what becomes of their links.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn pause(&self) -> io::Result<()> {
        self.send(Signal::SIGSTOP)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn go_on(&self) -> io::Result<()> {
        self.send(Signal::SIGCONT)
    }

    /// Cuts all devices off at once, without waiting for the end of their process.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.send(Signal::SIGKILL)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(Pid::from_raw(self.0.id().cast_signed()), signal)?)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proof {
    fn tell(&self, command: &mut Command) {
        match self {
            Self::Credential(secret) => command.args(["--link", "plain", "--credential", secret]),
            Self::Key(file) => command
                .args(["--link", "aes", "--key"])
                .arg::<&Path>(file.as_ref()),
            Self::Tls { root, secret } => command
                .args(["--link", "tls", "--credential", secret, "--ca"])
                .arg::<&Path>(root.as_ref()),
        };
    }
}
