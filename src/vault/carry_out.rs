//! Carries out what the books say: key files, then the store, then everybody is told.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::clock;
use crate::link::key_files::KeyFileError;
use crate::link::keyring::Keyring;
use crate::vault::key_store::KeyStore;
use crate::vault::ledger::{FileStep, Ledger, Plan};
use crate::vault::{LiveSecrets, Surroundings, VaultError};

/// What every clone of a vault shares.
pub(super) struct Inner {
    pub(super) ledger: Mutex<Ledger>,
    pub(super) live: Arc<LiveSecrets>,
    pub(super) surroundings: Surroundings,
    /// The time at which the next old secret ceases to hold may be another.
    pub(super) changed: Notify,
}

impl Inner {
    pub(super) async fn change(
        &self,
        ledger: &mut Ledger,
        edit: impl FnOnce(&mut Ledger) -> Result<Plan, VaultError> + Send,
    ) -> Result<(), VaultError> {
        let mut next = ledger.clone();
        let plan = edit(&mut next)?;
        if plan.is_empty() {
            return Ok(());
        }
        let ring = next.ring(clock::now().unix_ms)?;
        self.carry_out(plan).await?;
        self.install(ledger, next, ring);
        Ok(())
    }

    pub(super) fn install(&self, ledger: &mut Ledger, next: Ledger, ring: Keyring) {
        *ledger = next;
        self.announce(ring);
        self.changed.notify_one();
    }

    /// The handshakes first: a key that is gone must open nothing by the time its sessions end.
    pub(super) fn announce(&self, ring: Keyring) {
        let ring = Arc::new(ring);
        self.live.replace(Arc::clone(&ring));
        (self.surroundings.on_change)(ring);
    }

    pub(super) async fn carry_out(&self, plan: Plan) -> Result<(), VaultError> {
        let (steps, store) = plan.into_parts();
        let mut undo = Vec::new();
        for reversible in steps {
            let step = reversible.step;
            undo.push(reversible.undo);
            if let Err(error) = self.with_keys(move |keys| carry_out_one(keys, &step)).await {
                self.undo(undo).await;
                return Err(error);
            }
        }
        let Some(store) = store else { return Ok(()) };
        if let Err(error) = (self.surroundings.commit)(store).await {
            self.undo(undo).await;
            return Err(VaultError::NotStored(error));
        }
        Ok(())
    }

    async fn undo(&self, steps: Vec<Vec<FileStep>>) {
        for step in steps.into_iter().rev().flatten() {
            let undone = self.with_keys(move |keys| carry_out_one(keys, &step)).await;
            if let Err(error) = undone {
                tracing::error!(%error, "a key file could not be put back");
            }
        }
    }

    /// Files block: they are not for the threads that serve.
    pub(super) async fn with_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn KeyStore) -> Result<T, KeyFileError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let keys = Arc::clone(&self.surroundings.keys);
        let done = tokio::task::spawn_blocking(move || work(&*keys)).await;
        Ok(done.map_err(|_| VaultError::ShuttingDown)??)
    }
}

fn carry_out_one(keys: &dyn KeyStore, step: &FileStep) -> Result<(), KeyFileError> {
    match step {
        FileStep::Write(id, key) => keys.write(*id, key),
        FileStep::WriteProvisional(id, key, until) => keys.write_provisional(*id, key, *until),
        FileStep::Promote(id) => keys.promote(*id),
        FileStep::DropProvisional(id) => keys.drop_provisional(*id),
        FileStep::Remove(id) => keys.remove(*id),
    }
}

/// A change that is half on disk must go on, also when its caller has gone.
pub(super) async fn run_to_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, VaultError>> + Send + 'static,
) -> Result<T, VaultError> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or(Err(VaultError::ShuttingDown))
}
