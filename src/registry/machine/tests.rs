//! Traces: these inputs at these times give exactly these outputs.

mod counts;
mod decisions;
mod drain;
mod limits;
mod links;
mod trouble;

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::device::{ConnectionMode, LinkKind};
use crate::event::{Change, StatusEvent};
use crate::identity::{Basis, CredentialId, Evidence, Identity, KeyId, KeyOwner, Proof, Secrets};
use crate::registry::{AutoDevice, CommandError, Reply};
use crate::session::{DialLink, DialOrder};

const FLEET_KEYS: [KeyId; 2] = [KeyId([1; 8]), KeyId([2; 8])];

/// Device 7 has a link key of its own, device 8 the credential "open sesame", as far as they were
/// not withdrawn.
#[derive(Default)]
struct TestSecrets {
    withdrawn: Vec<Basis>,
}

impl Secrets for TestSecrets {
    fn has_device_key(&self, id: DeviceId) -> bool {
        id == device(7)
    }

    fn has_credential(&self, id: Option<DeviceId>, _: &Identity) -> bool {
        id == Some(device(8))
    }

    fn matches_credential(
        &self,
        id: Option<DeviceId>,
        _: &Identity,
        credential: &[u8],
    ) -> Option<CredentialId> {
        let matches = id == Some(device(8)) && credential == b"open sesame";
        let found = matches.then_some(CredentialId([8; 8]));
        found.filter(|id| self.still_holds(Basis::Credential(*id)))
    }

    fn has_certificate(&self, _: DeviceId) -> bool {
        false
    }

    fn still_holds(&self, basis: Basis) -> bool {
        !self.withdrawn.contains(&basis)
    }

    fn dial_keys(&self, id: Option<DeviceId>) -> Vec<KeyId> {
        let mut keys = match id {
            Some(id) if id == device(7) => vec![KeyId([7; 8])],
            _ => FLEET_KEYS.to_vec(),
        };
        keys.retain(|key| self.still_holds(Basis::LinkKey(*key)));
        keys
    }
}

fn device(id: u32) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn policy() -> Policy {
    Policy {
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).unwrap(),
        stable_after: Duration::from_secs(60),
        dial: Dial {
            in_flight_max: 2,
            rate_max: 1_000,
            ..Dial::default()
        },
        takeover_burst: 1,
        takeover_interval: Duration::from_secs(10),
        devices_max: 5,
        sessions_max: 4,
        pending_max: 10,
        unproven_max: 3,
        trouble_max: 3,
        forget_slaves: false,
        filter_by_address: true,
        drain: Drain::default(),
    }
}

/// An empty store with numbers for events.
fn numbered() -> Stored {
    Stored {
        event_next: 1,
        events_reserved: 1_000_000,
        ..Stored::default()
    }
}

/// A machine, its clock, and a store that takes everything at once.
struct Desk {
    machine: Machine,
    now: Now,
    requests: u64,
    accepted: u64,
}

impl Desk {
    fn new() -> Self {
        Self::restarted(numbered())
    }

    fn restarted(stored: Stored) -> Self {
        Self::with(policy(), stored)
    }

    fn with(policy: Policy, stored: Stored) -> Self {
        let now = Now {
            instant: Instant::from_micros(1_000_000),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            machine: Machine::new(policy, Arc::new(TestSecrets::default()), stored, 42, now),
            now,
            requests: 0,
            accepted: 0,
        }
    }

