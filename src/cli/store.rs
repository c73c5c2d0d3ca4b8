//! `gatehouse store`: check, export, import and compact the store of a gateway that does not run.

mod failure;
mod report;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

pub use self::failure::StoreFailure;
use crate::config::Config;
use crate::service::config_file::{self, ConfigFileError};
use crate::store::care::dump::{Exported, Parts, export_running};
use crate::store::care::{Care, CareError};
use crate::store::files::{self, Layout};
use crate::store::space::Bytes;

/// Checks, exports, imports and compacts the store
#[derive(Debug, Args)]
#[command(
    long_about = "Checks, exports, imports and compacts the store of a gateway.\n\n\
        The gateway must not run: one process at a time uses a data directory. None of these \
        commands leaves a store half done, however it ends; what a killed one had begun is removed \
        by the next one, or by the next start of the gateway.",
    after_help = "Exit codes: 0 done, and sound; 1 something is damaged or was set aside; 2 it \
        could not be done.\n\nExamples:\n  \
        gatehouse store check --data-dir gatehouse-data\n      \
            what is in the store, and whether all of it can be read\n  \
        gatehouse store export backup.jsonl --data-dir gatehouse-data\n      \
            devices, filter, identities, credentials, tokens, decisions, properties\n  \
        gatehouse store export backup.jsonl --running --config gateway.toml\n      \
            the same of a gateway that runs, as it last wrote it\n  \
        gatehouse store import backup.jsonl --data-dir new-data\n      \
            a new store with all of that\n  \
        gatehouse store compact --data-dir gatehouse-data\n      \
            gives space back that nothing uses any more"
)]
pub struct StoreCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Export(Export),
    Import(Import),
    Compact(Compact),
}

/// Where the store is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// The data directory of the gateway
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration of the gateway, which names its data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reads every record of the store, and says what is damaged
#[derive(Debug, Args)]
#[command(
    long_about = "Reads every record of the store, and says what is damaged or was set aside.\n\n\
    The store itself is not touched: a copy of it is made beside it, looked at and removed."
)]
struct Check {
    #[command(flatten)]
    place: Place,
    /// How the answer looks
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Writes the store as lines of JSON
#[derive(Debug, Args)]
#[command(
    long_about = "Writes the store as lines of JSON, which can be read, compared and imported.\n\n\
    The same store gives the same bytes. Secrets are in it as digests only; link keys and \
    certificates are files of their own and not part of it. Records that do not decode are told \
    and left out, with exit code 1."
)]
struct Export {
    /// The file, which is replaced, or a pipe or device; none or - for the standard output
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// With the event log and the last statuses
    #[arg(long)]
    events: bool,
    /// With the points of buckets
    #[arg(long)]
    buckets: bool,
    /// With the audit log
    #[arg(long)]
    audit: bool,
    /// With all of these
    #[arg(long)]
    all: bool,
    /// Of a gateway that runs: what it last wrote to export.jsonl, some seconds ago, or some
    /// minutes for properties
    #[arg(long, conflicts_with_all = ["events", "buckets", "audit", "all"])]
    running: bool,
}

/// Builds a store from an export
#[derive(Debug, Args)]
#[command(
    long_about = "Builds a store from an export and puts it into the data directory.\n\n\
    It is whole or not at all: the new store takes the place of the old one once it is on disk. \
    A line that cannot be is told with its number and field, and nothing is imported. Exports of \
    older gateways and the export.jsonl of a data directory can be imported too."
)]
struct Import {
    /// The file; - for the standard input
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Replace a store that has something in it; it is kept as store.replaced-<time>
    #[arg(long)]
    replace: bool,
}

/// Writes the store anew, without the space that nothing uses any more
#[derive(Debug, Args)]
#[command(
    long_about = "Writes the store anew, without the space that nothing uses any more.\n\n\
    The files of a store do not shrink by themselves. The new one is built beside the old one, \
    compared with it, and takes its place: for a while there must be space for both."
)]
struct Compact {
    #[command(flatten)]
    place: Place,
}

impl StoreCommand {
    /// # Errors
    /// A [`StoreFailure`]: one line that says what is wrong.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        Ok(match self.command {
            Command::Check(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Compact(command) => command.run(),
        }?)
    }
}

impl Place {
    fn directory(&self) -> Result<PathBuf, ConfigFileError> {
        match (&self.data_dir, &self.config) {
            (Some(directory), _) => Ok(directory.clone()),
            (None, Some(file)) => Ok(config_file::read(file)?.data_dir),
            (None, None) => Ok(Config::default().data_dir),
        }
    }

    fn care(&self) -> Result<Care, StoreFailure> {
        Ok(Care::of(&self.directory()?)?)
    }
}

