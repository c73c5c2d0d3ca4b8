//! What a gateway opens before anything of it runs: files, keys, the store, listening sockets.

use std::sync::Arc;

use super::error::StartError;
use super::figures;
use super::sockets::Sockets;
use super::trust::Trust;
use crate::config::Config;
use crate::link::gateway_key;
use crate::link::seal::Sealer;
use crate::logs::{self, Control};
use crate::metrics::Meter;
use crate::registry::Stored;
use crate::registry::backoff::{Backoff, BackoffError};
use crate::registry::machine::Policy;
use crate::service::passed::Passed;
use crate::store::{self, Keeping, Limits, Retention, Store, files};
use crate::trace::{Observer, Tracer};

/// Dropped, it is closed again.
pub(super) struct Opened {
    pub(super) ground: Ground,
    pub(super) store: store::Opened,
    /// What was in it.
    pub(super) stored: Stored,
    pub(super) policy: Policy,
    pub(super) sockets: Sockets,
}

/// What every room stands on.
pub(super) struct Ground {
    pub(super) meter: Meter,
    pub(super) observer: Observer,
    pub(super) sealer: Sealer,
    pub(super) trust: Trust,
}

impl Opened {
    /// # Errors
    /// [`StartError`]: the first thing that is wrong.
    pub(super) async fn open(
        config: &Config,
        passed: Passed,
        log: Option<&Arc<dyn Control>>,
    ) -> Result<Self, StartError> {
        config.check()?;
        make_data_dir(config)?;
        warn_of_open_networks(config);
        let (store, stored) = open_store(config).await?;
        let sealer = gateway_key::open(&config.gateway_key(), &config.data_dir)?;
        let meter = match config.metrics.enabled {
            true => Meter::new(),
            false => Meter::off(),
        };
        let trust = Trust::open(config, sealer.clone(), &meter)?;
        let policy = registry_policy(config)?;
        let sockets = Sockets::open(config, passed)?;
        if let Some(log) = log {
            logs::count(log, &meter);
        }
        let observer = Observer::new(Tracer::start(&config.trace)?, config.log.slow_after);
        observer.tracer.count(&meter);
        figures::tell_build(&meter);
        figures::tell_limits(&meter, config);
        let store = store.traced(observer.tracer.clone()).counting(&meter);
        Ok(Self {
            ground: Ground {
                meter,
                observer,
                sealer,
                trust,
            },
            store,
            stored,
            policy,
            sockets,
        })
    }
}

fn make_data_dir(config: &Config) -> Result<(), StartError> {
    files::make_directory(&config.data_dir).map_err(|source| StartError::DataDir {
        path: config.data_dir.clone(),
        source,
    })
}

fn warn_of_open_networks(config: &Config) {
    for network in &config.grpc.open_to {
        tracing::warn!(
            %network,
            "gRPC is open to every client in this network that trusts the root certificate; \
             require client certificates where that is too much"
        );
    }
}

async fn open_store(config: &Config) -> Result<(store::Opened, Stored), StartError> {
    let directory = config.data_dir.clone();
    let Keeping {
        retention,
        free_min,
    } = keeping(config);
    let opening = tokio::task::spawn_blocking(move || Store::open(&directory, retention));
    let (opened, stored) = opening.await.map_err(|_| StartError::Thread)??;
    Ok((opened.keeping_free(free_min), stored))
}

/// What the store is to keep, by these settings.
pub(super) fn keeping(config: &Config) -> Keeping {
    Keeping {
        retention: Retention {
            events_max: config.events.keep_max,
            age_max: config.events.keep_for,
            audit_max: config.access.audit_keep_max,
            limits: Limits::from(&config.functions),
        },
        free_min: config.store.free_min,
    }
}

/// What the registry is to follow, by these settings.
///
/// # Errors
/// [`BackoffError`].
pub(super) fn registry_policy(config: &Config) -> Result<Policy, BackoffError> {
    Ok(Policy {
        backoff: Backoff::new(config.reconnect.min, config.reconnect.max)?,
        stable_after: config.reconnect.stable_after,
        dial: config.dial.clone(),
        takeover_burst: config.takeover.burst,
        takeover_interval: config.takeover.interval,
        devices_max: config.registry.devices_max,
        sessions_max: config.session.sessions_max,
        pending_max: config.registry.pending_max,
        unproven_max: config.registry.unproven_max,
        trouble_max: config.registry.trouble_max,
        forget_slaves: config.compat.forget_slaves,
        filter_by_address: config.compat.accept_filter_by_address,
        drain: config.drain.clone(),
    })
}
