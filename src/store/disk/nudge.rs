//! Wakes whoever waits for sled in vain.
//!
//! When the disk is full, sled can note the failure of a write without telling those who wait for
//! that write: a flush then waits for ever, and so does sled's own thread that cleans up, and with it
//! whoever closes the store. Whoever begins to wait after the failure finds it and wakes the others.
//! So another one begins to wait where one has waited for long, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sled::Tree;

/// Whoever waits over two of these is nudged: after one more, two more, four more and so on. On a
/// disk that is only slow each of those who nudge waits as well.
const PAUSE: Duration = Duration::from_secs(1);

/// Watches over the waiting of one store. Dropping it ends that, when no one waits any more.
pub struct Nudge {
    /// Odd while somebody waits.
    turns: Arc<AtomicU64>,
    /// `None` once it is to end.
    going_on: Option<Sender<()>>,
    watching: Option<JoinHandle<()>>,
}

impl Nudge {
    /// Keeps `tree` open as long as it watches.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn watch(tree: Tree) -> io::Result<Self> {
        let turns = Arc::<AtomicU64>::default();
        let (going_on, until) = channel();
        let seen = Arc::clone(&turns);
        let watching = thread::Builder::new().name("store-nudge".to_owned());
        let watching = watching.spawn(move || watch(PAUSE, &seen, &until, || nudge(&tree)))?;
        Ok(Self {
            turns,
            going_on: Some(going_on),
            watching: Some(watching),
        })
    }

    /// Does something that may have to wait for sled.
    pub fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let _ended = Ended(&self.turns);
        wait()
    }
}

/// The end of a wait, also by a panic.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        drop(self.going_on.take());
        if let Some(watching) = self.watching.take() {
            // Its panic would have been told, and there is nothing left to be done about it.
            let _ = watching.join();
        }
    }
}

fn watch(pause: Duration, turns: &AtomicU64, until: &Receiver<()>, nudge: impl Fn()) {
    let (mut seen, mut pauses) = (0, 0_u64);
    while until.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let now = turns.load(Ordering::Relaxed);
        match now % 2 == 1 && now == seen {
            true => pauses += 1,
            false => pauses = 0,
        }
        if pauses.is_power_of_two() {
            nudge();
        }
        seen = now;
    }
}

fn nudge(tree: &Tree) {
    let tree = tree.clone();
    let nudging = thread::Builder::new().name("store-nudge".to_owned());
    // Whoever is nudged hears of the failure itself.
    if let Err(error) = nudging.spawn(move || drop(tree.flush())) {
        tracing::error!(%error, "no thread to see why the store does not go on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_long_is_nudged() {
        let turns = Arc::<AtomicU64>::default();
        let (going_on, until) = channel();
        let (nudged, nudges) = channel();
        let seen = Arc::clone(&turns);
        let watching = thread::spawn(move || {
            watch(Duration::from_millis(1), &seen, &until, || {
                nudged.send(()).unwrap();
            });
        });
        turns.fetch_add(1, Ordering::Relaxed);
        // However many nudged in vain.
        for _ in 0..9 {
            nudges.recv().unwrap();
        }
        drop(going_on);
        watching.join().unwrap();
    }
}
