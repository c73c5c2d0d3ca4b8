//! The command line: one file a verb.

pub mod certs;
pub mod config;

use std::io::{self, Write};

/// Writes an answer to the standard output; a reader that has gone is an error, not a panic.
fn print(answer: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(answer.as_bytes())?;
    out.flush()
}
