//! The page of a command: what `--help` says of it.

use std::io;

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Page, prose, settings};

/// The page of a command; `above` is the command that it belongs to.
pub fn page(command: &Command, above: Option<&Command>, date: &str) -> io::Result<Page> {
    let name = name(command).to_owned();
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date)
        .source(concat!("gatehouse ", env!("CARGO_PKG_VERSION")))
        .manual("Gatehouse");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    opening(command).to_writer(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    closing(command, above).to_writer(&mut out)?;
    Ok(Page {
        name,
        section: "1",
        text: String::from_utf8_lossy(&out).into_owned(),
    })
}

/// The words of a command, joined, as in `gatehouse-ctl-add`.
fn name(command: &Command) -> &str {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name())
}

/// How it is called, and what it does.
fn opening(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let usage = command.clone().render_usage().to_string();
    roff.control("SH", ["SYNOPSIS"]);
    for form in usage.trim_start_matches("Usage:").lines().map(str::trim) {
        // A line must be able to end between alternatives: some have a dozen.
        roff.text([bold(form.replace('|', " | "))])
            .control("br", []);
    }
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let text = about.to_string();
        roff.control("SH", ["DESCRIPTION"]);
        prose::lines(&mut roff, &text.lines().collect::<Vec<_>>());
    }
    roff
}

/// What the help says below the options, and where to read on.
fn closing(command: &Command, above: Option<&Command>) -> Roff {
    let mut roff = Roff::new();
    let after = command.get_after_long_help();
    if let Some(text) = after.or_else(|| command.get_after_help()) {
        prose::sections(&mut roff, "NOTES", &text.to_string());
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut read_on = vec![bold(settings::NAME), roman("(5)")];
    if let Some(above) = above {
        let above = [bold(name(above)), roman("(1), ")];
        read_on.splice(..0, above);
    }
    roff.text(read_on);
    roff
}
