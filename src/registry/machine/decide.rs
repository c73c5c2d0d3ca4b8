//! What operators decide of the accept filter, of pending devices and of slaves.
//!
//! Each of these builds on what the one before it left, so they go to the store one at a time, and
//! the others wait: of two clients that change single IDs at once neither undoes the other's
//! change, also when the store refuses one of the two.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Commit, Machine};
use crate::cause::{Cause, CauseKind};
use crate::device::{DeviceId, Status};
use crate::event::Change;
use crate::identity::Identity;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::decisions::{by_parent, change_filter};
use crate::registry::identities::Standing;
use crate::registry::records::{Record, RecordKey, Refusal, Slaves};
use crate::registry::{Command, CommandError, NotStored, Reply, RequestId, StoreChange};
use crate::time::Now;

/// The commands that wait for the one that is being stored.
#[derive(Debug, Default)]
pub(super) struct DecisionQueue {
    waiting: VecDeque<(RequestId, Command)>,
    is_storing: bool,
}

/// What a command changes as soon as it is stored.
#[derive(Debug, Default)]
pub(super) struct Decision {
    filter: Option<AcceptFilter>,
    slaves: Option<Vec<Slaves>>,
    refused: Vec<Refusal>,
    pardoned: Vec<DeviceId>,
    enrolled: Vec<DeviceId>,
    no_longer_enrolled: Vec<DeviceId>,
    /// Who an approved ID is: what was approved is what comes in.
    identities: Vec<(DeviceId, Identity)>,
    /// These leave the pending list, and are told so.
    decided: Vec<DeviceId>,
    told: Option<(Change, Cause)>,
}

impl Decision {
    /// What the store is asked for; `None` when nothing is.
    fn store_change(&self, old_slaves: &[Slaves]) -> Option<StoreChange> {
        let mut deleted = Vec::new();
        let mut put = Vec::new();
        deleted.extend(self.pardoned.iter().copied().map(RecordKey::Refusal));
        let ended = self.no_longer_enrolled.iter().copied();
        deleted.extend(ended.map(RecordKey::Enrolment));
        put.extend(self.refused.iter().cloned().map(Record::Refusal));
        put.extend(self.enrolled.iter().copied().map(Record::Enrolment));
        if let Some(slaves) = &self.slaves {
            let parents = old_slaves.iter().map(|slaves| slaves.parent);
            deleted.extend(parents.map(RecordKey::Slaves));
            put.extend(slaves.iter().cloned().map(Record::Slaves));
        }
        let mut changes = Vec::new();
        changes.extend(self.filter.clone().map(StoreChange::PutAcceptFilter));
        let identities = self.identities.iter().cloned();
        changes.extend(identities.map(|(id, identity)| StoreChange::PutIdentity(id, identity)));
        if !deleted.is_empty() {
            changes.push(StoreChange::DeleteRecords(deleted));
        }
        if !put.is_empty() {
            changes.push(StoreChange::PutRecords(put));
        }
        match changes.len() {
            0 | 1 => changes.pop(),
            _ => Some(StoreChange::All(changes)),
        }
    }
}

impl Machine {
    pub(super) fn decide(&mut self, request: RequestId, command: Command, now: Now) {
        self.deciding.waiting.push_back((request, command));
        self.decide_next(now);
    }

    /// Nothing more is decided: the gateway is shutting down.
    pub(super) fn abandon_decisions(&mut self) {
        for (request, _) in std::mem::take(&mut self.deciding.waiting) {
            self.reply(request, Err(CommandError::ShuttingDown));
        }
    }

    pub(super) fn decision_committed(
        &mut self,
        request: RequestId,
        decision: Decision,
        result: Result<(), NotStored>,
        now: Now,
    ) {
        self.deciding.is_storing = false;
        let ids: Vec<DeviceId> = decision.identities.iter().map(|(id, _)| *id).collect();
        let reply = match &result {
            Ok(()) => Ok(Reply::Done),
            Err(error) => Err(CommandError::NotStored(error.clone())),
        };
        if result.is_ok() {
            self.apply(decision, now);
        }
        for id in ids {
            self.identity_committed(id, result.clone(), now);
        }
        self.reply(request, reply);
        self.decide_next(now);
    }

    fn decide_next(&mut self, now: Now) {
        while !self.deciding.is_storing
            && let Some((request, command)) = self.deciding.waiting.pop_front()
        {
            let decision = match self.decision(command, now) {
                Ok(decision) => decision,
                Err(error) => {
                    self.reply(request, Err(error));
                    continue;
                }
            };
            let Some(change) = decision.store_change(self.decisions.slaves()) else {
                self.reply(request, Ok(Reply::Done));
                continue;
            };
            for (id, identity) in &decision.identities {
                self.identities.reserve(*id, identity.clone());
            }
            self.deciding.is_storing = true;
            self.persist(change, Commit::Decision(request, Box::new(decision)));
        }
    }

    fn decision(&self, command: Command, now: Now) -> Result<Decision, CommandError> {
        match command {
            Command::SetAcceptFilter(filter) => Ok(self.new_filter(filter)),
            Command::ChangeAcceptFilter { add, remove } => {
                let filter = change_filter(&self.filter, &add, &remove);
                let enrolment = |id: &DeviceId| self.decisions.is_enrolment(*id);
                Ok(Decision {
                    no_longer_enrolled: remove
                        .into_iter()
                        .filter(|id| enrolment(id) && !add.contains(id))
                        .collect(),
                    ..self.new_filter(filter)
                })
            }
            Command::Approve { ids, enrol, by } => self.approval(&distinct(ids), enrol, &by, now),
            Command::Refuse {
                ids,
                until_unix_ms,
                by,
            } => self.refusal(distinct(ids), until_unix_ms, &by, now),
            Command::SetSlaves(slaves) => self.new_slaves(slaves),
            // The others are not decided here.
            Command::Connect { .. }
            | Command::AddAsync(_)
            | Command::DeleteAsync(_)
            | Command::Disconnect(_)
            | Command::DisconnectAll
            | Command::RetryNow(_) => Ok(Decision::default()),
        }
    }

