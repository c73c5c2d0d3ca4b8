//! The judgement of a Connect: proof, owner, accept filter, takeover.

use super::{Attempt, AttemptKind, Commit, Machine};
use crate::cause::{Cause, CauseKind};
use crate::device::{ConnectionMode, DeviceId, Generation, LinkKind, Origin, Status};
use crate::identity::{Claim, Proof, Proven, prove};
use crate::registry::entry::{Entry, Phase, Up};
use crate::registry::identities::Standing;
use crate::registry::records::RecordKey;
use crate::registry::snapshot::SessionView;
use crate::registry::trouble::Of;
use crate::registry::{NotStored, Output, Reply, StoreChange};
use crate::session::SessionCommand;
use crate::time::Now;

/// What becomes of a Connect.
enum Verdict {
    Refuse(Cause),
    /// Nothing that it showed proves it.
    Unproven(Cause),
    /// Proven, but the accept filter does not let it in.
    Pend(DeviceId, Proof, Cause),
    /// Everything holds; the device must be stored before it is admitted for the first time.
    Store(DeviceId),
    /// Another Connect of the same device is having it stored.
    AwaitStore(DeviceId),
    /// Everything holds, but an older session must end first.
    Succeed(DeviceId, Up),
    Admit(DeviceId, Proven),
}

impl Machine {
    pub(super) fn claimed(&mut self, generation: Generation, claim: Claim, now: Now) {
        let inbound = claim.mode == ConnectionMode::DeviceToServer;
        if inbound {
            self.attempts
                .entry(generation)
                .or_insert_with(|| Attempt::new(AttemptKind::Inbound));
        }
        let Some(attempt) = self.attempts.get_mut(&generation) else {
            return;
        };
        if attempt.closing.is_some() || attempt.device.is_some() || attempt.claim.is_some() {
            return;
        }
        attempt.claim = Some(Box::new(claim));
        if self.draining {
            self.refuse(generation, Cause::from(CauseKind::Drain), now);
        } else {
            self.judge(generation, now);
        }
    }

    /// Judges a waiting Connect by what holds now; asked again whenever what it waited for came.
    pub(super) fn judge(&mut self, generation: Generation, now: Now) {
        let Some(attempt) = self.attempts.get(&generation) else {
            return;
        };
        let (kind, Some(claim)) = (attempt.kind, attempt.claim.clone()) else {
            return;
        };
        match self.verdict(kind, &claim, now) {
            Verdict::Refuse(cause) => self.refuse(generation, cause, now),
            Verdict::Unproven(cause) => {
                if kind == AttemptKind::Inbound {
                    self.remember_unproven(&claim, &cause, now);
                }
                self.refuse(generation, cause, now);
            }
            Verdict::Pend(id, proof, cause) => {
                self.pend(id, &claim, proof, &cause, now);
                self.refuse(generation, cause, now);
            }
            Verdict::Store(id) => {
                self.identities.reserve(id, claim.identity.clone());
                self.storing.insert(id, vec![generation]);
                let change = StoreChange::PutIdentity(id, claim.identity);
                self.persist(change, Commit::Identity(id));
            }
            Verdict::AwaitStore(id) => self.storing.entry(id).or_default().push(generation),
            Verdict::Succeed(id, up) => self.succeed(generation, id, &up, &claim, now),
            Verdict::Admit(id, proven) => self.admit(generation, id, proven, &claim, now),
        }
    }

    pub(super) fn identity_committed(
        &mut self,
        id: DeviceId,
        result: Result<(), NotStored>,
        now: Now,
    ) {
        let waiting = self.storing.remove(&id).unwrap_or_default();
        match result {
            Ok(()) => self.identities.mark_stored(id),
            Err(error) => {
                self.identities.release(id);
                let cause = Cause::new(
                    CauseKind::Busy,
                    format!("the device could not be stored: {error}"),
                );
                for generation in waiting {
                    if self
                        .attempts
                        .get(&generation)
                        .is_some_and(|attempt| attempt.claim.is_some())
                    {
                        self.refuse(generation, cause.clone(), now);
                    }
                }
                return;
            }
        }
        for generation in waiting {
            self.judge(generation, now);
        }
    }

