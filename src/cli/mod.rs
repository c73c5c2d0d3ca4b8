//! The command line: one file a verb.

pub mod bench;
pub mod certs;
pub mod completions;
pub mod config;
pub mod ctl;
pub mod demo;
mod duration;
pub mod gateway;
mod logging;
pub mod man;
mod signals;
pub mod simulate;
pub mod store;
mod system;

use std::error::Error;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// Keeps long-lived connections to access-control and IoT devices
///
/// A gateway dials devices, lets devices dial in, keeps every link alive, and tells gRPC clients
/// what is connected. Begin with `gatehouse demo`: it needs nothing and shows all of it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Gateway(gateway::Gateway),
    Ctl(ctl::Ctl),
    // Boxed: it has by far the most arguments.
    Simulate(Box<simulate::Simulate>),
    Bench(bench::Bench),
    Certs(certs::Certs),
    Store(store::StoreCommand),
    Config(config::ConfigCommand),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// # Errors
    /// One line that says what was wrong and what to mend.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        match self.verb {
            Verb::Demo(verb) => verb.run(),
            Verb::Gateway(verb) => verb.run(),
            Verb::Ctl(verb) => verb.run(),
            Verb::Simulate(verb) => verb.run(),
            Verb::Bench(verb) => verb.run(),
            Verb::Certs(verb) => verb.run(),
            Verb::Store(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
        }
    }
}

/// The exit code of a run that ended with this error.
pub fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    if let Some(failure) = error.downcast_ref::<store::StoreFailure>() {
        return failure.code();
    }
    if error.is::<gateway::Misconfigured>() {
        return gateway::Misconfigured::CODE;
    }
    let failure = error.downcast_ref::<ctl::Failure>();
    failure.map_or(1, |failure| failure.exit.code())
}

/// Writes an answer to the standard output; a reader that has gone is an error, not a panic.
fn print(answer: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(answer.as_bytes())?;
    out.flush()
}
