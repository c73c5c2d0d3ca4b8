//! What is told to the service manager, if there is one: `NOTIFY_SOCKET` names its socket.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// What it is given beyond the grace time before it kills: for the last lines of the log.
const MARGIN: Duration = Duration::from_secs(5);

/// Everything listens.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Settings and certificates are read again; [`ready`] when that is over.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    match NotifyState::monotonic_usec_now() {
        Ok(now) => states.push(now),
        Err(error) => tracing::warn!(%error, "the clock cannot be told to the service manager"),
    }
    tell(&states);
}

/// The end has begun and may take so long.
pub fn stopping(grace: Duration) {
    let within = u32::try_from((grace + MARGIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(within),
    ]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The gateway is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Within which time the service manager wants to hear [`alive`], if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        failed(&error, states);
    }
}

/// The gateway goes on: whoever does not hear of it will act by itself.
fn failed(error: &io::Error, states: &[NotifyState<'_>]) {
    let what = states.first().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(%error, what, "the service manager was not told");
}
