//! One world, made of a seed: storm, calm, end.

use std::sync::Arc;
use std::time::Duration;

use gatehouse::config::{Dial, Drain};
use gatehouse::registry::Command;
use gatehouse::registry::backoff::Backoff;
use gatehouse::registry::machine::Policy;
use gatehouse::session;
use ipnet::{IpNet, Ipv4Net};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::checks::Checks;
use super::clock::Clock;
use super::fleet::{PLAIN_NET, Peer, populate};
use super::gateway::{Gateway, Inside};
use super::net::{ConnId, Net, Packet, Side};
use super::secrets::Safe;
use super::store::Store;
use super::trace::say;
use super::watcher::Watcher;

/// The longest that a good device may take to be connected once all is well.
const CALM: Duration = Duration::from_secs(180);
/// Longer than any deadline, the longest keep-alive with its margin among them.
const REST: Duration = Duration::from_secs(120);

/// Many times what any world takes.
const STEPS_MAX: u64 = 200_000;

/// What happens next, and where.
pub enum Due {
    Arrive(ConnId, Side, Packet),
    Knock(ConnId),
    Endpoint(ConnId),
    Peer(usize),
    Operator,
    Watcher(usize),
    Start,
    /// In a process of the gateway, if it is still the same.
    Inside(u32, Inside),
}

pub struct World {
    pub clock: Clock<Due>,
    pub rng: SmallRng,
    pub net: Net,
    pub store: Store,
    pub peers: Vec<Peer>,
    pub safe: Arc<Safe>,
    pub gateway: Option<Gateway>,
    pub epoch: u32,
    pub requests: u64,
    pub watchers: Vec<Watcher>,
    pub checks: Checks,
    pub policy: Policy,
    pub session_policy: Arc<session::Policy>,
    /// Things go wrong; later they do not.
    pub stormy: bool,
    pub store_fails: f64,
    operating: bool,
    /// At which steps the gateway dies.
    crashes: Vec<u64>,
    steps: u64,
}

