//! gateway.toml(5): every setting of the gateway, from the file that explains them all.

use std::mem;

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{Page, prose};

pub const NAME: &str = "gateway.toml";

/// Every key with its default and a word on it; the tests of `config` hold it against the code.
const SETTINGS: &str = include_str!("../../../config/gateway.toml");

/// The page.
pub fn page(date: &str) -> Page {
    let mut roff = Roff::new();
    let source = concat!("gatehouse ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["GATEWAY.TOML", "5", date, source, "Gatehouse"])
        .control("SH", ["NAME"])
        .text([roman("gateway.toml - settings of the Gatehouse gateway")])
        .control("SH", ["DESCRIPTION"]);
    let mut writer = Writer {
        roff,
        headed: true,
        ..Writer::default()
    };
    for line in SETTINGS.lines() {
        writer.line(line);
    }
    writer.end_setting();
    writer.end_words();
    let mut roff = writer.roff;
    roff.control("SH", ["SEE ALSO"]).text([
        bold("gatehouse"),
        roman("(1), "),
        bold("gatehouse-gateway"),
        roman("(1), "),
        bold("gatehouse-config"),
        roman("(1)"),
    ]);
    Page {
        name: NAME.to_owned(),
        section: "5",
        text: roff.render(),
    }
}

/// Writes the page line by line: words come before what they are about.
#[derive(Default)]
struct Writer {
    roff: Roff,
    /// The table, as in `grpc`, "" for none.
    table: String,
    /// The last lines of comment.
    words: Vec<&'static str>,
    /// Whether a heading was the last that was written: the next paragraph needs no gap.
    headed: bool,
    /// Keys that share these words, with their defaults.
    keys: Vec<(&'static str, &'static str)>,
}

impl Writer {
    fn line(&mut self, line: &'static str) {
        if let Some(part) = line.strip_prefix("# ---") {
            self.end_setting();
            self.end_words();
            let heading = part.trim_matches(['-', ' ']).to_uppercase();
            self.roff.control("SH", [heading.as_str()]);
            self.headed = true;
        } else if let Some(words) = line.strip_prefix('#') {
            self.end_setting();
            self.words.push(words.strip_prefix(' ').unwrap_or(words));
        } else if let Some(table) = line.strip_prefix('[') {
            self.end_setting();
            self.table = table.trim_end_matches(']').to_owned();
            self.roff.control("SS", [line]);
            self.headed = true;
            self.end_words();
        } else if let Some((key, value)) = line.split_once(" = ") {
            self.keys.push((key, value));
        } else {
            self.end_setting();
            self.end_words();
        }
    }

    /// Writes the keys that stand below the words.
    fn end_setting(&mut self) {
        let keys = mem::take(&mut self.keys);
        for (index, (key, value)) in keys.iter().enumerate() {
            // Keys below each other share their words.
            self.roff.control(if index == 0 { "TP" } else { "TQ" }, []);
            let name = match self.table.as_str() {
                "" => (*key).to_owned(),
                table => format!("{table}.{key}"),
            };
            self.roff.text([bold(name), roman(" = "), italic(*value)]);
        }
        if !keys.is_empty() {
            self.headed = false;
            let words = mem::take(&mut self.words);
            prose::text(&mut self.roff, &words);
        }
    }

    /// Writes words that are about no key: paragraphs, and settings to take as a pattern.
    fn end_words(&mut self) {
        let words = mem::take(&mut self.words);
        let paragraphs = words.split(|line| line.is_empty());
        for paragraph in paragraphs.filter(|lines| !lines.is_empty()) {
            if !mem::take(&mut self.headed) {
                self.roff.control("PP", []);
            }
            if paragraph[0].starts_with("[[") {
                prose::verbatim(&mut self.roff, paragraph);
            } else {
                prose::lines(&mut self.roff, paragraph);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_table_is_told_with_its_default_and_words() {
        let settings: toml::Table = SETTINGS.parse().unwrap();
        let text = page("").text;
        let told = |key: &str| {
            let key = key.replace('-', r"\-");
            let line = format!("\\fB{key}\\fR = \\fI");
            let after = text.split_once(&line).map(|(_, after)| after);
            let after = after.unwrap_or_else(|| panic!("{key} is not told"));
            let mut lines = after.lines().skip(1);
            lines
                .find(|line| !line.starts_with(".TQ") && !line.contains(" = \\fI"))
                .unwrap()
                .to_owned()
        };
        for (key, value) in &settings {
            let keys = match value.as_table() {
                Some(table) => table.keys().map(|inner| format!("{key}.{inner}")).collect(),
                None => vec![key.clone()],
            };
            for key in keys {
                let words = told(&key);
                assert!(
                    !words.starts_with(".TP") && !words.is_empty(),
                    "{key}: {words}"
                );
            }
        }
    }

    #[test]
    fn patterns_stay_as_they_are() {
        let text = page("").text;
        assert!(
            text.contains(".nf\n[[endpoint]]\nname = \"door_alarm\"\n"),
            "{text}"
        );
    }
}
