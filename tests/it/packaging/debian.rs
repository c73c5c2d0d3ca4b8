//! The Debian package, in a Debian of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::root::{Root, base, well};
use crate::support::needed;

const CONFIG: &str = "/etc/gatehouse/gateway.toml";
const DATA: &str = "/var/lib/gatehouse";
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/gatehouse.service";

/// What an administrator writes: free ports of loopback, and a log that a program reads.
const EDIT: &str = "\n# edited\ngrpc.listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\n\
    aes.listen = \"127.0.0.1:0\"\ntls.listen = \"127.0.0.1:0\"\nlog.format = \"json\"\n";

#[test]
fn the_package_installs_upgrades_and_leaves_nothing_when_it_is_purged() {
    let Some(package) = needed::package() else {
        return;
    };
    let Some(base) = base("debian-with-systemd", &["systemd", "man-db"]) else {
        return;
    };
    let root = Root::of(&base);
    root.install(&package);
    it_is_installed(&root);

    let config = root.read(CONFIG) + EDIT;
    fs::write(root.path(CONFIG), &config).expect("written");
    let certificate = it_runs(&root);
    root.run("systemctl", &["disable", "gatehouse.service"]);

    let (_folder, newer) = newer(&package);
    root.install(&newer);
    let version = ["--show", "--showformat=${Version} ${Status}", "gatehouse"];
    assert_eq!(
        root.run("dpkg-query", &version),
        "99.0-1 install ok installed"
    );
    assert_eq!(
        root.read(CONFIG),
        config,
        "the file that was edited is kept"
    );
    assert!(
        root.read("/etc/gatehouse/gateway.toml.dpkg-dist")
            .contains("# newer")
    );
    assert!(
        !is_there(&root, ENABLED),
        "a service that was disabled stays so"
    );
    assert_eq!(it_runs(&root), certificate, "the data are kept");

    root.run("dpkg", &["--remove", "gatehouse"]);
    assert!(!is_there(&root, "/usr/bin/gatehouse"));
    assert_eq!(root.read(CONFIG), config);
    assert_eq!(root.read(&format!("{DATA}/certs/ca.crt")), certificate);

    root.run("dpkg", &["--purge", "gatehouse"]);
    for gone in [
        DATA,
        "/etc/gatehouse",
        ENABLED,
        "/etc/systemd/system/gatehouse.service",
        "/etc/systemd/system/gatehouse-tls.socket",
        "/var/lib/systemd/deb-systemd-helper-enabled/gatehouse.service.dsh-also",
        "/usr/share/gatehouse",
    ] {
        assert!(!is_there(&root, gone), "{gone} is left");
    }
}

/// A link counts as itself, wherever it leads.
fn is_there(root: &Root, path: &str) -> bool {
    fs::symlink_metadata(root.path(path)).is_ok()
}

fn it_is_installed(root: &Root) {
    for file in [
        "/usr/bin/gatehouse",
        "/usr/share/bash-completion/completions/gatehouse",
        "/usr/share/zsh/vendor-completions/_gatehouse",
        "/usr/share/fish/vendor_completions.d/gatehouse.fish",
        "/usr/share/gatehouse/grafana",
        "/usr/share/gatehouse/prometheus",
        "/usr/share/doc/gatehouse/examples/gateway.toml",
        "/usr/share/doc/gatehouse/copyright",
        "/usr/share/doc/gatehouse/changelog.gz",
        "/usr/share/doc/gatehouse/third-party.gz",
    ] {
        assert!(is_there(root, file), "{file} is missing");
    }
    assert!(is_there(root, ENABLED), "the service is not enabled");
    let version = root.run("gatehouse", &["--version"]);
    assert_eq!(
        version,
        concat!("gatehouse ", env!("CARGO_PKG_VERSION"), "\n")
    );
    root.run("gatehouse", &["config", "check", "--config", CONFIG]);
    let shown = root.run("gatehouse", &["config", "show", "--config", CONFIG]);
    assert!(shown.contains(&format!("data_dir = \"{DATA}\"")), "{shown}");
    let page = root.run("man", &["-P", "cat", "gatehouse-ctl-add"]);
    assert!(page.contains("gatehouse ctl add 1001 192.0.2.7"), "{page}");
    root.run("man", &["--where", "gateway.toml"]);
    let data = fs::metadata(root.path(DATA)).expect("there");
    assert_eq!(data.mode() & 0o777, 0o700);
    assert_eq!(data.uid(), user(root));
    the_units_are_cared_for(root);
}

