//! The drain.

use proptest::prelude::*;

use super::*;
use crate::registry::machine::drain;

/// A desk with so many sessions of devices that dialled, and a drain of this pace.
fn desk(sessions: u32, pace: u32, grace: Duration) -> (Desk, Vec<Generation>) {
    let policy = Policy {
        devices_max: 10_000,
        sessions_max: 10_000,
        drain: Drain { pace, grace },
        ..policy()
    };
    let mut desk = Desk::with(policy, numbered());
    desk.allow_all();
    let arrive = |id: u32| desk.arrive(inbound(&id.to_string())).0;
    // Some of the lower ones need another proof.
    let up = (101..=100 + sessions).map(arrive).collect();
    assert_eq!(desk.machine.sessions(), sessions as usize);
    (desk, up)
}

/// Lets the time pass to the next deadline; `None` when there is none.
fn to_next_deadline(desk: &mut Desk) -> Option<Vec<Output>> {
    let due = desk.machine.poll_timeout(desk.now)?;
    Some(desk.pass(due.since(desk.now.instant)))
}

fn closed(outputs: &[Output]) -> Vec<Generation> {
    let closing = |(generation, order): (Generation, &SessionCommand)| {
        let SessionCommand::Close(cause) = order else {
            panic!("a drain closes and does nothing else: {order:?}");
        };
        assert_eq!(cause.kind, CauseKind::Drain);
        generation
    };
    orders(outputs).into_iter().map(closing).collect()
}

#[test]
fn draining_ends_everything_and_takes_nothing_new() {
    let mut desk = Desk::new();
    desk.allow_all();
    let up = bring_up(&mut desk, 3);
    let (inner, _) = desk.arrive(inbound("5"));
    desk.machine.handle_drain(desk.now);
    let mut ended = closed(&desk.outputs());
    while let Some(outputs) = to_next_deadline(&mut desk) {
        ended.extend(closed(&outputs));
    }
    assert_eq!(ended.len(), 2);
    let (_, outputs) = desk.command(Command::DisconnectAll);
    assert_eq!(replies(&outputs), [&Err(CommandError::ShuttingDown)]);
    let (_, outputs) = desk.arrive(inbound("6"));
    assert_eq!(refusal(&outputs), Some(CauseKind::Drain));
    let late = Generation::accepted(desk.accepted);
    assert!(desk.end(late, CauseKind::Drain).is_empty());
    assert!(!desk.machine.is_drained());
    assert_eq!(
        told(&desk.end(up, CauseKind::Drain)),
        [(3, Status::Disconnected)]
    );
    assert_eq!(
        told(&desk.end(inner, CauseKind::Drain)),
        [(5, Status::Disconnected)]
    );
    assert!(desk.machine.is_drained());
    assert!(desk.pass(Duration::from_secs(1_000)).is_empty());
}

#[test]
fn what_is_no_session_yet_is_closed_at_once() {
    let (mut desk, _) = desk(3, 1, Duration::from_mins(10));
    let dial = dials(&desk.add(&[77]))[0].generation;
    desk.machine.handle_drain(desk.now);
    let first = closed(&desk.outputs());
    assert!(first.contains(&dial), "{first:?}");
    assert_eq!(first.len(), 2, "the dial, and the first session");
    let waits = desk.pass(Duration::from_millis(999));
    assert!(closed(&waits).is_empty(), "one a second");
    assert_eq!(closed(&desk.pass(Duration::from_millis(1))).len(), 1);
}

#[test]
fn sessions_that_end_by_themselves_cost_no_time() {
    let (mut desk, up) = desk(4, 1, Duration::from_mins(10));
    desk.machine.handle_drain(desk.now);
    assert_eq!(closed(&desk.outputs()), up[..1]);
    for generation in &up[..3] {
        desk.end(*generation, CauseKind::ClosedByDevice);
    }
    let outputs = desk.pass(Duration::from_secs(1));
    assert_eq!(closed(&outputs), up[3..]);
    desk.end(up[3], CauseKind::Drain);
    assert!(desk.machine.is_drained());
}

#[test]
fn a_second_drain_changes_nothing() {
    let (mut desk, up) = desk(2, 1, Duration::from_mins(10));
    desk.machine.handle_drain(desk.now);
    assert_eq!(closed(&desk.outputs()), up[..1]);
    desk.machine.handle_drain(desk.now);
    assert!(desk.outputs().is_empty());
}

#[test]
fn a_fleet_that_would_not_be_through_is_drained_faster() {
    let drain = |pace, seconds| Drain {
        pace,
        grace: Duration::from_secs(seconds),
    };
    for (drain, sessions, rate) in [
        (drain(500, 30), 0, 500),
        (drain(500, 30), 11_250, 500),
        (drain(500, 30), 11_251, 501),
        (drain(500, 30), 100_000, 4445),
        (drain(1, 1), 1_000_000, 1_333_334),
    ] {
        assert_eq!(drain::rate(&drain, sessions), rate, "{sessions} {drain:?}");
    }
}

proptest! {
    /// However late the timer fires: each session is told once, never more of them than the pace
    /// allows since the beginning, and the last one in time, unless the timer came later than that.
    #[test]
    fn the_pace_is_kept_and_the_grace_time_too(
        sessions in 1_u32..300, pace in 1_u32..400, grace in 1_u64..60,
        lateness in proptest::collection::vec(0_u64..50, 300)
    ) {
        let grace = Duration::from_secs(grace);
        let (mut desk, up) = desk(sessions, pace, grace);
        let start = desk.now.instant;
        let rate = drain::rate(&Drain { pace, grace }, sessions as usize);
        desk.machine.handle_drain(desk.now);
        let mut outputs = desk.outputs();
        let mut ended = Vec::new();
        let mut lateness = lateness.into_iter();
        let mut late = Duration::ZERO;
        loop {
            let told = closed(&outputs);
            for generation in &told {
                desk.end(*generation, CauseKind::Drain);
            }
            ended.extend(told);
            let passed = desk.now.instant.since(start);
            let allowed = passed.as_micros() * u128::from(rate) / 1_000_000 + 1;
            prop_assert!(ended.len() as u128 <= allowed, "{} after {passed:?}", ended.len());
            let Some(due) = desk.machine.poll_timeout(desk.now) else {
                break;
            };
            late = Duration::from_millis(lateness.next().unwrap_or(0));
            let wait = due.since(desk.now.instant) + late;
            outputs = desk.pass(wait);
        }
        prop_assert_eq!(ended, up);
        prop_assert!(desk.machine.is_drained());
        prop_assert!(desk.now.instant.since(start) <= grace * 3 / 4 + late);
    }
}
