//! Rules that change while the machine runs.

use super::*;

#[test]
fn other_limits_hold_for_what_comes_and_close_nothing() {
    let mut desk = Desk::new();
    desk.allow_all();
    for id in ["1", "2", "3"] {
        desk.arrive(inbound(id));
    }
    let fewer = Policy {
        devices_max: 2,
        sessions_max: 2,
        ..policy()
    };
    desk.machine.handle_policy(fewer, desk.now);
    assert!(desk.outputs().is_empty(), "nobody is closed");
    assert_eq!(desk.machine.sessions(), 3);
    let (_, outputs) = desk.arrive(inbound("4"));
    assert_eq!(refusal(&outputs), Some(CauseKind::Busy));
    desk.machine.handle_policy(policy(), desk.now);
    let (_, outputs) = desk.arrive(inbound("5"));
    assert_eq!(told(&outputs), [(5, Status::TcpConnected)]);
}

#[test]
fn the_lists_of_who_was_turned_away_are_cut_to_their_size() {
    let mut desk = Desk::new();
    for id in ["1", "2", "3"] {
        desk.arrive(inbound(id));
    }
    let pending = |desk: &mut Desk| desk.machine.snapshot().pending.len();
    assert_eq!(pending(&mut desk), 3);
    let fewer = Policy {
        pending_max: 2,
        ..policy()
    };
    desk.machine.handle_policy(fewer, desk.now);
    assert_eq!(pending(&mut desk), 2, "at once");
    desk.arrive(inbound("4"));
    assert_eq!(pending(&mut desk), 2);
    desk.machine.handle_policy(policy(), desk.now);
    desk.arrive(inbound("5"));
    assert_eq!(pending(&mut desk), 3);
}

#[test]
fn dials_that_waited_for_a_limit_start_when_it_is_raised() {
    let mut desk = Desk::new();
    assert_eq!(dials(&desk.add(&[1, 2, 3, 4])).len(), 2);
    let mut more = policy();
    more.dial.in_flight_max = 3;
    desk.machine.handle_policy(more, desk.now);
    assert_eq!(dials(&desk.outputs()).len(), 1);
}

#[test]
fn takeovers_follow_the_new_rule() {
    let mut desk = Desk::new();
    desk.allow_all();
    let (mut up, _) = desk.arrive(inbound("1"));
    let mut take_over = |desk: &mut Desk| {
        let (newcomer, outputs) = desk.arrive(inbound("1"));
        let is_taken = refusal(&outputs).is_none();
        if is_taken {
            desk.end(up, CauseKind::Replaced);
            up = newcomer;
        }
        is_taken
    };
    assert!(take_over(&mut desk));
    assert!(!take_over(&mut desk), "one in ten seconds");
    let more = Policy {
        takeover_burst: 3,
        ..policy()
    };
    desk.machine.handle_policy(more, desk.now);
    assert!(take_over(&mut desk));
}
