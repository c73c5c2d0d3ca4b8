//! Logs on standard error, as the configuration asks.

use std::error::Error;
use std::fmt::Debug;
use std::io::IsTerminal;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; once.
///
/// # Errors
/// When the level is no level, or logging was started before.
pub fn start(log: &Log) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&log.level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.fmt_fields(fields()).try_init(),
    }
    .map_err(|error| error.to_string().into())
}

/// Fields in which nothing acts on a terminal: the library escapes messages, and not what is shown
/// by `Display`, where the words of devices stand.
fn fields() -> impl for<'writer> FormatFields<'writer> {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        if field.name() != "message" {
            write!(writer, "{field}=")?;
        }
        for letter in format!("{value:?}").chars() {
            if letter.is_control() {
                write!(writer, "{}", letter.escape_debug())?;
            } else {
                writer.write_char(letter)?;
            }
        }
        Ok(())
    };
    format::debug_fn(field).delimited(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// As [`start`] has it for people.
    #[test]
    fn no_text_of_a_device_reaches_a_terminal_as_more_than_text() {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(true)
            .fmt_fields(fields())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let said = "\u{1b}]0;owned\u{7}\u{9b}31m";
            tracing::info!(text = %said, debug = ?said, "{said}");
        });
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(written.contains("owned"), "{written}");
        assert!(written.contains("text="), "{written}");
        for evil in ["\u{1b}]0;", "\u{7}", "\u{9b}"] {
            assert!(!written.contains(evil), "{written:?}");
        }
    }
}
