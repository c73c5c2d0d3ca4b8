//! The virtual network: byte pipes that delay, cut, break and go silent.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse::device::Generation;
use gatehouse::time::Instant;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::clock::Clock;
use super::fleet::Endpoint;
use super::play::Due;

pub type ConnId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Gateway,
    Device,
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Packet {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// One TCP connection.
pub struct Conn {
    pub peer: usize,
    /// The gateway's end, while it is open.
    pub session: Option<Generation>,
    /// The device's end, while it is open.
    pub endpoint: Option<Endpoint>,
    /// Whether the device was admitted, as far as it knows.
    pub admitted: bool,
    /// Nothing arrives at either end any more, and neither is told.
    pub silent: bool,
    /// What arrived at the gateway and was not read yet.
    pub inbox: Vec<u8>,
    pub inbox_end: Option<Packet>,
    /// What arrives next comes no earlier than this.
    to_gateway: Instant,
    to_device: Instant,
    /// When the device's timer is armed.
    pub armed: Option<Instant>,
}

pub struct Net {
    pub conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    /// The longest delay of a packet in this world.
    delay_max: Duration,
}

impl Net {
    pub fn new(delay_max: Duration) -> Self {
        Self {
            conns: BTreeMap::new(),
            next: 0,
            delay_max,
        }
    }

    pub fn calm(&mut self) {
        self.delay_max = Duration::from_millis(5);
    }

    pub fn delay(&self, rng: &mut SmallRng) -> Duration {
        let max = self.delay_max.as_micros() as u64;
        // Most packets are quick.
        let max = if rng.random_bool(0.9) { max / 20 } else { max };
        Duration::from_micros(rng.random_range(50..=max.max(60)))
    }

    pub fn open(&mut self, peer: usize, endpoint: Endpoint, now: Instant) -> ConnId {
        self.next += 1;
        let conn = Conn {
            peer,
            session: None,
            endpoint: Some(endpoint),
            admitted: false,
            silent: false,
            inbox: Vec::new(),
            inbox_end: None,
            to_gateway: now,
            to_device: now,
            armed: None,
        };
        self.conns.insert(self.next, conn);
        self.next
    }

    /// Sends to one side, cut anywhere.
    pub fn send(
        &mut self,
        id: ConnId,
        to: Side,
        packet: Packet,
        clock: &mut Clock<Due>,
        rng: &mut SmallRng,
    ) {
        let mut parts = Vec::new();
        match packet {
            Packet::Bytes(mut bytes) => {
                while bytes.len() > 1 && rng.random_bool(0.2) {
                    let rest = bytes.split_off(rng.random_range(1..bytes.len()));
                    parts.push(Packet::Bytes(std::mem::replace(&mut bytes, rest)));
                }
                parts.push(Packet::Bytes(bytes));
            }
            other => parts.push(other),
        }
        for part in parts {
            let delay = self.delay(rng);
            let Some(conn) = self.conns.get_mut(&id) else {
                return;
            };
            if conn.silent {
                return;
            }
            let arrives = match to {
                Side::Gateway => &mut conn.to_gateway,
                Side::Device => &mut conn.to_device,
            };
            *arrives = (*arrives).max(clock.instant() + delay);
            clock.at(*arrives, Due::Arrive(id, to, part));
        }
    }

    /// The first packet of a device's connection reaches the gateway.
    pub fn knock(&mut self, id: ConnId, clock: &mut Clock<Due>, rng: &mut SmallRng) {
        let due = clock.instant() + self.delay(rng);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.to_gateway = due;
            clock.at(due, Due::Knock(id));
        }
    }

    /// Forgets a connection that neither side has any more.
    pub fn sweep(&mut self, id: ConnId) {
        let gone = self
            .conns
            .get(&id)
            .is_some_and(|conn| conn.session.is_none() && conn.endpoint.is_none());
        if gone {
            self.conns.remove(&id);
        }
    }
}
