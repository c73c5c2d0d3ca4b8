//! Pending devices, what is decided of them, and the rest that operators decide.

use super::refusal as refusal_of;
use super::*;
use crate::registry::records::{Record, RecordKey, Refusal, Slaves};
use crate::registry::snapshot::Snapshot;

const DAY_MS: u64 = 86_400_000;

fn approve(ids: &[u32], enrol: bool) -> Command {
    Command::Approve {
        ids: ids.iter().copied().map(device).collect(),
        enrol,
        by: "token anna".into(),
    }
}

fn refuse(desk: &Desk, ids: &[u32], days: u64) -> Command {
    Command::Refuse {
        ids: ids.iter().copied().map(device).collect(),
        until_unix_ms: desk.now.unix_ms + days * DAY_MS,
        by: "token bob".into(),
    }
}

fn change_filter(add: &[u32], remove: &[u32]) -> Command {
    Command::ChangeAcceptFilter {
        add: add.iter().copied().map(device).collect(),
        remove: remove.iter().copied().map(device).collect(),
    }
}

fn slaves(parent: u32, rs485: &[u32]) -> Slaves {
    Slaves {
        parent: device(parent),
        rs485: rs485.iter().copied().map(device).collect(),
        wiegand: Vec::new(),
    }
}

fn changes(outputs: &[Output]) -> Vec<&StoreChange> {
    fn change(output: &Output) -> Option<&StoreChange> {
        match output {
            Output::Persist(_, change) => Some(change),
            _ => None,
        }
    }
    outputs.iter().filter_map(change).collect()
}

fn detail(outputs: &[Output]) -> String {
    match orders(outputs).as_slice() {
        [(_, SessionCommand::Refuse(cause))] => cause.detail.to_string(),
        other => panic!("{other:?}"),
    }
}

impl Desk {
    /// A device knocks and is turned away.
    fn knock(&mut self, claim: Claim) -> Vec<Output> {
        let (generation, outputs) = self.arrive(claim);
        self.end(generation, CauseKind::NotAccepted);
        outputs
    }

    fn snapshot(&mut self) -> Snapshot {
        self.machine.snapshot()
    }

    fn pending(&mut self) -> Vec<u32> {
        self.snapshot().pending.keys().map(|id| id.get()).collect()
    }

    fn filter(&mut self) -> Vec<u32> {
        self.snapshot().accept_filter.device_ids.clone()
    }
}

#[test]
fn an_approved_device_comes_in_and_the_event_says_who_approved() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    desk.knock(inbound("lamp"));
    assert_eq!(desk.snapshot().pending[&device(5)].proof, Proof::FleetKey);
    let (request, outputs) = desk.command(approve(&[5, 5], false));
    let identity = Identity::new("", "5").unwrap();
    let filter = AcceptFilter {
        device_ids: vec![5],
        ..AcceptFilter::default()
    };
    let stored = StoreChange::All(vec![
        StoreChange::PutAcceptFilter(filter),
        StoreChange::PutIdentity(device(5), identity),
    ]);
    assert_eq!(changes(&outputs), [&stored]);
    assert_eq!(
        outputs.last(),
        Some(&Output::Reply(request, Ok(Reply::Done)))
    );
    let [event] = events(&outputs).try_into().unwrap();
    assert_eq!((event.change, event.old), (Change::Approved, None));
    assert_eq!(
        event.cause.as_ref().map(ToString::to_string).as_deref(),
        Some("approved: by token anna")
    );
    assert_eq!(told(&outputs), [], "no change of a status");
    assert_eq!(desk.pending().len(), 1);
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(told(&outputs), [(5, Status::TcpConnected)]);
}

/// What was approved is what comes in, not another that has meanwhile taken the same ID.
#[test]
fn an_approval_holds_for_the_device_that_was_pending() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    desk.command(approve(&[5], false));
    let mut mallorys = inbound("5");
    mallorys.identity = Identity::new("mallory", "5").unwrap();
    let (_, outputs) = desk.arrive(mallorys);
    assert_eq!(refusal(&outputs), Some(CauseKind::WrongOwner));
}

