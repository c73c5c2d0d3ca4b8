//! What is counted of devices that make trouble.

use super::*;
use crate::registry::trouble::Measure;
use crate::registry::trouble::top::{Query, TopDevice, WINDOW_MAX};
use crate::registry::trouble::window::Total;

impl Desk {
    fn top(&mut self, by: Measure) -> Vec<TopDevice> {
        let query = Query::new(by, WINDOW_MAX, 10).unwrap();
        query.devices(&self.machine.snapshot(), self.now.instant)
    }

    /// Device and how often.
    fn counts(&mut self, by: Measure) -> Vec<(u32, u64)> {
        let top = self.top(by);
        top.iter()
            .map(|top| (top.id.get(), top.of(by).events))
            .collect()
    }

    /// Name, how often and why last, of those who are no devices.
    fn peers(&mut self) -> Vec<(String, u64, Option<CauseKind>)> {
        let query = Query::new(Measure::Refused, WINDOW_MAX, 10).unwrap();
        let peers = query.peers(&self.machine.snapshot(), self.now.instant);
        peers
            .into_iter()
            .map(|peer| {
                let name = peer.key.1.device.into();
                (name, peer.refused.events, cause(&peer.refused))
            })
            .collect()
    }
}

fn cause(total: &Total) -> Option<CauseKind> {
    total.last.as_ref().and_then(|last| last.cause)
}

#[test]
fn a_session_that_nobody_ended_here_is_a_loss() {
    let mut desk = Desk::new();
    let first = bring_up(&mut desk, 3);
    desk.end(first, CauseKind::KeepAliveTimeout);
    let top = desk.top(Measure::Losses);
    assert_eq!(desk.counts(Measure::Losses), [(3, 1)]);
    let losses = top[0].of(Measure::Losses);
    assert_eq!(losses.parts, [1, 0, 0, 0]);
    assert_eq!(cause(losses), Some(CauseKind::KeepAliveTimeout));
    assert_eq!(top[0].peer(), Some(([10, 0, 0, 9], 40_000).into()));
    assert_eq!(top[0].identity().map(|name| &*name.device), Some("3"));
    assert!(top[0].view.is_some());

    let second = bring_up(&mut desk, 4);
    desk.command(Command::Disconnect(vec![device(4)]));
    desk.end(second, CauseKind::IoError);
    assert_eq!(desk.counts(Measure::Losses), [(3, 1)], "it was ordered");
    desk.pass(WINDOW_MAX);
    assert!(desk.counts(Measure::Losses).is_empty());
}

#[test]
fn a_device_that_left_the_list_is_still_told() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (session, _) = desk.arrive(inbound("1001"));
    desk.end(session, CauseKind::ClosedByDevice);
    assert_eq!(desk.status(1001), None);
    let top = desk.top(Measure::Losses);
    assert_eq!(top[0].view, None);
    assert_eq!(top[0].identity().map(|name| &*name.device), Some("1001"));
}

#[test]
fn a_dial_that_comes_to_nothing_is_a_failed_try_and_no_refusal() {
    let mut desk = Desk::new();
    let outputs = desk.add(&[3]);
    desk.end(dials(&outputs)[0].generation, CauseKind::DialFailed);
    // Somebody else answers the next dial.
    let outputs = desk.pass(Duration::from_secs(2));
    let wrong = dials(&outputs)[0].generation;
    desk.claim(wrong, dialled("4"));
    desk.end(wrong, CauseKind::IoError);
    assert_eq!(desk.counts(Measure::Failed), [(3, 2)]);
    let failed = desk.top(Measure::Failed);
    assert_eq!(
        cause(failed[0].of(Measure::Failed)),
        Some(CauseKind::WrongDevice)
    );
    assert!(desk.counts(Measure::Refused).is_empty());
    assert!(desk.peers().is_empty());
}

