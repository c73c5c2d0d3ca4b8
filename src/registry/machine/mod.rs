//! All devices at once: commands and what sessions report in, outputs out.
//!
//! Nothing here waits, reads a clock or draws a random number of its own: the time and the seed
//! are arguments, and what is to be done leaves as [`Output`]s. Desired state (the managed list,
//! the accept filter, who has which ID) changes only once the store has it: a command becomes an
//! [`Output::Persist`], and is applied and answered when [`Machine::handle_committed`] says so.

mod claim;
mod command;
mod decide;
mod dial;
pub mod drain;
mod ending;
mod limits;
mod revoke;
mod schedule;
mod tell;
#[cfg(test)]
mod tests;
mod turn_away;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::decide::{Decision, DecisionQueue};
use self::dial::{DialQueue, DirectDial};
use self::drain::DrainQueue;
use self::tell::Numbers;
use self::turn_away::REFUSED_INTERVAL;
use crate::cause::{Cause, CauseKind};
use crate::config::{Dial, Drain};
use crate::device::{ConnectionMode, DeviceId, Generation, Origin, Status};
use crate::identity::{Claim, SharedSecrets};
use crate::registry::accept_filter::{AcceptFilter, CompiledFilter};
use crate::registry::admission::TokenBucket;
use crate::registry::backoff::Backoff;
use crate::registry::counts::{Counts, Observations, Observed};
use crate::registry::decisions::Decisions;
use crate::registry::entry::Entry;
use crate::registry::identities::Identities;
use crate::registry::pending::{PendingList, UnprovenList};
use crate::registry::snapshot::Snapshot;
use crate::registry::trouble::{Of, Slow, Trouble};
use crate::registry::{Command, CommitId, NotStored, Output, RequestId, StoreChange, Stored};
use crate::session::{SessionCommand, SessionEvent};
use crate::time::{Instant, Now};

/// The rules the machine applies, all from the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    pub backoff: Backoff,
    /// A session must last this long for the backoff to start from its minimum again.
    pub stable_after: Duration,
    /// How many dials at once and a second over the whole fleet, and over which link.
    pub dial: Dial,
    /// Takeovers of one device that may follow each other at once; after that one an interval.
    pub takeover_burst: u32,
    pub takeover_interval: Duration,
    pub devices_max: usize,
    pub sessions_max: usize,
    pub pending_max: usize,
    /// Peers without proof that are remembered.
    pub unproven_max: usize,
    /// Devices whose trouble is remembered, for each minute and measure.
    pub trouble_max: usize,
    /// The slave lists of the last run are not restored, as the vendor's gateway does it.
    pub forget_slaves: bool,
    /// Whether the accept filter looks at addresses; the vendor's gateway keeps them only.
    pub filter_by_address: bool,
    pub drain: Drain,
}

/// See the module.
pub struct Machine {
    policy: Policy,
    secrets: SharedSecrets,
    rng: SmallRng,
    entries: BTreeMap<DeviceId, Entry>,
    attempts: BTreeMap<Generation, Attempt>,
    /// How many of them are authenticated.
    sessions: usize,
    identities: Identities,
    filter: Arc<AcceptFilter>,
    admits: CompiledFilter,
    pending: PendingList,
    unproven: UnprovenList,
    trouble: Trouble,
    /// How often an event may tell of a newly pending device.
    refused_events: TokenBucket,
    decisions: Decisions,
    deciding: DecisionQueue,
    dials: DialQueue,
    /// The ends of all backoffs, soonest first.
    timers: BTreeSet<(Instant, DeviceId)>,
    commits: BTreeMap<CommitId, Commit>,
    next_commit: u64,
    next_generation: u64,
    /// The `Connect`s that are under way.
    directs: BTreeMap<RequestId, DirectDial>,
    /// Connects that wait until their device's identity is stored.
    storing: BTreeMap<DeviceId, Vec<Generation>>,
    /// How many sessions must still end before a command is answered.
    waits: BTreeMap<RequestId, usize>,
    numbers: Numbers,
    outputs: VecDeque<Output>,
    /// What the snapshot does not show yet.
    dirty: BTreeSet<DeviceId>,
    /// Something beside the managed list is not in the snapshot yet.
    is_changed: bool,
    snapshot: Snapshot,
    /// The number of the newest event of the snapshot that was given out as news.
    published: u64,
    draining: bool,
    /// The sessions that a drain is still to end.
    drain: Option<DrainQueue>,
    counts: Counts,
    observations: Observations,
}

