//! Devices that answer whoever searches for them in their subnet, over UDP.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket as StdSocket};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::run::{DeviceHandle, Neighbour};
use crate::device::ConnectionMode;
use crate::search::message::{DATAGRAM_MAX, Found, Question, answer, parse_question};

/// The port at which devices hear a search.
pub const PORT: u16 = 51210;

/// Answers a second, of all devices of a responder together.
const RATE: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// The shortest time between two rounds of answers: timers are no finer than a millisecond.
const ROUND_MIN: Duration = Duration::from_millis(10);
/// Questions that are being answered; another one is dropped.
const QUESTIONS_MAX: usize = 16;
/// Questions that are known again: one is often heard by several broadcasts.
const HEARD_MAX: usize = 64;

/// Where devices hear questions, and whom they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listen: SocketAddrV4,
    /// Who asks from one of these is answered; loopback is always near.
    pub subnets: Vec<Ipv4Net>,
    /// Answers a second, of all devices together.
    pub rate: NonZeroU32,
}

impl Settings {
    /// Every address of this machine at the usual port, for the subnets of its interfaces.
    pub fn of_this_machine() -> Self {
        Self {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT),
            subnets: subnets(),
            rate: RATE,
        }
    }
}

/// Answers for any number of devices from one socket. Dropping it ends that.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    neighbours: Arc<Mutex<Vec<Neighbour>>>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Begins to listen; it shares its port with other responders on this machine. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When it cannot listen where it should.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let socket = socket_at(settings.listen)?;
        let address = socket.local_addr()?;
        let neighbours = Arc::<Mutex<Vec<Neighbour>>>::default();
        let ear = Ear {
            socket,
            settings,
            neighbours: neighbours.clone(),
        };
        let task = tokio::spawn(async move { ear.listen_for_ever().await });
        Ok(Self {
            address,
            neighbours,
            task,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// One more device, until that stops.
    pub fn add(&self, device: &DeviceHandle) {
        locked(&self.neighbours).push(device.neighbour());
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(neighbours: &Mutex<Vec<Neighbour>>) -> MutexGuard<'_, Vec<Neighbour>> {
    neighbours.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Ear {
    socket: UdpSocket,
    settings: Settings,
    neighbours: Arc<Mutex<Vec<Neighbour>>>,
}

/// A question that is being answered.
struct Asked {
    question: Question,
    by: SocketAddr,
    /// What this machine is to the asker: a device that knows no address has this one.
    local: Ipv4Addr,
    /// The next device to answer.
    next: usize,
}

impl Ear {
    async fn listen_for_ever(&self) {
        let (round, answers) = pace(self.settings.rate);
        let mut heard = VecDeque::new();
        let mut asked = VecDeque::new();
        let mut due = Instant::now();
        loop {
            // One byte more, so that a datagram that is too long is seen to be.
            let mut datagram = [0; DATAGRAM_MAX + 1];
            tokio::select! {
                received = self.socket.recv_from(&mut datagram) => {
                    // An error says that an answer did not arrive; there are others to answer.
                    if let Ok((len, by)) = received {
                        asked.extend(self.new_question(&datagram[..len], by, &mut heard));
                    }
                }
                () = sleep_until(due), if !asked.is_empty() => {
                    self.answer(&mut asked, answers).await;
                    due = Instant::now() + round;
                }
            }
            asked.truncate(QUESTIONS_MAX);
        }
    }

    fn new_question(
        &self,
        datagram: &[u8],
        by: SocketAddr,
        heard: &mut VecDeque<(SocketAddr, Question)>,
    ) -> Option<Asked> {
        let question = parse_question(datagram)?;
        if !self.is_near(by.ip()) || heard.contains(&(by, question)) {
            return None;
        }
        heard.truncate(HEARD_MAX - 1);
        heard.push_front((by, question));
        Some(Asked {
            question,
            by,
            local: local_address_to(by).unwrap_or(Ipv4Addr::LOCALHOST),
            next: 0,
        })
    }

    fn is_near(&self, asker: IpAddr) -> bool {
        let IpAddr::V4(asker) = asker else {
            return false;
        };
        let subnets = &self.settings.subnets;
        asker.is_loopback() || subnets.iter().any(|subnet| subnet.contains(&asker))
    }

    /// One round: so many answers, to those who ask in turn.
    async fn answer(&self, asked: &mut VecDeque<Asked>, answers: u32) {
        for _ in 0..answers {
            let Some(mut one) = asked.pop_front() else {
                return;
            };
            let Some(found) = self.next_found(&mut one) else {
                continue;
            };
            // A datagram may be lost, here as anywhere.
            let _ = self
                .socket
                .send_to(&answer(&one.question, &found), one.by)
                .await;
            asked.push_back(one);
        }
    }

    /// The next device that runs; `None` when all have answered.
    fn next_found(&self, asked: &mut Asked) -> Option<Found> {
        let mut neighbours = locked(&self.neighbours);
        loop {
            let neighbour = neighbours.get(asked.next)?;
            // What it keeps is gone with its task.
            if neighbour.state.has_changed().is_ok() {
                asked.next += 1;
                return Some(found(neighbour, asked.local));
            }
            // The last one takes its place, and answers who has passed it at the next question.
            neighbours.swap_remove(asked.next);
        }
    }
}

fn found(neighbour: &Neighbour, local: Ipv4Addr) -> Found {
    let state = neighbour.state.borrow();
    let ip = &state.ip;
    let server = match ip.connection_mode {
        ConnectionMode::ServerToDevice => "",
        ConnectionMode::DeviceToServer => &*ip.server,
    };
    Found {
        id: neighbour.info.id,
        device_type: neighbour.info.device_type,
        use_dhcp: ip.use_dhcp,
        mode: ip.connection_mode,
        address: ip.address.unwrap_or(local),
        port: ip.port,
        use_ssl: state.ssl.enabled,
        server_addr: server.to_owned(),
    }
}

/// The time between two rounds, and the answers of each.
fn pace(rate: NonZeroU32) -> (Duration, u32) {
    let round = ROUND_MIN.max(Duration::from_secs(1) / rate.get());
    let answers = f64::from(rate.get()) * round.as_secs_f64();
    (round, (answers.round() as u32).max(1))
}

fn socket_at(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Each of several simulators on a machine hears what is broadcast.
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    UdpSocket::from_std(socket.into())
}

/// The address of this machine that the way to `other` begins at. It sends nothing.
fn local_address_to(other: SocketAddr) -> Option<Ipv4Addr> {
    let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(other).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Those of this machine's interfaces; none where they cannot be read.
fn subnets() -> Vec<Ipv4Net> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let subnet = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        let mask = interface.netmask?.as_sockaddr_in()?.ip();
        Ipv4Net::with_netmask(address, mask).ok()
    };
    interfaces.filter_map(subnet).collect()
}