#[test]
fn an_approval_is_whole_or_not_at_all() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    let (_, outputs) = desk.command(approve(&[5, 6, 9], true));
    let error = CommandError::NotPending(device(6));
    assert_eq!(replies(&outputs), [&Err(error)]);
    assert_eq!((outputs.len(), desk.pending()), (1, vec![5]));
    let (_, outputs) = desk.command(approve(&[], true));
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    assert!(changes(&outputs).is_empty());
}

#[test]
fn what_the_store_refuses_of_an_approval_is_not_done() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    let approve = approve(&[5], true);
    desk.machine
        .handle_command(RequestId(70), approve, desk.now);
    let Some(Output::Persist(commit, _)) = desk.machine.poll_output() else {
        panic!("nothing to persist");
    };
    // A second one waits for the first, and is then judged by what is.
    let change = change_filter(&[8], &[]);
    desk.machine.handle_command(RequestId(71), change, desk.now);
    assert_eq!(desk.machine.poll_output(), None);
    desk.machine
        .handle_committed(commit, Err("disk full".into()), desk.now);
    let outputs = desk.outputs();
    let refused = Err(CommandError::NotStored("disk full".into()));
    assert_eq!(replies(&outputs), [&refused, &Ok(Reply::Done)]);
    assert!(events(&outputs).is_empty());
    assert_eq!((desk.filter(), desk.pending()), (vec![8], vec![5]));
    let mut alices = inbound("5");
    alices.identity = Identity::new("alice", "5").unwrap();
    desk.knock(alices);
    assert_eq!(desk.pending(), [5], "its owner was not fixed");
}

#[test]
fn clients_that_change_single_ids_at_once_undo_nothing() {
    let mut desk = Desk::new();
    for (request, change) in [change_filter(&[1, 2], &[]), change_filter(&[3], &[1])]
        .into_iter()
        .enumerate()
    {
        let request = RequestId(request as u64 + 1);
        desk.machine.handle_command(request, change, desk.now);
    }
    let outputs = desk.outputs();
    assert_eq!(replies(&outputs), [&Ok(Reply::Done), &Ok(Reply::Done)]);
    assert_eq!(desk.filter(), [2, 3]);
}

#[test]
fn decisions_that_wait_are_answered_when_the_gateway_drains() {
    let mut desk = Desk::new();
    for request in 1..=2 {
        let change = change_filter(&[1], &[]);
        desk.machine
            .handle_command(RequestId(request), change, desk.now);
    }
    desk.machine.handle_drain(desk.now);
    let outputs = desk.outputs();
    assert_eq!(
        replies(&outputs),
        [&Err(CommandError::ShuttingDown), &Ok(Reply::Done)]
    );
    assert!(desk.machine.is_drained());
}

#[test]
fn a_refused_device_stays_off_the_list_until_its_refusal_expires() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    let (_, outputs) = desk.command(refuse(&desk, &[6], 1));
    assert_eq!(
        replies(&outputs),
        [&Err(CommandError::NotPending(device(6)))]
    );
    let (_, outputs) = desk.command(refuse(&desk, &[5], 3));
    let [event] = events(&outputs).try_into().unwrap();
    assert_eq!(event.change, Change::Denied);
    assert_eq!(
        event.cause.as_ref().map(ToString::to_string).as_deref(),
        Some("denied: by token bob, for 3 days")
    );
    assert!(desk.pending().is_empty());
    desk.pass(Duration::from_secs(86_400));
    let outputs = desk.knock(inbound("5"));
    assert_eq!(refusal(&outputs), Some(CauseKind::NotAccepted));
    assert_eq!(
        detail(&outputs),
        "device 5 was refused by token bob, and the refusal holds for 2 days more"
    );
    assert!(events(&outputs).is_empty() && desk.pending().is_empty());
    desk.pass(Duration::from_secs(2 * 86_400));
    let outputs = desk.knock(inbound("5"));
    let forgotten = StoreChange::DeleteRecords(vec![RecordKey::Refusal(device(5))]);
    assert_eq!(changes(&outputs), [&forgotten]);
    assert_eq!(told(&outputs), [(5, Status::TcpNotAllowed)]);
    assert_eq!(desk.pending(), [5]);
    assert!(desk.snapshot().refusals.is_empty());
}