/// One try at a session, from its dial or its Connect to its end.
#[derive(Debug)]
struct Attempt {
    kind: AttemptKind,
    /// Its Connect, while it waits for the verdict.
    claim: Option<Box<Claim>>,
    /// The device whose session it is, once admitted.
    device: Option<DeviceId>,
    /// It was told to end; whatever else it still says is ignored.
    closing: Option<Cause>,
    /// The device whose older session must end before this one is judged again.
    succeeds: Option<DeviceId>,
    /// Commands that are answered when it has ended.
    waiters: Vec<RequestId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttemptKind {
    /// A dial for an auto device.
    Auto(DeviceId),
    /// A dial for a `Connect`.
    Direct(RequestId),
    /// The device dialled.
    Inbound,
}

impl AttemptKind {
    const fn mode(self) -> ConnectionMode {
        match self {
            Self::Auto(_) | Self::Direct(_) => ConnectionMode::ServerToDevice,
            Self::Inbound => ConnectionMode::DeviceToServer,
        }
    }
}

impl Attempt {
    fn new(kind: AttemptKind) -> Self {
        Self {
            kind,
            claim: None,
            device: None,
            closing: None,
            succeeds: None,
            waiters: Vec::new(),
        }
    }
}

/// What to do once the store has a change.
#[derive(Debug)]
enum Commit {
    Command(RequestId, Command),
    Decision(RequestId, Box<Decision>),
    /// Nothing: it has lost its meaning already.
    Forget,
    Identity(DeviceId),
    ReserveEvents(u64),
}

impl Machine {
    /// The machine as it is after a start: what was stored is listed again, and what the event
    /// log says that is no longer so is told.
    pub fn new(
        policy: Policy,
        secrets: SharedSecrets,
        stored: Stored,
        seed: u64,
        now: Now,
    ) -> Self {
        let (decisions, stale) =
            Decisions::restore(stored.records, policy.forget_slaves, now.unix_ms);
        let mut machine = Self {
            dials: DialQueue::new(policy.dial.in_flight_max, policy.dial.rate_max),
            pending: PendingList::new(policy.pending_max),
            unproven: UnprovenList::new(policy.unproven_max),
            trouble: Trouble::new(policy.trouble_max),
            refused_events: TokenBucket::new(limits::refused_burst(&policy), REFUSED_INTERVAL),
            decisions,
            deciding: DecisionQueue::default(),
            policy,
            secrets,
            rng: SmallRng::seed_from_u64(seed),
            entries: BTreeMap::new(),
            attempts: BTreeMap::new(),
            sessions: 0,
            identities: Identities::new(stored.identities),
            admits: stored.accept_filter.compile(),
            filter: Arc::new(stored.accept_filter),
            timers: BTreeSet::new(),
            commits: BTreeMap::new(),
            next_commit: 0,
            next_generation: 0,
            directs: BTreeMap::new(),
            storing: BTreeMap::new(),
            waits: BTreeMap::new(),
            numbers: Numbers::new(stored.event_next, stored.events_reserved),
            outputs: VecDeque::new(),
            dirty: BTreeSet::new(),
            is_changed: true,
            snapshot: Snapshot::default(),
            published: 0,
            draining: false,
            drain: None,
            counts: Counts::default(),
            observations: Observations::default(),
        };
        machine.snapshot.event_number = stored.event_next.saturating_sub(1);
        machine.forget(stale);
        machine.restore(&stored.devices, &stored.last_statuses, now);
        machine
    }

    /// Carries out a command; its reply comes as [`Output::Reply`].
    pub fn handle_command(&mut self, request: RequestId, command: Command, now: Now) {
        self.command(request, command, now);
        self.start_dials(now);
    }

    /// The client that sent this `Connect` is gone.
    pub fn handle_cancelled(&mut self, request: RequestId, now: Now) {
        self.cancel(request);
        self.start_dials(now);
    }

