//! The settings in force, and what follows when the file says others while the gateway runs.

use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::error::StartError;
use super::figures;
use super::opened::{keeping, registry_policy};
use super::sessions::Starter;
use crate::config::Config;
use crate::config::changes::Change;
use crate::link::listen::Door;
use crate::logs::slow::Slow;
use crate::metrics::Meter;
use crate::registry::actor::{Registry, ReplacePolicy};
use crate::service::config_file;
use crate::store::Store;

/// Sets the level of the log, given as in the key `log.level`. Where there is none the level counts
/// from the next start on.
pub type SetLogLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Where the settings come from, and what follows them while the gateway runs.
pub(super) struct Settings {
    file: Option<PathBuf>,
    set_log_level: Option<SetLogLevel>,
    live: Live,
    current: ArcSwap<Config>,
    /// What the file said when it was read last, and all of it was taken.
    said: Mutex<Option<Config>>,
}

/// What is told of other settings.
pub(super) struct Live {
    pub(super) registry: Addr<Registry>,
    pub(super) starter: Starter,
    pub(super) door: Door,
    pub(super) slow: Slow,
    pub(super) store: Store,
    pub(super) meter: Meter,
}

impl Settings {
    pub(super) fn new(
        config: Config,
        file: Option<PathBuf>,
        set_log_level: Option<SetLogLevel>,
        live: Live,
    ) -> Self {
        Self {
            file,
            set_log_level,
            live,
            current: ArcSwap::from_pointee(config.clone()),
            said: Mutex::new(Some(config)),
        }
    }

    /// The settings in force.
    pub(super) fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// What the file says, if there is one and it says something else than the last time.
    ///
    /// # Errors
    /// [`StartError::ConfigFile`] with the key that is wrong, or when the file was emptied.
    pub(super) async fn read(&self) -> Result<Option<Config>, StartError> {
        let Some(file) = self.file.clone() else {
            return Ok(None);
        };
        let in_force = self.current();
        let reading =
            tokio::task::spawn_blocking(move || config_file::read_again(&file, &in_force));
        let config = reading.await.map_err(|_| StartError::Thread)??;
        let mut said = self.said.lock().await;
        if said.as_ref() == Some(&config) {
            return Ok(None);
        }
        *said = Some(config.clone());
        Ok(Some(config))
    }

    /// Something was not taken: the next reading is not passed over for saying the same.
    pub(super) async fn read_again(&self) {
        *self.said.lock().await = None;
    }

    /// Puts in force what counts at once.
    ///
    /// # Errors
    /// [`StartError`]; nothing has changed then.
    pub(super) fn apply(&self, new: &Config) -> Result<Change, StartError> {
        let before = self.current();
        let mut change = before.change_to(new);
        let policy = registry_policy(&change.config)?;
        if change.config.log.level != before.log.level {
            match &self.set_log_level {
                Some(set) => set(&change.config.log.level).map_err(StartError::LogLevel)?,
                None => {
                    change.config.log.level.clone_from(&before.log.level);
                    change.postpone("log.level");
                }
            }
        }
        let config = &change.config;
        self.live.registry.do_send(ReplacePolicy(policy));
        self.live.starter.set_policy(config);
        let inbound = &config.inbound;
        self.live
            .door
            .set_limits(inbound.waiting_max, inbound.waiting_per_source_max);
        self.live.slow.set(config.log.slow_after);
        self.live.store.keep(keeping(config));
        figures::tell_limits(&self.live.meter, config);
        self.current.store(Arc::new(config.clone()));
        Ok(change)
    }
}
