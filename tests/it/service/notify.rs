//! What a service manager hears on its socket.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use gatehouse::service::pulse::Part;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use sd_notify::NotifyState;
use tempfile::TempDir;

use crate::support::process::{BINARY, Process};
use crate::support::web::Web;
use crate::support::{PATIENCE, client, run};

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Self { socket, directory }
    }

    /// Starts a gateway that knows of this manager.
    fn start(&self, watchdog_us: Option<u64>, more: &str) -> Process {
        let command = || {
            let mut command = Command::new(BINARY);
            command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
            if let Some(us) = watchdog_us {
                command.env("WATCHDOG_USEC", us.to_string());
            }
            command
        };
        Process::start_as(&command, more)
    }

    /// The next message.
    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let read = self.socket.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    /// Reads on until a message with this line.
    fn until(&self, line: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|other| other.starts_with(line)) {
                return message;
            }
        }
    }

    /// All that waits to be read.
    fn waiting(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut bytes = [0; 4096];
        let next = || {
            let read = self.socket.recv(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
        };
        let waiting = std::iter::from_fn(next).collect();
        self.socket.set_nonblocking(false).expect("a socket");
        waiting
    }
}

const PING: &str = "WATCHDOG=1";

#[test]
fn the_service_manager_hears_of_the_start_of_reloads_and_of_the_end() {
    let manager = Manager::new();
    let mut gateway = manager.start(None, "drain.grace = \"7s\"");
    assert_eq!(manager.next(), "READY=1\n");
    let status = manager.until("STATUS=");
    assert_eq!(status, "STATUS=ready: 0 sessions, 0 devices listed\n");
    gateway.hang_up();
    let reloading = manager.until("RELOADING=1");
    let stamp = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let stamp: u64 = stamp.expect("a stamp").parse().expect("a number");
    let Ok(NotifyState::MonotonicUsec(now)) = NotifyState::monotonic_usec_now() else {
        panic!("a clock");
    };
    let now = u64::try_from(now).expect("after the start");
    assert!(now.abs_diff(stamp) < 120_000_000, "{stamp} at {now}");
    manager.until("READY=1");
    gateway.signal(Signal::SIGTERM);
    let stopping = manager.until("STOPPING=1");
    assert_eq!(stopping, "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\n");
    assert!(gateway.wait().success());
    let said = manager.waiting().concat();
    assert!(!said.contains(PING), "nobody wanted it: {said}");
}

#[test]
fn the_line_for_people_has_numbers() {
    run(async {
        let manager = Manager::new();
        let gateway = manager.start(None, "dial.rate_max = 1");
        let nobody = ([127, 0, 0, 1], 9).into();
        let autos = (1..=3).map(|id| client::auto(id, nobody)).collect();
        client::add(&mut gateway.client().await, autos).await;
        manager.until("STATUS=ready: 0 sessions, 3 devices listed");
    });
}

/// A thread of another process, stopped; it goes on when this is dropped. Only the test's own
/// thread can let it go on.
struct Stopped(Pid);

impl Stopped {
    fn stop(thread: Pid) -> Self {
        ptrace::attach(thread).expect("a thread of a child");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        Self(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It is gone when the process is.
        let _ = ptrace::detach(self.0, None);
    }
}

/// The threads of a gateway that carry a part: the registry shares its name with those of the
/// sessions.
fn threads(gateway: &Process, part: Part) -> Vec<Pid> {
    let name = match part {
        Part::Registry => "actix-rt|system",
        Part::Store => "store",
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs");
    let named = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?;
        let found = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let is_it = found.trim_end() == name;
        let id = task.file_name().to_str()?.parse().ok()?;
        is_it.then_some(Pid::from_raw(id))
    };
    tasks.filter_map(named).collect()
}

/// One part hangs: the watchdog is starved and `/healthz` says who; then it goes on.
fn hang(part: Part) {
    let manager = Manager::new();
    let gateway = manager.start(Some(2_000_000), "");
    for _ in 0..3 {
        manager.until(PING);
    }
    let threads = threads(&gateway, part);
    assert!(!threads.is_empty(), "{part:?} has a thread");
    let stopped: Vec<Stopped> = threads.into_iter().map(Stopped::stop).collect();
    let http = gateway.http;
    let mut detail = String::new();
    run(async {
        let web = Web::new(http);
        loop {
            let (status, body) = web.try_get("/healthz").await;
            if status == 503 {
                detail = body["detail"].to_string();
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    assert!(detail.contains(part.name()), "{detail}");
    // It took fifteen seconds to be sure of that; a timer would have fed the watchdog each second.
    let pings = manager.waiting().concat().matches(PING).count();
    assert!(
        pings <= 3,
        "{part:?} hangs, and the watchdog was fed {pings} times"
    );
    drop(stopped);
    manager.until(PING);
}

#[test]
fn a_store_that_hangs_starves_the_watchdog() {
    hang(Part::Store);
}

#[test]
fn a_registry_that_hangs_starves_the_watchdog() {
    hang(Part::Registry);
}