    /// Everything the machine has to say, the store's answers included.
    fn outputs(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if let Output::Persist(commit, _) = &output {
                self.machine.handle_committed(*commit, Ok(()), self.now);
            }
            outputs.push(output);
        }
        outputs
    }

    fn command(&mut self, command: Command) -> (RequestId, Vec<Output>) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.machine.handle_command(request, command, self.now);
        (request, self.outputs())
    }

    fn add(&mut self, ids: &[u32]) -> Vec<Output> {
        let devices = ids.iter().map(|id| auto(*id)).collect();
        self.command(Command::AddAsync(devices)).1
    }

    fn allow_all(&mut self) {
        self.command(Command::SetAcceptFilter(AcceptFilter {
            allow_all: true,
            ..AcceptFilter::default()
        }));
    }

    fn report(&mut self, generation: Generation, event: SessionEvent) -> Vec<Output> {
        self.machine.handle_session(generation, event, self.now);
        self.outputs()
    }

    fn claim(&mut self, generation: Generation, claim: Claim) -> Vec<Output> {
        self.report(generation, SessionEvent::Claimed(claim))
    }

    /// A new connection from outside that claims; returns its generation too.
    fn arrive(&mut self, claim: Claim) -> (Generation, Vec<Output>) {
        self.accepted += 1;
        let generation = Generation::accepted(self.accepted);
        (generation, self.claim(generation, claim))
    }

    fn end(&mut self, generation: Generation, kind: CauseKind) -> Vec<Output> {
        self.report(generation, SessionEvent::Ended(Cause::from(kind)))
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now.instant = self.now.instant + time;
        self.now.unix_ms += u64::try_from(time.as_millis()).unwrap();
        self.machine.handle_timeout(self.now);
        self.outputs()
    }

    fn status(&mut self, id: u32) -> Option<Status> {
        let snapshot = self.machine.snapshot();
        snapshot.devices.get(&device(id)).map(|view| view.status)
    }
}

fn auto(id: u32) -> AutoDevice {
    AutoDevice {
        id: device(id),
        address: SocketAddrV4::new([10, 0, 0, 1].into(), u16::try_from(id).unwrap()),
        use_ssl: false,
    }
}

fn claim(name: &str, mode: ConnectionMode) -> Claim {
    Claim {
        identity: Identity::new("", name).unwrap(),
        evidence: Evidence {
            link_key: Some((FLEET_KEYS[0], KeyOwner::Fleet)),
            certificate: None,
            credential: Box::default(),
        },
        link: LinkKind::Aes,
        mode,
        peer: SocketAddr::from(([10, 0, 0, 9], 40_000)),
        keep_alive: Duration::from_secs(60),
    }
}

fn dialled(name: &str) -> Claim {
    claim(name, ConnectionMode::ServerToDevice)
}

fn inbound(name: &str) -> Claim {
    claim(name, ConnectionMode::DeviceToServer)
}

fn with_key(mut claim: Claim, owner: u32) -> Claim {
    claim.evidence.link_key = Some((KeyId([7; 8]), KeyOwner::Device(device(owner))));
    claim
}

fn dials(outputs: &[Output]) -> Vec<&DialOrder> {
    fn dial(output: &Output) -> Option<&DialOrder> {
        match output {
            Output::Dial(order) => Some(order),
            _ => None,
        }
    }
    outputs.iter().filter_map(dial).collect()
}

fn events(outputs: &[Output]) -> Vec<&StatusEvent> {
    fn event(output: &Output) -> Option<&StatusEvent> {
        match output {
            Output::Event(event) => Some(event),
            _ => None,
        }
    }
    outputs.iter().filter_map(event).collect()
}

fn told(outputs: &[Output]) -> Vec<(u32, Status)> {
    events(outputs)
        .into_iter()
        .filter(|event| event.is_status_change())
        .map(|event| (event.device.get(), event.new))
        .collect()
}

fn orders(outputs: &[Output]) -> Vec<(Generation, &SessionCommand)> {
    fn order(output: &Output) -> Option<(Generation, &SessionCommand)> {
        match output {
            Output::Session(generation, command) => Some((*generation, command)),
            _ => None,
        }
    }
    outputs.iter().filter_map(order).collect()
}

fn replies(outputs: &[Output]) -> Vec<&Result<Reply, CommandError>> {
    fn reply(output: &Output) -> Option<&Result<Reply, CommandError>> {
        match output {
            Output::Reply(_, reply) => Some(reply),
            _ => None,
        }
    }
    outputs.iter().filter_map(reply).collect()
}

fn refusal(outputs: &[Output]) -> Option<CauseKind> {
    match orders(outputs).as_slice() {
        [(_, SessionCommand::Refuse(cause))] => Some(cause.kind),
        _ => None,
    }
}

/// Adds device `id` and brings its dialled session up.
fn bring_up(desk: &mut Desk, id: u32) -> Generation {
    let generation = dials(&desk.add(&[id]))[0].generation;
    let name = id.to_string();
    let mut claim = dialled(&name);
    if id == 7 {
        claim = with_key(claim, 7);
    }
    let outputs = desk.claim(generation, claim);
    assert_eq!(told(&outputs), [(id, Status::TcpConnected)]);
    generation
}

