//! What the verbs found and did, in words.

use std::fmt::Write;

use crate::store::care::check::Report;
use crate::store::care::load::Imported;
use crate::store::disk::survey::Undecodable;
use crate::store::space::Bytes;

/// So many of a kind are named; the rest is counted.
const NAMED_MAX: usize = 20;

/// The report as one object.
pub fn json(report: &Report) -> String {
    // It holds numbers, flags and strings only, none of which fails to become JSON.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// The report as rows, one for each thing that was looked at, and the verdict.
pub fn text(report: &Report) -> String {
    let mut lines = Lines::default();
    let known = report
        .schema
        .map_or("unknown".to_owned(), |schema| schema.to_string());
    lines.row(
        "schema",
        format_args!("{known} (this gateway writes {})", report.schema_written),
    );
    lines.row("size", Bytes(report.bytes));
    for (tree, count) in &report.records {
        lines.row(tree, count);
    }
    lines.row("points in all", report.points);
    let events = &report.events;
    match (events.first, events.last) {
        (Some(first), Some(last)) => lines.row(
            "events in all",
            format_args!("{}, numbers {first} to {last}", events.count),
        ),
        _ => lines.row("events in all", 0),
    }
    if let Some(from) = events.followed_from {
        lines.row(
            "followed from",
            format_args!("{from}, over {} starts", events.runs),
        );
    }
    if let Some(damage) = &report.damage {
        lines.row("DAMAGED", damage);
    }
    let undecodable = report.undecodable.iter().map(named);
    lines.some("does not decode", undecodable.collect());
    lines.some("set aside", report.set_aside.clone());
    lines.some("store set aside", report.stores_set_aside.clone());
    lines.0.push_str(if report.sound {
        "sound\n"
    } else {
        "NOT SOUND\n"
    });
    lines.0
}

/// What an import brought in, as rows.
pub fn imported(imported: &Imported) -> String {
    let mut lines = Lines::default();
    for (kind, count) in &imported.lines {
        lines.row(kind, count);
    }
    if let Some(replaced) = &imported.replaced {
        lines.row("the old store is", replaced.display());
    }
    lines.0.push_str("imported\n");
    lines.0
}

/// Says on the standard error what is not in an export.
pub fn complain(undecodable: &[Undecodable]) {
    for record in undecodable.iter().take(NAMED_MAX) {
        super::complain(&format!("does not decode: {}", named(record)));
    }
}

fn named(record: &Undecodable) -> String {
    format!("{}/{}: {}", record.tree, record.key, record.problem)
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "{name:16} {value}");
    }

    fn some(&mut self, name: &str, values: Vec<String>) {
        for value in values.iter().take(NAMED_MAX) {
            self.row(name, value);
        }
        if let Some(more @ 1..) = values.len().checked_sub(NAMED_MAX) {
            self.row(name, format_args!("… and {more} more"));
        }
    }
}
