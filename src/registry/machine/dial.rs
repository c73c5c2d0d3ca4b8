//! The dials: who waits for one, who may start now, and what a failed one comes to.

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};

use super::{Attempt, AttemptKind, Machine};
use crate::cause::{Cause, CauseKind};
use crate::config;
use crate::device::{DeviceId, Generation, LinkKind, Origin, Status};
use crate::identity::KeyId;
use crate::registry::admission::DialAdmission;
use crate::registry::entry::Phase;
use crate::registry::{CommandError, Output, RequestId};
use crate::session::{DialLink, DialOrder};
use crate::time::{Instant, Now};

/// Who waits for a dial, first come first served, under the bounds of the whole fleet.
pub(super) struct DialQueue {
    admission: DialAdmission,
    waiting: VecDeque<Want>,
    in_flight: BTreeSet<Generation>,
}

/// A place in the queue. It is passed over when it is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Auto(DeviceId),
    Direct(RequestId),
}

/// A `Connect` under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectDial {
    address: SocketAddrV4,
    keys_refused: usize,
}

impl DialQueue {
    pub(super) fn new(in_flight_max: usize, rate_max: u32) -> Self {
        Self {
            admission: DialAdmission::new(in_flight_max, rate_max),
            waiting: VecDeque::new(),
            in_flight: BTreeSet::new(),
        }
    }

    /// When the first in the queue may start; `None` when nobody waits, or all wait for the end
    /// of a dial in flight.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        self.admission.next_at(now)
    }

    /// A dial is over: it came to a session, or to nothing.
    pub(super) fn finish(&mut self, generation: Generation) {
        if self.in_flight.remove(&generation) {
            self.admission.release();
        }
    }
}

impl Machine {
    /// How many dials are in flight.
    pub fn dials_in_flight(&self) -> usize {
        self.dials.in_flight.len()
    }

    pub(super) fn queue_dial(&mut self, id: DeviceId) {
        let draining = self.draining;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let wanted = matches!(entry.phase, Phase::Resting | Phase::Backoff { .. });
        if entry.origin == Origin::Auto && wanted && !draining {
            self.unschedule(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.phase = Phase::Queued;
            }
            self.dials.waiting.push_back(Want::Auto(id));
        }
    }

    pub(super) fn queue_connect(&mut self, request: RequestId, address: SocketAddrV4) {
        let dial = DirectDial {
            address,
            keys_refused: 0,
        };
        self.directs.insert(request, dial);
        self.dials.waiting.push_back(Want::Direct(request));
    }

    /// Starts as many waiting dials as the bounds allow.
    pub(super) fn start_dials(&mut self, now: Now) {
        while let Some(want) = self.dials.waiting.front().copied() {
            let wanted = match want {
                Want::Auto(id) => self
                    .entries
                    .get(&id)
                    .is_some_and(|entry| entry.phase == Phase::Queued),
                Want::Direct(request) => self.directs.contains_key(&request),
            };
            if wanted && !self.dials.admission.admit(now.instant) {
                return;
            }
            self.dials.waiting.pop_front();
            match want {
                _ if !wanted => {}
                Want::Auto(id) => self.dial_auto(id, now),
                Want::Direct(request) => self.dial_direct(request),
            }
        }
        self.dials.waiting.shrink_to(64);
    }

    fn dial_auto(&mut self, id: DeviceId, now: Now) {
        let keys = self.secrets.dial_keys(Some(id));
        let Some(entry) = self.entries.get_mut(&id) else {
            self.dials.admission.release();
            return;
        };
        let address = entry.address;
        let key = pick(&keys, entry.key_index);
        let starts_outage = entry.status == Status::Disconnected;
        entry.phase = Phase::Resting;
        let Some(generation) = self.dial(AttemptKind::Auto(id), address, key) else {
            self.try_failed(id, no_key(), now);
            return;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.phase = Phase::Dialling { generation };
        }
        self.dirty.insert(id);
        if starts_outage {
            self.set_status(id, Status::TryToConnect, None, now);
        }
    }

    fn dial_direct(&mut self, request: RequestId) {
        let Some(direct) = self.directs.get(&request).copied() else {
            self.dials.admission.release();
            return;
        };
        let address = SocketAddr::V4(direct.address);
        let key = pick(&self.connect_keys(address), direct.keys_refused);
        if self
            .dial(AttemptKind::Direct(request), address, key)
            .is_none()
        {
            self.connect_failed(request, no_key());
        }
    }

