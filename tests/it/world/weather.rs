//! The life of the devices outside of their connections, and what goes wrong in it.

use rand::RngExt;

use super::fleet::Endpoint;
use super::net::{ConnId, Packet};
use super::play::{Due, World};
use super::trace::say;

impl World {
    /// A device's life outside of its connections.
    pub fn live(&mut self, index: usize) {
        if self.stormy {
            self.weather(index);
        }
        let peer = &self.peers[index];
        let mut busy = false;
        let mut stuck = Vec::new();
        for (id, conn) in &self.net.conns {
            if conn.peer == index && conn.endpoint.is_some() {
                busy |= !conn.silent;
                if conn.silent {
                    stuck.push(*id);
                }
            }
        }
        let twice = self.stormy && self.rng.random_bool(0.1);
        if peer.powered && peer.dials && (!busy || twice) {
            self.device_dials(index);
        }
        for id in stuck {
            // Its kernel gives up on a connection without answers.
            if !self.stormy || self.rng.random_bool(0.3) {
                self.end_endpoint(id, None);
            }
        }
        let pause = match self.stormy {
            true => self.span(200, 6_000),
            false => self.span(1_000, 5_000),
        };
        self.clock.after(pause, Due::Peer(index));
    }

    fn device_dials(&mut self, index: usize) {
        let now = self.clock.instant();
        let entropy = self.rng.random();
        let endpoint = Endpoint::new(&self.peers[index], true, entropy);
        let id = self.net.open(index, endpoint, now);
        say(|| format!("{now} device {index} dials"));
        self.net.knock(id, &mut self.clock, &mut self.rng);
        self.drive_endpoint(id);
    }

    /// What may go wrong at any time.
    fn weather(&mut self, index: usize) {
        let now = self.clock.instant();
        let roll = self.rng.random_range(0..100);
        if !self.peers[index].powered {
            self.peers[index].powered = roll < 40;
            return;
        }
        match roll {
            0..3 => {
                say(|| format!("{now} device {index} loses power"));
                self.peers[index].powered = false;
                self.forget_ends(index);
            }
            3..6 => {
                say(|| format!("{now} device {index} reboots"));
                self.forget_ends(index);
            }
            6..9 => self.drop_ends(index, Packet::Reset),
            9..14 => {
                say(|| format!("{now} device {index} falls silent"));
                let conns = self.net.conns.values_mut();
                conns
                    .filter(|conn| conn.peer == index)
                    .for_each(|conn| conn.silent = true);
            }
            14..17 => self.one_side_breaks(index),
            17..20 => {
                let peer = &mut self.peers[index];
                (peer.listens, peer.dials) = (peer.dials, peer.listens);
            }
            20..22 => self.fault(index),
            _ => {}
        }
    }

    fn conns_of(&self, index: usize) -> Vec<ConnId> {
        let conns = self.net.conns.iter();
        conns
            .filter(|(_, conn)| conn.peer == index)
            .map(|(id, _)| *id)
            .collect()
    }

    /// The device forgets its connections without a word.
    fn forget_ends(&mut self, index: usize) {
        for id in self.conns_of(index) {
            self.end_endpoint(id, None);
        }
    }

    pub fn drop_ends(&mut self, index: usize, word: Packet) {
        for id in self.conns_of(index) {
            self.end_endpoint(id, Some(word.clone()));
        }
    }

    /// A connection breaks, and one end alone is told.
    fn one_side_breaks(&mut self, index: usize) {
        for id in self.conns_of(index) {
            let Some(conn) = self.net.conns.get_mut(&id) else {
                continue;
            };
            let at_gateway = self.rng.random_bool(0.5);
            if at_gateway {
                conn.inbox_end = Some(Packet::Reset);
                conn.silent = true;
                if let Some(generation) = conn.session {
                    self.drive(generation);
                }
            } else {
                conn.silent = true;
                self.end_endpoint(id, None);
            }
        }
    }

    /// A session's actor dies, or its listener needs its place.
    fn fault(&mut self, index: usize) {
        for id in self.conns_of(index) {
            let session = self.net.conns.get(&id).and_then(|conn| conn.session);
            if let Some(generation) = session {
                say(|| format!("{} {generation} dies of a fault", self.clock.instant()));
                self.kill_session(generation);
            }
        }
    }
}
