//! The promises, checked after every step. What they are checked against is kept here, apart from
//! the machines.

mod desired;
mod dials;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use gatehouse::cause::CauseKind;
use gatehouse::device::{DeviceId, Generation, Status};
use gatehouse::identity::Identity;
use gatehouse::registry::machine::{Machine, Policy};
use gatehouse::registry::records::{Record, RecordKey};
use gatehouse::registry::snapshot::Snapshot;
use gatehouse::registry::{Command, RequestId};
use gatehouse::session::{SessionCommand, SessionEvent};
use gatehouse::store::desired::Desired;
use gatehouse::time::{Instant, Now};

use super::fleet::Peer;
use super::secrets::Safe;

#[derive(Default)]
pub struct Checks {
    /// The sessions that are authenticated at this instant: Ok sent, end not begun.
    authenticated: BTreeMap<DeviceId, Generation>,
    /// What the registry has let in and not heard the end of.
    up: BTreeMap<DeviceId, Generation>,
    dialling: BTreeSet<Generation>,
    dial_times: VecDeque<Instant>,
    /// The dials that are for an auto device for certain.
    auto_dials: BTreeMap<Generation, DeviceId>,
    closing: BTreeSet<Generation>,
    /// When the last try, or session, of an auto device ended.
    ended: BTreeMap<DeviceId, Instant>,
    /// Addresses that may be dialled without waiting for the backoff.
    at_once: BTreeSet<SocketAddr>,
    connecting: BTreeMap<RequestId, SocketAddr>,
    next_tries: BTreeMap<DeviceId, u64>,
    takeovers: BTreeMap<DeviceId, VecDeque<Instant>>,
    /// Who is at the other end, and whether he opened the connection.
    opened: BTreeMap<Generation, (usize, bool)>,
    claims: BTreeMap<Generation, (Identity, IpAddr)>,
    /// Those that claim and have no verdict yet.
    waiting: BTreeSet<Generation>,
    /// What the events told so far make of the list.
    told: BTreeMap<DeviceId, Status>,
    number: u64,
    numbers_end: u64,
    pub merged_events_may_come: bool,
    /// What the store told the machine that it has.
    learned: Desired,
    records: BTreeMap<RecordKey, Record>,
    /// Commands that go to the store when it is their turn.
    deciding: BTreeMap<RequestId, Command>,
    names: BTreeMap<Identity, DeviceId>,
    /// What was stored when the process started, and what was asked for since.
    base: Desired,
    asked: Vec<desired::Asked>,
    awaited: BTreeSet<RequestId>,
}

impl Checks {
    pub fn crashed(&mut self) {
        let kept = Self {
            number: self.number,
            names: std::mem::take(&mut self.names),
            base: std::mem::take(&mut self.base),
            asked: std::mem::take(&mut self.asked),
            ..Self::default()
        };
        *self = kept;
    }

    pub fn cancelled(&mut self, request: RequestId) {
        if self.connecting.remove(&request).is_some() {
            self.awaited.remove(&request);
        }
    }

    pub fn unanswered(&self) -> &BTreeSet<RequestId> {
        &self.awaited
    }

    pub fn opened(&mut self, generation: Generation, peer: usize, by_device: bool) {
        self.opened.insert(generation, (peer, by_device));
    }

    /// The registry tells a session something.
    pub fn order(
        &mut self,
        generation: Generation,
        order: &SessionCommand,
        policy: &Policy,
        peers: &[Peer],
        safe: &Safe,
        now: Instant,
    ) {
        if !matches!(order, SessionCommand::Close(_)) {
            self.waiting.remove(&generation);
        }
        match order {
            SessionCommand::Admit(id) => {
                self.dialling.remove(&generation);
                self.auto_dials.remove(&generation);
                let older = self.up.insert(*id, generation);
                assert_eq!(
                    older, None,
                    "promise 1: {id} gets {generation} before the older one has ended"
                );
                self.check_filter(*id, generation, policy);
            }
            SessionCommand::Refuse(_) => {}
            SessionCommand::Close(cause) => {
                self.closing.insert(generation);
                let up = self.up.iter().find(|(_, up)| **up == generation);
                if let Some((id, _)) = up
                    && cause.kind == CauseKind::Superseded
                {
                    let id = *id;
                    self.taken_over(id, policy, now);
                    self.check_strength(id, generation, peers, safe);
                }
            }
        }
    }

