//! The vault in its place: over the key files, the store and the registry.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::error::StartError;
use super::rooms::ToRegistry;
use super::trust::Trust;
use crate::config::Config;
use crate::device::DeviceId;
use crate::handle::Gateway;
use crate::identity::SharedSecrets;
use crate::link::key_files;
use crate::link::keyring;
use crate::link::seal::Sealer;
use crate::registry::actor::ReplaceSecrets;
use crate::registry::records::Record;
use crate::store::Store;
use crate::vault::key_store::KeyDir;
use crate::vault::{Surroundings, Vault};

/// Opens the vault, and makes the first fleet key where there is none. Blocks.
///
/// # Errors
/// [`StartError`].
pub(super) fn open(
    config: &Config,
    sealer: &Sealer,
    trust: &Trust,
    records: &[Record],
    store: &Store,
    to_registry: ToRegistry,
) -> Result<Vault, StartError> {
    let dir = config.keys_dir();
    if let Some(made) = key_files::ensure_fleet_key(&dir, sealer)? {
        tracing::info!(
            path = %made.display(),
            "made the first fleet key; `gatehouse certs show-key` shows it to put it on devices"
        );
    }
    let stored = records.iter().filter_map(|record| match record {
        Record::Credential(credential) => Some(credential.clone()),
        _ => None,
    });
    let store = store.clone();
    let surroundings = Surroundings {
        keys: Arc::new(KeyDir::new(dir, sealer.clone())),
        commit: Box::new(move |change| Box::pin(store.commit(change))),
        on_change: Box::new(move |ring| {
            let secrets: SharedSecrets = ring;
            if let Some(registry) = to_registry.get() {
                registry.do_send(ReplaceSecrets(secrets));
            }
        }),
    };
    let configured = keyring::configured(&config.credential)?;
    let vault = Vault::open(
        surroundings,
        configured,
        trust.certificates(),
        stored.collect(),
    );
    Ok(vault?)
}

/// Gives devices link keys of their own when the registry says so.
#[derive(Clone)]
pub(super) struct Enroller {
    vault: Vault,
    /// Empty until the registry runs.
    gateway: Arc<OnceLock<Gateway>>,
    runtime: Handle,
}

impl Enroller {
    /// Needs a tokio runtime around it, which outlives the registry.
    pub(super) fn new(vault: Vault) -> Self {
        Self {
            vault,
            gateway: Arc::default(),
            runtime: Handle::current(),
        }
    }

    pub(super) fn reach(&self, gateway: Gateway) {
        // It is set once, by the one who made this.
        let _ = self.gateway.set(gateway);
    }

    pub(super) fn enrol(&self, device: DeviceId) {
        let Some(gateway) = self.gateway.get().cloned() else {
            return;
        };
        let vault = self.vault.clone();
        self.runtime.spawn(async move {
            match vault.enrol(&gateway, device).await {
                Ok(()) => tracing::info!(device = device.get(), "enrolled: it has a link key of its own"),
                Err(error) => tracing::warn!(device = device.get(), %error, "not enrolled; tried again when it next comes in"),
            }
        });
    }
}
