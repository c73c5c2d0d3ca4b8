//! The page that documents every metric, made from the table.

use std::fmt::Write;

use super::table::{Kind, SECTIONS};

/// The text of `docs/metrics.md`.
pub fn page() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         What a gateway tells Prometheus at `/metrics` of its HTTP port. This page is made from the \
         table in `src/metrics/table.rs`; a test holds the two together \
         (`GATEHOUSE_BLESS=1 cargo test --lib metrics::` writes it anew).\n\n\
         No label names a device, an owner or an address: the number of series does not grow with \
         the fleet. Which devices are behind a figure is told by `gatehouse ctl top`, `/v3/devices/top` \
         and the log ([logs.md](logs.md)). A counter begins at 0 with each start of the gateway; a \
         labelled one may be absent until it first counts.\n",
    );
    for section in SECTIONS {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n| metric | kind | labels | what |\n| --- | --- | --- | --- |\n",
            section.title
        );
        for metric in section.metrics {
            let labels: Vec<_> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                metric.name,
                metric.kind.as_str(),
                labels.join(" "),
                metric.help
            );
        }
    }
    text.push_str("\n## Buckets of the histograms\n\n| metric | upper bounds |\n| --- | --- |\n");
    for metric in SECTIONS.iter().flat_map(|section| section.metrics) {
        if let Kind::Histogram(buckets) = metric.kind {
            let bounds: Vec<_> = buckets.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "| `{}` | {} |", metric.name, bounds.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("GATEHOUSE_BLESS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            written,
            page(),
            "docs/metrics.md is not what the table says"
        );
    }
}
