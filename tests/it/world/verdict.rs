//! The promises that speak of the world as a whole: nobody lives too long, whoever should be
//! connected is, and in the end nothing is left.

use std::time::Duration;

use gatehouse::device::{DeviceId, Generation};
use rand::RngExt;

use super::play::{Due, World};

/// So much may one interval and its margin be exceeded: nothing, but for rounding.
const TICK: Duration = Duration::from_micros(1);
/// How long a session may still live after its end.
const LINGER: Duration = Duration::from_secs(1);

impl World {
    pub fn watch(&mut self, index: usize) {
        let items = match self.stormy {
            true => self.rng.random_range(1..30),
            false => usize::MAX,
        };
        if let Some(gateway) = &self.gateway {
            let watcher = &mut self.watchers[index];
            let all = watcher.read(items, gateway.position, &gateway.snapshot, &self.store);
            assert!(
                !all || self.checks.is_told(watcher.devices()),
                "promise 3: a subscriber that has all holds {:?}, and told was {:?}",
                watcher.devices(),
                self.checks.told()
            );
        }
        let pause = self.span(10, 6_000);
        self.clock.after(pause, Due::Watcher(index));
    }

    pub fn check_told(&mut self) {
        for index in 0..self.watchers.len() {
            self.watch(index);
        }
    }

    /// No session outlives its phase or the silence of its device.
    pub fn check_sessions(&mut self) {
        let now = self.clock.instant();
        let Some(gateway) = &self.gateway else {
            return;
        };
        for (generation, shell) in &gateway.sessions {
            let policy = &shell.policy;
            let (since, limit) = match (shell.ended, shell.admitted) {
                (Some(ended), _) => (ended, LINGER),
                (None, true) => (shell.heard, shell.keep_alive * 115 / 100),
                (None, false) => {
                    let phases = [
                        policy.dial_deadline,
                        policy.first_byte_deadline,
                        policy.handshake_deadline,
                        policy.connect_deadline,
                        policy.verdict_deadline,
                    ];
                    (shell.created, phases.into_iter().sum())
                }
            };
            assert!(
                now.since(since) <= limit + TICK,
                "promise 5: {generation} lives {:?} after it should have ended, {:?} after",
                now.since(since),
                limit
            );
        }
    }

    pub fn check_connected(&mut self) {
        let Some(gateway) = &self.gateway else {
            panic!("the gateway runs when all is calm");
        };
        for index in 0..self.peers.len() {
            let Some(id) = self.id_of(index) else {
                continue;
            };
            if !self.is_due(index, id) {
                continue;
            }
            let view = gateway.snapshot.devices.get(&id);
            assert!(
                view.is_some_and(|view| view.status.is_connected()),
                "promise 5: {id} is well and not connected: {:?}, {view:?}",
                self.peers[index]
            );
        }
    }

    /// Whether this device must be connected by now.
    fn is_due(&self, index: usize, id: DeviceId) -> bool {
        let peer = &self.peers[index];
        let identity = peer.identity();
        let stored = self.store.disk.identities.get(&id);
        let proven = peer.strength(id, &self.safe).is_some();
        if !peer.powered
            || !peer.good
            || !proven
            || stored.is_some_and(|stored| Some(stored) != identity.as_ref())
        {
            return false;
        }
        let filter = self.store.disk.accept_filter.compile();
        let by_address = self.policy.filter_by_address;
        let comes = peer.dials && filter.accepts(id, (*peer.address.ip()).into(), by_address);
        let auto = self.store.disk.devices.get(&id);
        let is_fetched = peer.listens
            && auto.is_some_and(|auto| auto.address == peer.address && auto.use_ssl == peer.tls);
        comes || is_fetched
    }

    pub fn check_nothing_left(&mut self) {
        let now = self.clock.now();
        let Some(gateway) = &self.gateway else {
            return;
        };
        let live: Vec<&Generation> = gateway.sessions.keys().collect();
        assert!(live.is_empty(), "promise 5: sessions are left: {live:?}");
        self.checks.nothing_is_up();
        let machine = &gateway.machine;
        assert_eq!(machine.attempts(), 0, "promise 5: attempts are left");
        assert_eq!(machine.dials_in_flight(), 0, "promise 5: dials are left");
        assert_eq!(
            machine.poll_timeout(now),
            None,
            "promise 5: a timer is left"
        );
        assert!(
            self.checks.unanswered().is_empty(),
            "promise 5: unanswered are {:?}",
            self.checks.unanswered()
        );
        assert!(self.store.is_idle(), "promise 5: changes are left");
    }
}
