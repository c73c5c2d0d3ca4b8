//! One process of the gateway: the two pure machines, with mailboxes in place of their actors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse::device::Generation;
use gatehouse::registry::machine::Machine;
use gatehouse::registry::records::RecordKey;
use gatehouse::registry::snapshot::Snapshot;
use gatehouse::registry::{Command, CommitId, NotStored, Output, RequestId, StoreChange};
use gatehouse::session::{SessionCommand, SessionEvent};
use gatehouse::time::{Instant, Now};
use rand::RngExt;

use super::net::{ConnId, Packet, Side};
use super::play::{Due, World};
use super::sessions::Shell;
use super::trace::say;

pub struct Gateway {
    pub machine: Machine,
    pub sessions: BTreeMap<Generation, Shell>,
    pub snapshot: Snapshot,
    /// The newest event that was published.
    pub position: u64,
    /// Those that the registry can reach.
    known: BTreeSet<Generation>,
    pub accepted: u64,
    timer: Option<Instant>,
    commits: BTreeMap<CommitId, (StoreChange, Option<RequestId>)>,
    /// What comes from the store comes in order.
    from_store: Instant,
    cancellable: BTreeSet<RequestId>,
    /// The commands that go to the store one at a time, the one whose turn it is first.
    deciding: VecDeque<RequestId>,
}

/// What happens inside of one process, and dies with it.
#[derive(Debug)]
pub enum Inside {
    RegistryTimer,
    SessionTimer(Generation),
    Dialled(Generation),
    Permit(Generation),
    Report(Generation, SessionEvent),
    Order(Generation, SessionCommand),
    Submit(RequestId, Command),
    Cancel(RequestId),
    /// The disk took, or refused, the group.
    Written,
    Committed(CommitId, Result<(), NotStored>),
    EventsDue,
}

impl World {
    /// Starts a process on what the store has.
    pub fn start(&mut self) {
        let block = if self.rng.random_bool(0.3) {
            self.rng.random_range(1..12)
        } else {
            1_000_000
        };
        let stored = self.store.open(block);
        say(|| format!("{} the gateway starts: {stored:?}", self.clock.instant()));
        self.checks.started(&stored, &self.store);
        let position = stored.event_next - 1;
        let secrets = self.safe.clone();
        let seed = self.rng.random();
        let now = self.clock.now();
        let machine = Machine::new(self.policy.clone(), secrets, stored, seed, now);
        self.gateway = Some(Gateway {
            machine,
            sessions: BTreeMap::new(),
            snapshot: Snapshot::default(),
            position,
            known: BTreeSet::new(),
            accepted: 0,
            timer: None,
            commits: BTreeMap::new(),
            from_store: now.instant,
            cancellable: BTreeSet::new(),
            deciding: VecDeque::new(),
        });
        self.carry_out(None);
        if let Some(gateway) = &self.gateway {
            self.checks.restarted(&gateway.snapshot, &self.store);
        }
    }

    /// `kill -9`.
    pub fn crash(&mut self) {
        if self.gateway.take().is_none() {
            return;
        }
        let (changes, events) = self.store.in_flight();
        let kept = (
            self.rng.random_range(0..=changes),
            self.rng.random_range(0..=events),
        );
        say(|| {
            format!(
                "{} kill -9: of {changes} changes in flight and {events} events, {kept:?} are kept",
                self.clock.instant()
            )
        });
        self.store.crash(kept.0, kept.1);
        self.epoch += 1;
        self.checks.crashed();
        self.watchers
            .iter_mut()
            .for_each(|watcher| watcher.cut_off());
        let ids: Vec<ConnId> = self.net.conns.keys().copied().collect();
        for id in ids {
            if let Some(conn) = self.net.conns.get_mut(&id)
                && conn.session.take().is_some()
            {
                self.net.send(
                    id,
                    Side::Device,
                    Packet::Reset,
                    &mut self.clock,
                    &mut self.rng,
                );
                self.net.sweep(id);
            }
        }
        let down = self.span(10, 5_000);
        self.clock.after(down, Due::Start);
    }