#[test]
fn a_device_that_may_come_in_loses_its_refusal() {
    let mut desk = Desk::new();
    for (device, lets_in) in [(5, approve(&[5], false)), (6, change_filter(&[6], &[]))] {
        desk.knock(inbound(&device.to_string()));
        desk.command(refuse(&desk, &[device], 3));
        assert_eq!(desk.snapshot().refusals.len(), 1);
        desk.command(lets_in);
        assert!(desk.snapshot().refusals.is_empty());
    }
    desk.knock(inbound("4"));
    desk.command(refuse(&desk, &[4], 3));
    desk.allow_all();
    assert_eq!(desk.snapshot().refusals.len(), 1, "it has not come yet");
    let (_, outputs) = desk.arrive(inbound("4"));
    assert_eq!(told(&outputs), [(4, Status::TcpConnected)]);
    assert!(desk.snapshot().refusals.is_empty());
}

#[test]
fn a_flood_leaves_the_best_evidence_and_few_events() {
    let mut desk = Desk::new();
    for _ in 0..2 {
        for name in ["1", "2", "3", "4", "5"] {
            desk.knock(inbound(name));
        }
    }
    let mut seen = Vec::new();
    for id in 1_000..3_000 {
        seen.extend(told(&desk.knock(inbound(&id.to_string()))));
        if id % 2 == 0 {
            seen.extend(told(&desk.knock(inbound(&id.to_string()))));
        }
    }
    let pending = desk.pending();
    assert_eq!(pending[..5], [1, 2, 3, 4, 5]);
    assert_eq!(pending.len(), 10);
    assert_eq!(seen.len(), 5, "the list holds ten, and five were told");
    // A device that keeps trying is told in time.
    let mut late = told(&desk.knock(inbound("77")));
    late.extend(told(&desk.knock(inbound("77"))));
    assert_eq!(late, []);
    desk.pass(Duration::from_secs(10));
    assert_eq!(
        told(&desk.knock(inbound("77"))),
        [(77, Status::TcpNotAllowed)]
    );
    assert_eq!(told(&desk.knock(inbound("77"))), []);
}

#[test]
fn peers_without_proof_are_remembered_apart() {
    let mut desk = Desk::new();
    let mut bare = inbound("5");
    bare.evidence.link_key = None;
    for _ in 0..2 {
        let outputs = desk.knock(bare.clone());
        assert_eq!(refusal(&outputs), Some(CauseKind::NotProven));
    }
    let dial = dials(&desk.add(&[3]))[0].generation;
    let mut dialled = dialled("3");
    dialled.evidence.link_key = None;
    desk.claim(dial, dialled);
    let snapshot = desk.snapshot();
    let [view] = snapshot.unproven.values().collect::<Vec<_>>()[..] else {
        panic!("{:?}", snapshot.unproven);
    };
    assert_eq!((&*view.identity.device, view.tries), ("5", 2));
    assert_eq!(view.cause.kind, CauseKind::NotProven);
    assert!(snapshot.pending.is_empty());
    for name in 100..200 {
        let mut stranger = bare.clone();
        stranger.identity = Identity::new("", &name.to_string()).unwrap();
        desk.knock(stranger);
    }
    let snapshot = desk.snapshot();
    assert_eq!(snapshot.unproven.len(), 3);
    let names: Vec<_> = snapshot
        .unproven
        .keys()
        .map(|(_, of)| &*of.device)
        .collect();
    assert!(names.contains(&"5"), "{names:?}");
}

