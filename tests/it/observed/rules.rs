//! Rules of Prometheus as they are on disk, their tests, and the runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::query::Query;
use crate::support::needed;
use crate::support::process::gatehouse;

pub struct Rule {
    pub is_alert: bool,
    pub name: String,
    pub expression: String,
    /// All of it, as it is written.
    text: String,
}

impl Rule {
    pub fn query(&self) -> Query {
        Query {
            place: self.name.clone(),
            expression: self.expression.clone(),
            is_watch: self.is_alert,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files with this ending in a folder of `config/prometheus`.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = root().join("config/prometheus").join(folder);
    let entries = fs::read_dir(folder).expect("rules");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// Every file of rules, with its name.
pub fn texts() -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), fs::read_to_string(&path).expect("text"))
    };
    files("rules").into_iter().map(read).collect()
}

/// Every rule. It is read as our files are written; the test below counts what Prometheus reads.
pub fn all() -> Vec<Rule> {
    let texts = texts();
    let blocks = texts.iter().flat_map(|(_, text)| text.split("\n      - "));
    let rules = blocks.filter_map(|block| {
        let (kind, rest) = block.split_once(": ")?;
        let is_alert = match kind {
            "alert" => true,
            "record" => false,
            _ => return None,
        };
        Some(Rule {
            is_alert,
            name: rest.lines().next()?.to_owned(),
            expression: expression(block),
            text: block.to_owned(),
        })
    });
    rules.collect()
}

/// The value of `expr`, on its line or folded below it.
fn expression(block: &str) -> String {
    let (_, after) = block.split_once("\n        expr: ").expect("an expression");
    let mut lines = after.lines();
    match lines.next().expect("a line") {
        ">-" => {
            let folded = lines.take_while(|line| line.starts_with("          "));
            folded.map(str::trim).collect::<Vec<_>>().join(" ")
        }
        line => line.to_owned(),
    }
}

/// The same rules for a clock that runs sixty times as fast: minutes become seconds, hours minutes.
pub fn faster(rules: &str) -> String {
    let mut text = String::new();
    let mut rest = rules;
    loop {
        let next = ["[", "for: ", "offset "]
            .iter()
            .filter_map(|begin| Some(rest.find(begin)? + begin.len()))
            .min();
        let Some(next) = next else {
            return text + rest;
        };
        let (before, after) = rest.split_at(next);
        text.push_str(before);
        let digits = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(0);
        let (number, unit) = after.split_at(digits);
        text.push_str(number);
        let faster = [("m", "s"), ("h", "m")];
        match faster
            .iter()
            .find(|(slow, _)| digits > 0 && unit.starts_with(slow))
        {
            Some((_, fast)) => {
                text.push_str(fast);
                rest = &unit[1..];
            }
            None => rest = unit,
        }
    }
}

#[test]
fn time_runs_sixty_times_as_fast() {
    let rules = "expr: a:rate5m[6h] offset 10m and b[30m] > 5m\n        for: 2h\n";
    let fast = "expr: a:rate5m[6m] offset 10s and b[30s] > 5m\n        for: 2m\n";
    assert_eq!(faster(rules), fast);
}

#[test]
fn every_alert_says_what_it_is_and_whom_it_wakes() {
    let alerts: Vec<_> = all().into_iter().filter(|rule| rule.is_alert).collect();
    assert!(alerts.len() > 20);
    let tests = files("tests").iter().fold(String::new(), |all, path| {
        all + &fs::read_to_string(path).expect("text")
    });
    let runbook = fs::read_to_string(root().join("docs/runbook.md")).expect("the runbook");
    let entries: Vec<_> = runbook.split("\n### ").skip(1).collect();
    for Rule { name, text, .. } in &alerts {
        let severity = ["page", "ticket"].map(|one| text.contains(&format!("severity: {one}\n")));
        assert!(severity[0] != severity[1], "{name} has no severity");
        for wanted in ["summary: ", "description: "] {
            assert!(text.contains(wanted), "{name} has no {wanted}");
        }
        let anchor = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(format!("{text}\n").contains(&anchor), "{name}: no {anchor}");
        let entry = entries
            .iter()
            .find(|entry| entry.lines().next() == Some(name));
        let entry = entry.unwrap_or_else(|| panic!("{name} has no entry in docs/runbook.md"));
        for part in ["**It means**", "**See**", "**Do**", "**Close**"] {
            assert!(entry.contains(part), "docs/runbook.md, {name}: no {part}");
        }
        let said = if severity[0] { "(page)" } else { "(ticket)" };
        assert!(entry.contains(said), "docs/runbook.md, {name}: no {said}");
        let tried = format!("alertname: {name}\n        exp_alerts:");
        let fires = format!("{tried}\n          - exp_labels:");
        assert!(tests.contains(&fires), "no test in which {name} fires");
        let quiet = format!("{tried} []");
        assert!(tests.contains(&quiet), "no test in which {name} is quiet");
    }
    let names: BTreeSet<_> = alerts.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "a name is there twice");
    for entry in entries {
        let name = entry.lines().next().unwrap_or_default();
        assert!(names.contains(name), "docs/runbook.md: {name} is no alert");
    }
}

/// `promtool`, which comes with Prometheus.
fn promtool() -> Option<String> {
    needed::program(
        "promtool",
        &["--version"],
        "promtool (Debian package prometheus)",
    )
}

fn passes(program: &str, arguments: &[&str], files: &[PathBuf]) -> String {
    let output = Command::new(program).args(arguments).args(files).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}:\n{said}");
    said
}

#[test]
fn promtool_passes_the_rules_their_tests_and_the_configuration() {
    let Some(promtool) = promtool() else {
        return;
    };
    let said = passes(
        &promtool,
        &["check", "rules", "--lint=all"],
        &files("rules"),
    );
    let counts = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SUCCESS: "));
    let found: usize = counts
        .map(|line| line.split(' ').next().unwrap_or_default())
        .map(|count| count.parse::<usize>().expect("a count"))
        .sum();
    assert_eq!(found, all().len(), "the rules that we read are not all");
    passes(&promtool, &["test", "rules"], &files("tests"));
    let config = root().join("config/prometheus/prometheus.yml");
    passes(&promtool, &["check", "config"], &[config]);
}

/// The commands of a page, each as its words up to the first that is no verb, and its options.
fn commands(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let is_verb = |word: &&str| {
        let is_part = |char: char| char.is_ascii_lowercase() || char == '-';
        !word.starts_with('-') && word.chars().all(is_part)
    };
    let spans = page.split('`').skip(1).step_by(2);
    let ours = spans.filter_map(|span| span.trim().strip_prefix("gatehouse "));
    let ours = ours.map(|command| command.split(" | ").next().unwrap_or_default());
    let split = ours.map(|command| {
        let verbs = command.split_whitespace().take_while(is_verb);
        let options = command.split_whitespace();
        let options = options.filter(|word| word.starts_with("--"));
        (verbs.collect(), options.collect())
    });
    split.collect()
}

#[test]
fn the_runbook_names_commands_that_there_are() {
    for page in ["docs/runbook.md", "docs/monitoring.md"] {
        let text = fs::read_to_string(root().join(page)).expect("the page");
        let commands = commands(&text);
        assert!(!commands.is_empty(), "{page}");
        for (verbs, options) in commands {
            let help = gatehouse(&[&verbs[..], &["--help"]].concat());
            let said = String::from_utf8_lossy(&help.stdout);
            assert!(help.status.success(), "{page}: there is no {verbs:?}");
            for option in options {
                assert!(said.contains(option), "{page}: {verbs:?} has no {option}");
            }
        }
    }
}
