//! What is remembered of those who knock and are turned away.

use std::time::Duration;

use super::decide::in_words;
use super::{Commit, Machine};
use crate::cause::{Cause, CauseKind};
use crate::device::{DeviceId, Status};
use crate::event::Change;
use crate::identity::{Claim, Proof};
use crate::registry::StoreChange;
use crate::registry::identities::Standing;
use crate::registry::records::RecordKey;
use crate::registry::trouble::Of;
use crate::time::Now;

/// After a burst of as many as the pending list holds, one event an interval tells of a device that
/// newly entered it: whoever holds a fleet key can make up names for ever, and the event log is to
/// keep what happened to real devices. A device that was left out is told with a later try.
pub(super) const REFUSED_INTERVAL: Duration = Duration::from_secs(10);

impl Machine {
    /// Enters a proven device in the pending list.
    pub(super) fn pend(
        &mut self,
        id: DeviceId,
        claim: &Claim,
        proof: Proof,
        cause: &Cause,
        now: Now,
    ) {
        self.pardon(id);
        self.is_changed = true;
        let is_news = self.pending.record(id, claim, proof, now.unix_ms);
        if is_news && !self.entries.contains_key(&id) && self.refused_events.take(now.instant) {
            self.pending.mark_told(id);
            let status = Status::not_allowed(claim.link);
            self.tell(id, Change::Refused, None, status, Some(cause.clone()), now);
        }
    }

    /// Remembers a peer from outside that showed no proof that holds.
    pub(super) fn remember_unproven(&mut self, claim: &Claim, cause: &Cause, now: Now) {
        self.is_changed = true;
        self.unproven.record(claim, cause, now.unix_ms);
    }

    /// Counts a Connect from outside that was turned away: for its device if it is one that was let
    /// in before, else for the peer that showed it.
    pub(super) fn count_refusal(&mut self, claim: &Claim, cause: &Cause, now: Now) {
        let is_itself = match cause.kind {
            CauseKind::Drain => return,
            CauseKind::NotProven
            | CauseKind::WrongOwner
            | CauseKind::BadIdentity
            | CauseKind::Revoked => false,
            _ => true,
        };
        let identity = &claim.identity;
        let known = self.identities.find(identity).filter(|id| {
            let standing = self.identities.standing(*id, identity);
            is_itself && (standing == Standing::Stored || self.entries.contains_key(id))
        });
        match known {
            Some(id) => {
                let of = Of {
                    id,
                    identity: Some(identity),
                    peer: claim.peer,
                };
                self.trouble.refused(of, cause, now);
            }
            None => self.trouble.turned_away(claim, cause, now),
        }
    }

    /// Why a proven device that the accept filter does not let in is not even pending: somebody
    /// refused it, and that still holds.
    pub(super) fn refused_by(&self, id: DeviceId, now: Now) -> Option<Cause> {
        let refusal = self.decisions.refusal(id, now.unix_ms)?;
        let left = in_words(refusal.expires_unix_ms - now.unix_ms);
        let text = format!(
            "device {id} was refused by {}, and the refusal holds for {left} more",
            refusal.by
        );
        Some(Cause::new(CauseKind::NotAccepted, text))
    }

    /// Forgets a refusal that expired or that the accept filter overruled, also in the store.
    pub(super) fn pardon(&mut self, id: DeviceId) {
        if self.decisions.pardon(id) {
            self.forget(vec![RecordKey::Refusal(id)]);
        }
    }

    /// Deletes records that have lost their meaning. If the store refuses they are deleted with
    /// the next occasion.
    pub(super) fn forget(&mut self, keys: Vec<RecordKey>) {
        if !keys.is_empty() {
            self.is_changed = true;
            self.persist(StoreChange::DeleteRecords(keys), Commit::Forget);
        }
    }
}