/// Plays the world of a seed to its end; how many steps it took.
///
/// # Panics
/// When a promise is broken.
pub fn play(seed: u64) -> u64 {
    let mut world = World::new(seed);
    world.storm();
    world.calm();
    world.end();
    world.steps
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let aes = rng.random_bool(0.2);
        let (peers, safe) = populate(&mut rng, aes);
        let crashes = rng.random_range(0..=3);
        let delay_max = Duration::from_millis([5, 100, 1_500][rng.random_range(0..3)]);
        let log_max = [10, 60, 100_000][rng.random_range(0..3)];
        let watchers = [0, 3, 1_000].map(Watcher::new).into();
        Self {
            clock: Clock::new(),
            net: Net::new(delay_max),
            store: Store::new(log_max),
            peers,
            safe: Arc::new(safe),
            gateway: None,
            epoch: 0,
            requests: 0,
            watchers,
            checks: Checks::default(),
            policy: policy(&mut rng),
            session_policy: Arc::new(session::Policy::default()),
            stormy: true,
            store_fails: [0.0, 0.02, 0.2][rng.random_range(0..3)],
            operating: true,
            crashes: (0..crashes).map(|_| rng.random_range(1..4_000)).collect(),
            steps: 0,
            rng,
        }
    }

    fn storm(&mut self) {
        self.start();
        for index in 0..self.peers.len() {
            self.clock.after(Duration::ZERO, Due::Peer(index));
        }
        for index in 0..self.watchers.len() {
            self.clock.after(Duration::ZERO, Due::Watcher(index));
        }
        if self.rng.random_bool(0.7) {
            self.begin_well();
        }
        self.clock.after(Duration::ZERO, Due::Operator);
        let length = self.span(20_000, 180_000);
        self.run(length);
    }

    /// From now on nothing breaks any more, and whoever should be connected is so in time.
    fn calm(&mut self) {
        say(|| format!("{} calm", self.clock.instant()));
        self.stormy = false;
        self.operating = false;
        self.crashes.clear();
        self.net.calm();
        for index in 0..self.peers.len() {
            let id = self.id_of(index);
            let rival = (0..index).any(|other| {
                self.peers[other].good
                    && self.peers[other].config.device == self.peers[index].config.device
            });
            let peer = &mut self.peers[index];
            let impostor =
                !peer.good && id.is_some_and(|id| peer.strength(id, &self.safe).is_none());
            peer.powered = peer.good && !rival || impostor;
            let goes = !peer.powered;
            if goes {
                self.drop_ends(index, Packet::Reset);
            }
        }
        self.run(CALM);
        self.check_connected();
        self.check_told();
    }

    /// All is deleted or drained, and nothing is left.
    fn end(&mut self) {
        if self.rng.random_bool(0.5) {
            say(|| format!("{} all is deleted", self.clock.instant()));
            let listed = self.store.disk.devices.keys().copied().collect();
            self.send_command(Command::SetAcceptFilter(Default::default()));
            self.run(Duration::from_secs(1));
            self.send_command(Command::DeleteAsync(listed));
            self.send_command(Command::DisconnectAll);
            self.power_off();
            self.run(REST);
            self.check_nothing_left();
        }
        say(|| format!("{} drain", self.clock.instant()));
        self.registry(|machine, now| machine.handle_drain(now));
        self.send_command(Command::DisconnectAll);
        self.run(Duration::from_secs(5));
        self.power_off();
        self.run(REST);
        self.check_nothing_left();
        let drained = self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.machine.is_drained());
        assert!(drained, "promise 5: the drained gateway is not drained");
        self.check_told();
    }

    fn power_off(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.powered = false);
    }

    fn run(&mut self, length: Duration) {
        let end = self.clock.instant() + length;
        while let Some(due) = self.clock.next(end) {
            self.steps += 1;
            assert!(
                self.steps <= STEPS_MAX,
                "promise 4: the world does not come to rest"
            );
            self.happen(due);
            self.check_sessions();
            if self.crashes.contains(&self.steps) {
                self.crash();
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Arrive(id, Side::Gateway, packet) => self.arrive_at_gateway(id, packet),
            Due::Arrive(id, Side::Device, packet) => self.arrive_at_device(id, packet),
            Due::Knock(id) => self.accept(id),
            Due::Endpoint(id) => self.endpoint_timer(id),
            Due::Peer(index) => self.live(index),
            Due::Operator if self.operating => self.operate(),
            Due::Operator => {}
            Due::Watcher(index) => self.watch(index),
            Due::Start => self.start(),
            Due::Inside(epoch, inside) if epoch == self.epoch => self.inside(inside),
            Due::Inside(..) => {}
        }
    }

    /// Evenly spread, in milliseconds.
    pub fn span(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let micros = self.rng.random_range(from_ms * 1000..=to_ms * 1000);
        Duration::from_micros(micros)
    }

    /// How long a message lies in a mailbox.
    pub fn mail_delay(&mut self) -> Duration {
        let max = match self.rng.random_range(0..1000) {
            0 if self.stormy => 11_000_000,
            1..50 if self.stormy => 300_000,
            _ => 500,
        };
        Duration::from_micros(self.rng.random_range(0..=max))
    }
}

fn policy(rng: &mut SmallRng) -> Policy {
    let plain = IpNet::V4(Ipv4Net::new_assert(PLAIN_NET.into(), 24));
    let min = Duration::from_millis(rng.random_range(200..2_000));
    let max = min * rng.random_range(1..12);
    let Ok(backoff) = Backoff::new(min, max) else {
        panic!("the minimum lies between zero and the maximum");
    };
    Policy {
        backoff,
        stable_after: Duration::from_secs(rng.random_range(1..30)),
        dial: Dial {
            in_flight_max: rng.random_range(1..6),
            rate_max: rng.random_range(1..30),
            plain_to: vec![plain],
            ..Dial::default()
        },
        takeover_burst: rng.random_range(1..4),
        takeover_interval: Duration::from_secs(rng.random_range(1..10)),
        devices_max: 64,
        sessions_max: usize::MAX,
        pending_max: rng.random_range(1..5),
        unproven_max: 3,
        trouble_max: 3,
        forget_slaves: false,
        filter_by_address: rng.random_bool(0.7),
        drain: Drain::default(),
    }
}