    fn verdict(&self, kind: AttemptKind, claim: &Claim, now: Now) -> Verdict {
        let identity = &claim.identity;
        let known = self.identities.find(identity);
        let Some(proven) = prove(self.secrets.as_ref(), known, identity, &claim.evidence) else {
            let text = format!(
                "{identity} showed no proof that holds for it on the {} link",
                claim.link.as_str()
            );
            return Verdict::Unproven(Cause::new(CauseKind::NotProven, text));
        };
        let proposed = known.or_else(|| {
            let taken =
                |id| self.entries.contains_key(&id) || self.pending.is_another(id, identity);
            self.identities.propose(identity, taken)
        });
        let Some(id) = proposed else {
            return Verdict::Refuse(Cause::new(
                CauseKind::Busy,
                "no ID is left for a named device",
            ));
        };
        if let AttemptKind::Auto(expected) = kind
            && expected != id
        {
            let text = format!("dialled device {expected}, and {identity} (device {id}) answered");
            return Verdict::Refuse(Cause::new(CauseKind::WrongDevice, text));
        }
        let standing = self.identities.standing(id, identity);
        if let Some(cause) = foreign(standing, id, claim) {
            return Verdict::Refuse(cause);
        }
        let by_address = self.policy.filter_by_address;
        if kind == AttemptKind::Inbound && !self.admits.accepts(id, claim.peer.ip(), by_address) {
            if let Some(cause) = self.refused_by(id, now) {
                return Verdict::Refuse(cause);
            }
            let text = format!(
                "the accept filter does not let device {id} in from {}",
                claim.peer.ip()
            );
            let cause = Cause::new(CauseKind::NotAccepted, text);
            return Verdict::Pend(id, proven.proof, cause);
        }
        if let Some(refusal) = self.occupied(id, proven.proof) {
            return refusal;
        }
        match standing {
            Standing::New => Verdict::Store(id),
            Standing::Storing => Verdict::AwaitStore(id),
            Standing::Stored | Standing::OtherOwner | Standing::OtherDevice => {
                Verdict::Admit(id, proven)
            }
        }
    }

    /// Whether a session that is up, or the limit of the list, stands in the way.
    fn occupied(&self, id: DeviceId, proof: Proof) -> Option<Verdict> {
        let Some(up) = self.entries.get(&id).and_then(Entry::up) else {
            return self.full(id);
        };
        let refuse = |kind, text: String| Some(Verdict::Refuse(Cause::new(kind, text)));
        if up.newcomer.is_some() {
            let text = format!("another connection is just taking device {id} over");
            return refuse(CauseKind::TakeoverLimit, text);
        }
        if proof < up.session.proof && !up.closing {
            let text = format!(
                "device {id} is connected from {} with its {}, and a {} does not displace that",
                up.session.peer,
                up.session.proof.as_str(),
                proof.as_str()
            );
            return refuse(CauseKind::WeakerProof, text);
        }
        Some(Verdict::Succeed(id, up.clone()))
    }

    /// Whether there is no room for one more session, or for one more device in the list.
    fn full(&self, id: DeviceId) -> Option<Verdict> {
        let (sessions, devices) = (self.policy.sessions_max, self.policy.devices_max);
        let text = if self.sessions >= sessions {
            format!("{sessions} devices are connected, which is the limit")
        } else if self.entries.len() >= devices && !self.entries.contains_key(&id) {
            format!("{devices} devices are listed, which is the limit")
        } else {
            return None;
        };
        Some(Verdict::Refuse(Cause::new(CauseKind::Busy, text)))
    }

