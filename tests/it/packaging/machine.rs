//! A machine of its own: a Debian that boots, with systemd as its first process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::root::{Root, base, well};
use crate::support::needed;

const QEMU: &str = "qemu-system-x86_64";
/// No answer takes this long, nor does the boot, on a machine that is computed and not run; it only
/// keeps a broken run from hanging.
const HANG: Duration = Duration::from_mins(5);
/// What is before the exit code of a command, and before nothing else.
const END: &str = "== ";

/// Carries out what comes over the second serial port, a command a line.
const AGENT: &str = r#"#!/bin/bash
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
stty raw -echo
echo "== 0"
while IFS= read -r line; do
    bash -c "$line" < /dev/null
    printf '\n== %s\n' $?
done
"#;

const AGENT_UNIT: &str = "\
[Unit]
Description=What the test wants is done

[Service]
Type=exec
ExecStart=/usr/local/bin/agent

[Install]
WantedBy=multi-user.target
";

/// It is switched off with its value.
pub struct Machine {
    qemu: Child,
    ask: ChildStdin,
    answers: Receiver<String>,
    /// Its disk, and what it wrote to its console: the journal too.
    folder: TempDir,
    /// The kernel lies there.
    _root: Root,
}

/// A root file system that boots; `None`, and a line that says so, where none can be had.
pub fn bootable() -> Option<Root> {
    if std::env::consts::ARCH != "x86_64" {
        needed::skip("an x86-64 machine");
        return None;
    }
    let needs = "QEMU (Debian: qemu-system-x86)";
    needed::program(QEMU, &["--version"], needs)?;
    needed::program("mke2fs", &["-V"], "mke2fs (Debian: e2fsprogs)")?;
    let packages = [
        "systemd",
        "systemd-sysv",
        "dbus",
        "udev",
        "linux-image-cloud-amd64",
        "curl",
    ];
    base("debian-that-boots", &packages).map(|base| Root::of(&base))
}

/// How the machine is run. A hypervisor inside of another one may offer KVM and run no kernel that
/// was not made for it; the processor then does not say that it can.
fn accelerator() -> &'static str {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut words = processor.split_whitespace();
    let able = words.any(|word| word == "vmx" || word == "svm");
    let open = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    if able && open { "kvm" } else { "tcg" }
}

impl Machine {
    /// Boots this root file system, and waits until it does what it is told.
    pub fn boot(root: Root) -> Self {
        let agent = root.path("/usr/local/bin/agent");
        fs::write(&agent, AGENT).expect("written");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("set");
        let units = root.path("/etc/systemd/system");
        fs::write(units.join("agent.service"), AGENT_UNIT).expect("written");
        let wanted = units.join("multi-user.target.wants/agent.service");
        symlink("../agent.service", wanted).expect("linked");

        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let disk = folder.path().join("disk");
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-t", "ext4", "-d"]).arg(root.path("/"));
        let made = make.arg(&disk).arg("2G").output();
        well(&made.expect("mke2fs runs"));

        let mut qemu = run(&root, &folder);
        let ask = qemu.stdin.take().expect("piped");
        let mut said = BufReader::new(qemu.stdout.take().expect("piped"));
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while said.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if tell.send(String::from_utf8_lossy(&line).into()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let machine = Self {
            qemu,
            ask,
            answers,
            folder,
            _root: root,
        };
        machine.answer("the boot");
        machine
    }

    /// Runs a line of bash to its end: its exit code, and what it printed.
    pub fn ask(&mut self, line: &str) -> (i32, String) {
        assert!(!line.contains('\n'), "{line}");
        self.ask
            .write_all(format!("{line}\n").as_bytes())
            .expect("the machine is there");
        self.answer(line)
    }

    /// Runs a line of bash to its end, which must be a good one, and gives what it printed.
    pub fn run(&mut self, line: &str) -> String {
        let (code, said) = self.ask(line);
        assert_eq!(code, 0, "{line}\n{said}");
        said
    }

    /// Runs a line of bash until it ends well.
    pub fn until(&mut self, line: &str) {
        let deadline = Instant::now() + HANG;
        loop {
            let (code, said) = self.ask(line);
            if code == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "in vain: {line}\n{said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Has it end in order; what it said on its console meanwhile.
    pub fn power_off(mut self) -> String {
        let before = self.console().len();
        self.run("systemctl --no-block poweroff");
        let rest = self.answers.recv_timeout(HANG);
        assert_eq!(rest, Err(RecvTimeoutError::Disconnected), "it goes off");
        let status = self.qemu.wait().expect("ended");
        assert!(status.success(), "{status}");
        String::from_utf8_lossy(&self.console()[before..]).into_owned()
    }

    fn answer(&self, to: &str) -> (i32, String) {
        let mut said = String::new();
        loop {
            let line = self.answers.recv_timeout(HANG);
            let line = line.unwrap_or_else(|error| panic!("{to}: {error}\n{said}"));
            if let Some(code) = line.strip_prefix(END) {
                let code = code.trim().parse().expect("a code");
                said.truncate(said.trim_end().len());
                return (code, said);
            }
            said.push_str(&line);
        }
    }

    fn console(&self) -> Vec<u8> {
        // It is there from the first moment on, if the machine is.
        fs::read(self.folder.path().join("console")).unwrap_or_default()
    }
}

/// Starts the machine, which ends with the thread that started it. It has one processor, so that
/// it leaves another to the tests beside it.
fn run(root: &Root, folder: &TempDir) -> Child {
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", QEMU]);
    command.args(["-accel", accelerator(), "-smp", "1", "-m", "1024"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.arg("-no-reboot");
    command.arg("-kernel").arg(root.path("/vmlinuz"));
    command.arg("-initrd").arg(root.path("/initrd.img"));
    command.args([
        "-append",
        "root=/dev/vda rw console=ttyS0 panic=-1 systemd.journald.forward_to_console=1",
    ]);
    let disk = file("disk").display().to_string();
    let disk = format!("file={disk},format=raw,if=virtio,cache=unsafe");
    command.args(["-drive", &disk]);
    let console = file("console").display().to_string();
    command.args(["-serial", &format!("file:{console}"), "-serial", "stdio"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("setpriv runs")
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be off already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            let console = self.console();
            let console = String::from_utf8_lossy(&console);
            eprintln!("the console of the machine:\n{console}");
        }
    }
}