#[test]
fn an_approved_device_is_enrolled_once_a_session_until_it_has_its_key() {
    let mut desk = Desk::new();
    desk.knock(inbound("5"));
    let (_, outputs) = desk.command(approve(&[5], true));
    let [StoreChange::All(parts)] = changes(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    let enrolment = Record::Enrolment(device(5));
    assert!(parts.contains(&StoreChange::PutRecords(vec![enrolment])));
    for _ in 0..2 {
        let (generation, outputs) = desk.arrive(inbound("5"));
        let at = |wanted: &Output| outputs.iter().position(|output| output == wanted);
        let admitted = Output::Session(generation, SessionCommand::Admit(device(5)));
        let enrols = at(&Output::Enrol(device(5)));
        assert!(at(&admitted).is_some() && at(&admitted) < enrols);
        desk.end(generation, CauseKind::ClosedByDevice);
    }
    let (generation, outputs) = desk.arrive(with_key(inbound("5"), 5));
    let done = StoreChange::DeleteRecords(vec![RecordKey::Enrolment(device(5))]);
    assert_eq!(changes(&outputs), [&done]);
    assert!(!outputs.contains(&Output::Enrol(device(5))));
    desk.end(generation, CauseKind::ClosedByDevice);
    let (_, outputs) = desk.arrive(inbound("5"));
    assert!(!outputs.contains(&Output::Enrol(device(5))));
}

#[test]
fn an_enrolment_outlives_a_restart_and_ends_with_the_approval() {
    let stored = Stored {
        accept_filter: AcceptFilter {
            device_ids: vec![5],
            ..AcceptFilter::default()
        },
        records: vec![Record::Enrolment(device(5))],
        event_next: 1,
        events_reserved: 1_000_000,
        ..Stored::default()
    };
    let mut desk = Desk::restarted(stored.clone());
    let (_, outputs) = desk.arrive(inbound("5"));
    assert!(outputs.contains(&Output::Enrol(device(5))));
    let mut desk = Desk::restarted(stored);
    desk.command(change_filter(&[], &[5]));
    desk.command(change_filter(&[5], &[]));
    let (_, outputs) = desk.arrive(inbound("5"));
    assert!(!outputs.contains(&Output::Enrol(device(5))));
}

#[test]
fn slaves_are_replaced_as_a_whole_and_stay_without_their_parent() {
    let mut desk = Desk::new();
    desk.add(&[1, 2]);
    let set = |list: &[Slaves]| Command::SetSlaves(list.to_vec());
    let first = [slaves(2, &[21]), slaves(1, &[11, 12])];
    let (_, outputs) = desk.command(set(&first));
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    let (_, outputs) = desk.command(set(&[slaves(1, &[]), slaves(9, &[]), slaves(8, &[])]));
    let unknown = CommandError::UnknownDevice(device(9));
    assert_eq!(replies(&outputs), [&Err(unknown)]);
    assert_eq!(
        *desk.snapshot().slaves,
        [first[1].clone(), first[0].clone()]
    );
    let (_, outputs) = desk.command(set(&[slaves(1, &[13])]));
    let replaced = StoreChange::All(vec![
        StoreChange::DeleteRecords([1, 2].map(|id| RecordKey::Slaves(device(id))).into()),
        StoreChange::PutRecords(vec![Record::Slaves(slaves(1, &[13]))]),
    ]);
    assert_eq!(changes(&outputs), [&replaced]);
    desk.command(Command::DeleteAsync(vec![device(1)]));
    assert_eq!(*desk.snapshot().slaves, [slaves(1, &[13])]);
    // What was read may be sent back.
    let (_, outputs) = desk.command(set(&[slaves(1, &[13]), slaves(2, &[22])]));
    assert_eq!(replies(&outputs), [&Ok(Reply::Done)]);
    desk.command(set(&[]));
    assert!(desk.snapshot().slaves.is_empty());
}

#[test]
fn slaves_are_restored_or_forgotten() {
    let refusal = |device_id, expires_unix_ms| {
        Record::Refusal(Refusal {
            device: device(device_id),
            by: "anna".into(),
            unix_ms: 1,
            expires_unix_ms,
        })
    };
    for forgets in [false, true] {
        let stored = Stored {
            records: vec![
                Record::Slaves(slaves(1, &[11])),
                refusal(5, 2),
                refusal(6, u64::MAX),
            ],
            event_next: 1,
            events_reserved: 1_000_000,
            ..Stored::default()
        };
        let policy = Policy {
            forget_slaves: forgets,
            ..policy()
        };
        let mut desk = Desk::with(policy, stored);
        let outputs = desk.outputs();
        let mut stale = vec![RecordKey::Refusal(device(5))];
        if forgets {
            stale.insert(0, RecordKey::Slaves(device(1)));
        }
        assert_eq!(changes(&outputs), [&StoreChange::DeleteRecords(stale)]);
        assert_eq!(desk.snapshot().slaves.is_empty(), forgets);
        assert_eq!(desk.snapshot().refusals.len(), 1);
        assert_eq!(
            refusal_of(&desk.knock(inbound("6"))),
            Some(CauseKind::NotAccepted)
        );
        assert!(desk.pending().is_empty(), "over a restart too");
    }
}