#[test]
fn an_auto_device_is_stored_then_answered_then_dialled() {
    let mut desk = Desk::new();
    let (request, outputs) = desk.command(Command::AddAsync(vec![auto(3)]));
    let expected_dial = DialOrder {
        generation: Generation::dialled(0),
        address: auto(3).address.into(),
        link: DialLink::Aes(FLEET_KEYS[0]),
    };
    assert!(
        matches!(&outputs[0], Output::Persist(_, StoreChange::PutDevices(list)) if list == &[auto(3)])
    );
    assert!(matches!(&outputs[1], Output::Event(event) if event.change == Change::Added));
    assert_eq!(outputs[2], Output::Reply(request, Ok(Reply::Done)));
    assert_eq!(outputs[3], Output::Dial(expected_dial));
    assert_eq!(told(&outputs), [(3, Status::TryToConnect)]);
}

#[test]
fn what_the_store_refuses_is_not_done() {
    let mut desk = Desk::new();
    let add = Command::AddAsync(vec![auto(3)]);
    desk.machine.handle_command(RequestId(9), add, desk.now);
    let Some(Output::Persist(commit, _)) = desk.machine.poll_output() else {
        panic!("nothing to persist");
    };
    assert_eq!(
        desk.machine.poll_output(),
        None,
        "nothing before the store has it"
    );
    desk.machine
        .handle_committed(commit, Err("disk full".into()), desk.now);
    let outputs = desk.outputs();
    assert_eq!(
        replies(&outputs),
        [&Err(CommandError::NotStored("disk full".into()))]
    );
    assert_eq!(outputs.len(), 1);
    assert_eq!(desk.status(3), None);
}

#[test]
fn a_lost_device_backs_off_and_a_dead_one_is_told_once() {
    let mut desk = Desk::new();
    let generation = bring_up(&mut desk, 3);
    let outputs = desk.end(generation, CauseKind::ClosedByDevice);
    assert_eq!(told(&outputs), [(3, Status::Disconnected)]);
    assert!(dials(&outputs).is_empty());
    let mut seen = Vec::new();
    for _ in 0..200 {
        let outputs = desk.pass(Duration::from_secs(31));
        seen.extend(told(&outputs));
        let generation = dials(&outputs)[0].generation;
        seen.extend(told(&desk.end(generation, CauseKind::DialFailed)));
    }
    assert_eq!(
        seen,
        [(3, Status::TryToConnect), (3, Status::TcpCannotConnect)]
    );
    let view = desk.machine.snapshot().devices[&device(3)].clone();
    assert_eq!(view.attempt, 200);
    assert!(view.next_try_unix_ms.is_some());
}

#[test]
fn backoff_grows_until_a_session_was_stable() {
    let mut desk = Desk::new();
    let mut generation = bring_up(&mut desk, 3);
    for step in 0..4 {
        desk.end(generation, CauseKind::ClosedByDevice);
        assert_eq!(desk.machine.entries[&device(3)].backoff_step, step + 1);
        generation = dials(&desk.pass(Duration::from_secs(31)))[0].generation;
        desk.claim(generation, dialled("3"));
    }
    desk.pass(Duration::from_secs(60));
    desk.end(generation, CauseKind::ClosedByDevice);
    assert_eq!(desk.machine.entries[&device(3)].backoff_step, 1);
}

#[test]
fn dials_are_bounded_over_the_fleet() {
    let mut desk = Desk::new();
    let outputs = desk.add(&[1, 2, 3, 4]);
    assert_eq!(dials(&outputs).len(), 2);
    let outputs = desk.end(dials(&outputs)[0].generation, CauseKind::DialTimeout);
    assert_eq!(dials(&outputs)[0].address, auto(3).address.into());
    assert_eq!(desk.machine.dials_in_flight(), 2);
}

