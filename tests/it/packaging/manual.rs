//! The manual, as `man` reads it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::needed;
use crate::support::process::{BINARY, gatehouse};

/// Everything that lies below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    files.sort();
    files
}

/// Writes the manual, and gives the pages.
fn written(folder: &Path) -> Vec<std::path::PathBuf> {
    let written = Command::new(BINARY)
        .args(["man", "--out"])
        .arg(folder)
        .env("SOURCE_DATE_EPOCH", "1764288000")
        .output()
        .expect("the binary runs");
    assert!(written.status.success(), "{written:?}");
    files(folder)
}

#[test]
fn man_has_no_complaint_about_any_page() {
    let Some(man) = needed::program("man", &["--version"], "man (Debian: man-db)") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pages = written(folder.path());
    assert!(pages.len() > 40, "{pages:?}");
    for page in pages {
        // As Debian's lintian asks.
        let output = Command::new(&man)
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .env("MANROFFSEQ", "")
            .output()
            .expect("man runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let path = page.display();
        assert!(output.status.success() && said.is_empty(), "{path}: {said}");
    }
}

#[test]
fn man_finds_a_page_and_it_reads_as_the_help_does() {
    let Some(man) = needed::program("man", &["--version"], "man (Debian: man-db)") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let read = |page: &str| {
        let output = Command::new(&man)
            .args(["-P", "cat", page])
            .env("MANPATH", folder.path())
            .env("MANWIDTH", "200")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("man runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let page = read("gatehouse-ctl-filter-set");
    assert!(
        page.contains("gatehouse ctl filter set --from 192.0.2.0 --subnet 255.255.255.0"),
        "{page}"
    );
    assert!(page.contains("2025-11-28"), "{page}");
    let page = read("gateway.toml");
    assert!(page.contains("dial.in_flight_max = 1024"), "{page}");
}

#[test]
fn a_page_is_printed_by_the_words_of_its_command() {
    let first = |arguments: &[&str]| {
        let output = gatehouse(&[&["man"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let title = text
            .lines()
            .find(|line| line.starts_with(".TH"))
            .expect("a title");
        title.to_owned()
    };
    assert!(first(&[]).starts_with(".TH GATEHOUSE 1 "));
    assert!(first(&["ctl", "add"]).starts_with(".TH GATEHOUSE-CTL-ADD 1 "));
    assert!(first(&["gateway.toml"]).starts_with(".TH GATEWAY.TOML 5 "));
    let output = gatehouse(&["man", "ctl", "fly"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("ctl fly"),
        "{said}"
    );
}
