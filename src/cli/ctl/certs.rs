//! `ctl certs`: another way to `gatehouse certs`.

use std::ffi::OsString;

use clap::{Args, Parser};

use super::Done;
use crate::cli::certs::Certs as Verb;

/// The same as `gatehouse certs`: certificates are made on the gateway's machine
#[derive(Debug, Args)]
#[command(
    long_about = "The same as `gatehouse certs`: keys and certificates are made on the gateway's \
        machine, from the files of its data directory, and not over the network. The options of \
        `gatehouse ctl` play no part in it.",
    disable_help_flag = true,
    after_help = "Example:\n  gatehouse ctl certs operator anna --data-dir gatehouse-data"
)]
pub struct Certs {
    /// What to give to `gatehouse certs`; --help tells
    #[arg(
        value_name = "ARGUMENTS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<OsString>,
}

/// `gatehouse certs` as a program of its own: its options are its own, whatever they are called.
#[derive(Debug, Parser)]
#[command(name = "gatehouse certs")]
struct Program {
    #[command(flatten)]
    verb: Verb,
}

impl Certs {
    pub fn run(self) -> Done {
        let name = OsString::from("gatehouse certs");
        let arguments = [name].into_iter().chain(self.arguments);
        Program::try_parse_from(arguments)?.verb.run()
    }
}