impl Check {
    fn run(self) -> Result<(), StoreFailure> {
        let found = self.place.care()?.check()?;
        let answer = match self.output {
            Output::Text => report::text(&found),
            Output::Json => report::json(&found),
        };
        super::print(&answer)?;
        match found.sound {
            true => Ok(()),
            false => Err(StoreFailure::Damaged(
                "the store is damaged, or something was set aside".to_owned(),
            )),
        }
    }
}

impl Export {
    fn run(self) -> Result<(), StoreFailure> {
        let directory = self.place.directory()?;
        let exported = match self.file.as_deref().filter(|path| *path != Path::new("-")) {
            None => self.write(&directory, &mut io::stdout().lock())?,
            Some(path) if is_no_file(path) => {
                let out = File::options().write(true).open(path);
                let wrote = out.map_err(StoreFailure::from);
                wrote
                    .and_then(|mut out| self.write(&directory, &mut BufWriter::new(&mut out)))
                    .map_err(|failure| named(path, failure))?
            }
            Some(path) => {
                let wrote = files::replace_with(path, |file| self.write(&directory, file));
                let exported = wrote.map_err(|failure| named(path, failure))?;
                super::print(&format!("{} lines: {}\n", exported.lines, path.display()))?;
                exported
            }
        };
        if exported.undecodable.is_empty() {
            return Ok(());
        }
        report::complain(&exported.undecodable);
        let count = exported.undecodable.len();
        let text = format!("{count} records do not decode and are not in the export");
        Err(StoreFailure::Damaged(text))
    }

    fn write(&self, directory: &Path, out: &mut dyn Write) -> Result<Exported, StoreFailure> {
        let exported = if self.running {
            let path = Layout::new(directory).export();
            let age = fs::metadata(&path).and_then(|export| export.modified());
            if !path.exists() {
                return Err(StoreFailure::NotDone(
                    format!(
                        "there is no {} yet; a gateway writes it some seconds after its first change",
                        path.display()
                    )
                    .into(),
                ));
            }
            let exported = export_running(directory, out)?;
            if let Some(age) = age.ok().and_then(|written| written.elapsed().ok()) {
                complain(&format!("as the gateway wrote it {} s ago", age.as_secs()));
            }
            exported
        } else {
            let parts = Parts {
                events: self.events || self.all,
                buckets: self.buckets || self.all,
                audit: self.audit || self.all,
            };
            let care = Care::of(directory).map_err(|error| match error {
                CareError::InUse { .. } => StoreFailure::NotDone(
                    format!("{error}, or add --running to have what it last exported").into(),
                ),
                error => error.into(),
            })?;
            care.export(parts, out)?
        };
        out.flush()?;
        Ok(exported)
    }
}

impl Import {
    fn run(self) -> Result<(), StoreFailure> {
        let (mut from, length): (Box<dyn BufRead>, u64) = match self.file.as_path() {
            path if path == Path::new("-") => (Box::new(io::stdin().lock()), 0),
            path => {
                let file = File::open(path).map_err(|error| named(path, error.into()))?;
                let length = file.metadata().map_or(0, |metadata| metadata.len());
                (Box::new(BufReader::new(file)), length)
            }
        };
        let bar = bar(length, "{bar:40} {bytes}/{total_bytes}");
        let care = Care::of_any(&self.place.directory()?)?;
        let imported = care.import(&mut from, self.replace, &mut |bytes| {
            bar.set_position(bytes)
        });
        bar.finish_and_clear();
        let imported = imported?;
        Ok(super::print(&report::imported(&imported))?)
    }
}

impl Compact {
    fn run(self) -> Result<(), StoreFailure> {
        let care = self.place.care()?;
        let bar = bar(0, "{spinner} {pos} records");
        let compacted = care.compact(&mut |records| bar.set_position(records));
        bar.finish_and_clear();
        let compacted = compacted?;
        let (before, after) = (Bytes(compacted.before), Bytes(compacted.after));
        let records = compacted.records;
        Ok(super::print(&format!(
            "{before} -> {after} ({records} records)\n"
        ))?)
    }
}

/// Where the standard error is a terminal; nothing is drawn otherwise.
fn bar(length: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    // A template that is wrong would show the default bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A pipe or a device: `/dev/stdout` is written to, and must never be replaced by a file.
fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|what| !what.is_file() && !what.is_dir())
}

fn named(path: &Path, failure: StoreFailure) -> StoreFailure {
    match failure {
        StoreFailure::NotDone(error) if error.is::<io::Error>() => {
            StoreFailure::NotDone(format!("{}: {error}", path.display()).into())
        }
        failure => failure,
    }
}

fn complain(text: &str) {
    // A reader that has gone is told nothing.
    let _ = writeln!(io::stderr(), "gatehouse: {text}");
}
