//! The level of the log while the gateway runs, and the report of what was left out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

use super::limited::{Limited, OF_ITSELF};
use crate::clock;
use crate::config::is_log_level;
use crate::logs::level::Level;
use crate::logs::{BadLevel, Control, Counts, InForce};

/// How often it is told what was left out.
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// Leads the log of this process. Cheap to clone.
#[derive(Clone)]
pub struct LogControl(Arc<Inner>);

struct Inner {
    filter: Handle<Targets, Registry>,
    level: Mutex<Level>,
    limited: Limited,
    /// The time has changed at which the level returns.
    changed: Notify,
}

impl LogControl {
    pub(super) fn new(filter: Handle<Targets, Registry>, level: String, limited: Limited) -> Self {
        Self(Arc::new(Inner {
            filter,
            level: Mutex::new(Level::new(level)),
            limited,
            changed: Notify::new(),
        }))
    }

    /// Has the level return when its time is over, and what was left out told; without end.
    pub async fn run(self) {
        let mut report = tokio::time::interval(REPORT_EVERY);
        loop {
            let until = self.level_mut().poll_timeout();
            let returns = async {
                match until {
                    Some(until) => tokio::time::sleep_until(clock::deadline(until)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = returns => self.end_of_time(),
                () = self.0.changed.notified() => {}
                _ = report.tick() => self.tell_left_out(),
            }
        }
    }

    /// Tells what the limit left out since the last time.
    pub fn tell_left_out(&self) {
        let Some(report) = self.0.limited.report() else {
            return;
        };
        for (device, suppressed) in report.worst {
            tracing::warn!(target: OF_ITSELF, device, suppressed, "lines of a device were left out");
        }
        let (suppressed, devices) = (report.lines, report.devices);
        tracing::warn!(target: OF_ITSELF, suppressed, devices, "lines were left out of the log");
    }

    fn end_of_time(&self) {
        let mut level = self.level_mut();
        if level.handle_timeout(clock::now().instant) {
            self.carry_out(&level, "the level of the log returned");
        }
    }

    /// The text was checked, or comes from the configuration, which was.
    fn carry_out(&self, level: &Level, why: &str) {
        let Ok(targets) = level.text().parse::<Targets>() else {
            return;
        };
        // It fails only when there is no subscriber any more.
        let _ = self.0.filter.reload(targets);
        self.0.changed.notify_one();
        tracing::warn!(target: OF_ITSELF, level = level.text(), "{why}");
    }

    fn level_mut(&self) -> MutexGuard<'_, Level> {
        self.0.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for LogControl {
    fn level(&self) -> InForce {
        self.level_mut().in_force(clock::now().instant)
    }

    fn set(&self, text: Option<&str>, holds: Option<Duration>) -> Result<(), BadLevel> {
        text.map_or(Ok(()), check)?;
        let mut level = self.level_mut();
        level.handle_set(text, holds, clock::now().instant);
        self.carry_out(&level, "the level of the log was set");
        Ok(())
    }

    fn configure(&self, text: &str) -> Result<(), BadLevel> {
        check(text)?;
        let mut level = self.level_mut();
        let before = level.text().to_owned();
        level.handle_configured(text);
        if level.text() != before {
            self.carry_out(&level, "the level of the log is that of the configuration");
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.0.limited.counts()
    }
}

fn check(text: &str) -> Result<(), BadLevel> {
    if is_log_level(text) {
        Ok(())
    } else {
        Err(BadLevel(text.to_owned()))
    }
}