#[test]
fn each_active_key_is_tried_before_the_try_has_failed() {
    let mut desk = Desk::new();
    let first = desk.add(&[3]);
    assert_eq!(dials(&first)[0].link, DialLink::Aes(FLEET_KEYS[0]));
    let second = desk.end(dials(&first)[0].generation, CauseKind::KeyRefused);
    assert_eq!(dials(&second)[0].link, DialLink::Aes(FLEET_KEYS[1]));
    let outputs = desk.end(dials(&second)[0].generation, CauseKind::KeyRefused);
    assert_eq!(told(&outputs), [(3, Status::TcpNotAllowed)]);
}

#[test]
fn the_filter_starts_empty_and_pends_once() {
    let mut desk = Desk::new();
    let (generation, outputs) = desk.arrive(inbound("5"));
    assert_eq!(refusal(&outputs), Some(CauseKind::NotAccepted));
    assert_eq!(told(&outputs), [(5, Status::TcpNotAllowed)]);
    desk.end(generation, CauseKind::NotAccepted);
    let (generation, outputs) = desk.arrive(inbound("5"));
    assert_eq!(told(&outputs), []);
    desk.end(generation, CauseKind::NotAccepted);
    assert_eq!(desk.machine.snapshot().pending[&device(5)].tries, 2);
    desk.allow_all();
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(told(&outputs), [(5, Status::TcpConnected)]);
    assert!(desk.machine.snapshot().pending.is_empty());
}

#[test]
fn an_unproven_peer_is_refused_before_the_filter_sees_it() {
    let mut desk = Desk::new();
    desk.allow_all();
    let mut bare = inbound("5");
    bare.evidence.link_key = None;
    let (_, outputs) = desk.arrive(bare);
    assert_eq!(refusal(&outputs), Some(CauseKind::NotProven));
    assert_eq!(told(&outputs), []);
    assert!(desk.machine.snapshot().pending.is_empty());
}

#[test]
fn the_fleet_key_never_opens_a_device_with_its_own() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (_, outputs) = desk.arrive(inbound("7"));
    assert_eq!(
        refusal(&outputs),
        Some(CauseKind::NotProven),
        "while it is down"
    );
    let (_, outputs) = desk.arrive(with_key(inbound("7"), 7));
    assert_eq!(told(&outputs), [(7, Status::TcpConnected)]);
    let (_, outputs) = desk.arrive(inbound("7"));
    assert_eq!(
        refusal(&outputs),
        Some(CauseKind::NotProven),
        "while it is up"
    );
    let (_, outputs) = desk.arrive(with_key(inbound("6"), 7));
    assert_eq!(
        refusal(&outputs),
        Some(CauseKind::NotProven),
        "a device key with another ID"
    );
    assert_eq!(desk.status(7), Some(Status::TcpConnected));
}

#[test]
fn a_newcomer_gets_its_ok_only_after_the_older_session_ended() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (old, _) = desk.arrive(inbound("5"));
    let (new, outputs) = desk.arrive(inbound("5"));
    assert!(matches!(orders(&outputs).as_slice(),
        [(generation, SessionCommand::Close(cause))] if *generation == old && cause.kind == CauseKind::Superseded));
    let (third, outputs) = desk.arrive(inbound("5"));
    assert_eq!(refusal(&outputs), Some(CauseKind::TakeoverLimit));
    desk.end(third, CauseKind::TakeoverLimit);
    let outputs = desk.end(old, CauseKind::Superseded);
    assert_eq!(
        told(&outputs),
        [(5, Status::Disconnected), (5, Status::TcpConnected)]
    );
    assert_eq!(orders(&outputs), [(new, &SessionCommand::Admit(device(5)))]);
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(
        refusal(&outputs),
        Some(CauseKind::TakeoverLimit),
        "limited in rate"
    );
    assert_eq!(desk.status(5), Some(Status::TcpConnected));
}

#[test]
fn a_newcomer_that_gives_up_leaves_nothing_behind() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (old, _) = desk.arrive(inbound("5"));
    let (new, _) = desk.arrive(inbound("5"));
    desk.end(new, CauseKind::ClosedByDevice);
    let outputs = desk.end(old, CauseKind::Superseded);
    assert_eq!(told(&outputs), [(5, Status::Disconnected)]);
    assert_eq!(desk.status(5), None);
}

