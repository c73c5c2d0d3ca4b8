//! The handshakes of the secured links alone, in memory.

mod aes;
mod tls;

use std::error::Error;
use std::thread;
use std::time::Duration;

use rustls::{RootCertStore, ServerConfig};
use serde::Serialize;

use self::tls::{Ends, Kind};

/// How many handshakes all threads together can answer a second. The other end is not timed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Handshakes {
    pub(super) aes: f64,
    /// TLS 1.3 with the gateway's certificate and none of the device.
    pub(super) tls: f64,
    /// The same with the ticket of an earlier one.
    pub(super) tls_resumed: f64,
}

/// Answers handshakes of each kind on `threads` threads for as long as is said.
///
/// # Errors
/// When the system has no thread or no random bytes left, or the certificates do not serve.
pub(super) fn measure(
    threads: usize,
    how_long: Duration,
    server: ServerConfig,
    roots: RootCertStore,
) -> Result<Handshakes, Box<dyn Error>> {
    let ends = Ends::new(server, roots)?;
    Ok(Handshakes {
        aes: sum(threads, || aes::answered_per_second(how_long))?,
        tls: sum(threads, || ends.answered_per_second(Kind::Whole, how_long))?,
        tls_resumed: sum(threads, || {
            ends.answered_per_second(Kind::Resumed, how_long)
        })?,
    })
}

/// The rates of all threads together.
fn sum(
    threads: usize,
    rate: impl Fn() -> Result<f64, Box<dyn Error>> + Sync,
) -> Result<f64, Box<dyn Error>> {
    let rate = || rate().map_err(|error| error.to_string());
    let rates: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut sum = 0.0;
    for rate in rates {
        sum += rate.map_err(|_| "a handshake thread died")??;
    }
    Ok(sum)
}
