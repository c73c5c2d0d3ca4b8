//! Programs that some tests need beside Rust; `.ci/run` installs them and allows no skip.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program, if it is there: if it runs well with these arguments.
pub fn program(program: &str, arguments: &[&str], needs: &str) -> Option<String> {
    let found = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Some(program.to_owned());
    }
    skip(needs);
    None
}

/// Says that a test is not run for want of something.
pub fn skip(needs: &str) {
    // Not by a macro: what those print is kept from the reader while the test passes.
    writeln!(std::io::stderr(), "skipped: needs {needs}").expect("a standard error");
    let allowed = std::env::var_os("GATEHOUSE_SKIP_IS_FAILURE").is_none();
    assert!(allowed, "needs {needs}");
}

/// The Python that can import these modules; `GATEHOUSE_PYTHON` names it.
pub fn python(modules: &str) -> Option<String> {
    let named = std::env::var("GATEHOUSE_PYTHON").ok();
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let needs = format!("Python 3 with {modules} (tests/python/requirements.txt)");
    program(&python, &["-c", &format!("import {modules}")], &needs)
}

/// The Debian package; `GATEHOUSE_DEB` names it.
pub fn package() -> Option<PathBuf> {
    let named = std::env::var("GATEHOUSE_DEB").unwrap_or_default();
    let needs = "the package of config/debian/build, named by GATEHOUSE_DEB";
    program("test", &["-f", &named], needs)?;
    Some(named.into())
}