    fn check_filter(&self, id: DeviceId, generation: Generation, policy: &Policy) {
        let by_device = self
            .opened
            .get(&generation)
            .is_some_and(|(_, by_device)| *by_device);
        if let (true, Some((_, ip))) = (by_device, self.claims.get(&generation)) {
            let by_address = policy.filter_by_address;
            assert!(
                self.learned
                    .accept_filter
                    .compile()
                    .accepts(id, *ip, by_address),
                "promise 7: {id} comes in from {ip} against the filter {:?}",
                self.learned.accept_filter
            );
        }
    }

    /// Somebody waits whose proof is as strong as that of the session that gives way.
    fn check_strength(&self, id: DeviceId, older: Generation, peers: &[Peer], safe: &Safe) {
        let strength = |generation: &Generation| {
            let (peer, _) = self.opened.get(generation)?;
            peers[*peer].strength(id, safe)
        };
        let strongest = self.waiting.iter().filter_map(strength).max();
        assert!(
            strongest >= strength(&older),
            "promise 1: {id} gives way to a proof of strength {strongest:?}"
        );
    }

    fn taken_over(&mut self, id: DeviceId, policy: &Policy, now: Instant) {
        let times = self.takeovers.entry(id).or_default();
        times.push_back(now);
        let burst = policy.takeover_burst.max(1) as usize;
        if times.len() > burst {
            let first = times.pop_front().unwrap_or(now);
            assert!(
                now.since(first) >= policy.takeover_interval,
                "promise 1: {id} is taken over more than {burst} times within {:?}",
                now.since(first)
            );
        }
    }

    /// A report reaches the registry.
    pub fn registry_hears(&mut self, generation: Generation, event: &SessionEvent) {
        if let SessionEvent::Claimed(claim) = event {
            let claimed = (claim.identity.clone(), claim.peer.ip());
            self.waiting.insert(generation);
            self.claims.insert(generation, claimed);
        }
    }

    /// A session sent its Ok.
    pub fn authenticated(
        &mut self,
        id: DeviceId,
        generation: Generation,
        peers: &[Peer],
        safe: &Safe,
    ) {
        let older = self.authenticated.insert(id, generation);
        assert_eq!(
            older, None,
            "promise 1: {id} has two authenticated sessions, the newer is {generation}"
        );
        let Some((peer, _)) = self.opened.get(&generation) else {
            panic!("promise 1: {generation} is up and nobody opened it");
        };
        let peer = &peers[*peer];
        assert!(
            peer.strength(id, safe).is_some(),
            "promise 1: {id} is up as {peer:?}, who has no proof for it"
        );
        let Some(identity) = peer.identity() else {
            panic!("promise 1: {id} is up without a name");
        };
        let named = identity.serial().is_none_or(|serial| serial == id);
        let first = *self.names.entry(identity).or_insert(id);
        assert!(named && first == id, "promise 1: {peer:?} is up as {id}");
    }

    pub fn session_ended(&mut self, generation: Generation) {
        self.authenticated.retain(|_, up| *up != generation);
    }

    /// After everything that one input led to.
    pub fn batch(&mut self, snapshot: &Snapshot, machine: &Machine, policy: &Policy, now: Now) {
        if !self.events_may_be_held() {
            let listed = snapshot.devices.iter().map(|(id, view)| (*id, view.status));
            assert!(
                listed.eq(self.told.iter().map(|(id, status)| (*id, *status))),
                "promise 3: told was {:?} and listed are {:?}",
                self.told,
                snapshot.devices
            );
        }
        let connected = snapshot
            .devices
            .iter()
            .filter(|(_, view)| view.status.is_connected())
            .map(|(id, _)| *id);
        assert!(
            connected.eq(self.up.keys().copied()),
            "promise 3: up are {:?} and listed are {:?}",
            self.up,
            snapshot.devices
        );
        assert_eq!(
            machine.dials_in_flight(),
            self.dialling.len(),
            "promise 4: dials in flight"
        );
        assert!(
            snapshot.pending.len() <= policy.pending_max,
            "promise 6: the pending list is too long"
        );
        assert!(
            snapshot.unproven.len() <= policy.unproven_max,
            "promise 6: too many peers without proof are remembered"
        );
        self.check_desired(snapshot);
        self.check_next_tries(snapshot, policy, now);
    }

    /// Nothing is left of any session.
    pub fn nothing_is_up(&self) {
        assert!(
            self.authenticated.is_empty() && self.up.is_empty() && self.dialling.is_empty(),
            "promise 5: up {:?}, authenticated {:?}, dialling {:?}",
            self.up,
            self.authenticated,
            self.dialling
        );
    }
}
