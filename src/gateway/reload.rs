//! What runs beside the gateway: files that change are read again, rotations come to their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::StartError;
use super::trust::Trust;
use crate::callers::credentials::Credentials;
use crate::config::Config;
use crate::handle::Gateway;
use crate::link::watch;
use crate::metrics::Meter;
use crate::vault::Vault;

/// How often it is looked whether there are new ticket keys to store. They live for an hour at
/// least and change once in a lifetime.
const TICKETS_EVERY: Duration = Duration::from_mins(10);

/// How often samples of histograms are sorted into their buckets; until then each takes memory.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Reads everything again that can be replaced while the gateway runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reloader {
    trust: Trust,
    vault: Vault,
    callers: Arc<Credentials>,
}

/// Tasks that end with this.
pub(super) struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Reloader {
    pub(super) fn new(trust: Trust, vault: Vault, callers: Arc<Credentials>) -> Self {
        Self {
            trust,
            vault,
            callers,
        }
    }

    /// # Errors
    /// [`StartError`]; everything stays as it was then.
    pub(super) async fn reload(&self) -> Result<(), StartError> {
        let reloaded = self.trust.reload(&self.vault, &self.callers).await;
        match &reloaded {
            Ok(()) => tracing::info!("certificates, revocations and keys were read again"),
            Err(error) => {
                tracing::error!(%error, "certificates and keys stay as they were");
            }
        }
        reloaded
    }

    /// Needs a tokio runtime around it.
    pub(super) fn run_beside(&self, config: &Config, gateway: Gateway, meter: Meter) -> Background {
        let follow = self.clone().follow_files(watch::watched_paths(config));
        let trust = self.trust.clone();
        let keep_tickets = async move {
            loop {
                tokio::time::sleep(TICKETS_EVERY).await;
                trust.keep_tickets().await;
            }
        };
        let vault = self.vault.clone();
        let end_rotations = async move { vault.run(gateway).await };
        let tidy_metrics = async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                meter.tidy();
            }
        };
        Background(vec![
            tokio::spawn(tidy_metrics),
            tokio::spawn(follow),
            tokio::spawn(keep_tickets),
            tokio::spawn(end_rotations),
        ])
    }

    async fn follow_files(self, folders: Vec<std::path::PathBuf>) {
        let mut changes = match watch::watch(folders) {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(%error, "changed files are not noticed; SIGHUP has them read again");
                return;
            }
        };
        while changes.recv().await.is_some() {
            // Told in the log; the next change may mend it.
            let _ = self.reload().await;
        }
    }
}