    /// Gives the order for an admitted dial; `None`, and the admission back, when the link needs
    /// a key and there is none.
    fn dial(
        &mut self,
        kind: AttemptKind,
        address: SocketAddr,
        key: Option<KeyId>,
    ) -> Option<Generation> {
        let wanted = self.policy.dial.link_to(address.ip());
        let link = match (wanted, key) {
            (config::DialLink::Plain, _) => DialLink::Plain,
            (config::DialLink::Aes, Some(key)) => DialLink::Aes(key),
            (config::DialLink::Aes, None) => {
                self.dials.admission.release();
                return None;
            }
        };
        let generation = Generation::dialled(self.next_generation);
        self.next_generation += 1;
        self.attempts.insert(generation, Attempt::new(kind));
        self.dials.in_flight.insert(generation);
        self.counters.dials += 1;
        self.outputs.push_back(Output::Dial(DialOrder {
            generation,
            address,
            link,
        }));
        Some(generation)
    }

    /// The keys to try on an address, by the device that is listed there.
    fn connect_keys(&self, address: SocketAddr) -> Vec<KeyId> {
        let listed = self
            .entries
            .iter()
            .find(|(_, entry)| entry.address == address)
            .map(|(id, _)| *id);
        self.secrets.dial_keys(listed)
    }

    pub(super) fn auto_dial_ended(
        &mut self,
        id: DeviceId,
        generation: Generation,
        attempt: &Attempt,
        cause: Cause,
        now: Now,
    ) {
        let keys = self.secrets.dial_keys(Some(id)).len();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.phase != (Phase::Dialling { generation }) {
            return;
        }
        entry.phase = Phase::Resting;
        let cause = attempt.closing.clone().unwrap_or(cause);
        match cause.kind {
            CauseKind::Replaced => self.queue_dial(id),
            CauseKind::Disconnected | CauseKind::Drain => self.back_off(id, now),
            CauseKind::KeyRefused if entry.keys_refused + 1 < keys => {
                entry.keys_refused += 1;
                entry.key_index = entry.key_index.wrapping_add(1);
                self.queue_dial(id);
            }
            _ => self.try_failed(id, cause, now),
        }
    }

    pub(super) fn direct_dial_ended(
        &mut self,
        request: RequestId,
        attempt: &Attempt,
        cause: Cause,
    ) {
        let cause = attempt.closing.clone().unwrap_or(cause);
        let Some(direct) = self.directs.get(&request).copied() else {
            return;
        };
        let keys = self.connect_keys(SocketAddr::V4(direct.address)).len();
        if cause.kind == CauseKind::KeyRefused && direct.keys_refused + 1 < keys {
            if let Some(direct) = self.directs.get_mut(&request) {
                direct.keys_refused += 1;
            }
            self.dials.waiting.push_back(Want::Direct(request));
        } else {
            self.connect_failed(request, cause);
        }
    }

    pub(super) fn connect_failed(&mut self, request: RequestId, cause: Cause) {
        self.directs.remove(&request);
        let reply = Err(CommandError::CannotConnect(cause));
        self.outputs.push_back(Output::Reply(request, reply));
    }

    fn try_failed(&mut self, id: DeviceId, cause: Cause, now: Now) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.attempt = entry.attempt.saturating_add(1);
        entry.keys_refused = 0;
        if cause.kind == CauseKind::KeyRefused {
            entry.key_index = entry.key_index.wrapping_add(1);
        }
        let link = if entry.use_ssl {
            LinkKind::Tls
        } else {
            LinkKind::Aes
        };
        let status = if cause.kind.is_refusal() {
            Status::not_allowed(link)
        } else {
            Status::cannot_connect(link)
        };
        self.back_off(id, now);
        self.set_status(id, status, Some(cause), now);
    }
}

fn pick(keys: &[KeyId], index: usize) -> Option<KeyId> {
    index.checked_rem(keys.len()).map(|index| keys[index])
}

fn no_key() -> Cause {
    Cause::new(
        CauseKind::KeyRefused,
        "no link key is active here; make one with `gatehouse certs link-key`",
    )
}
