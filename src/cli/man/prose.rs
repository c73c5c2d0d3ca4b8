//! Text as `--help` shows it, as roff: paragraphs are filled, indented lines stay as they are.

use clap_mangen::roff::{Roff, roman};

/// Adds such text to a page. A line `Examples:`, `Example:` or `Exit codes:` begins a section of
/// that name; before the first of them the section `first` begins, unless nothing stands there.
pub fn sections(roff: &mut Roff, first: &str, text: &str) {
    let mut heading = first.to_owned();
    let mut body = Vec::new();
    for line in text.lines() {
        match line {
            "Examples:" | "Example:" | "Exit codes:" => {
                section(roff, &heading, &body);
                heading = line.trim_end_matches(':').to_uppercase();
                body.clear();
            }
            _ => body.push(line),
        }
    }
    section(roff, &heading, &body);
}

fn section(roff: &mut Roff, heading: &str, body: &[&str]) {
    if body.iter().any(|line| !line.is_empty()) {
        roff.control("SH", [heading]);
        lines(roff, body);
    }
}

/// Adds lines of such text below a heading.
pub fn lines(roff: &mut Roff, lines: &[&str]) {
    // Lines that stay together, between blank ones.
    let blocks = lines.split(|line| line.trim().is_empty());
    for (index, block) in blocks.filter(|block| !block.is_empty()).enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        for part in block.chunk_by(|one, other| is_indented(one) == is_indented(other)) {
            if is_indented(part[0]) {
                verbatim(roff, part);
            } else {
                text(roff, part);
            }
        }
    }
}

/// Adds lines that are filled.
pub fn text(roff: &mut Roff, lines: &[&str]) {
    for line in lines {
        roff.text([roman(*line)]);
    }
}

/// Adds lines that stay as they are, less the indentation that they share.
pub fn verbatim(roff: &mut Roff, lines: &[&str]) {
    let indented = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().map(indented).min().unwrap_or(0);
    roff.control("RS", ["4"]).control("nf", []);
    for line in lines {
        roff.text([roman(&line[shared..])]);
    }
    roff.control("fi", []).control("RE", []);
}

fn is_indented(line: &str) -> bool {
    line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stay_as_they_are_and_have_a_section() {
        let mut roff = Roff::new();
        let text = "Two lines\nof one paragraph.\n\nAnother.\n\nExamples:\n  run\n      it\n\n\
            Prints:\n  .dot";
        sections(&mut roff, "NOTES", text);
        assert_eq!(
            roff.to_roff(),
            ".SH NOTES\nTwo lines\nof one paragraph.\n.PP\nAnother.\n\
             .SH EXAMPLES\n.RS 4\n.nf\nrun\n    it\n.fi\n.RE\n.PP\nPrints:\n\
             .RS 4\n.nf\n\\&.dot\n.fi\n.RE\n"
        );
    }

    #[test]
    fn nothing_before_the_examples_is_no_section() {
        let mut roff = Roff::new();
        sections(&mut roff, "NOTES", "Example:\n  run");
        assert_eq!(roff.to_roff(), ".SH EXAMPLE\n.RS 4\n.nf\nrun\n.fi\n.RE\n");
    }
}
