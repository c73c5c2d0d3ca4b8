//! Space that is kept for a start: a file that is there for its length alone.
//!
//! sled writes whenever it is opened, and a start reserves event numbers. With nothing left on the
//! disk neither would be possible. So a start gives this file up before it opens the store, and
//! makes it again of what is left behind it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::store::files::{self, Layout};
use crate::store::space::Bytes;

/// What a start wants to be free, in bytes: some of sled's segments, of 512 KiB each …
const START: u64 = 4 << 20;
/// … and its snapshot anew, whose present size counts so many times: it grows.
const SNAPSHOTS: u64 = 2;
/// So much is left to others when the rest is taken, in bytes.
const LEFT: u64 = 64 << 10;

/// The file, and how large it is to be.
#[derive(Debug)]
pub struct Ballast {
    layout: Layout,
    held: u64,
    wanted: u64,
}

impl Ballast {
    /// As it is found.
    pub fn of(layout: &Layout) -> Self {
        let held = fs::metadata(layout.ballast()).map_or(0, |file| file.len());
        let snapshots = files::snapshots_size(&layout.store()).unwrap_or(0);
        Self {
            layout: layout.clone(),
            held,
            wanted: START.saturating_add(snapshots.saturating_mul(SNAPSHOTS)),
        }
    }

    /// What a start wants to be free, in bytes.
    pub const fn wanted(&self) -> u64 {
        self.wanted
    }

    pub const fn is_whole(&self) -> bool {
        self.held >= self.wanted
    }

    /// Gives its space up where there is less than a start wants without it.
    pub fn give_up_if_short(&mut self) {
        let free = self.free();
        if free.is_some_and(|free| free < self.wanted) {
            self.give_up();
        }
    }

    /// Gives its space up. Whether there was any.
    pub fn give_up(&mut self) -> bool {
        if self.held == 0 {
            return false;
        }
        let free = Bytes(self.free().unwrap_or(0));
        match fs::remove_file(self.layout.ballast()) {
            Ok(()) => {
                let kept = Bytes(self.held);
                tracing::warn!(%free, %kept, "the disk is full: the start uses the space that was kept for it");
                self.held = 0;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the space that was kept for a start could not be given up");
                false
            }
        }
    }

    /// Keeps as much as a start wants, or what there is of it. Where that is refused it is told,
    /// and not tried again.
    pub fn keep(&mut self) {
        let free = self.free().unwrap_or(0);
        let size = self.wanted.min(self.held + free.saturating_sub(LEFT));
        if self.is_whole() || size <= self.held {
            return;
        }
        match self.lengthen(size) {
            Ok(()) => self.held = size,
            Err(error) => {
                tracing::warn!(%error, "no space is kept for a start on a full disk");
                self.wanted = self.held;
            }
        }
    }

    fn lengthen(&self, size: u64) -> io::Result<()> {
        let mut file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.layout.ballast())?;
        let taken = take(&mut file, self.held, size);
        if taken.is_err() {
            // What was taken in vain is what others miss.
            file.set_len(self.held)?;
        }
        taken
    }

    fn free(&self) -> Option<u64> {
        let told = files::space(self.layout.directory()).ok();
        told.map(|told| told.free)
    }
}

/// Makes a file longer, and has the space for it.
fn take(file: &mut File, from: u64, to: u64) -> io::Result<()> {
    let length = |bytes: u64| i64::try_from(bytes).map_err(io::Error::other);
    match fallocate(
        &file,
        FallocateFlags::empty(),
        length(from)?,
        length(to - from)?,
    ) {
        // Not every file system can do it.
        Err(Errno::EOPNOTSUPP) => write(file, to - from),
        done => Ok(done?),
    }
}

/// No zeros, which some file systems do not store.
fn write(file: &mut File, mut bytes: u64) -> io::Result<()> {
    static PIECE: [u8; 64 << 10] = [0x5a; 64 << 10];
    while bytes > 0 {
        let piece = usize::try_from(bytes).map_or(PIECE.len(), |bytes| bytes.min(PIECE.len()));
        file.write_all(&PIECE[..piece])?;
        bytes -= piece as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_large_as_a_start_wants_and_grows_with_the_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let mut ballast = Ballast::of(&layout);
        assert!(!ballast.is_whole() && !ballast.give_up());
        ballast.keep();
        assert!(ballast.is_whole());
        let length = || fs::metadata(layout.ballast()).unwrap().len();
        assert_eq!(length(), START);

        fs::create_dir(layout.store()).unwrap();
        fs::write(layout.store().join("snap.01"), vec![0; 1000]).unwrap();
        fs::write(layout.store().join("db"), vec![0; 5000]).unwrap();
        let mut ballast = Ballast::of(&layout);
        assert!(!ballast.is_whole());
        ballast.keep();
        assert_eq!(length(), START + 2000);
        // There is enough without it.
        ballast.give_up_if_short();
        assert_eq!(length(), START + 2000);
        assert!(ballast.give_up() && !ballast.is_whole());
        assert!(!layout.ballast().exists());
    }

    #[test]
    fn where_space_cannot_be_allocated_it_is_written() {
        let mut file = tempfile::tempfile().unwrap();
        write(&mut file, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
