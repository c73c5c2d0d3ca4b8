//! What arrives at either end of a connection, and what the device's end makes of it.

use rand::RngExt;

use super::fleet::Asked;
use super::net::{ConnId, Packet, Side};
use super::play::{Due, World};

impl World {
    pub fn arrive_at_gateway(&mut self, id: ConnId, packet: Packet) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if conn.silent {
            return;
        }
        let Some(generation) = conn.session else {
            if matches!(packet, Packet::Bytes(_)) && self.gateway.is_some() {
                self.net.send(
                    id,
                    Side::Device,
                    Packet::Reset,
                    &mut self.clock,
                    &mut self.rng,
                );
            }
            return;
        };
        match packet {
            Packet::Bytes(bytes) if conn.inbox_end.is_none() => conn.inbox.extend(bytes),
            Packet::Bytes(_) => {}
            end => conn.inbox_end = Some(end),
        }
        self.drive(generation);
    }

    pub fn arrive_at_device(&mut self, id: ConnId, packet: Packet) {
        let entropy = self.rng.random();
        let now = self.clock.instant();
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        if conn.silent {
            return;
        }
        let Some(endpoint) = &mut conn.endpoint else {
            if self.peers[conn.peer].powered && conn.session.is_some() {
                self.net.send(
                    id,
                    Side::Gateway,
                    Packet::Reset,
                    &mut self.clock,
                    &mut self.rng,
                );
            }
            return;
        };
        match packet {
            Packet::Bytes(bytes) => {
                endpoint.handle_bytes(&bytes, entropy, now);
                self.drive_endpoint(id);
            }
            Packet::Fin => {
                endpoint.handle_closed();
                self.end_endpoint(id, Some(Packet::Fin));
            }
            Packet::Reset => {
                endpoint.handle_closed();
                self.end_endpoint(id, None);
            }
        }
    }

    pub fn endpoint_timer(&mut self, id: ConnId) {
        let now = self.clock.instant();
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.armed = None;
            if let Some(endpoint) = &mut conn.endpoint {
                endpoint.handle_timeout(now);
                self.drive_endpoint(id);
            }
        }
    }

    /// Carries out what a device's end asks.
    pub fn drive_endpoint(&mut self, id: ConnId) {
        while let Some(conn) = self.net.conns.get_mut(&id)
            && let Some(endpoint) = &mut conn.endpoint
        {
            match endpoint.poll_output() {
                Some(Asked::Send(bytes)) => {
                    let packet = Packet::Bytes(bytes);
                    self.net
                        .send(id, Side::Gateway, packet, &mut self.clock, &mut self.rng);
                }
                Some(Asked::Admitted) => conn.admitted = true,
                Some(Asked::Close) => return self.end_endpoint(id, Some(Packet::Fin)),
                None => {
                    if let Some(due) = endpoint.poll_timeout()
                        && conn.armed.is_none_or(|armed| due < armed)
                    {
                        conn.armed = Some(due);
                        self.clock.at(due, Due::Endpoint(id));
                    }
                    return;
                }
            }
        }
    }

    pub fn end_endpoint(&mut self, id: ConnId, word: Option<Packet>) {
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.endpoint = None;
        }
        if let Some(word) = word {
            self.net
                .send(id, Side::Gateway, word, &mut self.clock, &mut self.rng);
        }
        self.net.sweep(id);
    }
}
