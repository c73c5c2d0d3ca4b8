//! What operators ask.

use std::net::SocketAddr;

use super::{AttemptKind, Commit, Machine};
use crate::cause::{Cause, CauseKind};
use crate::device::{ConnectionMode, DeviceId, Generation, Origin};
use crate::registry::entry::Phase;
use crate::registry::{
    AutoDevice, Command, CommandError, NotStored, Output, Reply, RequestId, StoreChange,
};
use crate::time::Now;

impl Machine {
    pub(super) fn command(&mut self, request: RequestId, command: Command, now: Now) {
        if self.draining {
            return self.reply(request, Err(CommandError::ShuttingDown));
        }
        match &command {
            Command::Connect { address, use_ssl } => {
                self.queue_connect(request, *address, *use_ssl);
            }
            Command::AddAsync(devices) => match self.room_for(devices) {
                Ok(()) => {
                    let change = StoreChange::PutDevices(devices.clone());
                    self.persist(change, Commit::Command(request, command));
                }
                Err(error) => self.reply(request, Err(error)),
            },
            Command::DeleteAsync(ids) => {
                let mut ids = ids.clone();
                ids.retain(|id| self.entries.contains_key(id) || self.is_being_added(*id));
                let change = StoreChange::DeleteDevices(ids.clone());
                let command = Command::DeleteAsync(ids);
                self.persist(change, Commit::Command(request, command));
            }
            Command::ChangeAcceptFilter { .. }
            | Command::Approve { .. }
            | Command::Refuse { .. }
            | Command::SetAcceptFilter(_)
            | Command::SetSlaves(_) => self.decide(request, command, now),
            Command::Disconnect(ids) => {
                let sessions = ids.iter().filter_map(|id| self.session_of(*id)).collect();
                self.close_all(request, sessions, &Cause::from(CauseKind::Disconnected));
            }
            Command::DisconnectAll => self.disconnect_all(request, now),
            Command::RetryNow(ids) => self.retry_now(request, ids),
        }
    }

    pub(super) fn command_committed(
        &mut self,
        request: RequestId,
        command: Command,
        result: Result<(), NotStored>,
        now: Now,
    ) {
        if let Err(error) = result {
            return self.reply(request, Err(CommandError::NotStored(error)));
        }
        match command {
            Command::AddAsync(devices) => {
                for device in devices {
                    self.add(device, now);
                }
                self.reply(request, Ok(Reply::Done));
            }
            Command::DeleteAsync(ids) => {
                let sessions = ids.iter().filter_map(|id| self.delete(*id, now)).collect();
                self.close_all(request, sessions, &Cause::from(CauseKind::Deleted));
            }
            // Those are stored by another way, or not at all.
            Command::SetAcceptFilter(_)
            | Command::ChangeAcceptFilter { .. }
            | Command::Approve { .. }
            | Command::Refuse { .. }
            | Command::SetSlaves(_)
            | Command::Connect { .. }
            | Command::Disconnect(_)
            | Command::DisconnectAll
            | Command::RetryNow(_) => self.reply(request, Ok(Reply::Done)),
        }
    }

    /// The client that waits for a `Connect` went away.
    pub(super) fn cancel(&mut self, request: RequestId) {
        if self.directs.remove(&request).is_none() {
            return;
        }
        let dial = self
            .attempts
            .iter()
            .find(|(_, attempt)| attempt.kind == AttemptKind::Direct(request))
            .map(|(generation, _)| *generation);
        if let Some(generation) = dial {
            self.close(generation, Cause::from(CauseKind::Cancelled));
        }
    }

    /// Answers the `Connect`s that have no dial in flight yet: theirs will not start.
    pub(super) fn abandon_queued_connects(&mut self) {
        let dialling: Vec<RequestId> = self
            .attempts
            .values()
            .filter_map(|attempt| match attempt.kind {
                AttemptKind::Direct(request) => Some(request),
                AttemptKind::Auto(_) | AttemptKind::Inbound => None,
            })
            .collect();
        let queued: Vec<RequestId> = self
            .directs
            .keys()
            .copied()
            .filter(|request| !dialling.contains(request))
            .collect();
        for request in queued {
            self.connect_failed(request, Cause::from(CauseKind::Disconnected));
        }
    }

    /// One of the sessions whose end this command waits for has ended.
    pub(super) fn one_ended(&mut self, request: RequestId) {
        if let Some(left) = self.waits.get_mut(&request) {
            *left -= 1;
            if *left == 0 {
                self.waits.remove(&request);
                self.reply(request, Ok(Reply::Done));
            }
        }
    }

    pub(super) fn reply(&mut self, request: RequestId, reply: Result<Reply, CommandError>) {
        self.outputs.push_back(Output::Reply(request, reply));
    }

