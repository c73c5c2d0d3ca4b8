//! The dials: who waits for one, who may start now, and what a failed one comes to.

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};

use super::{Attempt, AttemptKind, Machine, Policy};
use crate::cause::{Cause, CauseKind};
use crate::config;
use crate::device::{DeviceId, Generation, LinkKind, Origin, Status};
use crate::identity::KeyId;
use crate::registry::admission::DialAdmission;
use crate::registry::entry::Phase;
use crate::registry::trouble::Of;
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
    use_ssl: bool,
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

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many wait, those included that are found to be unwanted when it is their turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When the first in the queue may start; `None` when nobody waits, or all wait for the end
    /// of a dial in flight.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        self.admission.next_at(now)
    }

    pub(super) fn set_limits(&mut self, in_flight_max: usize, rate_max: u32) {
        self.admission.set_limits(in_flight_max, rate_max);
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
        self.dials.in_flight()
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

    pub(super) fn queue_connect(
        &mut self,
        request: RequestId,
        address: SocketAddrV4,
        use_ssl: bool,
    ) {
        let dial = DirectDial {
            address,
            use_ssl,
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
        let starts_outage = entry.status == Status::Disconnected;
        entry.phase = Phase::Resting;
        let link = link(&self.policy, address, entry.use_ssl, &keys, entry.key_index);
        let Some(generation) = self.dial(AttemptKind::Auto(id), address, link) else {
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
        let keys = self.connect_keys(&direct);
        let (use_ssl, index) = (direct.use_ssl, direct.keys_refused);
        let link = link(&self.policy, address, use_ssl, &keys, index);
        let kind = AttemptKind::Direct(request);
        if self.dial(kind, address, link).is_none() {
            self.connect_failed(request, no_key());
        }
    }

    /// Gives the order for an admitted dial; `None`, and the admission back, when there is no link
    /// for it.
    fn dial(
        &mut self,
        kind: AttemptKind,
        address: SocketAddr,
        link: Option<DialLink>,
    ) -> Option<Generation> {
        let Some(link) = link else {
            self.dials.admission.release();
            return None;
        };
        let generation = Generation::dialled(self.next_generation);
        self.next_generation += 1;
        self.attempts.insert(generation, Attempt::new(kind));
        self.dials.in_flight.insert(generation);
        self.outputs.push_back(Output::Dial(DialOrder {
            generation,
            address,
            link,
        }));
        Some(generation)
    }

    /// The keys to try for a `Connect`, by the device that is listed at its address; the tls link
    /// has none.
    fn connect_keys(&self, direct: &DirectDial) -> Vec<KeyId> {
        if direct.use_ssl {
            return Vec::new();
        }
        let address = SocketAddr::V4(direct.address);
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
            CauseKind::KeyRefused if !entry.use_ssl && entry.keys_refused + 1 < keys => {
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
        let keys = self.connect_keys(&direct).len();
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
        let status = failure(entry.use_ssl, cause.kind);
        let of = Of {
            id,
            identity: self.identities.get(id),
            peer: entry.address,
        };
        self.trouble.failed(of, &cause, now);
        self.back_off(id, now);
        self.set_status(id, status, Some(cause), now);
    }
}

/// The status of a try that came to nothing. Until TCP is open the link plays no part in it.
fn failure(use_ssl: bool, cause: CauseKind) -> Status {
    let link = match cause {
        CauseKind::DialFailed | CauseKind::DialTimeout => LinkKind::Plain,
        _ if use_ssl => LinkKind::Tls,
        _ => LinkKind::Aes,
    };
    if cause.is_refusal() {
        Status::not_allowed(link)
    } else {
        Status::cannot_connect(link)
    }
}

/// How to dial an address; `None` when its link needs a key and there is none. What the
/// configuration says of links to addresses is for devices without TLS.
fn link(
    policy: &Policy,
    address: SocketAddr,
    use_ssl: bool,
    keys: &[KeyId],
    index: usize,
) -> Option<DialLink> {
    if use_ssl {
        return Some(DialLink::Tls);
    }
    match policy.dial.link_to(address.ip()) {
        config::DialLink::Plain => Some(DialLink::Plain),
        config::DialLink::Aes => pick(keys, index).map(DialLink::Aes),
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