    /// A filter that names a refused device takes its refusal back.
    fn new_filter(&self, filter: AcceptFilter) -> Decision {
        let refusals = self.decisions.refusals();
        let mut pardoned = Vec::new();
        if !refusals.is_empty() {
            let named = filter.device_ids.iter().filter_map(|id| DeviceId::new(*id));
            let named: BTreeSet<DeviceId> = named.collect();
            let refused = refusals.keys().copied();
            pardoned.extend(refused.filter(|id| named.contains(id)));
        }
        Decision {
            filter: Some(filter),
            pardoned,
            ..Decision::default()
        }
    }

    fn approval(
        &self,
        ids: &[DeviceId],
        enrol: bool,
        by: &str,
        now: Now,
    ) -> Result<Decision, CommandError> {
        let is_known = |id: &DeviceId| {
            self.pending.get(*id).is_some() || self.decisions.refusal(*id, now.unix_ms).is_some()
        };
        if let Some(unknown) = ids.iter().find(|id| !is_known(id)) {
            return Err(CommandError::NotPending(*unknown));
        }
        if ids.is_empty() {
            return Ok(Decision::default());
        }
        let views = ids.iter().filter_map(|id| self.pending.get(*id));
        let new =
            views.filter(|view| self.identities.standing(view.id, &view.identity) == Standing::New);
        let cause = Cause::new(CauseKind::Approved, format!("by {by}"));
        Ok(Decision {
            enrolled: if enrol { ids.to_vec() } else { Vec::new() },
            identities: new.map(|view| (view.id, view.identity.clone())).collect(),
            decided: ids.to_vec(),
            told: Some((Change::Approved, cause)),
            ..self.new_filter(change_filter(&self.filter, ids, &[]))
        })
    }

    fn refusal(
        &self,
        ids: Vec<DeviceId>,
        until_unix_ms: u64,
        by: &str,
        now: Now,
    ) -> Result<Decision, CommandError> {
        if let Some(unknown) = ids.iter().find(|id| self.pending.get(**id).is_none()) {
            return Err(CommandError::NotPending(*unknown));
        }
        let refusal = |id: &DeviceId| Refusal {
            device: *id,
            by: by.into(),
            unix_ms: now.unix_ms,
            expires_unix_ms: until_unix_ms,
        };
        let lasts = in_words(until_unix_ms.saturating_sub(now.unix_ms));
        let cause = Cause::new(CauseKind::Denied, format!("by {by}, for {lasts}"));
        let enrolments = ids.iter().copied();
        Ok(Decision {
            refused: ids.iter().map(refusal).collect(),
            pardoned: self.decisions.expired(now.unix_ms),
            no_longer_enrolled: enrolments
                .filter(|id| self.decisions.is_enrolment(*id))
                .collect(),
            told: Some((Change::Denied, cause)),
            decided: ids,
            ..Decision::default()
        })
    }

    fn new_slaves(&self, slaves: Vec<Slaves>) -> Result<Decision, CommandError> {
        // A parent that left the managed list stays in this one, and a client sends back what it got.
        let is_known = |id: &DeviceId| {
            let listed = self.decisions.slaves().iter();
            self.entries.contains_key(id) || listed.into_iter().any(|known| known.parent == *id)
        };
        let mut parents = slaves.iter().map(|slaves| slaves.parent);
        match parents.find(|id| !is_known(id)) {
            Some(id) => Err(CommandError::UnknownDevice(id)),
            None => Ok(Decision {
                slaves: Some(by_parent(slaves)),
                ..Decision::default()
            }),
        }
    }

    fn apply(&mut self, decision: Decision, now: Now) {
        self.is_changed = true;
        if let Some(filter) = decision.filter {
            self.admits = filter.compile();
            self.filter = Arc::new(filter);
        }
        if let Some(slaves) = decision.slaves {
            self.decisions.set_slaves(slaves);
        }
        for id in decision.pardoned {
            self.decisions.pardon(id);
        }
        for refusal in decision.refused {
            self.decisions.refuse(refusal);
        }
        for id in decision.enrolled {
            self.decisions.enrol(id);
        }
        for id in decision.no_longer_enrolled {
            self.decisions.end_enrolment(id);
        }
        if let Some((change, cause)) = decision.told {
            for id in decision.decided {
                self.tell_decision(id, change, cause.clone(), now);
            }
        }
    }

    fn tell_decision(&mut self, id: DeviceId, change: Change, cause: Cause, now: Now) {
        let view = self.pending.remove(id);
        let listed = self.entries.get(&id).map(|entry| entry.status);
        let refused = view.map(|view| Status::not_allowed(view.link));
        let status = listed.or(refused).unwrap_or(Status::Disconnected);
        self.tell(id, change, listed, status, Some(cause), now);
    }
}

/// Each of them once, in the order of their first mention.
fn distinct(ids: Vec<DeviceId>) -> Vec<DeviceId> {
    let mut seen = BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

/// A time for people, rounded up: `12 days`, `3 hours`, `1 minute`.
pub(super) fn in_words(millis: u64) -> String {
    let time = Duration::from_millis(millis).as_secs();
    let (unit, name) = match time {
        172_800.. => (86_400, "day"),
        7_200.. => (3_600, "hour"),
        _ => (60, "minute"),
    };
    let count = time.div_ceil(unit).max(1);
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {name}{plural}")
}