#[test]
fn a_newcomer_that_gives_up_is_in_nobodys_way() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (old, _) = desk.arrive(inbound("5"));
    let (new, _) = desk.arrive(inbound("5"));
    desk.end(new, CauseKind::ClosedByDevice);
    let (third, outputs) = desk.arrive(inbound("5"));
    assert!(
        orders(&outputs).is_empty(),
        "it waits for the older session's end"
    );
    let outputs = desk.end(old, CauseKind::Superseded);
    let admitted = SessionCommand::Admit(device(5));
    assert_eq!(orders(&outputs), [(third, &admitted)]);
}

#[test]
fn an_inbound_session_suspends_the_dials_of_an_auto_device() {
    let mut desk = Desk::new();
    desk.allow_all();
    let dial = dials(&desk.add(&[3]))[0].generation;
    let (session, outputs) = desk.arrive(inbound("3"));
    assert_eq!(told(&outputs), [(3, Status::TcpConnected)]);
    assert!(matches!(orders(&outputs).as_slice(),
        [(closed, SessionCommand::Close(_)), (_, SessionCommand::Admit(_))] if *closed == dial));
    assert!(
        desk.claim(dial, dialled("3")).is_empty(),
        "an older generation is ignored"
    );
    assert!(desk.end(dial, CauseKind::Replaced).is_empty());
    assert!(desk.pass(Duration::from_secs(100)).is_empty());
    desk.end(session, CauseKind::ClosedByDevice);
    assert_eq!(dials(&desk.pass(Duration::from_secs(31))).len(), 1);
}

#[test]
fn deleting_while_dialling_leaves_no_link() {
    let mut desk = Desk::new();
    let dial = dials(&desk.add(&[3]))[0].generation;
    let (_, outputs) = desk.command(Command::DeleteAsync(vec![device(3), device(4)]));
    assert!(
        replies(&outputs).is_empty(),
        "not before the dial has ended"
    );
    assert_eq!(desk.status(3), None);
    assert!(desk.claim(dial, dialled("3")).is_empty());
    let outputs = desk.end(dial, CauseKind::Deleted);
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    assert!(desk.pass(Duration::from_secs(100)).is_empty());
}

#[test]
fn deleting_a_connected_device_tells_its_end() {
    let mut desk = Desk::new();
    let generation = bring_up(&mut desk, 3);
    desk.command(Command::DeleteAsync(vec![device(3)]));
    let outputs = desk.end(generation, CauseKind::Deleted);
    assert_eq!(told(&outputs), [(3, Status::Disconnected)]);
    assert_eq!(events(&outputs)[0].change, Change::Removed);
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    assert!(desk.pass(Duration::from_secs(100)).is_empty());
}

#[test]
fn a_new_address_replaces_the_session_and_the_same_one_changes_nothing() {
    let mut desk = Desk::new();
    let generation = bring_up(&mut desk, 3);
    assert!(orders(&desk.add(&[3])).is_empty());
    let moved = AutoDevice {
        address: auto(4).address,
        ..auto(3)
    };
    let (_, outputs) = desk.command(Command::AddAsync(vec![moved]));
    assert_eq!(orders(&outputs)[0].0, generation);
    let outputs = desk.end(generation, CauseKind::Replaced);
    assert_eq!(dials(&outputs)[0].address, auto(4).address.into());
}

#[test]
fn connect_answers_with_the_device_and_forgets_it_when_it_is_gone() {
    let mut desk = Desk::new();
    let connect = Command::Connect {
        address: auto(3).address,
        use_ssl: false,
    };
    let (_, outputs) = desk.command(connect.clone());
    let generation = dials(&outputs)[0].generation;
    assert!(events(&outputs).is_empty());
    let outputs = desk.claim(generation, dialled("3"));
    assert_eq!(told(&outputs), [(3, Status::TcpConnected)]);
    assert_eq!(replies(&outputs), [&Ok(Reply::Connected(device(3)))]);
    desk.end(generation, CauseKind::IoError);
    assert_eq!(desk.status(3), None);

    let (request, outputs) = desk.command(connect);
    let generation = dials(&outputs)[0].generation;
    desk.machine.handle_cancelled(request, desk.now);
    assert_eq!(orders(&desk.outputs()).len(), 1);
    assert!(desk.claim(generation, dialled("3")).is_empty());
    assert!(desk.end(generation, CauseKind::Cancelled).is_empty());
}