    /// A session reports. What generations say that are unknown or told to end is ignored.
    pub fn handle_session(&mut self, generation: Generation, event: SessionEvent, now: Now) {
        match event {
            SessionEvent::Claimed(claim) => self.claimed(generation, claim, now),
            SessionEvent::Described { device_type } => self.described(generation, device_type),
            SessionEvent::Slow { took } => self.was_slow(generation, took, now),
            SessionEvent::Ended(cause) => self.ended(generation, cause, now),
        }
        self.start_dials(now);
    }

    /// A device took this long to answer, or did not. Who is not listed is passed over.
    pub fn handle_slow(&mut self, id: DeviceId, took: Duration, now: Now) {
        self.count_slow(id, Slow::Answer, took, now);
    }

    fn was_slow(&mut self, generation: Generation, took: Duration, now: Now) {
        let attempt = self.attempts.get(&generation);
        if let Some(id) = attempt.and_then(|attempt| attempt.device) {
            self.count_slow(id, Slow::Connect, took, now);
        }
    }

    fn count_slow(&mut self, id: DeviceId, what: Slow, took: Duration, now: Now) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let of = Of {
            id,
            identity: self.identities.get(id),
            peer: entry.up().map_or(entry.address, |up| up.session.peer),
        };
        self.trouble.slow(of, what, took, now);
    }

    /// The store has a change, or could not take it.
    pub fn handle_committed(&mut self, commit: CommitId, result: Result<(), NotStored>, now: Now) {
        match self.commits.remove(&commit) {
            Some(Commit::Command(request, command)) => {
                self.command_committed(request, command, result, now);
            }
            Some(Commit::Decision(request, decision)) => {
                self.decision_committed(request, *decision, result, now);
            }
            Some(Commit::Identity(id)) => self.identity_committed(id, result, now),
            Some(Commit::ReserveEvents(end)) => self.events_reserved(end, result, now),
            Some(Commit::Forget) | None => {}
        }
        self.start_dials(now);
    }

    /// How many sessions there are, dials and Connects that wait for a verdict included.
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    /// How many sessions are authenticated.
    pub const fn sessions(&self) -> usize {
        self.sessions
    }

    /// How many devices are listed.
    pub fn devices(&self) -> usize {
        self.entries.len()
    }

    pub fn is_drained(&self) -> bool {
        self.draining && self.attempts.is_empty() && self.commits.is_empty()
    }

