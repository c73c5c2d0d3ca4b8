//! The command line.

use std::process::ExitCode;

use clap::Parser;
use gatehouse::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Arguments that do not go together: said, and coded, as by the parser itself.
            let error = match error.downcast::<clap::Error>() {
                Ok(usage) => usage.exit(),
                Err(error) => error,
            };
            eprintln!("gatehouse: {error}");
            ExitCode::from(gatehouse::cli::exit_code(error.as_ref()))
        }
    }
}
