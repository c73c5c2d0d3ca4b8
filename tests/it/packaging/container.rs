//! The container file, built from the Debian package and run; no registry is asked.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::debian::served;
use super::root::{base, well};
use crate::support::needed;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/config/container/Containerfile"
);

/// Images and containers of this test alone.
struct Buildah(TempDir);

impl Buildah {
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.0.path().join("storage"));
        command.arg("--runroot").arg(self.0.path().join("run"));
        command.args(["--storage-driver", "vfs", verb]);
        command
    }

    /// What it printed, without the end of the line.
    fn run(&self, verb: &str, arguments: &[&str]) -> String {
        let output = self.command(verb).args(arguments).output();
        well(&output.expect("buildah runs")).trim().to_owned()
    }

    /// The image that the container file begins from, under the name that it has there.
    fn make_base(&self, packed: &Path) {
        let container = self.run("from", &["scratch"]);
        let packed = packed.to_str().expect("text");
        self.run("add", &["--quiet", &container, packed, "/"]);
        let image = "localhost/debian:bookworm-slim";
        self.run("commit", &["--quiet", "--rm", &container, image]);
    }
}

#[test]
fn the_container_is_built_serves_as_its_user_and_ends_on_sigterm() {
    let Some(package) = needed::package() else {
        return;
    };
    let Some(base) = base("debian-slim", &[]) else {
        return;
    };
    let works = ["--net", "ip", "link", "set", "lo", "up"];
    let needs = "buildah, and to make network namespaces";
    if needed::program("buildah", &["--version"], needs).is_none()
        || needed::program("unshare", &works, needs).is_none()
    {
        return;
    }
    let buildah = Buildah(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"));
    buildah.make_base(&base);
    let context = buildah.0.path().join("context");
    fs::create_dir(&context).expect("made");
    fs::copy(&package, context.join("gatehouse_0_test.deb")).expect("copied");
    let context = context.to_str().expect("text");
    let from_here = [
        "--pull-never",
        "--isolation",
        "chroot",
        "--format",
        "docker",
    ];
    let image = ["-f", FILE, "-t", "localhost/gatehouse", context];
    buildah.run("build", &[&from_here[..], &image].concat());

    let settings = settings(&buildah);
    assert_eq!(settings["User"], "51212:51212");
    assert_eq!(settings["StopSignal"], "SIGTERM");
    let volumes = json!({ "/var/lib/gatehouse": {} });
    assert_eq!(settings["Volumes"], volumes);
    let container = buildah.run("from", &["localhost/gatehouse"]);
    it_serves(&buildah, &container, &settings);
}

/// What the image says to those that run it.
fn settings(buildah: &Buildah) -> Value {
    let text = buildah.run("inspect", &["--type", "image", "localhost/gatehouse"]);
    let image: Value = serde_json::from_str(&text).expect("JSON");
    image["Docker"]["config"].clone()
}

/// Runs what the image says, in a network of its own, asks for its health as the image says, and
/// has it end.
fn it_serves(buildah: &Buildah, container: &str, settings: &Value) {
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|word| word.as_str().expect("text").to_owned())
            .collect()
    };
    let run = |network: &mut Command, said: &[String]| {
        let inside = buildah.command("run");
        network.arg(inside.get_program()).args(inside.get_args());
        network
            .args(["--isolation", "chroot", container, "--"])
            .args(said);
        network
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("buildah runs")
    };
    let up = [
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec \"$@\"",
        "sh",
    ];
    let said = [words(&settings["Entrypoint"]), words(&settings["Cmd"])].concat();
    let mut gateway = run(Command::new("unshare").args(up), &said);
    served(&mut gateway);

    let check = words(&settings["Healthcheck"]["Test"]);
    assert_eq!(check[0], "CMD");
    let same = format!("--net=/proc/{}/ns/net", gateway.id());
    let health = run(Command::new("nsenter").arg(same), &check[1..]);
    let health = health.wait_with_output().expect("ended");

    let inner = inner(&gateway);
    let runs_as = fs::read_to_string(format!("/proc/{inner}/status")).expect("it runs");
    let pid = i32::try_from(inner).expect("a process ID");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    let status = gateway.wait().expect("ended");
    assert!(status.success(), "{status}");
    // Looked at when nothing is left that runs.
    well(&health);
    let user = "\nUid:\t51212\t51212\t51212\t51212\n";
    assert!(runs_as.contains(user), "{runs_as}");
}

/// The gateway itself, below the processes that keep its container.
fn inner(outer: &Child) -> u32 {
    let mut pid = outer.id();
    loop {
        let program = fs::read_link(format!("/proc/{pid}/exe")).expect("it runs");
        if program.file_name().is_some_and(|name| name == "gatehouse") {
            return pid;
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        // Any thread may have started the child.
        let children = threads.map(|thread| {
            let thread = thread.expect("readable").path().join("children");
            fs::read_to_string(thread).expect("readable")
        });
        let children = children.collect::<String>();
        let child = children.split_whitespace().next().expect("a child");
        pid = child.parse().expect("a process ID");
    }
}
