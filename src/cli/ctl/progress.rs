//! How far `add` is, on the standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal; lines, one a phase, where they are asked for; nothing otherwise.
pub enum Progress {
    Bar(ProgressBar),
    Lines,
    Hidden,
}

impl Progress {
    pub fn new(is_wanted: bool) -> Self {
        match (std::io::stderr().is_terminal(), is_wanted) {
            (true, _) => Self::Bar(bar()),
            (false, true) => Self::Lines,
            (false, false) => Self::Hidden,
        }
    }

    /// A phase begins.
    pub fn phase(&self, what: &str, total: usize) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(total as u64);
                bar.set_position(0);
                bar.set_message(what.to_owned());
            }
            Self::Lines => super::say(&format!("{what}: {total}")),
            Self::Hidden => {}
        }
    }

    pub fn reached(&self, done: usize) {
        if let Self::Bar(bar) = self {
            bar.set_position(done as u64);
        }
    }

    pub fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // Without colours; a template that is wrong would show the default bar.
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}
