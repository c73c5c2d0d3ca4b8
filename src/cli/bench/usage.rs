//! What this process takes of the machine.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

const ROLLUP: &str = "/proc/self/smaps_rollup";
const FILES: &str = "/proc/self/fd";

/// The memory that belongs to this process alone, in bytes: no files, nothing of the kernel.
///
/// # Errors
/// Where the kernel does not tell; Linux does.
pub(super) fn memory() -> io::Result<u64> {
    let told = fs::read_to_string(ROLLUP)?;
    anonymous(&told).ok_or_else(|| io::Error::other(format!("{ROLLUP} tells no anonymous memory")))
}

/// The processor time of all threads so far, in this program and in the kernel on its behalf.
///
/// # Errors
/// Where the kernel does not tell.
pub(super) fn processor() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| {
        let micros = i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_usec());
        u64::try_from(micros).unwrap_or_default()
    };
    Ok(Duration::from_micros(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}

/// How many files are open, sockets among them.
///
/// # Errors
/// Where the kernel does not tell; Linux does.
pub(super) fn files() -> io::Result<usize> {
    Ok(fs::read_dir(FILES)?.count())
}

fn anonymous(rollup: &str) -> Option<u64> {
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_told_in_bytes() {
        let rollup = "Rss:    20 kB\nPss_Anon:   9 kB\nAnonymous:             12 kB\nSwap: 0 kB\n";
        assert_eq!(anonymous(rollup), Some(12 * 1024));
        assert_eq!(anonymous("Rss: 20 kB\n"), None);
    }
}