#[test]
fn a_connect_that_fails_says_why() {
    let mut desk = Desk::new();
    let connect = Command::Connect {
        address: auto(3).address,
        use_ssl: false,
    };
    let (_, outputs) = desk.command(connect);
    let cause = Cause::new(CauseKind::DialFailed, "connection refused");
    let outputs = desk.report(
        dials(&outputs)[0].generation,
        SessionEvent::Ended(cause.clone()),
    );
    assert_eq!(
        replies(&outputs),
        [&Err(CommandError::CannotConnect(cause))]
    );
}

#[test]
fn the_wrong_device_at_an_address_is_not_admitted() {
    let mut desk = Desk::new();
    let generation = dials(&desk.add(&[3]))[0].generation;
    let outputs = desk.claim(generation, dialled("4"));
    assert_eq!(refusal(&outputs), Some(CauseKind::WrongDevice));
    let outputs = desk.end(generation, CauseKind::WrongDevice);
    assert_eq!(told(&outputs), [(3, Status::TcpNotAllowed)]);
}

#[test]
fn the_owner_is_fixed_at_the_first_admission() {
    let mut desk = Desk::new();
    desk.allow_all();
    let mut alices = inbound("5");
    alices.identity = Identity::new("alice", "5").unwrap();
    let (generation, outputs) = desk.arrive(alices);
    assert!(
        matches!(&outputs[0], Output::Persist(_, StoreChange::PutIdentity(id, _)) if *id == device(5))
    );
    desk.end(generation, CauseKind::ClosedByDevice);
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(refusal(&outputs), Some(CauseKind::WrongOwner));
}

#[test]
fn a_named_device_keeps_the_id_under_which_it_was_pending() {
    let mut desk = Desk::new();
    let (generation, outputs) = desk.arrive(inbound("lamp"));
    let id = events(&outputs)[0].device;
    assert!(id.get() >= DeviceId::FIRST_NAMED);
    desk.end(generation, CauseKind::NotAccepted);
    desk.command(Command::SetAcceptFilter(AcceptFilter {
        device_ids: vec![id.get()],
        ..AcceptFilter::default()
    }));
    let (_, outputs) = desk.arrive(inbound("lamp"));
    assert_eq!(told(&outputs), [(id.get(), Status::TcpConnected)]);
}

#[test]
fn disconnect_all_ends_dials_too_and_is_ok_with_nothing() {
    let mut desk = Desk::new();
    let (_, outputs) = desk.command(Command::DisconnectAll);
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    let up = bring_up(&mut desk, 3);
    let dial = dials(&desk.add(&[4]))[0].generation;
    let (_, outputs) = desk.command(Command::DisconnectAll);
    assert_eq!(orders(&outputs).len(), 2);
    desk.end(dial, CauseKind::Disconnected);
    let outputs = desk.end(up, CauseKind::Disconnected);
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    assert!(
        dials(&desk.pass(Duration::from_millis(999))).is_empty(),
        "waits reconnect.min"
    );
    assert_eq!(dials(&desk.pass(Duration::from_secs(30))).len(), 2);
    assert_eq!(desk.status(4), Some(Status::TryToConnect));
}

#[test]
fn retry_now_cuts_the_backoff_short() {
    let mut desk = Desk::new();
    let dial = dials(&desk.add(&[3]))[0].generation;
    desk.end(dial, CauseKind::DialFailed);
    let (_, outputs) = desk.command(Command::RetryNow(vec![device(3)]));
    assert_eq!(dials(&outputs).len(), 1);
    let (_, outputs) = desk.command(Command::RetryNow(vec![device(99)]));
    assert_eq!(
        replies(&outputs),
        [&Err(CommandError::UnknownDevice(device(99)))]
    );
}

#[test]
fn the_list_is_bounded() {
    let mut desk = Desk::new();
    let outputs = desk.add(&[1, 2, 3, 4, 5, 6]);
    assert!(matches!(
        replies(&outputs).as_slice(),
        [Err(CommandError::LimitReached(_))]
    ));
    assert_eq!(desk.machine.snapshot().devices.len(), 0);
    desk.add(&[1, 2, 3, 4, 5]);
    desk.allow_all();
    let (_, outputs) = desk.arrive(inbound("9"));
    assert_eq!(refusal(&outputs), Some(CauseKind::Busy));
}

