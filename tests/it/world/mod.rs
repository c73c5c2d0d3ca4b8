//! The seeded world: the registry and the sessions as they are, over a network, a store and a
//! clock that are numbers. Everything in it follows from one seed, and the promises are checked
//! after every step.

mod checks;
mod clock;
mod dead;
mod fleet;
mod gateway;
mod net;
mod operator;
mod play;
mod secrets;
mod sessions;
mod store;
mod trace;
mod traffic;
mod verdict;
mod watcher;
mod weather;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Played in a debug `cargo test`.
const SEEDS_DEFAULT: u64 = 300;
/// Seeds that once found a fault.
const REGRESSIONS: [u64; 0] = [];
/// How many lines of its trace a failing seed prints.
const TRACE_LINES: usize = 40;

/// A seed whose world broke a promise.
struct Broken {
    seed: u64,
    promise: String,
}

/// The worlds of `GATEHOUSE_SEEDS` seeds, or the one of `GATEHOUSE_SEED` with all that happens.
#[test]
fn promises_hold_in_every_world() {
    if let Some(seed) = number("GATEHOUSE_SEED") {
        trace::begin();
        let result = play(seed);
        for line in trace::take() {
            println!("{line}");
        }
        match result {
            Ok(steps) => println!("seed {seed} held for {steps} steps"),
            Err(broken) => panic!("{}", told(&broken)),
        }
        return;
    }
    let count = number("GATEHOUSE_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let seeds: Vec<u64> = REGRESSIONS.into_iter().chain(0..count).collect();
    if let Some(broken) = play_all(&seeds) {
        trace::begin();
        let again = play(broken.seed);
        let lines = trace::take();
        for line in &lines[lines.len().saturating_sub(TRACE_LINES)..] {
            println!("{line}");
        }
        assert!(again.is_err(), "the second time seed {} held", broken.seed);
        panic!("{}", told(&broken));
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} is {text:?}; it must be a number"),
    }
}

fn told(broken: &Broken) -> String {
    let Broken { seed, promise } = broken;
    format!(
        "seed {seed} failed: {promise}\nrun it again with GATEHOUSE_SEED={seed} cargo test --release --test it world:: -- --nocapture"
    )
}

/// Plays them on every core; the first that breaks a promise.
fn play_all(seeds: &[u64]) -> Option<Broken> {
    let next = AtomicU64::new(0);
    let steps = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let broken: Mutex<Vec<Broken>> = Mutex::default();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(seed) = seeds.get(index) else {
                return;
            };
            match play(*seed) {
                Ok(taken) => drop(steps.fetch_add(taken, Ordering::Relaxed)),
                Err(found) => {
                    stop.store(true, Ordering::Relaxed);
                    broken
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(found);
                }
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    println!("{} seeds, {} steps", seeds.len(), steps.into_inner());
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_by_key(|found| found.seed);
    broken.into_iter().next()
}

fn play(seed: u64) -> Result<u64, Broken> {
    catch_unwind(AssertUnwindSafe(|| play::play(seed))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Broken {
            seed,
            promise: text.unwrap_or_default(),
        }
    })
}
