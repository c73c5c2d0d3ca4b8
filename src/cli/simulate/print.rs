//! Events as lines on the standard output.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::mpsc;

use super::args::Format;
use crate::sim::report::{Event, Report};

/// Lines that are written together while more wait.
const LINES_MAX: usize = 256;

/// Writes what devices report.
pub(super) struct Printer {
    format: Format,
    quiet: bool,
    /// Put aside while lines are written, where they go to the same terminal. Not elsewhere: a
    /// reader that stops reading would then hold up whoever moves the bar.
    bar: Option<ProgressBar>,
}

impl Printer {
    pub(super) fn new(format: Format, quiet: bool, bar: &ProgressBar) -> Self {
        let bar = io::stdout().is_terminal().then(|| bar.clone());
        Self { format, quiet, bar }
    }

    /// Blocks until all senders of `reports` are gone.
    ///
    /// # Errors
    /// When the standard output is closed.
    pub(super) fn print(self, mut reports: mpsc::Receiver<Report>) -> io::Result<()> {
        let mut waiting = Vec::new();
        while reports.blocking_recv_many(&mut waiting, LINES_MAX) > 0 {
            let lines: String = waiting
                .drain(..)
                .filter_map(|report| self.line(&report))
                .collect();
            let print = || super::super::print(&lines);
            match &self.bar {
                _ if lines.is_empty() => {}
                Some(bar) => bar.suspend(print)?,
                None => print()?,
            }
        }
        Ok(())
    }

    fn line(&self, report: &Report) -> Option<String> {
        let is_address = matches!(report.event, Event::Listens(_));
        match self.format {
            Format::Json if self.quiet && !is_address => None,
            Format::Text if self.quiet => None,
            Format::Json => Some(json_line(report)),
            Format::Text => Some(text_line(report)),
        }
    }
}

fn json_line(Report { device, event }: &Report) -> String {
    let line = match (event, event.detail()) {
        (Event::Listens(address), _) => json!({ "device": device, "listens": address.to_string() }),
        (_, None) => json!({ "device": device, "event": event.as_str() }),
        (_, Some((name, detail))) => {
            json!({ "device": device, "event": event.as_str(), name: detail })
        }
    };
    format!("{line}\n")
}

fn text_line(Report { device, event }: &Report) -> String {
    format!("{device} {}\n", printable(&event.to_string()))
}

/// Reasons may come from the other end: what would move the cursor or colour the terminal is
/// shown as an escape.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(event: Event) -> Report {
        Report {
            device: 1001,
            event,
        }
    }

    #[test]
    fn a_line_of_json_is_one_fact() {
        let address = ([127, 0, 0, 1], 40001).into();
        assert_eq!(
            json_line(&report(Event::Listens(address))),
            "{\"device\":1001,\"listens\":\"127.0.0.1:40001\"}\n"
        );
        assert_eq!(
            json_line(&report(Event::Admitted)),
            "{\"device\":1001,\"event\":\"admitted\"}\n"
        );
        assert_eq!(
            json_line(&report(Event::Refused("a\nb".into()))),
            "{\"device\":1001,\"event\":\"refused\",\"reason\":\"a\\nb\"}\n"
        );
    }

    #[test]
    fn a_line_of_text_is_one_line_whatever_the_gateway_says() {
        let line = text_line(&report(Event::Refused("go \u{1b}[2J\naway".into())));
        assert_eq!(line, "1001 refused: go \\u{1b}[2J\\naway\n");
    }

    #[test]
    fn a_quiet_printer_still_tells_a_program_where_to_dial() {
        let quiet = |format| Printer::new(format, true, &ProgressBar::hidden());
        let listens = report(Event::Listens(([127, 0, 0, 1], 1).into()));
        assert!(quiet(Format::Json).line(&listens).is_some());
        assert_eq!(quiet(Format::Text).line(&listens), None);
        let opened = report(Event::Opened);
        assert_eq!(quiet(Format::Json).line(&opened), None);
        assert_eq!(quiet(Format::Text).line(&opened), None);
    }
}
