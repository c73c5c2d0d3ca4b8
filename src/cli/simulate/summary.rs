//! What has happened, told at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::args::Format;
use super::print::printable;
use crate::sim::fleet::Fleet;
use crate::sim::report::{Counts, Tally};

/// The counts of a whole run, before its devices were stopped.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    started: usize,
    links: u64,
    links_open: u64,
    linked: u64,
    linked_by: BTreeMap<String, u64>,
    admitted: u64,
    up: u64,
    lost: u64,
    described: u64,
    written: u64,
    written_by: BTreeMap<String, u64>,
    streams_started: u64,
    streams_stopped: u64,
    refused: u64,
    refused_by: BTreeMap<String, u64>,
    unreachable: u64,
    unreachable_by: BTreeMap<String, u64>,
    ended_by: BTreeMap<String, u64>,
    reports_dropped: u64,
}

impl Summary {
    pub(super) fn of(fleet: &Fleet) -> Self {
        Self::new(fleet.devices().len(), fleet.counts(), fleet.tally())
    }

    fn new(started: usize, counts: Counts, tally: Tally) -> Self {
        Self {
            started,
            links: counts.links,
            links_open: counts.open,
            linked: counts.linked,
            linked_by: tally.linked,
            admitted: counts.admitted,
            up: counts.up,
            lost: counts.lost,
            described: counts.described,
            written: counts.written,
            written_by: tally.written,
            streams_started: counts.streams_started,
            streams_stopped: counts.streams_stopped,
            refused: counts.refused,
            refused_by: tally.refused,
            unreachable: counts.unreachable,
            unreachable_by: tally.unreachable,
            ended_by: tally.ended,
            reports_dropped: tally.dropped,
        }
    }

    pub(super) fn to_text(&self, format: Format) -> String {
        match format {
            Format::Json => format!("{}\n", serde_json::json!({ "summary": self })),
            Format::Text => self.table(),
        }
    }

    fn table(&self) -> String {
        let none = BTreeMap::new();
        let rows: [(&str, u64, &BTreeMap<String, u64>); 12] = [
            ("devices started", self.started as u64, &none),
            ("connections opened", self.links, &self.ended_by),
            ("links made", self.linked, &self.linked_by),
            ("dials in vain", self.unreachable, &self.unreachable_by),
            ("times refused", self.refused, &self.refused_by),
            ("times admitted", self.admitted, &none),
            ("times asked what they are", self.described, &none),
            ("times written to", self.written, &self.written_by),
            ("streams started", self.streams_started, &none),
            ("streams stopped", self.streams_stopped, &none),
            ("sessions lost", self.lost, &none),
            ("sessions at the end", self.up, &none),
        ];
        let mut table = String::new();
        for (name, count, reasons) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{name:<26}{count:>10}");
            for (reason, count) in reasons {
                let _ = writeln!(table, "{:26}{count:>10}  {}", "", printable(reason));
            }
        }
        if self.reports_dropped > 0 {
            let _ = writeln!(
                table,
                "{:<26}{:>10}",
                "lines not printed", self.reports_dropped
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let counts = Counts {
            links: 3,
            refused: 2,
            admitted: 1,
            ..Counts::default()
        };
        let tally = Tally {
            refused: [("\u{7}no".to_owned(), 2)].into(),
            ..Tally::default()
        };
        Summary::new(10, counts, tally)
    }

    #[test]
    fn the_table_lists_reasons_below_their_count() {
        let table = summary().to_text(Format::Text);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "devices started                   10");
        assert_eq!(lines[4], "times refused                      2");
        assert_eq!(lines[5], "                                   2  \\u{7}no");
        assert_eq!(lines.len(), 13);
    }

    #[test]
    fn as_json_it_is_one_line() {
        let line = summary().to_text(Format::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["summary"]["started"], 10);
        assert_eq!(value["summary"]["refused_by"]["\u{7}no"], 2);
    }
}
