//! The signals by which a gateway is ended: the first one in order, the second one at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// What a shell adds to the number of a signal that ended a program.
const BY_SIGNAL: i32 = 128;

/// Listens from now on. The receiver hears the first SIGTERM or SIGINT; a second one ends the
/// process with 128 and its number, also while everything else hangs.
///
/// # Errors
/// When the operating system does not let us listen.
pub fn stop_requested() -> io::Result<oneshot::Receiver<()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (first, requested) = oneshot::channel();
    // A task of the runtime's threads: the main thread may be busy.
    tokio::spawn(async move {
        either(&mut terminated, &mut interrupted).await;
        let _ = first.send(());
        let second = either(&mut terminated, &mut interrupted).await;
        tracing::warn!("a second signal: the gateway ends at once");
        std::process::exit(BY_SIGNAL + second.as_raw_value());
    });
    Ok(requested)
}

async fn either(terminated: &mut Signal, interrupted: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminated.recv() => SignalKind::terminate(),
        _ = interrupted.recv() => SignalKind::interrupt(),
    }
}
