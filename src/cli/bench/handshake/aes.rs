//! The aes link: first messages that are answered.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::link::noise::{Initiator, Responder};

/// First messages that are made before they are answered.
const BATCH: usize = 64;

/// The rate of one thread. Only the answering end is timed.
///
/// # Errors
/// When the system has no random bytes left.
pub(super) fn answered_per_second(how_long: Duration) -> Result<f64, Box<dyn Error>> {
    let key = key_files::generate()?;
    let mut answered = 0;
    let mut taken = Duration::ZERO;
    while taken < how_long {
        let firsts = first_messages(&key)?;
        let started = Instant::now();
        for first in &firsts {
            let mut responder = Responder::new();
            responder.read(&mut first.as_slice())?;
            responder.respond(&key, key_files::random()?)?;
        }
        taken += started.elapsed();
        answered += firsts.len();
    }
    Ok(answered as f64 / taken.as_secs_f64())
}

fn first_messages(key: &LinkKey) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    (0..BATCH)
        .map(|_| Ok(Initiator::start(key, key_files::random()?)?.1))
        .collect()
}
