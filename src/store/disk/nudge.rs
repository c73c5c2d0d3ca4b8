//! Wakes whoever waits for sled in vain.
//!
//! When the disk is full, sled can note the failure of a write without telling those who wait for
//! that write: a flush, or the drop of the whole store, then waits for ever. Whoever begins to wait
//! after the failure finds it and wakes the others. So another one begins to wait where one has
//! waited for long, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sled::Tree;

/// Whoever waits over two of these is nudged.
const PAUSE: Duration = Duration::from_secs(1);
/// Nudges at a time. On a disk that is only slow each of them waits as well.
const NUDGES_MAX: usize = 8;

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
        let nudges = Arc::<AtomicUsize>::default();
        let nudge = move || {
            if nudges.load(Ordering::Relaxed) < NUDGES_MAX {
                nudge(tree.clone(), Arc::clone(&nudges));
            }
        };
        let watching = watching.spawn(move || watch(PAUSE, &seen, &until, nudge))?;
        Ok(Self {
            turns,
            going_on: Some(going_on),
            watching: Some(watching),
        })
    }

    /// Does something that may have to wait for sled.
    pub fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.begin();
        let done = wait();
        self.turns.fetch_add(1, Ordering::Relaxed);
        done
    }

    /// The waiting that begins here ends with this.
    pub fn begin(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
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
    let mut seen = 0;
    while until.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let now = turns.load(Ordering::Relaxed);
        if now % 2 == 1 && now == seen {
            nudge();
        }
        seen = now;
    }
}

fn nudge(tree: Tree, nudges: Arc<AtomicUsize>) {
    nudges.fetch_add(1, Ordering::Relaxed);
    let flush = move || {
        // Whoever is nudged hears of the failure itself.
        let _ = tree.flush();
        nudges.fetch_sub(1, Ordering::Relaxed);
    };
    let nudging = thread::Builder::new().name("store-nudge".to_owned());
    if let Err(error) = nudging.spawn(flush) {
        tracing::error!(%error, "no thread to see why the store does not go on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_store_and_lets_it_be_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..3_u8 {
            let db = crate::store::disk::sled_at(directory.path()).unwrap();
            let nudge = Nudge::watch(db.open_tree("a").unwrap()).unwrap();
            let value = nudge.during(|| {
                db.insert("round", &[round]).unwrap();
                db.flush().unwrap();
                db.get("round").unwrap()
            });
            assert_eq!(value.unwrap(), [round]);
            nudge.begin();
            drop(db);
        }
    }

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
        for _ in 0..3 {
            nudges.recv().unwrap();
        }
        drop(going_on);
        watching.join().unwrap();
    }
}
