//! Logs on standard error, as the configuration asks: limited, and at a level that can be changed.

mod control;
mod limited;

use std::error::Error;
use std::fmt::Debug;
use std::io::IsTerminal;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

pub use self::control::LogControl;
use self::limited::Limited;
use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; once.
///
/// # Errors
/// When the level is no level, or logging was started before.
pub fn start(log: &Log) -> Result<LogControl, Box<dyn Error>> {
    let (filter, level) = reload::Layer::new(log.level.parse::<Targets>()?);
    let limited = Limited::new(log.into());
    let control = LogControl::new(level, log.level.clone(), limited.clone());
    let filter = filter.and(limited);
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
        LogFormat::Text => lines.fmt_fields(fields()).with_filter(filter).boxed(),
    };
    registry().with(lines).try_init()?;
    Ok(control)
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
    use std::time::Duration;

    use crate::logs::limit::Limits;

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

    #[test]
    fn the_device_of_a_line_is_found_wherever_it_stands() {
        let page = Page::default();
        let writer = page.clone();
        let limited = Limited::new(Limits {
            burst: 1,
            interval: Duration::from_hours(1),
            total_burst: 1000,
            total_rate: 1,
        });
        let lines = fmt::layer().with_writer(move || writer.clone());
        let subscriber = registry().with(lines.with_filter(limited.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(device = 7_u32, "written");
            tracing::info!(device = %7, "left out");
            tracing::info_span!("session", device = 7_u32).in_scope(|| tracing::info!("left out"));
            let span = tracing::info_span!("session", device = tracing::field::Empty);
            span.record("device", 7_u32);
            span.in_scope(|| tracing::warn!("left out"));
            tracing::info!(device = 8_u32, "written");
            for _ in 0..2 {
                tracing::info!("of a place");
                tracing::error!(device = 7_u32, "an error");
                tracing::info!(target: "audit", device = 7_u32, "a call");
            }
        });
        let written = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let count = |text: &str| written.matches(text).count();
        assert_eq!((count("left out"), count("written")), (0, 2), "{written}");
        assert_eq!(count("of a place"), 1, "{written}");
        assert_eq!((count("an error"), count("a call")), (2, 2), "{written}");
        let report = limited.report().expect("some were left out");
        assert_eq!((report.lines, report.worst), (4, vec![(7, 3)]));
        let counts = limited.counts();
        assert_eq!((counts.written, counts.suppressed), ([2, 0, 5, 0, 0], 4));
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
