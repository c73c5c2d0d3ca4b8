//! The sessions of a process: the machine of each, driven as its actor drives it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse::cause::{Cause, CauseKind};
use gatehouse::device::{DeviceId, Generation, LinkKind};
use gatehouse::link::tls::device::DeviceTls;
use gatehouse::session::machine::{self as session, Setup};
use gatehouse::session::{
    AcceptLink, DialLink, DialOrder, LiveTls, Policy, SessionCommand, SessionEvent,
};
use gatehouse::time::Instant;
use rand::RngExt;

use super::fleet::Endpoint;
use super::gateway::Inside;
use super::net::{ConnId, Packet, Side};
use super::play::{Due, World};
use super::trace::say;

/// What the kernel takes of a connection whose other end does not answer.
const SEND_BUFFER: usize = 4096;

struct NoTls;

impl LiveTls for NoTls {
    fn current(&self) -> Arc<DeviceTls> {
        panic!("no device of this world speaks TLS");
    }
}

/// A session, as its actor holds it.
pub struct Shell {
    pub machine: session::Machine<()>,
    pub policy: Arc<Policy>,
    pub conn: Option<ConnId>,
    pub address: SocketAddr,
    /// Its link is tls, whose bytes go in clear here.
    tls: bool,
    pub created: Instant,
    /// When bytes last came.
    pub heard: Instant,
    pub keep_alive: Duration,
    pub device: Option<DeviceId>,
    pub ended: Option<Instant>,
    pub admitted: bool,
    unsent: Vec<u8>,
    taken: usize,
    finishing: bool,
    armed: Option<Instant>,
    reports: Instant,
    orders: Instant,
}

impl World {
    pub fn post_order(&mut self, generation: Generation, order: SessionCommand) {
        let delay = self.mail_delay();
        if let Some(gateway) = &mut self.gateway
            && let Some(shell) = gateway.sessions.get_mut(&generation)
        {
            shell.orders = shell.orders.max(self.clock.instant() + delay);
            let message = Inside::Order(generation, order);
            self.clock
                .at(shell.orders, Due::Inside(self.epoch, message));
        }
    }

    fn setup(&mut self) -> Setup {
        Setup {
            policy: self.session_policy.clone(),
            keys: self.safe.clone(),
            tls: Arc::new(NoTls),
            stream_seed: self.rng.random(),
        }
    }

    pub fn dial(&mut self, order: &DialOrder) {
        let now = self.clock.instant();
        let setup = self.setup();
        let tls = order.link == DialLink::Tls;
        let link = if tls { DialLink::Plain } else { order.link };
        let machine = session::Machine::dialled(order.address, link, setup, now);
        self.add_session(order.generation, machine, order.address, tls, None);
        let delay = self.net.delay(&mut self.rng) * 2;
        let opened = Inside::Dialled(order.generation);
        self.clock.after(delay, Due::Inside(self.epoch, opened));
        self.drive(order.generation);
    }

    /// The first packet of a device's connection.
    pub fn accept(&mut self, id: ConnId) {
        let now = self.clock.instant();
        let setup = self.setup();
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        let Some(gateway) = &mut self.gateway else {
            self.net.send(
                id,
                Side::Device,
                Packet::Reset,
                &mut self.clock,
                &mut self.rng,
            );
            return;
        };
        gateway.accepted += 1;
        let generation = Generation::accepted(gateway.accepted);
        conn.session = Some(generation);
        let peer = &self.peers[conn.peer];
        let link = match peer.key {
            Some(_) => AcceptLink::Aes,
            None => AcceptLink::Plain,
        };
        say(|| format!("{now} accepted {generation} from device {}", conn.peer));
        self.checks.opened(generation, conn.peer, true);
        let address = SocketAddr::from((*peer.address.ip(), 40_000 + (id % 20_000) as u16));
        let machine = session::Machine::inbound(address, link, setup, now);
        let tls = peer.tls;
        self.add_session(generation, machine, address, tls, Some(id));
        self.drive(generation);
    }

    fn add_session(
        &mut self,
        generation: Generation,
        machine: session::Machine<()>,
        address: SocketAddr,
        tls: bool,
        conn: Option<ConnId>,
    ) {
        let now = self.clock.instant();
        let shell = Shell {
            machine,
            policy: self.session_policy.clone(),
            conn,
            address,
            tls,
            created: now,
            heard: now,
            keep_alive: Duration::ZERO,
            device: None,
            ended: None,
            admitted: false,
            unsent: Vec::new(),
            taken: 0,
            finishing: false,
            armed: None,
            reports: now,
            orders: now,
        };
        if let Some(gateway) = &mut self.gateway {
            gateway.sessions.insert(generation, shell);
        }
    }

