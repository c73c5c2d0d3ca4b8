//! A small disk of one's own: a tmpfs in a mount namespace that ends with the test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::support::needed;
use crate::support::process::BINARY;

pub struct Tmpfs {
    directory: TempDir,
}

impl Tmpfs {
    /// Runs a test with a disk of so many MiB, which this thread and what it starts see alone;
    /// says so and does nothing where this process may not mount one.
    pub fn with(mebibytes: u64, test: impl FnOnce(&Self) + Send + 'static) {
        let done = std::thread::spawn(move || match Self::mount(mebibytes) {
            Some(disk) => test(&disk),
            None => needed::skip("the right to mount a tmpfs (CAP_SYS_ADMIN)"),
        });
        if let Err(panic) = done.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn mount(mebibytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        unshare(CloneFlags::CLONE_NEWNS).ok()?;
        let run = |arguments: &[&str]| {
            let status = Command::new("mount").args(arguments).status().ok()?;
            status.success().then_some(())
        };
        run(&["--make-rprivate", "/"])?;
        let size = format!("size={mebibytes}m");
        let place = directory.path().to_str().expect("a path in UTF-8");
        run(&["-t", "tmpfs", "-o", &size, "tmpfs", place])?;
        Some(Self { directory })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn free(&self) -> u64 {
        let told = statvfs(self.path()).expect("a file system");
        told.blocks_available() * told.fragment_size()
    }

    /// Takes so many bytes, or all that are left.
    pub fn fill(&self, bytes: u64) {
        let file = File::options()
            .append(true)
            .create(true)
            .open(self.filler());
        let mut file = file.expect("a file");
        let mut left = usize::try_from(bytes).expect("a length");
        let piece = [0x5A; 64 << 10];
        while left > 0 {
            match file.write(&piece[..left.min(piece.len())]) {
                Ok(written) => left -= written,
                Err(_) => return,
            }
        }
    }

    /// Takes all but so many bytes.
    pub fn leave(&self, bytes: u64) {
        self.fill(self.free().saturating_sub(bytes));
    }

    /// Gives back what was taken.
    pub fn give_back(&self) {
        fs::remove_file(self.filler()).expect("removed");
    }

    /// Starts a gateway that must not come up, and what it says.
    pub fn start_gateway(&self, data: &Path) -> Output {
        let config = data.with_extension("toml");
        let listen = "127.0.0.1:0";
        let text = format!(
            "data_dir = {data:?}\ngrpc.listen = \"{listen}\"\nhttp.listen = \"{listen}\"\n\
             aes.listen = \"{listen}\"\ntls.listen = \"{listen}\"\n"
        );
        fs::write(&config, text).expect("written");
        // It would run on if it came up.
        let output = Command::new("timeout")
            .args(["60", BINARY, "gateway", "--config"])
            .arg(config)
            .output();
        output.expect("the binary runs")
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}