#[test]
fn sessions_are_bounded() {
    let mut desk = Desk::new();
    desk.allow_all();
    for name in ["1", "2", "3"] {
        desk.arrive(inbound(name));
    }
    let (fourth, _) = desk.arrive(inbound("4"));
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(refusal(&outputs), Some(CauseKind::Busy));
    let (_, outputs) = desk.arrive(inbound("4"));
    assert_eq!(orders(&outputs)[0].0, fourth, "one for the other is one");
    desk.end(fourth, CauseKind::Superseded);
    assert_eq!(desk.status(4), Some(Status::TcpConnected));
}

#[test]
fn devices_on_their_way_to_the_store_count_too() {
    let mut desk = Desk::new();
    for (request, ids) in [(1, [1, 2, 3]), (2, [4, 5, 6])] {
        let add = Command::AddAsync(ids.map(auto).to_vec());
        desk.machine
            .handle_command(RequestId(request), add, desk.now);
    }
    let outputs = desk.outputs();
    assert!(matches!(
        replies(&outputs).as_slice(),
        [Err(CommandError::LimitReached(_)), Ok(Reply::Done)]
    ));
    assert_eq!(desk.machine.snapshot().devices.len(), 3);
}

#[test]
fn a_restart_tells_what_was_up_as_lost_and_repeats_nothing_else() {
    let mut desk = Desk::restarted(Stored {
        devices: vec![auto(1), auto(2), auto(3)],
        last_statuses: vec![
            (device(1), Status::TcpConnected),
            (device(2), Status::TcpCannotConnect),
            (device(5), Status::TcpConnected),
        ],
        event_next: 100,
        events_reserved: 1_000_000,
        ..Stored::default()
    });
    let outputs = desk.outputs();
    let changes: Vec<_> = events(&outputs)
        .iter()
        .map(|event| (event.number, event.device.get(), event.change, event.new))
        .collect();
    assert_eq!(
        changes,
        [
            (100, 3, Change::Added, Status::Disconnected),
            (101, 1, Change::Changed, Status::Disconnected),
            (102, 5, Change::Removed, Status::Disconnected),
            (103, 1, Change::Changed, Status::TryToConnect),
        ]
    );
    assert_eq!(dials(&outputs).len(), 2);
    assert_eq!(desk.status(2), Some(Status::TcpCannotConnect));
}

#[test]
fn a_device_that_waits_for_its_first_dial_after_a_restart_is_listed() {
    let mut desk = Desk::restarted(Stored {
        devices: (1..=5).map(auto).collect(),
        last_statuses: (1..=5)
            .map(|id| (device(id), Status::TcpCannotConnect))
            .collect(),
        event_next: 100,
        events_reserved: 1_000_000,
        ..Stored::default()
    });
    assert_eq!(dials(&desk.outputs()).len(), 2);
    assert_eq!(desk.machine.snapshot().devices.len(), 5);
}

#[test]
fn numbers_are_reserved_before_they_are_used() {
    let mut desk = Desk::restarted(Stored {
        event_next: 1,
        events_reserved: 3,
        ..Stored::default()
    });
    let generation = {
        let add = Command::AddAsync(vec![auto(3)]);
        desk.machine.handle_command(RequestId(1), add, desk.now);
        let mut dial = None;
        let mut commits = Vec::new();
        while let Some(output) = desk.machine.poll_output() {
            match output {
                Output::Persist(commit, StoreChange::ReserveEvents(_)) => commits.push(commit),
                Output::Persist(commit, _) => {
                    desk.machine.handle_committed(commit, Ok(()), desk.now)
                }
                Output::Dial(order) => dial = Some(order.generation),
                Output::Event(event) => assert!(event.number < 3),
                Output::Enrol(_) => panic!("nobody asked for it"),
                Output::Session(..) | Output::Reply(..) => {}
            }
        }
        desk.machine
            .handle_committed(commits[0], Err("disk full".into()), desk.now);
        dial.unwrap()
    };
    assert!(
        events(&desk.end(generation, CauseKind::DialFailed)).is_empty(),
        "no number is left"
    );
    let outputs = desk.pass(Duration::from_secs(1));
    let late = events(&outputs)[0];
    assert_eq!((late.number, late.new), (3, Status::TcpCannotConnect));
}
