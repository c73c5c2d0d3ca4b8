//! What happened in a world, for people; kept only when it is asked for, because it is slow.

use std::cell::RefCell;

thread_local! {
    /// Outlives the panic with which a world ends that broke a promise.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps lines from now on.
pub fn begin() {
    LINES.set(Some(Vec::new()));
}

/// The lines that were kept; no more are.
pub fn take() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

pub fn say(line: impl FnOnce() -> String) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line());
        }
    });
}