/// Every unit has its state with the helper of Debian, so that a purge leaves nothing of it; the
/// service alone is enabled.
fn the_units_are_cared_for(root: &Root) {
    let files = root.run("dpkg-query", &["--listfiles", "gatehouse"]);
    let folder = "/usr/lib/systemd/system/";
    let units: Vec<&str> = files
        .lines()
        .filter_map(|file| file.strip_prefix(folder))
        .collect();
    assert!(units.contains(&"gatehouse.service") && units.contains(&"gatehouse.socket"));
    for unit in units {
        let state = format!("/var/lib/systemd/deb-systemd-helper-enabled/{unit}.dsh-also");
        assert!(is_there(root, &state), "postinst does not know {unit}");
        let mut asked = root.command("systemctl");
        let asked = asked.args(["is-enabled", unit]).output();
        let said = String::from_utf8_lossy(&asked.expect("runs").stdout).into_owned();
        let due = ["disabled\n", "enabled\n"][usize::from(unit == "gatehouse.service")];
        assert_eq!(said, due, "{unit}");
        let script = root.read("/var/lib/dpkg/info/gatehouse.postrm");
        assert!(script.contains(unit), "postrm does not know {unit}");
    }
}

/// The number of the gateway's user, which is not root.
fn user(root: &Root) -> u32 {
    let number = root.run("id", &["--user", "gatehouse"]);
    let number = number.trim().parse().expect("a number");
    assert_ne!(number, 0);
    number
}

/// Has the gateway run, as its user, until it serves, and stops it; its root certificate.
fn it_runs(root: &Root) -> String {
    let mut child = root
        .command("setpriv")
        .args(["--reuid=gatehouse", "--regid=gatehouse", "--init-groups"])
        .args(["--no-new-privs", "gatehouse", "gateway", "--config", CONFIG])
        .stderr(Stdio::piped())
        .spawn()
        .expect("chroot runs");
    served(&mut child);
    let pid = i32::try_from(child.id()).expect("a process ID");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    let status = child.wait().expect("ended");
    assert!(status.success(), "{status}");
    let certificate = format!("{DATA}/certs/ca.crt");
    let owner = fs::metadata(root.path(&certificate)).expect("made").uid();
    assert_eq!(owner, user(root));
    root.read(&certificate)
}

/// Reads the log of a gateway until it says that it serves. Its other lines are let go.
pub fn served(child: &mut Child) {
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut seen = String::new();
    while !seen.contains("\"gateway started\"") {
        let read = log.read_line(&mut seen).expect("a log");
        assert!(read > 0, "it ended: {seen}");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
}

/// The same package with a higher version and another configuration file.
fn newer(package: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    let run = |command: &mut Command| well(&command.output().expect("dpkg-deb runs"));
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package)
        .arg(&tree));
    let change = |file: &str, change: &dyn Fn(String) -> String| {
        let file = tree.join(file);
        let text = fs::read_to_string(&file).expect("readable");
        fs::write(file, change(text)).expect("written");
    };
    change("DEBIAN/control", &|text| {
        let version = text.lines().find(|line| line.starts_with("Version: "));
        text.replace(version.expect("a version"), "Version: 99.0-1")
    });
    change("etc/gatehouse/gateway.toml", &|text| text + "# newer\n");
    let newer = folder.path().join("newer.deb");
    // Packed loosely: it is thrown away.
    run(Command::new("dpkg-deb")
        .args(["-Zgzip", "-z1", "--build"])
        .arg(&tree)
        .arg(&newer));
    (folder, newer)
}

#[test]
fn lintian_has_no_complaint_about_the_package() {
    let Some(package) = needed::package() else {
        return;
    };
    let Some(lintian) = needed::program("lintian", &["--version"], "lintian") else {
        return;
    };
    let output = Command::new(lintian)
        .args(["--fail-on", "error,warning", "--allow-root"])
        .arg(package)
        .output();
    let said = well(&output.expect("lintian runs"));
    assert_eq!(said.trim(), "");
}
