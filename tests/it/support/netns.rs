//! Hosts of their own on this machine: network namespaces, joined by a cable.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Two hosts in one subnet.
pub struct Pair {
    pub near: Host,
    pub far: Host,
}

/// One host: a loopback interface and one end of the cable. It is gone with its value.
pub struct Host {
    name: String,
    pub address: Ipv4Addr,
}

/// The broadcast address of the subnet of a [`Pair`].
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 255);

impl Pair {
    /// `None`, and a line that says so, where this process may not make namespaces. That is a
    /// property of the machine, which nothing can be installed against.
    pub fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let pair = Self::try_make(&id);
        if pair.is_none() {
            // Not by a macro: what those print is kept from the reader while the test passes.
            let said =
                "no network namespaces may be made here (ip netns): loopback is used instead";
            writeln!(std::io::stderr(), "{said}").expect("a standard error");
        }
        pair
    }

    fn try_make(id: &str) -> Option<Self> {
        let near = Host::make(format!("gh-near-{id}"), Ipv4Addr::new(10, 77, 0, 1))?;
        let far = Host::make(format!("gh-far-{id}"), Ipv4Addr::new(10, 77, 0, 2))?;
        // Made inside a namespace, so that the names are nobody else's.
        let cable = [
            "link", "add", "cable", "netns", &near.name, "type", "veth", "peer", "name", "cable",
            "netns", &far.name,
        ];
        ip(&cable)?;
        near.plug_in()?;
        far.plug_in()?;
        Some(Self { near, far })
    }
}

impl Host {
    fn make(name: String, address: Ipv4Addr) -> Option<Self> {
        ip(&["netns", "add", &name])?;
        Some(Self { name, address })
    }

    fn plug_in(&self) -> Option<()> {
        let address = format!("{}/24", self.address);
        let broadcast = BROADCAST.to_string();
        self.ip(&[
            "addr",
            "add",
            &address,
            "broadcast",
            &broadcast,
            "dev",
            "cable",
        ])?;
        self.ip(&["link", "set", "lo", "up"])?;
        self.ip(&["link", "set", "cable", "up"])
    }

    fn ip(&self, arguments: &[&str]) -> Option<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// A command that runs on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs on a thread of this host: sockets that it opens are this host's.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let path = format!("/var/run/netns/{}", self.name);
                let namespace = File::open(path).expect("the namespace is there");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("it may be entered");
                work()
            });
            thread.join().expect("the work on the host ends well")
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What was never made, or is gone already, needs no removal.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Option<()> {
    let status = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success()).then_some(())
}