    /// Lets a proven newcomer wait for the end of the older session, which it brings about unless
    /// that is ending anyway.
    fn succeed(&mut self, generation: Generation, id: DeviceId, up: &Up, claim: &Claim, now: Now) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !up.closing && !entry.takeovers.take(now.instant) {
            let text = format!(
                "device {id} was taken over too often lately; it is connected from {}, and {} wants it too",
                up.session.peer, claim.peer
            );
            self.refuse(generation, Cause::new(CauseKind::TakeoverLimit, text), now);
            return;
        }
        if let Some(up) = entry.up_mut() {
            up.newcomer = Some(generation);
        }
        if let Some(attempt) = self.attempts.get_mut(&generation) {
            attempt.succeeds = Some(id);
        }
        if !up.closing {
            self.counts.takeovers += 1;
            self.trouble.taken_over(of(id, claim), now);
            let text = format!(
                "its session from {} gave way to one from {}",
                up.session.peer, claim.peer
            );
            self.close(up.generation, Cause::new(CauseKind::Superseded, text));
        }
    }

    fn admit(
        &mut self,
        generation: Generation,
        id: DeviceId,
        proven: Proven,
        claim: &Claim,
        now: Now,
    ) {
        let Some(attempt) = self.attempts.get_mut(&generation) else {
            return;
        };
        attempt.claim = None;
        attempt.succeeds = None;
        attempt.device = Some(id);
        self.sessions += 1;
        let kind = attempt.kind;
        self.dials.finish(generation);
        self.counts.opened[claim.link as usize][claim.mode as usize] += 1;
        let is_new = !self.entries.contains_key(&id);
        if is_new {
            let origin = match kind {
                AttemptKind::Inbound => Origin::Inbound,
                AttemptKind::Auto(_) | AttemptKind::Direct(_) => Origin::Direct,
            };
            let entry = self.new_entry(origin, claim.peer, now);
            self.entries.insert(id, entry);
        }
        self.give_up_dial(id, generation);
        if let Some(entry) = self.entries.get_mut(&id) {
            bring_up(entry, generation, proven, claim, now);
        }
        let order = SessionCommand::Admit(id);
        self.outputs.push_back(Output::Session(generation, order));
        self.settle(id, kind, proven.proof);
        let status = Status::connected(claim.link);
        if is_new {
            self.enter_connected(id, status, now);
        } else {
            self.set_status(id, status, None, now);
        }
        if let AttemptKind::Direct(request) = kind
            && self.directs.remove(&request).is_some()
        {
            let reply = Ok(Reply::Connected(id));
            self.outputs.push_back(Output::Reply(request, reply));
        }
    }

    /// What was open about a device that is let in is settled: it is neither pending nor refused any
    /// more, and it is enrolled, or was.
    fn settle(&mut self, id: DeviceId, kind: AttemptKind, proof: Proof) {
        let inbound = kind == AttemptKind::Inbound;
        self.is_changed |= self.pending.remove(id).is_some();
        if inbound {
            self.pardon(id);
        }
        if !self.decisions.is_enrolment(id) {
            return;
        }
        match proof {
            Proof::DeviceKey => {
                self.decisions.end_enrolment(id);
                self.forget(vec![RecordKey::Enrolment(id)]);
            }
            Proof::FleetKey if inbound => self.outputs.push_back(Output::Enrol(id)),
            Proof::FleetKey | Proof::Credential | Proof::Certificate => {}
        }
    }

    /// A session is up by another way: what was scheduled or in flight for the device is not
    /// wanted any more.
    fn give_up_dial(&mut self, id: DeviceId, admitted: Generation) {
        self.unschedule(id);
        if let Some(entry) = self.entries.get(&id)
            && let Phase::Dialling { generation } = entry.phase
            && generation != admitted
        {
            self.close(generation, Cause::from(CauseKind::Replaced));
        }
    }
}

fn of(id: DeviceId, claim: &Claim) -> Of<'_> {
    Of {
        id,
        identity: Some(&claim.identity),
        peer: claim.peer,
    }
}

/// Why a device may not have the ID it claims, if that is so.
fn foreign(standing: Standing, id: DeviceId, claim: &Claim) -> Option<Cause> {
    let identity = &claim.identity;
    match standing {
        Standing::New | Standing::Storing | Standing::Stored => None,
        Standing::OtherOwner => Some(Cause::new(
            CauseKind::WrongOwner,
            format!(
                "device {id} belongs to another owner than {:?}",
                identity.owner
            ),
        )),
        Standing::OtherDevice => Some(Cause::new(
            CauseKind::BadIdentity,
            format!(
                "{id} is the ID that another device was given, so it cannot be a serial number"
            ),
        )),
    }
}

fn bring_up(entry: &mut Entry, generation: Generation, proven: Proven, claim: &Claim, now: Now) {
    entry.attempt = 0;
    entry.keys_refused = 0;
    entry.cause = None;
    entry.next_try_unix_ms = None;
    if entry.origin != Origin::Auto {
        entry.address = claim.peer;
        entry.use_ssl = claim.link == LinkKind::Tls;
    }
    entry.phase = Phase::Up(Up {
        generation,
        since: now.instant,
        mode: claim.mode,
        session: SessionView {
            link: claim.link,
            mode: claim.mode,
            proof: proven.proof,
            basis: proven.basis,
            peer: claim.peer,
        },
        closing: false,
        newcomer: None,
    });
}
