//! How long each step took, on every link.

use std::time::Duration;

use super::world::{START, World, connect, peer, setup};
use crate::codec::dialect::Dialect;
use crate::device::{ConnectionMode, DeviceId, LinkKind};
use crate::link::link_key::LinkKey;
use crate::link::noise::Initiator;
use crate::session::DialLink;
use crate::session::SessionCommand;
use crate::session::course::Step;
use crate::session::machine::Machine;

use super::world::FLEET_KEY;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A Connect after 20 ms, judged after 30 ms.
fn admit(world: &mut World) {
    world.pass(ms(20));
    world.say(&connect(7));
    world.pass(ms(30));
    world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
}

#[test]
fn an_accepted_link_that_is_secured() {
    let mut world = World::aes_accepted(Dialect::Current);
    let (mut initiator, first) = Initiator::start(&LinkKey::new(FLEET_KEY), [2; 32]).unwrap();
    world.pass(ms(1));
    world.feed(&first[..5]);
    world.pass(ms(2));
    world.feed(&first[5..]);
    world.pass(ms(100));
    world.machine.handle_permit([3; 32], world.now);
    let answer = world.raw_sent();
    assert!(initiator.read(&mut &answer[..]).unwrap());
    world.device.transport = Some(initiator.finish().unwrap());
    admit(&mut world);
    let expected = [
        (Step::FirstByte, ms(1)),
        (Step::Permit, ms(100)),
        (Step::Handshake, ms(2)),
        (Step::Connect, ms(20)),
        (Step::Verdict, ms(30)),
    ];
    assert_eq!(world.machine.take_steps(), expected);
    assert_eq!(world.machine.take_steps(), []);
}

/// What the gateway itself waits for is not the fault of the device.
#[test]
fn who_is_let_in_is_told_with_the_time_to_its_connect() {
    let mut world = World::plain(Dialect::Current);
    world.pass(ms(999));
    world.say(&connect(7));
    world.pass(ms(5000));
    assert_eq!(world.admitted, None);
    world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
    assert_eq!(world.admitted, Some(ms(999)));
}

#[test]
fn a_dialled_link_without_security() {
    let machine = Machine::dialled(peer(), DialLink::Plain, setup(), START);
    let mode = ConnectionMode::ServerToDevice;
    let mut world = World::new(machine, Dialect::Current, LinkKind::Plain, mode);
    world.pass(ms(7));
    world.machine.handle_opened([1; 32], world.now);
    assert_eq!(world.machine.take_steps(), [(Step::Dial, ms(7))]);
    admit(&mut world);
    let expected = [(Step::Connect, ms(20)), (Step::Verdict, ms(30))];
    assert_eq!(world.machine.take_steps(), expected);
}

/// Each step is told once, whatever messages a handshake is made of.
#[test]
fn every_link_has_each_of_its_steps_once() {
    for mut world in World::all(Dialect::Current) {
        admit(&mut world);
        let steps = world.machine.take_steps();
        let steps: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
        let is_inbound = world.mode() == ConnectionMode::DeviceToServer;
        let is_plain = world.link() == LinkKind::Plain;
        // Where the gateway is the one that computes first there is no wait for a permit.
        let expected: Vec<Step> = Step::ALL
            .into_iter()
            .filter(|step| match step {
                Step::Dial => !is_inbound,
                Step::FirstByte => is_inbound,
                Step::Handshake => !is_plain,
                Step::Permit => steps.contains(&Step::Permit),
                Step::Connect | Step::Verdict => true,
            })
            .collect();
        let mut sorted = steps.clone();
        sorted.sort_by_key(|step| *step as usize);
        assert_eq!(sorted, expected, "{:?} {:?}", world.link(), world.mode());
        assert!(!(is_plain && steps.contains(&Step::Permit)));
    }
}
