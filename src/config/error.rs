//! What is wrong with a configuration, in the words of its file.

use std::fmt;
use std::ops::Range;

/// A key whose value cannot stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// With its section: `grpc.listen`.
    pub key: String,
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} cannot stand: {}",
            self.key, self.value, self.right
        )
    }
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no TOML, has an unknown key, or a value of another type.
    #[error("line {line}, {place}: {message}")]
    Text {
        /// From 1.
        line: usize,
        /// The key with its section, as far as the text tells.
        place: String,
        message: String,
    },
    /// All values that are out of their bounds; never empty.
    #[error("{}", join(.0))]
    Values(Vec<Problem>),
}

impl ConfigError {
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().unwrap_or(Range { start: 0, end: 0 });
        let before = text.get(..at.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Self::Text {
            line,
            place: place(text, line),
            message: reword(error.message()),
        }
    }
}

fn join(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    problems.join("; ")
}

/// The last section header at or before the line, and the key on the line.
fn place(text: &str, line: usize) -> String {
    let section = text
        .lines()
        .take(line)
        .filter_map(|line| line.trim_start().strip_prefix('['))
        .last()
        .and_then(|header| header.trim_start_matches('[').split(']').next())
        .map(str::trim);
    let key = text
        .lines()
        .nth(line - 1)
        .and_then(|line| line.split_once('='))
        .map(|(key, _)| key.trim());
    match (section, key) {
        (Some(section), Some(key)) => format!("key {section}.{key}"),
        (None, Some(key)) => format!("key {key}"),
        (Some(section), None) => format!("section [{section}]"),
        (None, None) => "top of the file".to_owned(),
    }
}

/// The parser speaks of fields, its users of keys; and one line is enough.
fn reword(message: &str) -> String {
    let words = message.replace('\n', ", ");
    words
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
        .replace("expected one of", "known here are")
}
