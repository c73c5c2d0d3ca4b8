//! `gatehouse man`: the manual, made from what the program says of itself, so that it says the
//! same as `--help`.

mod page;
mod prose;
mod settings;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{Args, CommandFactory};
use time::OffsetDateTime;

use super::Cli;

/// Prints a page of the manual, or writes all of them
#[derive(Debug, Args)]
#[command(
    long_about = "Prints a page of the manual, or writes all of them. There is a page for every \
        command, and gateway.toml, which tells every setting of the gateway.\n\n\
        The date of the pages is that of SOURCE_DATE_EPOCH, in seconds since 1970; without it they \
        bear none, so that the same program always makes the same pages.",
    after_help = "Examples:\n  \
        gatehouse man | man -l -\n      \
            the first page\n  \
        gatehouse man ctl add | man -l -\n      \
            the page of one command\n  \
        gatehouse man gateway.toml | man -l -\n      \
            every setting of the gateway\n  \
        gatehouse man --out ~/.local/share/man\n      \
            all pages, in man1 and man5 of that directory, where man finds them"
)]
pub struct Man {
    /// The command, or gateway.toml [default: gatehouse itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages to man1 and man5 of this directory, which is made if it is missing
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// One page of the manual.
struct Page {
    name: String,
    /// 1 for commands, 5 for files.
    section: &'static str,
    /// In roff.
    text: String,
}

#[derive(Debug, thiserror::Error)]
enum ManError {
    #[error("there is no page {0}; name a command as in `gatehouse man ctl add`, or gateway.toml")]
    NoPage(String),
    #[error("SOURCE_DATE_EPOCH is {0:?}, which is no time in whole seconds since 1970")]
    Date(String),
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Man {
    /// # Errors
    /// When there is no such page, or the pages cannot be written.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let pages = pages(&date(env::var("SOURCE_DATE_EPOCH").ok())?)?;
        if let Some(directory) = self.out {
            for page in &pages {
                page.write(&directory)?;
            }
            return Ok(());
        }
        let name = match self.command.as_slice() {
            [name] if name == settings::NAME => name.clone(),
            words => [&["gatehouse".to_owned()], words].concat().join("-"),
        };
        let page = pages.iter().find(|page| page.name == name);
        let page = page.ok_or_else(|| ManError::NoPage(self.command.join(" ")))?;
        Ok(super::print(&page.text)?)
    }
}

impl Page {
    fn write(&self, directory: &Path) -> Result<(), ManError> {
        let folder = directory.join(format!("man{}", self.section));
        let path = folder.join(format!("{}.{}", self.name, self.section));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &self.text));
        written.map_err(|source| ManError::Write { path, source })
    }
}

/// The date that the pages bear; "" for none.
fn date(epoch: Option<String>) -> Result<String, ManError> {
    let Some(epoch) = epoch else {
        return Ok(String::new());
    };
    let seconds = epoch.parse().ok();
    let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    match time {
        Some(time) => Ok(time.date().to_string()),
        None => Err(ManError::Date(epoch)),
    }
}

/// The whole manual.
fn pages(date: &str) -> io::Result<Vec<Page>> {
    // `help` says what the pages say.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = vec![settings::page(date)];
    let mut waiting = vec![(&program, None)];
    while let Some((command, above)) = waiting.pop() {
        let below = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        waiting.extend(below.map(|below| (below, Some(command))));
        pages.push(page::page(command, above, date)?);
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_source_or_none() {
        assert_eq!(date(None).unwrap(), "");
        assert_eq!(date(Some("1764288000".to_owned())).unwrap(), "2025-11-28");
        for bad in ["", "yesterday", "99999999999999999"] {
            let error = date(Some(bad.to_owned())).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn every_command_has_a_page_and_every_page_is_referred_to() {
        let pages = pages("").unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        for expected in ["gatehouse", "gatehouse-gateway", "gatehouse-ctl-filter-add"] {
            assert!(names.contains(&expected), "{names:?}");
        }
        for page in &pages {
            // As roff writes a hyphen; the name may be bold.
            let name = page.name.replace('-', r"\-");
            let plain = format!("\n{name}({})", page.section);
            let bold = format!(r"\fB{name}\fR({})", page.section);
            let told = |other: &Page| {
                let text = &other.text;
                other.name != page.name && (text.contains(&plain) || text.contains(&bold))
            };
            assert!(pages.iter().any(told), "no page refers to {name}");
        }
    }

    #[test]
    fn the_same_program_makes_the_same_pages() {
        let texts = || {
            pages("2025-11-28")
                .unwrap()
                .into_iter()
                .map(|page| page.text)
        };
        assert!(texts().eq(texts()));
        assert!(texts().all(|text| text.contains("2025-11-28")));
    }
}
