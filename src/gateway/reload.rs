//! What runs beside the gateway: files that change are read again, rotations come to their end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::Counter;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::error::StartError;
use super::rooms::Rooms;
use super::settings::Settings;
use super::trust::Trust;
use crate::callers::credentials::Credentials;
use crate::config::Config;
use crate::config::changes::Change;
use crate::handle::Gateway;
use crate::link::watch;
use crate::metrics::{Meter, table};
use crate::service::notify;
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
    settings: Arc<Settings>,
    /// One at a time.
    reloading: Arc<Mutex<()>>,
    applied: Counter,
    refused: Counter,
}

/// Tasks that end with this.
pub(super) struct Background(Vec<JoinHandle<()>>);

impl From<JoinHandle<()>> for Background {
    fn from(task: JoinHandle<()>) -> Self {
        Self(vec![task])
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Reloader {
    pub(super) fn new(rooms: &Rooms, settings: Arc<Settings>) -> Self {
        let [applied, refused] = ["applied", "refused"].map(|outcome| {
            let metric = &table::CONFIG_RELOADS;
            rooms.meter.counter(metric, &[outcome])
        });
        Self {
            trust: rooms.trust.clone(),
            vault: rooms.vault.clone(),
            callers: Arc::clone(&rooms.callers),
            settings,
            reloading: Arc::default(),
            applied,
            refused,
        }
    }

    /// Reads certificates, keys and settings again. Either of the two that is at fault stays as it
    /// was, and does not keep the other from being read.
    ///
    /// # Errors
    /// [`StartError`]: the first fault.
    pub(super) async fn reload(&self) -> Result<(), StartError> {
        let _one = self.reloading.lock().await;
        notify::reloading();
        let reloaded = self.reload_all().await;
        match &reloaded {
            Ok(()) => self.applied.increment(1),
            Err(_) => {
                self.settings.read_again().await;
                self.refused.increment(1);
            }
        }
        notify::ready();
        reloaded
    }

    async fn reload_all(&self) -> Result<(), StartError> {
        let mut read = self.settings.read().await;
        let new = read.as_mut().ok().and_then(Option::as_mut);
        let trusted = self.reload_trust(new).await;
        let applied = read.and_then(|new| self.apply(new));
        if let Err(error) = &applied {
            tracing::error!(%error, "the settings stay as they were");
        }
        trusted.and(applied)
    }

    /// Takes the credentials of new settings, if there are any. Where something is at fault they
    /// are put back to those in force.
    async fn reload_trust(&self, mut new: Option<&mut Config>) -> Result<(), StartError> {
        let present = self.settings.current();
        let credentials = match &new {
            Some(new) => &new.credential,
            None => &present.credential,
        };
        let trusted = self
            .trust
            .reload(&self.vault, &self.callers, credentials)
            .await;
        match &trusted {
            Ok(()) => tracing::info!("certificates, revocations and keys were read again"),
            Err(error) => {
                tracing::error!(%error, "certificates, keys and credentials stay as they were");
                if let Some(new) = &mut new {
                    new.credential.clone_from(&present.credential);
                }
            }
        }
        trusted
    }

    /// Puts new settings in force, if there are any.
    fn apply(&self, new: Option<Config>) -> Result<(), StartError> {
        if let Some(new) = new {
            tell(&self.settings.apply(&new)?);
        }
        Ok(())
    }

    /// Needs a tokio runtime around it.
    pub(super) fn run_beside(&self, config: &Config, gateway: Gateway, meter: Meter) -> Background {
        let files = self.settings.file().cloned().into_iter().collect();
        // Watched from here on, not from the first turn of a task.
        let changes = watch::watch(watch::watched_paths(config), files);
        let follow = self.clone().follow_files(changes);
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

    async fn follow_files(self, changes: io::Result<mpsc::Receiver<()>>) {
        let mut changes = match changes {
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

/// Says what counts from now on, and what does not.
fn tell(change: &Change) {
    let Change {
        applied,
        needs_restart,
        ..
    } = change;
    tracing::info!(applied = applied.join(", "), "the settings were read again");
    if !needs_restart.is_empty() {
        let keys = needs_restart.join(", ");
        tracing::warn!(
            keys,
            "these settings have changed and count from the next start on"
        );
    }
}