    pub fn inside(&mut self, inside: Inside) {
        say(|| format!("{} {inside:?}", self.clock.instant()));
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        match inside {
            Inside::RegistryTimer => {
                gateway.timer = None;
                self.registry(|machine, now| machine.handle_timeout(now));
            }
            Inside::SessionTimer(generation) => self.session_timer(generation),
            Inside::Dialled(generation) => self.dialled(generation),
            Inside::Permit(generation) => {
                let entropy = self.rng.random();
                self.session(generation, |machine, now| {
                    machine.handle_permit(entropy, now)
                });
            }
            Inside::Report(generation, event) => self.report(generation, event),
            Inside::Order(generation, order) => self.order(generation, order),
            Inside::Submit(request, command) => self.submit(request, command),
            Inside::Cancel(request) => {
                if gateway.cancellable.remove(&request) {
                    self.checks.cancelled(request);
                    self.registry(|machine, now| machine.handle_cancelled(request, now));
                }
            }
            Inside::Written => self.written(),
            Inside::Committed(commit, result) => self.committed(commit, result),
            Inside::EventsDue => self.store.write_events(),
        }
    }

    /// Has the registry do something, and carries out what it says.
    pub fn registry(&mut self, act: impl FnOnce(&mut Machine, Now)) {
        self.registry_for(None, act);
    }

    fn registry_for(&mut self, request: Option<RequestId>, act: impl FnOnce(&mut Machine, Now)) {
        let now = self.clock.now();
        if let Some(gateway) = &mut self.gateway {
            act(&mut gateway.machine, now);
            self.carry_out(request);
        }
    }

    fn submit(&mut self, request: RequestId, command: Command) {
        if let Some(gateway) = &mut self.gateway {
            gateway.cancellable.insert(request);
            if is_decision(&command) {
                gateway.deciding.push_back(request);
            }
            self.checks.submitted(request, &command, &gateway.snapshot);
            self.registry_for(Some(request), |machine, now| {
                machine.handle_command(request, command, now);
            });
        }
    }