#[test]
fn a_takeover_is_counted_as_that_and_as_a_loss() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (older, _) = desk.arrive(inbound("1001"));
    desk.arrive(inbound("1001"));
    desk.end(older, CauseKind::Superseded);
    assert_eq!(desk.counts(Measure::Takeovers), [(1001, 1)]);
    assert_eq!(desk.counts(Measure::Losses), [(1001, 1)]);
    assert_eq!(
        desk.top(Measure::Losses)[0].of(Measure::Losses).parts,
        [0, 0, 0, 1]
    );
    // The next one comes too soon.
    let (_, outputs) = desk.arrive(inbound("1001"));
    assert_eq!(refusal(&outputs), Some(CauseKind::TakeoverLimit));
    assert_eq!(desk.counts(Measure::Refused), [(1001, 1)]);
    assert_eq!(desk.counts(Measure::Takeovers), [(1001, 1)]);
}

#[test]
fn who_was_never_let_in_or_shows_no_proof_is_no_device() {
    let mut desk = Desk::new();
    desk.arrive(inbound("1001"));
    assert_eq!(
        desk.peers(),
        [("1001".to_owned(), 1, Some(CauseKind::NotAccepted))]
    );
    desk.allow_all();
    let (session, _) = desk.arrive(inbound("1001"));
    desk.end(session, CauseKind::ClosedByDevice);
    desk.command(Command::SetAcceptFilter(AcceptFilter::default()));
    desk.arrive(inbound("1001"));
    assert_eq!(desk.counts(Measure::Refused), [(1001, 1)], "known by now");

    // Its name with nothing to prove it, and under another owner, are not it.
    let mut unproven = inbound("1001");
    unproven.evidence = Evidence::default();
    desk.arrive(unproven);
    desk.allow_all();
    let mut other = inbound("1001");
    other.identity = Identity::new("mallory", "1001").unwrap();
    desk.arrive(other);
    assert_eq!(desk.counts(Measure::Refused), [(1001, 1)]);
    let mut peers = desk.peers();
    peers.sort_by_key(|(_, count, _)| *count);
    assert_eq!(
        peers,
        [
            ("1001".to_owned(), 1, Some(CauseKind::WrongOwner)),
            ("1001".to_owned(), 2, Some(CauseKind::NotProven)),
        ]
    );
}

#[test]
fn names_that_are_made_up_push_no_device_out() {
    let mut desk = Desk::new();
    let first = bring_up(&mut desk, 3);
    desk.end(first, CauseKind::IoError);
    for number in 0..200 {
        desk.arrive(inbound(&format!("made-up-{number}")));
    }
    assert_eq!(desk.counts(Measure::Losses), [(3, 1)]);
    assert!(desk.counts(Measure::Refused).is_empty());
    assert_eq!(desk.peers().len(), policy().trouble_max);
}

#[test]
fn slow_answers_and_connections_count_for_listed_devices() {
    let mut desk = Desk::new();
    let session = bring_up(&mut desk, 3);
    for (id, seconds) in [(3, 2), (3, 5), (4, 9)] {
        let took = Duration::from_secs(seconds);
        desk.machine.handle_slow(device(id), took, desk.now);
    }
    // A connection that is no session of anybody is passed over, too.
    for generation in [session, Generation::dialled(99)] {
        let took = Duration::from_secs(1);
        desk.report(generation, SessionEvent::Slow { took });
    }
    assert!(desk.machine.news().is_some());
    let slow = desk.top(Measure::Slow);
    assert_eq!(desk.counts(Measure::Slow), [(3, 3)]);
    let total = slow[0].of(Measure::Slow);
    let seconds = (total.worst.as_secs(), total.sum.as_secs(), total.weight);
    assert_eq!(seconds, (5, 8, 8_000));
    assert_eq!(total.parts, [2, 1, 0, 0]);
    assert!(desk.machine.news().is_none(), "nothing happened since");
}

#[test]
fn a_drain_is_no_trouble() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (session, _) = desk.arrive(inbound("1001"));
    desk.machine.handle_drain(desk.now);
    desk.end(session, CauseKind::Drain);
    desk.arrive(inbound("1001"));
    assert!(desk.counts(Measure::Losses).is_empty());
    assert!(desk.counts(Measure::Refused).is_empty());
    assert!(desk.peers().is_empty());
}
