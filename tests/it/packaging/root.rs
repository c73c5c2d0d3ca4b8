//! A Debian of its own: a root file system that a test does what it likes with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::needed;

/// What is kept between runs: a root file system takes most of a minute to make.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

pub struct Root(TempDir);

/// A root file system of the stable release, packed, with these packages beside the least; from the
/// mirror that this machine is set to. Made once, and kept under `target`.
pub fn base(name: &str, packages: &[&str]) -> Option<PathBuf> {
    needed::program("test", &["-w", "/root"], "to be root")?;
    let mmdebstrap = needed::program("mmdebstrap", &["--version"], "mmdebstrap")?;
    let kept = Path::new(CACHE).join(format!("{name}.tar"));
    if kept.exists() {
        return Some(kept);
    }
    let mut command = Command::new(mmdebstrap);
    command.args(["--quiet", "--variant=minbase"]);
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    // Whole or not there, also when the run is ended in between.
    let making = tempfile::Builder::new().suffix(".tar").tempfile_in(CACHE);
    let making = making.expect("a file").into_temp_path();
    let made = command.arg("bookworm").arg(&making).output();
    well(&made.expect("mmdebstrap runs"));
    making.persist(&kept).expect("renamed");
    Some(kept)
}

impl Root {
    /// A copy of a packed root file system, thrown away with the test.
    pub fn of(base: &Path) -> Self {
        let folder = tempfile::tempdir_in(CACHE).expect("a folder");
        let mut tar = Command::new("tar");
        // Devices cannot be made everywhere, and nothing here needs them.
        tar.args([
            "--extract",
            "--exclude=./dev/*",
            "--numeric-owner",
            "--file",
        ]);
        tar.arg(base).arg("--directory").arg(folder.path());
        well(&tar.output().expect("tar runs"));
        let null = folder.path().join("dev/null");
        fs::write(&null, "").expect("written");
        well(
            &Command::new("chmod")
                .arg("666")
                .arg(null)
                .output()
                .expect("runs"),
        );
        Self(folder)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command that sees this root alone.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0.path()).arg(program).env_clear();
        command.envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C.UTF-8"),
        ]);
        command
    }

    /// Runs a command to its end, which must be a good one, and gives what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output();
        well(&output.expect("chroot runs"))
    }

    /// Hands a package to dpkg, as unattended upgrades do: an edited file stays.
    pub fn install(&self, package: &Path) {
        fs::copy(package, self.path("package.deb")).expect("copied");
        let keep = ["--force-confdef", "--force-confold"];
        self.run("dpkg", &[&keep[..], &["--install", "package.deb"]].concat());
    }
}

/// What a program printed, which must have ended well.
pub fn well(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}
