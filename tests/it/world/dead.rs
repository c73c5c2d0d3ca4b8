//! A fleet that is dead for hours: what it costs is dials, not events.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use gatehouse::cause::{Cause, CauseKind};
use gatehouse::config::{Dial, Drain};
use gatehouse::device::{DeviceId, Generation, Status};
use gatehouse::event::{Change, StatusEvent};
use gatehouse::registry::backoff::Backoff;
use gatehouse::registry::machine::{Machine, Policy};
use gatehouse::registry::{AutoDevice, Command, Output, RequestId, Stored};
use gatehouse::session::SessionEvent;
use gatehouse::time::Instant;

use super::clock::Clock;
use super::secrets::Safe;

const DEVICES: u32 = 2_000;
const HOURS: Duration = Duration::from_secs(10 * 3600);
/// When every device has been tried once.
const FIRST_TRIES: Duration = Duration::from_secs(10);

/// A failed dial, or the timer of the registry.
enum Due {
    Failed(Generation, CauseKind),
    Timer,
}

/// The dead fleet, and what was told of it.
struct DeadFleet {
    machine: Machine,
    clock: Clock<Due>,
    armed: Option<Instant>,
    log: Vec<(Instant, StatusEvent)>,
    dials: u64,
}

impl DeadFleet {
    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Dial(order) => {
                    self.dials += 1;
                    // Some refuse, some do not answer; the status is the same.
                    let (after, kind) = match order.address.port() % 2 {
                        0 => (Duration::from_millis(3), CauseKind::DialFailed),
                        _ => (Duration::from_secs(5), CauseKind::DialTimeout),
                    };
                    self.clock.after(after, Due::Failed(order.generation, kind));
                }
                Output::Persist(commit, _) => {
                    self.machine
                        .handle_committed(commit, Ok(()), self.clock.now());
                }
                Output::Event(event) => self.log.push((self.clock.instant(), event)),
                Output::Session(..) | Output::Reply(..) | Output::Enrol(_) => {}
            }
        }
        if let Some(due) = self.machine.poll_timeout(self.clock.now())
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            self.clock.at(due, Due::Timer);
        }
    }
}

#[test]
fn dead_devices_write_their_first_failure_and_no_more() {
    let policy = Policy {
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).unwrap(),
        stable_after: Duration::from_secs(60),
        dial: Dial {
            in_flight_max: 1024,
            rate_max: 10_000,
            link: gatehouse::config::DialLink::Plain,
            ..Dial::default()
        },
        takeover_burst: 3,
        takeover_interval: Duration::from_secs(10),
        devices_max: 100_000,
        sessions_max: usize::MAX,
        pending_max: 10,
        unproven_max: 3,
        trouble_max: 3,
        forget_slaves: false,
        filter_by_address: false,
        drain: Drain::default(),
    };
    let stored = Stored {
        event_next: 1,
        events_reserved: 1_000_000,
        ..Stored::default()
    };
    let clock = Clock::new();
    let machine = Machine::new(policy, Arc::new(Safe::new()), stored, 7, clock.now());
    let start = clock.instant();
    let mut fleet = DeadFleet {
        machine,
        clock,
        armed: None,
        log: Vec::new(),
        dials: 0,
    };
    let device = |id| AutoDevice {
        id: DeviceId::new(id).unwrap(),
        address: SocketAddrV4::new([10, 0, 0, 1].into(), id as u16),
        use_ssl: false,
    };
    let devices = (1..=DEVICES).map(device).collect();
    let now = fleet.clock.now();
    fleet
        .machine
        .handle_command(RequestId(0), Command::AddAsync(devices), now);
    fleet.carry_out();
    while let Some(due) = fleet.clock.next(start + HOURS) {
        let now = fleet.clock.now();
        match due {
            Due::Failed(generation, kind) => {
                let ended = SessionEvent::Ended(Cause::from(kind));
                fleet.machine.handle_session(generation, ended, now);
            }
            Due::Timer => {
                fleet.armed = None;
                fleet.machine.handle_timeout(now);
            }
        }
        fleet.carry_out();
    }
    let mut paths: BTreeMap<DeviceId, Vec<(Change, Status)>> = BTreeMap::new();
    for (time, event) in &fleet.log {
        assert!(time.since(start) <= FIRST_TRIES, "{time}: {event:?}");
        let path = paths.entry(event.device).or_default();
        path.push((event.change, event.new));
    }
    let first_failure = [
        (Change::Added, Status::Disconnected),
        (Change::Changed, Status::TryToConnect),
        (Change::Changed, Status::TcpCannotConnect),
    ];
    assert_eq!(paths.len(), DEVICES as usize);
    assert!(paths.values().all(|path| *path == first_failure));
    let tries = fleet.dials / u64::from(DEVICES);
    assert!(tries > 1_000, "each was tried {tries} times only");
}
