//! What is counted of it all.

use super::*;
use crate::registry::counts::Observed;

#[test]
fn each_end_and_each_try_is_counted_once_by_its_cause() {
    let mut desk = Desk::new();
    desk.allow_all();
    let generation = bring_up(&mut desk, 3);
    desk.pass(Duration::from_secs(59));
    desk.end(generation, CauseKind::KeepAliveTimeout);
    let tried = desk.pass(Duration::from_secs(30));
    desk.end(dials(&tried)[0].generation, CauseKind::DialTimeout);
    let (steady, _) = desk.arrive(inbound("9"));
    desk.pass(Duration::from_secs(60));
    desk.end(steady, CauseKind::ClosedByDevice);
    let mut stranger = inbound("11");
    stranger.evidence.link_key = None;
    let (stranger, _) = desk.arrive(stranger);
    desk.end(stranger, CauseKind::ClosedByDevice);

    let counts = desk.machine.snapshot().counts;
    let [by_us, by_them] = [0, 1].map(|mode| counts.failed[mode]);
    assert_eq!(counts.opened[LinkKind::Aes as usize], [1, 1]);
    assert_eq!(counts.connected(ConnectionMode::DeviceToServer), 1);
    assert_eq!(counts.closed.get(CauseKind::KeepAliveTimeout), 1);
    assert_eq!(counts.closed.get(CauseKind::ClosedByDevice), 1);
    assert_eq!(by_us.get(CauseKind::DialTimeout), 1);
    // Why it was turned away, not how it went.
    assert_eq!(by_them.get(CauseKind::NotProven), 1);
    let total = |of: crate::cause::PerCause| -> u64 {
        CauseKind::ALL.into_iter().map(|kind| of.get(kind)).sum()
    };
    assert_eq!(
        (total(counts.closed), total(by_us), total(by_them)),
        (2, 1, 1)
    );
    assert_eq!(counts.short, 1);
    assert_eq!((counts.backing_off, counts.dials_in_flight), (0, 1));

    let observed = desk.machine.take_observed();
    let lasted: Vec<_> = observed
        .iter()
        .filter(|one| matches!(one, Observed::SessionLasted(_)))
        .collect();
    let expected = [59, 60].map(|secs| Observed::SessionLasted(Duration::from_secs(secs)));
    assert_eq!(lasted, expected.iter().collect::<Vec<_>>());
    assert_eq!(observed.len() - lasted.len(), 2, "two waits were drawn");
    assert_eq!(desk.machine.take_observed(), []);
}

#[test]
fn what_waits_for_its_turn_is_counted_as_it_is() {
    let mut desk = Desk::new();
    let outputs = desk.add(&[1, 2, 3, 4]);
    assert_eq!(dials(&outputs).len(), 2, "as the policy says");
    let counts = desk.machine.snapshot().counts;
    assert_eq!((counts.dials_in_flight, counts.dials_queued), (2, 2));
}

/// A failed try that changes no status is news to who counts.
#[test]
fn counts_alone_are_worth_a_snapshot() {
    let mut desk = Desk::new();
    desk.machine.news();
    assert!(desk.machine.news().is_none());
    let mut stranger = inbound("11");
    stranger.evidence.link_key = None;
    let (stranger, _) = desk.arrive(stranger);
    desk.machine.news();
    desk.end(stranger, CauseKind::ClosedByDevice);
    assert!(desk.machine.news().is_some());
    assert!(desk.machine.news().is_none());
}