    /// The devices of earlier commands that are on their way to the store.
    fn being_added(&self) -> impl Iterator<Item = &AutoDevice> {
        let devices = |commit| match commit {
            &Commit::Command(_, Command::AddAsync(ref devices)) => devices.as_slice(),
            _ => &[],
        };
        self.commits.values().flat_map(devices)
    }

    fn is_being_added(&self, id: DeviceId) -> bool {
        self.being_added().any(|device| device.id == id)
    }

    fn room_for(&self, devices: &[AutoDevice]) -> Result<(), CommandError> {
        let is_new = |device: &&AutoDevice| !self.entries.contains_key(&device.id);
        let new = devices.iter().filter(is_new).count();
        let on_their_way = self.being_added().filter(is_new).count();
        let (listed, max) = (self.entries.len() + on_their_way, self.policy.devices_max);
        if new > 0 && listed + new > max {
            return Err(CommandError::LimitReached(format!(
                "{listed} devices are listed and {new} would join them; the limit is {max}"
            )));
        }
        Ok(())
    }

    fn add(&mut self, device: AutoDevice, now: Now) {
        let id = device.id;
        let Some(entry) = self.entries.get_mut(&id) else {
            let mut entry = self.new_entry(Origin::Auto, device.address.into(), now);
            entry.use_ssl = device.use_ssl;
            self.entries.insert(id, entry);
            self.tell_added(id, now);
            self.queue_dial(id);
            return;
        };
        if entry.is_auto_like(&device) {
            return;
        }
        let moved =
            entry.address != SocketAddr::V4(device.address) || entry.use_ssl != device.use_ssl;
        entry.origin = Origin::Auto;
        entry.deleted = false;
        entry.address = device.address.into();
        entry.use_ssl = device.use_ssl;
        self.dirty.insert(id);
        // A device that dialled by itself is not dialled: its session stays whatever the address.
        let replaced = match &self.entries[&id].phase {
            Phase::Up(up) if moved && up.mode == ConnectionMode::ServerToDevice => {
                Some(up.generation)
            }
            Phase::Dialling { generation } if moved => Some(*generation),
            Phase::Up(_) | Phase::Dialling { .. } | Phase::Queued => None,
            Phase::Resting | Phase::Backoff { .. } => {
                self.queue_dial(id);
                None
            }
        };
        if let Some(generation) = replaced {
            self.close(generation, Cause::from(CauseKind::Replaced));
        }
    }

    /// Takes an auto device off the list, at once or with the end of its session, which is
    /// returned.
    fn delete(&mut self, id: DeviceId, now: Now) -> Option<Generation> {
        let entry = self.entries.get_mut(&id)?;
        if entry.origin != Origin::Auto {
            return None;
        }
        match &entry.phase {
            Phase::Up(up) => {
                let generation = up.generation;
                entry.deleted = true;
                Some(generation)
            }
            Phase::Dialling { generation } => {
                let generation = *generation;
                self.remove_entry(id, Cause::from(CauseKind::Deleted), now);
                Some(generation)
            }
            Phase::Resting | Phase::Backoff { .. } | Phase::Queued => {
                self.remove_entry(id, Cause::from(CauseKind::Deleted), now);
                None
            }
        }
    }

    /// The session of a device that is connected.
    pub fn session_of(&self, id: DeviceId) -> Option<Generation> {
        self.entries.get(&id)?.up().map(|up| up.generation)
    }

    /// Closes these, and answers the command when the last of them has ended.
    fn close_all(&mut self, request: RequestId, mut sessions: Vec<Generation>, cause: &Cause) {
        sessions.sort_unstable();
        sessions.dedup();
        sessions.retain(|generation| self.attempts.contains_key(generation));
        if sessions.is_empty() {
            return self.reply(request, Ok(Reply::Done));
        }
        self.waits.insert(request, sessions.len());
        for generation in sessions {
            if let Some(attempt) = self.attempts.get_mut(&generation) {
                attempt.waiters.push(request);
            }
            self.close(generation, cause.clone());
        }
    }

    fn disconnect_all(&mut self, request: RequestId, now: Now) {
        self.abandon_queued_connects();
        let min = self.policy.backoff.min();
        let resting: Vec<DeviceId> = self
            .entries
            .iter()
            .filter(|(_, entry)| match entry.phase {
                Phase::Queued => true,
                Phase::Backoff { due } => due < now.instant + min,
                Phase::Resting | Phase::Dialling { .. } | Phase::Up(_) => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in resting {
            self.wait(id, min, now);
        }
        let all = self.attempts.keys().copied().collect();
        self.close_all(request, all, &Cause::from(CauseKind::Disconnected));
    }

    fn retry_now(&mut self, request: RequestId, ids: &[DeviceId]) {
        if let Some(unknown) = ids.iter().find(|id| !self.entries.contains_key(id)) {
            return self.reply(request, Err(CommandError::UnknownDevice(*unknown)));
        }
        for id in ids {
            self.queue_dial(*id);
        }
        self.reply(request, Ok(Reply::Done));
    }
}
