//! What becomes of sessions when the secrets change.

use super::Machine;
use crate::cause::{Cause, CauseKind};
use crate::device::Generation;
use crate::identity::{Basis, SharedSecrets, prove};
use crate::time::Now;

impl Machine {
    /// These secrets are active from now on. A session that stands on one that is gone is closed,
    /// and a Connect that was proven by one is refused. A dial in flight goes on: its key is asked
    /// for again when it is used.
    pub fn handle_secrets(&mut self, secrets: SharedSecrets, now: Now) {
        self.secrets = secrets;
        for (generation, basis) in self.without_basis() {
            self.close(generation, revoked(basis));
        }
        for generation in self.no_longer_proven() {
            let text = "what it showed was withdrawn before it was let in";
            self.refuse(generation, Cause::new(CauseKind::Revoked, text), now);
        }
        self.start_dials(now);
    }

    fn without_basis(&self) -> Vec<(Generation, Basis)> {
        let sessions = self.entries.values().filter_map(|entry| entry.up());
        sessions
            .filter(|up| !up.closing && !self.secrets.still_holds(up.session.basis))
            .map(|up| (up.generation, up.session.basis))
            .collect()
    }

    /// The Connects that wait for the store, or for the end of an older session.
    fn no_longer_proven(&self) -> Vec<Generation> {
        let waiting = self.attempts.iter().filter(|(_, attempt)| {
            let Some(claim) = attempt.claim.as_deref() else {
                return false;
            };
            let known = self.identities.find(&claim.identity);
            let secrets = self.secrets.as_ref();
            prove(secrets, known, &claim.identity, &claim.evidence).is_none()
        });
        waiting.map(|(generation, _)| *generation).collect()
    }
}

fn revoked(basis: Basis) -> Cause {
    let text = match basis {
        Basis::LinkKey(key) => format!("its link key {key} was withdrawn"),
        Basis::Credential(_) => "its credential was removed or replaced".to_owned(),
        Basis::Certificate(_) => "its certificate was revoked".to_owned(),
    };
    Cause::new(CauseKind::Revoked, text)
}
