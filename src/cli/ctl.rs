//! `gatehouse ctl`: the client for scripts and for people at a prompt.
//!
//! Pure: reading input ([`input`]), what a row looks like ([`row`], [`rows`], [`output`],
//! [`escape`]), whose gateway ([`profile`]), why a call failed ([`blame`], [`multi`]), following
//! over breaks ([`follow`], [`waiting`]). The rest asks the gateway and prints.

mod accept;
mod access;
mod add;
mod blame;
mod certs;
pub(super) mod client;
mod devices;
mod escape;
mod exit;
mod files;
mod filter;
mod fleet;
mod follow;
mod identity;
mod input;
mod ip;
mod log_level;
mod multi;
mod options;
mod output;
mod pending;
pub(super) mod profile;
mod progress;
mod row;
mod rows;
mod search;
mod stamp;
mod top;
mod waiting;
mod watch;

use std::error::Error;
use std::io;

use clap::{Args, Subcommand};

use self::client::Client;
pub use self::exit::{Exit, Failure};
use self::options::Options;

/// How a command ends. An error that is no [`Failure`] is one of the standard output, or of the
/// command line.
type Done = Result<(), Box<dyn Error>>;

/// Asks and tells a running gateway, from scripts or by hand
#[derive(Debug, Args)]
#[command(
    long_about = "Asks and tells a running gateway over its gRPC API, from scripts or by hand.\n\n\
        On the gateway's own machine, in the folder where it was started, no option is needed. \
        From elsewhere name its address and its root certificate (certs/ca.crt in its data \
        directory), and a token or a client certificate:\n\n  \
        gatehouse ctl --address gateway.example:4000 --ca ca.crt --token-file my.token list\n\n\
        or write that down once as a profile, in ~/.config/gatehouse/ctl.toml:\n\n  \
        [profile.default]\n  \
        address = \"gateway.example:4000\"\n  \
        ca = \"ca.crt\"\n  \
        token_file = \"my.token\"\n\n\
        A profile may have address, ca, cert, cert_key, token_file and data_dir; paths are meant \
        from the folder of that file. The command line counts more than the profile.\n\n\
        Answers go to the standard output, as a table or, with --output json, jsonl or csv, for \
        programs: the names of their fields do not change, times are RFC 3339 in UTC, enums have \
        the names of the API. Everything else goes to the standard error.",
    after_help = exit::help(),
    after_long_help = format!(
        "Examples:\n  \
        gatehouse ctl list\n  \
        gatehouse ctl add 1001 192.0.2.7 --wait 30s\n  \
        gatehouse ctl add --file devices.csv\n  \
        gatehouse ctl watch --output jsonl\n  \
        gatehouse ctl pending approve --all\n\n{}",
        exit::help()
    )
)]
pub struct Ctl {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(fleet::List),
    Get(fleet::Get),
    Watch(watch::Watch),
    Top(top::Top),
    Connect(devices::Connect),
    Add(add::Add),
    Delete(devices::Delete),
    Disconnect(devices::Disconnect),
    Retry(fleet::Retry),
    #[command(subcommand)]
    Filter(filter::Filter),
    #[command(subcommand)]
    Pending(pending::Pending),
    Search(search::Search),
    Mode(devices::SetMode),
    #[command(subcommand)]
    Ssl(devices::Ssl),
    #[command(subcommand)]
    Ip(ip::Ip),
    #[command(subcommand)]
    Slaves(search::Slaves),
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    #[command(subcommand)]
    Token(access::Token),
    Whoami(access::WhoAmI),
    Audit(access::Audit),
    LogLevel(log_level::LogLevel),
    Certs(certs::Certs),
}

impl Ctl {
    /// # Errors
    /// A [`Failure`] with its exit code; or one of the command line.
    pub fn run(self) -> Done {
        let Self { command, options } = self;
        let command = match command {
            Command::Certs(certs) => return certs.run(),
            command => command,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(command.run(&options));
        // Something that was looked up or read in the background is not waited for.
        runtime.shutdown_background();
        match done {
            Err(error) if is_reader_gone(error.as_ref()) => Ok(()),
            done => done,
        }
    }
}

impl Command {
    async fn run(self, options: &Options) -> Done {
        // What is wrong with a file is found without a gateway.
        let devices = match &self {
            Self::Add(add) => add.devices()?,
            _ => Vec::new(),
        };
        let client = &Client::open(options.target()?, options.timeout).await?;
        let output = options.output;
        match self {
            Self::List(list) => list.run(client, output).await,
            Self::Get(get) => get.run(client, output).await,
            Self::Watch(watch) => watch.run(client, output).await,
            Self::Top(top) => top.run(client, output).await,
            Self::Connect(connect) => connect.run(client, output).await,
            Self::Add(add) => add.run(client, &devices, output).await,
            Self::Delete(delete) => delete.run(client).await,
            Self::Disconnect(disconnect) => disconnect.run(client).await,
            Self::Retry(retry) => retry.run(client).await,
            Self::Filter(filter) => filter.run(client, output).await,
            Self::Pending(pending) => pending.run(client, output).await,
            Self::Search(search) => search.run(client, output).await,
            Self::Mode(mode) => mode.run(client, output).await,
            Self::Ssl(ssl) => ssl.run(client, output).await,
            Self::Ip(ip) => ip.run(client, output).await,
            Self::Slaves(slaves) => slaves.run(client, output).await,
            Self::Identity(identity) => identity.run(client, output).await,
            Self::Token(token) => token.run(client, output).await,
            Self::Whoami(whoami) => whoami.run(client, output).await,
            Self::Audit(audit) => audit.run(client, output).await,
            Self::LogLevel(level) => level.run(client, output).await,
            // Needs no gateway; `Ctl::run` has taken it.
            Self::Certs(certs) => certs.run(),
        }
    }
}

/// Prints an answer.
fn put(answer: &str) -> Done {
    Ok(super::print(answer)?)
}

/// Says something that is no answer. It may hold words of the gateway: nothing in them controls
/// the terminal.
fn say(words: &str) {
    eprintln!("gatehouse: {}", escape::escape(words));
}

/// The reader of the output wants no more, as in `watch | head`: that is no failure.
fn is_reader_gone(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests;