    fn report(&mut self, generation: Generation, event: SessionEvent) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        match &event {
            SessionEvent::Claimed(_) => drop(gateway.known.insert(generation)),
            SessionEvent::Described { .. } | SessionEvent::Slow { .. } => {}
            SessionEvent::Ended(cause) => {
                gateway.known.remove(&generation);
                let now = self.clock.instant();
                self.checks
                    .registry_hears_end(generation, cause, &gateway.snapshot, now);
            }
        }
        self.checks.registry_hears(generation, &event);
        self.registry(|machine, now| machine.handle_session(generation, event, now));
    }

    fn committed(&mut self, commit: CommitId, result: Result<(), NotStored>) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        if let Some((change, _)) = gateway.commits.remove(&commit)
            && result.is_ok()
        {
            self.checks.machine_learns(&change);
        }
        self.registry(|machine, now| machine.handle_committed(commit, result, now));
        self.checks.merged_events_may_come = false;
    }

    /// As the registry's actor does it: events and the snapshot go before the replies.
    fn carry_out(&mut self, request: Option<RequestId>) {
        let now = self.clock.now();
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let mut events = Vec::new();
        let mut replies = Vec::new();
        let mut dials = Vec::new();
        let mut orders = Vec::new();
        let mut changes = Vec::new();
        while let Some(output) = gateway.machine.poll_output() {
            say(|| format!("{}   registry: {output:?}", now.instant));
            match output {
                Output::Dial(order) => {
                    gateway.known.insert(order.generation);
                    self.checks.dial(&order, &self.policy, now.instant);
                    dials.push(order);
                }
                Output::Session(generation, order) => {
                    let reachable = gateway.known.contains(&generation);
                    self.checks.order(
                        generation,
                        &order,
                        &self.policy,
                        &self.peers,
                        &self.safe,
                        now.instant,
                    );
                    orders.push((generation, order, reachable));
                }
                Output::Persist(commit, change) => {
                    let of = match &change {
                        StoreChange::PutDevices(_) | StoreChange::DeleteDevices(_) => request,
                        StoreChange::PutIdentity(..) | StoreChange::ReserveEvents(_) => None,
                        StoreChange::DeleteRecords(keys) if is_forgotten(keys) => None,
                        StoreChange::PutAcceptFilter(_)
                        | StoreChange::PutRecords(_)
                        | StoreChange::DeleteRecords(_)
                        | StoreChange::All(_) => gateway.deciding.front().copied(),
                    };
                    if let Some(request) = of {
                        self.checks.stores(request, &change);
                    }
                    gateway.commits.insert(commit, (change.clone(), of));
                    changes.push((commit, change));
                }
                Output::Event(event) => events.push(event),
                Output::Reply(request, reply) => {
                    gateway.deciding.retain(|deciding| *deciding != request);
                    replies.push((request, reply));
                }
                Output::Enrol(_) => {}
            }
        }
        gateway.snapshot = gateway.machine.snapshot();
        for order in &dials {
            self.checks
                .dial_waited(order, &gateway.snapshot, &self.policy, now.instant);
        }
        for event in &events {
            self.checks.event(event, &self.store);
        }
        self.checks
            .batch(&gateway.snapshot, &gateway.machine, &self.policy, now);
        for (generation, order, reachable) in orders {
            if reachable {
                self.post_order(generation, order);
            }
        }
        for order in dials {
            self.dial(&order);
        }
        for (commit, change) in changes {
            if self.store.put(commit, change) {
                self.write_soon();
            }
        }
        self.publish(&events);
        for (request, reply) in replies {
            if let Some(gateway) = &mut self.gateway {
                gateway.cancellable.remove(&request);
            }
            self.checks.reply(request, &reply, &self.store);
        }
        self.arm_registry();
    }

    fn publish(&mut self, events: &[gatehouse::event::StatusEvent]) {
        let (Some(newest), Some(gateway)) = (events.last(), &mut self.gateway) else {
            return;
        };
        gateway.position = newest.number;
        if self.store.append(events) {
            let gather = Duration::from_millis(50);
            self.clock
                .after(gather, Due::Inside(self.epoch, Inside::EventsDue));
        }
        self.watchers
            .iter_mut()
            .for_each(|watcher| watcher.publish(events));
    }

    fn arm_registry(&mut self) {
        let now = self.clock.now();
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let Some(due) = gateway.machine.poll_timeout(now) else {
            return;
        };
        if gateway.timer.is_none_or(|armed| due < armed) {
            gateway.timer = Some(due);
            self.clock
                .at(due, Due::Inside(self.epoch, Inside::RegistryTimer));
        }
    }

    fn write_soon(&mut self) {
        if self.store.write() {
            let mut takes = self.span(0, 30);
            if self.stormy && self.rng.random_bool(0.05) {
                takes = self.span(100, 3_000);
            }
            self.clock
                .after(takes, Due::Inside(self.epoch, Inside::Written));
        }
    }

    fn written(&mut self) {
        let fails = self.stormy && self.rng.random_bool(self.store_fails);
        for commit in self.store.written(fails) {
            let result = match fails {
                true => Err("no space left on device".into()),
                false => Ok(()),
            };
            let delay = self.mail_delay();
            let Some(gateway) = &mut self.gateway else {
                return;
            };
            if let (true, Some((_, Some(request)))) = (fails, gateway.commits.get(&commit)) {
                self.checks.change_failed(*request);
            }
            gateway.from_store = gateway.from_store.max(self.clock.instant() + delay);
            let message = Inside::Committed(commit, result);
            self.clock
                .at(gateway.from_store, Due::Inside(self.epoch, message));
        }
        self.write_soon();
    }
}

fn is_decision(command: &Command) -> bool {
    matches!(
        command,
        Command::SetAcceptFilter(_)
            | Command::ChangeAcceptFilter { .. }
            | Command::Approve { .. }
            | Command::Refuse { .. }
            | Command::SetSlaves(_)
    )
}

/// Whether the registry forgets these by itself: no command deletes only such.
fn is_forgotten(keys: &[RecordKey]) -> bool {
    let by_command = |key: &RecordKey| matches!(key, RecordKey::Slaves(_));
    !keys.iter().any(by_command)
}