    /// Harmless when called early or twice.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(&(due, id)) = self.timers.first()
            && due <= now.instant
        {
            self.timers.pop_first();
            self.queue_dial(id);
        }
        self.retry_reservation(now);
        self.drain_some(now);
        self.start_dials(now);
    }

    /// When [`Self::handle_timeout`] is wanted next; to be asked after every change.
    pub fn poll_timeout(&self, now: Now) -> Option<Instant> {
        let backoff = self.timers.first().map(|(due, _)| *due);
        let dial = self.dials.next_at(now.instant);
        let reservation = self.numbers.retry_at();
        let drain = self.next_drain_at();
        let due = backoff.into_iter().chain(dial).chain(reservation);
        due.chain(drain).min()
    }

    /// To be drained until `None` after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs.shrink_to(64);
        }
        output
    }

    /// The present state for readers; to be published before the replies of the same batch leave.
    /// `None` when it is as it was published last.
    pub fn news(&mut self) -> Option<Snapshot> {
        let published = self.published;
        self.published = self.snapshot.event_number;
        let counts = self.counts();
        let unchanged = self.dirty.is_empty()
            && !self.is_changed
            && !self.trouble.is_changed()
            && published == self.snapshot.event_number
            && counts == self.snapshot.counts;
        (!unchanged).then(|| self.snapshot())
    }

    /// What lasted so and so long since this was asked last.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        self.observations.take()
    }

    fn counts(&self) -> Counts {
        Counts {
            dials_in_flight: self.dials.in_flight(),
            dials_queued: self.dials.waiting(),
            backing_off: self.timers.len(),
            ..self.counts
        }
    }

    /// The present state for readers.
    pub fn snapshot(&mut self) -> Snapshot {
        self.snapshot.counts = self.counts();
        for id in std::mem::take(&mut self.dirty) {
            match self.entries.get(&id) {
                Some(entry) => {
                    let view = entry.view(id, self.identities.get(id));
                    self.snapshot.devices.insert(id, view);
                }
                None => {
                    self.snapshot.devices.remove(&id);
                }
            }
        }
        self.snapshot.names = self.identities.names().clone();
        if std::mem::take(&mut self.is_changed) {
            self.snapshot.pending = self.pending.views().clone();
            self.snapshot.unproven = self.unproven.views().clone();
            self.snapshot.refusals = self.decisions.refusals().clone();
            self.snapshot.slaves = Arc::clone(self.decisions.slaves());
            self.snapshot.accept_filter = Arc::clone(&self.filter);
        }
        if let Some(trouble) = self.trouble.news() {
            self.snapshot.trouble = trouble;
        }
        self.snapshot.clone()
    }

    fn restore(
        &mut self,
        devices: &[crate::registry::AutoDevice],
        last_statuses: &[(DeviceId, Status)],
        now: Now,
    ) {
        let told: BTreeMap<DeviceId, Status> = last_statuses.iter().copied().collect();
        for device in devices {
            let mut entry = self.new_entry(Origin::Auto, device.address.into(), now);
            entry.use_ssl = device.use_ssl;
            // A device that was down stays told as it was: an outage is told once, not once a start.
            if let Some(status) = told.get(&device.id) {
                entry.status = *status;
            }
            self.entries.insert(device.id, entry);
            self.dirty.insert(device.id);
            if !told.contains_key(&device.id) {
                self.tell_added(device.id, now);
            }
        }
        for (id, status) in told {
            let restarted = Cause::from(CauseKind::GatewayRestarted);
            match self.entries.contains_key(&id) {
                true if status.is_connected() => {
                    self.set_status(id, Status::Disconnected, Some(restarted), now);
                }
                true => {}
                false => self.tell_gone(id, status, restarted, now),
            }
        }
        for device in devices {
            self.queue_dial(device.id);
        }
        self.start_dials(now);
    }

    fn new_entry(&self, origin: Origin, address: std::net::SocketAddr, now: Now) -> Entry {
        let takeovers = TokenBucket::new(self.policy.takeover_burst, self.policy.takeover_interval);
        Entry::new(origin, address, takeovers, now.unix_ms)
    }

    fn persist(&mut self, change: StoreChange, then: Commit) {
        let commit = CommitId(self.next_commit);
        self.next_commit += 1;
        self.commits.insert(commit, then);
        self.outputs.push_back(Output::Persist(commit, change));
    }

    /// Tells an attempt to end, once.
    fn close(&mut self, generation: Generation, cause: Cause) {
        let Some(attempt) = self.attempts.get_mut(&generation) else {
            return;
        };
        if attempt.closing.is_some() {
            return;
        }
        attempt.closing = Some(cause.clone());
        attempt.claim = None;
        if let Some(up) = attempt
            .device
            .and_then(|id| self.entries.get_mut(&id))
            .and_then(Entry::up_mut)
            .filter(|up| up.generation == generation)
        {
            up.closing = true;
        }
        let order = SessionCommand::Close(cause);
        self.outputs.push_back(Output::Session(generation, order));
    }

    /// Turns an attempt away with an answer, once.
    fn refuse(&mut self, generation: Generation, cause: Cause, now: Now) {
        let Some(attempt) = self.attempts.get_mut(&generation) else {
            return;
        };
        attempt.closing = Some(cause.clone());
        let claim = attempt.claim.take();
        let inbound = attempt.kind == AttemptKind::Inbound;
        // A dial that comes to nothing is counted as such.
        if let Some(claim) = claim.filter(|_| inbound) {
            self.count_refusal(&claim, &cause, now);
        }
        let order = SessionCommand::Refuse(cause);
        self.outputs.push_back(Output::Session(generation, order));
    }

    fn described(&mut self, generation: Generation, device_type: u32) {
        let device = self
            .attempts
            .get(&generation)
            .and_then(|attempt| attempt.device);
        if let Some(id) = device
            && let Some(entry) = self.entries.get_mut(&id)
            && entry.device_type != device_type
        {
            entry.device_type = device_type;
            self.dirty.insert(id);
        }
    }
}