    pub fn dialled(&mut self, generation: Generation) {
        let Some(shell) = self.shell(generation) else {
            return;
        };
        let (address, tls) = (shell.address, shell.tls);
        let listening = self.peers.iter().position(|peer| {
            SocketAddr::V4(peer.address) == address && peer.listens && peer.powered
        });
        if self.stormy && self.rng.random_bool(0.05) {
            return;
        }
        let Some(index) = listening else {
            if self.rng.random_bool(0.6) {
                let cause = Cause::from(CauseKind::DialFailed);
                self.session(generation, |machine, now| {
                    machine.handle_dial_failed(cause, now)
                });
            }
            return;
        };
        if self.peers[index].tls != tls {
            let cause = Cause::from(CauseKind::HandshakeFailed);
            self.session(generation, |machine, now| {
                machine.handle_dial_failed(cause, now)
            });
            return;
        }
        let now = self.clock.instant();
        let entropy = self.rng.random();
        let endpoint = Endpoint::new(&self.peers[index], false, entropy);
        let id = self.net.open(index, endpoint, now);
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.session = Some(generation);
        }
        if let Some(shell) = self.shell(generation) {
            shell.conn = Some(id);
        }
        self.checks.opened(generation, index, false);
        let entropy = self.rng.random();
        self.session(generation, |machine, now| {
            machine.handle_opened(entropy, now)
        });
        self.drive_endpoint(id);
    }

    pub fn shell(&mut self, generation: Generation) -> Option<&mut Shell> {
        self.gateway.as_mut()?.sessions.get_mut(&generation)
    }

    pub fn session_timer(&mut self, generation: Generation) {
        let now = self.clock.instant();
        let Some(shell) = self.shell(generation) else {
            return;
        };
        shell.armed = None;
        if shell.machine.poll_timeout().is_some_and(|due| due <= now) {
            shell.machine.handle_timeout(now);
        }
        self.drive(generation);
    }

    pub fn session(
        &mut self,
        generation: Generation,
        act: impl FnOnce(&mut session::Machine<()>, Instant),
    ) {
        let now = self.clock.instant();
        if let Some(shell) = self.shell(generation) {
            act(&mut shell.machine, now);
            self.drive(generation);
        }
    }

    pub fn order(&mut self, generation: Generation, order: SessionCommand) {
        let now = self.clock.instant();
        let Some(shell) = self.shell(generation) else {
            return;
        };
        if let SessionCommand::Admit(device) = order {
            shell.device = Some(device);
        }
        let admits = matches!(order, SessionCommand::Admit(_));
        shell.machine.handle_command(order, now);
        // The Ok goes out before anything else, unless the session had ended before.
        if admits && shell.machine.has_output() && shell.ended.is_none() {
            shell.admitted = true;
            shell.heard = now;
            if let Some(device) = shell.device {
                self.checks
                    .authenticated(device, generation, &self.peers, &self.safe);
            }
        }
        self.drive(generation);
    }

    /// As the session's actor does it: outputs, writing, reading, until all of it waits.
    pub fn drive(&mut self, generation: Generation) {
        loop {
            if self.session_outputs(generation) {
                return;
            }
            if !self.flush(generation) && !self.read(generation) {
                break;
            }
        }
        let epoch = self.epoch;
        let Some(shell) = self.shell(generation) else {
            return;
        };
        let Some(due) = shell.machine.poll_timeout() else {
            panic!("promise 5: {generation} is not closed and has no deadline");
        };
        if shell.armed.is_none_or(|armed| due < armed) {
            shell.armed = Some(due);
            self.clock
                .at(due, Due::Inside(epoch, Inside::SessionTimer(generation)));
        }
    }

    /// Carries out what the session asks; true once it is closed.
    fn session_outputs(&mut self, generation: Generation) -> bool {
        let now = self.clock.instant();
        loop {
            let Some(shell) = self.shell(generation) else {
                return true;
            };
            let Some(output) = shell.machine.poll_output() else {
                return false;
            };
            match output {
                session::Output::Send(bytes) => {
                    assert!(
                        shell.ended.is_none(),
                        "promise 1: {generation} sends after its end"
                    );
                    shell.unsent.extend(bytes);
                }
                session::Output::Report(event) => self.post_report(generation, event),
                session::Output::HandshakeReady => {
                    let wait = self.mail_delay();
                    let permit = Inside::Permit(generation);
                    self.clock.after(wait, Due::Inside(self.epoch, permit));
                }
                // Nobody streams, and no device asks for anything, in this world.
                session::Output::Answer((), _)
                | session::Output::Stream(_)
                | session::Output::Function(..)
                | session::Output::Subscribe(..)
                | session::Output::Unsubscribe(_)
                | session::Output::Publish(..) => {}
                session::Output::Admitted { .. } => {}
                session::Output::Finish => shell.finishing = true,
                session::Output::Close => {
                    say(|| format!("{now}   {generation} closes"));
                    self.close_session(generation);
                    return true;
                }
            }
        }
    }

    fn post_report(&mut self, generation: Generation, mut event: SessionEvent) {
        let now = self.clock.instant();
        let delay = self.mail_delay();
        let epoch = self.epoch;
        let Some(shell) = self.shell(generation) else {
            return;
        };
        match &mut event {
            SessionEvent::Claimed(claim) => {
                shell.keep_alive = claim.keep_alive;
                if shell.tls {
                    claim.link = LinkKind::Tls;
                }
            }
            SessionEvent::Described { .. } | SessionEvent::Slow { .. } => {}
            SessionEvent::Ended(_) => {
                shell.ended = Some(now);
                shell.admitted = false;
            }
        }
        shell.reports = shell.reports.max(now + delay);
        let due = shell.reports;
        if matches!(event, SessionEvent::Ended(_)) {
            self.checks.session_ended(generation);
        }
        let stale = match &event {
            // What an older generation might still say.
            SessionEvent::Ended(_) if self.rng.random_bool(0.1) => Some(event.clone()),
            _ => None,
        };
        let message = Inside::Report(generation, event);
        self.clock.at(due, Due::Inside(epoch, message));
        if let Some(event) = stale {
            let late = due + self.span(0, 20_000);
            let message = Inside::Report(generation, event);
            self.clock.at(late, Due::Inside(epoch, message));
        }
    }

    /// Writes what waits; whether that made the session say more.
    fn flush(&mut self, generation: Generation) -> bool {
        let now = self.clock.instant();
        let Some(shell) = self
            .gateway
            .as_mut()
            .and_then(|gateway| gateway.sessions.get_mut(&generation))
        else {
            return false;
        };
        let Some(id) = shell.conn else {
            return false;
        };
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return false;
        };
        if !shell.unsent.is_empty() {
            if let Some(Packet::Reset) = conn.inbox_end {
                shell.unsent.clear();
                shell
                    .machine
                    .handle_io_error(ErrorKind::BrokenPipe, "broken pipe", now);
                return true;
            }
            let room = if conn.silent {
                SEND_BUFFER.saturating_sub(shell.taken)
            } else {
                usize::MAX
            };
            let count = room.min(shell.unsent.len());
            let bytes: Vec<u8> = shell.unsent.drain(..count).collect();
            if conn.silent {
                shell.taken += count;
            }
            shell.machine.handle_written(shell.unsent.len(), now);
            let finished = shell.finishing && shell.unsent.is_empty();
            shell.finishing &= !finished;
            let more = shell.machine.has_output();
            if !bytes.is_empty() {
                let packet = Packet::Bytes(bytes);
                self.net
                    .send(id, Side::Device, packet, &mut self.clock, &mut self.rng);
            }
            if finished {
                self.net.send(
                    id,
                    Side::Device,
                    Packet::Fin,
                    &mut self.clock,
                    &mut self.rng,
                );
            }
            return more;
        }
        false
    }

    /// Reads what is there; whether there was anything.
    fn read(&mut self, generation: Generation) -> bool {
        let now = self.clock.instant();
        let Some(shell) = self
            .gateway
            .as_mut()
            .and_then(|gateway| gateway.sessions.get_mut(&generation))
        else {
            return false;
        };
        let conn = shell.conn.and_then(|id| self.net.conns.get_mut(&id));
        let (Some(conn), true) = (conn, shell.machine.wants_read()) else {
            return false;
        };
        if !conn.inbox.is_empty() {
            let bytes = std::mem::take(&mut conn.inbox);
            shell.heard = now;
            shell.machine.handle_bytes(&bytes, now);
            return true;
        }
        match conn.inbox_end.take() {
            Some(Packet::Fin) => shell.machine.handle_eof(now),
            Some(_) => {
                let kind = ErrorKind::ConnectionReset;
                shell
                    .machine
                    .handle_io_error(kind, "connection reset by peer", now);
            }
            None => return false,
        }
        true
    }

    fn close_session(&mut self, generation: Generation) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let Some(shell) = gateway.sessions.remove(&generation) else {
            return;
        };
        assert!(
            shell.ended.is_some(),
            "promise 5: {generation} closes without having told its end"
        );
        if let Some(id) = shell.conn
            && let Some(conn) = self.net.conns.get_mut(&id)
        {
            conn.session = None;
            let packet = match conn.inbox.is_empty() {
                true => Packet::Fin,
                false => Packet::Reset,
            };
            self.net
                .send(id, Side::Device, packet, &mut self.clock, &mut self.rng);
            self.net.sweep(id);
        }
    }

    /// The actor of a session dies of a fault.
    pub fn kill_session(&mut self, generation: Generation) {
        let cause = Cause::from(CauseKind::Internal);
        if let Some(shell) = self.shell(generation)
            && shell.ended.is_none()
        {
            self.post_report(generation, SessionEvent::Ended(cause));
        }
        self.close_session(generation);
    }
}
