//! Rotations come to their end here: by the first use of the new secret, or by time.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;

use crate::clock;
use crate::handle::Gateway;
use crate::identity::Basis;
use crate::registry::hub::{Delivery, Subscription};
use crate::registry::snapshot::Snapshot;
use crate::time::Instant;
use crate::vault::Vault;

/// Events that wait for the vault; it asks the snapshot what they mean, so that none is missed
/// when they are conflated.
const QUEUE_MAX: usize = 1024;
/// The longest time without a look at the clock: that of the host may be set anew.
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);
/// After a disk that refused.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Vault {
    /// Ends rotations as devices use their new secrets and as the time of old ones passes; returns
    /// when the gateway shuts down.
    pub async fn run(&self, gateway: Gateway) {
        let mut events = gateway.follow(QUEUE_MAX);
        // Whatever happened before there were events to follow.
        let mut is_kept = self
            .settle(self.first_uses(&gateway.snapshot(), None))
            .await;
        let mut wake = self.next_wake(is_kept).await;
        loop {
            let first_uses = tokio::select! {
                // While the disk refuses they wait, and are conflated.
                delivery = events.next(), if is_kept => {
                    let Some(first) = delivery else { return };
                    let told = ready(first, &mut events);
                    let first_uses = self.first_uses(&gateway.snapshot(), Some(&told));
                    if first_uses.is_empty() {
                        continue;
                    }
                    first_uses
                }
                () = self.inner.changed.notified() => {
                    wake = self.next_wake(is_kept).await;
                    continue;
                }
                () = tokio::time::sleep_until(clock::deadline(wake)) => {
                    self.first_uses(&gateway.snapshot(), None)
                }
            };
            is_kept = self.settle(first_uses).await;
            wake = self.next_wake(is_kept).await;
        }
    }

    /// Whether everything that was due is on disk.
    async fn settle(&self, first_uses: HashSet<Basis>) -> bool {
        let used = if first_uses.is_empty() {
            Ok(())
        } else {
            self.used(first_uses).await
        };
        let expired = self.expire(clock::now().unix_ms).await;
        let errors: Vec<_> = [used.err(), expired.err()].into_iter().flatten().collect();
        for error in &errors {
            tracing::warn!(%error, "the end of a rotation could not be kept, it is tried again");
        }
        errors.is_empty()
    }

    async fn next_wake(&self, is_kept: bool) -> Instant {
        let now = clock::now();
        if !is_kept {
            return now.instant + AGAIN_AFTER;
        }
        let due = self.next_expiry().await.unwrap_or(u64::MAX);
        let wait = Duration::from_millis(due.saturating_sub(now.unix_ms));
        now.instant + wait.min(LOOK_AT_LEAST)
    }

    /// The new secrets on which sessions of these devices stand, or of all devices.
    fn first_uses(&self, snapshot: &Snapshot, told: Option<&[Delivery]>) -> HashSet<Basis> {
        let ring = self.live().current();
        if !ring.awaits_use() {
            return HashSet::new();
        }
        let views: Vec<_> = match told {
            None => snapshot.devices.values().collect(),
            Some(told) => {
                let ids = told.iter().map(|delivery| delivery.event.device);
                ids.filter_map(|id| snapshot.devices.get(&id)).collect()
            }
        };
        let sessions = views.iter().filter_map(|view| view.session.as_ref());
        sessions
            .map(|session| session.basis)
            .filter(|basis| ring.is_first_use(*basis))
            .collect()
    }
}

/// Everything that waits: a fleet that comes back with new secrets is one change of the books.
fn ready(first: Delivery, events: &mut Subscription) -> Vec<Delivery> {
    let mut told = vec![first];
    while told.len() < QUEUE_MAX {
        match events.next().now_or_never() {
            Some(Some(delivery)) => told.push(delivery),
            // The end comes again when it is asked for next.
            Some(None) | None => break,
        }
    }
    told
}
