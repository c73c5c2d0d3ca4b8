//! The scripted devices: who they are, what they hold, and their end of each connection.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use gatehouse::codec::dialect::Dialect;
use gatehouse::device::DeviceId;
use gatehouse::identity::Identity;
use gatehouse::link::noise::{Initiator, Responder, Transport};
use gatehouse::sim::device::{self, Behaviour, Device, Output};
use gatehouse::sim::info::Info;
use gatehouse::time::Instant;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::secrets::{Held, Safe, right_credential};

/// The devices of this network, of 256 addresses, speak the plain link.
pub const PLAIN_NET: [u8; 4] = [10, 0, 1, 0];

/// One scripted device.
#[derive(Clone, Debug)]
pub struct Peer {
    pub config: device::Config,
    /// Where it listens, and where its dials come from.
    pub address: SocketAddrV4,
    pub listens: bool,
    pub dials: bool,
    /// `None` on a plain link.
    pub key: Option<Held>,
    /// On a tls link, which is played as its bytes in clear.
    pub tls: bool,
    pub powered: bool,
    /// It does what a device should.
    pub good: bool,
    /// What it opens a connection with, in place of a handshake.
    pub noise: Option<Vec<u8>>,
}

/// A device that a world has at least one of, and the secrets that open it.
#[derive(Clone, Debug)]
struct Person {
    name: String,
    owner: &'static str,
    key: Option<Held>,
    credential: String,
}

/// Makes the devices of a world, and the gateway's secrets for them.
pub fn populate(rng: &mut SmallRng, aes: bool) -> (Vec<Peer>, Safe) {
    let mut safe = Safe::new();
    let count = rng.random_range(3..=8_usize);
    let persons: Vec<Person> = (0..rng.random_range(2..=count))
        .map(|index| person(index, rng, aes, &mut safe))
        .collect();
    let peers = (0..count)
        .map(|index| {
            let person = match persons.get(index) {
                Some(person) => person,
                None => &persons[rng.random_range(0..persons.len())],
            };
            // Beside the aes link some speak the plain one, where a credential is what proves them.
            let plain = !aes || !person.credential.is_empty() && rng.random_bool(0.3);
            peer(index, person, rng, plain)
        })
        .collect();
    (peers, safe)
}

fn person(index: usize, rng: &mut SmallRng, aes: bool, safe: &mut Safe) -> Person {
    let named = rng.random_bool(0.25);
    let name = if named {
        format!("door-{index}")
    } else {
        (101 + index).to_string()
    };
    let has_credential = rng.random_bool(if aes { 0.3 } else { 0.9 });
    let mut credential = String::new();
    if has_credential {
        safe.give_credential(&name);
        credential = right_credential(&name);
    }
    let mut key = aes.then_some(Held::Fleet(rng.random_range(0..2)));
    if aes
        && !named
        && rng.random_bool(0.4)
        && let Some(id) = DeviceId::new(101 + index as u32)
    {
        safe.give_key(id);
        key = Some(Held::Own(id));
    }
    Person {
        name,
        owner: if rng.random_bool(0.3) { "alice" } else { "" },
        key,
        credential,
    }
}

fn peer(index: usize, person: &Person, rng: &mut SmallRng, plain: bool) -> Peer {
    let bad = rng.random_bool(0.35);
    let dialects = Dialect::ALL;
    let mut peer = Peer {
        config: device::Config {
            username: person.owner.to_owned(),
            device: person.name.clone(),
            credential: person.credential.clone(),
            info: Info {
                id: 101 + index as u32,
                device_type: rng.random_range(0..4),
                name: person.name.clone(),
            },
            keep_alive: [None, Some(0), Some(5), Some(20), Some(45)][rng.random_range(0..5)],
            dialect: dialects[rng.random_range(0..dialects.len())],
            behaviour: Behaviour::Normal,
            ..device::Config::default()
        },
        // Two ports of one address in turn, so that the filter's addresses hit some together.
        address: SocketAddrV4::new(
            [10, 0, u8::from(plain), 1 + (index / 2) as u8].into(),
            51_211 + (index % 2) as u16,
        ),
        listens: rng.random_bool(0.6),
        dials: false,
        key: person.key.filter(|_| !plain),
        tls: plain && rng.random_bool(0.3),
        powered: true,
        good: true,
        noise: None,
    };
    peer.dials = !peer.listens || rng.random_bool(0.3);
    if rng.random_bool(0.15) {
        let late = Duration::from_millis(rng.random_range(1..4_000));
        peer.config.behaviour = Behaviour::Slow(late);
    }
    if bad {
        spoil(&mut peer, rng);
    }
    peer
}

fn spoil(peer: &mut Peer, rng: &mut SmallRng) {
    peer.good = false;
    match rng.random_range(0..10) {
        // An impostor with the fleet key alone, who knows the name.
        0..=2 => {
            peer.key = peer.key.map(|_| Held::Fleet(rng.random_range(0..2)));
            peer.config.credential = String::new();
        }
        3 => {
            peer.key = peer.key.map(|_| Held::Strange);
            peer.config.credential = "guessed".to_owned();
        }
        4 => peer.config.behaviour = Behaviour::Mute,
        5 => peer.config.behaviour = Behaviour::MuteOnceConnected,
        6 => peer.config.behaviour = Behaviour::Garbage(device::garbage(rng.random())),
        7 => peer.noise = Some(device::garbage(rng.random())),
        8 => {
            let up = Duration::from_millis(rng.random_range(0..20_000));
            peer.config.behaviour = Behaviour::Churn(up);
        }
        _ => peer.config.username = "mallory".to_owned(),
    }
}

impl Peer {
    pub fn identity(&self) -> Option<Identity> {
        Identity::new(&self.config.username, &self.config.device).ok()
    }

    pub fn strength(&self, id: DeviceId, safe: &Safe) -> Option<u8> {
        let config = &self.config;
        safe.strength(Some(id), &config.device, self.key, &config.credential)
    }
}

/// What an end of a connection asks for.
#[derive(Debug)]
pub enum Asked {
    Send(Vec<u8>),
    Admitted,
    /// It closes once everything is sent.
    Close,
}

/// A device's end of one connection.
pub struct Endpoint {
    link: Link,
    config: device::Config,
    device: Option<Device>,
    key: Option<Held>,
    asked: VecDeque<Asked>,
}

enum Link {
    Up,
    Initiator(Box<Initiator>),
    Responder(Box<Responder>),
    Sealed(Box<Transport>),
    /// Nothing more is understood.
    Dead,
}

impl Endpoint {
    pub fn new(peer: &Peer, dialled_by_device: bool, entropy: [u8; 32]) -> Self {
        let mut endpoint = Self {
            link: Link::Up,
            config: peer.config.clone(),
            device: None,
            key: peer.key,
            asked: VecDeque::new(),
        };
        if let Some(noise) = &peer.noise {
            endpoint.asked.push_back(Asked::Send(noise.clone()));
            endpoint.link = Link::Dead;
            return endpoint;
        }
        match peer.key {
            None => endpoint.begin(),
            Some(key) if dialled_by_device => {
                if let Ok((initiator, first)) = Initiator::start(&key.key(), entropy) {
                    endpoint.link = Link::Initiator(Box::new(initiator));
                    if endpoint.config.behaviour != Behaviour::Mute {
                        endpoint.asked.push_back(Asked::Send(first));
                    }
                }
            }
            Some(_) => endpoint.link = Link::Responder(Box::default()),
        }
        endpoint
    }

    pub fn handle_bytes(&mut self, mut bytes: &[u8], entropy: [u8; 32], now: Instant) {
        let link = std::mem::replace(&mut self.link, Link::Dead);
        match link {
            Link::Dead => {}
            Link::Up => {
                self.link = Link::Up;
                self.hear(bytes, now);
            }
            Link::Initiator(mut initiator) => match initiator.read(&mut bytes) {
                Ok(false) => self.link = Link::Initiator(initiator),
                Ok(true) => match initiator.finish() {
                    Ok(transport) => self.sealed(transport, bytes, now),
                    Err(_) => self.asked.push_back(Asked::Close),
                },
                Err(_) => self.asked.push_back(Asked::Close),
            },
            Link::Responder(responder) => self.respond(responder, bytes, entropy, now),
            Link::Sealed(transport) => self.unseal(transport, bytes, now),
        }
        self.collect();
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(device) = &mut self.device {
            device.handle_timeout(now);
        }
        self.collect();
    }

    /// The gateway closed, or the connection broke.
    pub fn handle_closed(&mut self) {
        if let Some(device) = &mut self.device {
            device.handle_closed();
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.device.as_ref().and_then(Device::poll_timeout)
    }

    pub fn poll_output(&mut self) -> Option<Asked> {
        self.asked.pop_front()
    }

    fn respond(
        &mut self,
        mut responder: Box<Responder>,
        mut bytes: &[u8],
        entropy: [u8; 32],
        now: Instant,
    ) {
        let key = self.key.map(Held::key);
        match (responder.read(&mut bytes), key) {
            (Ok(false), _) => self.link = Link::Responder(responder),
            (Ok(true), Some(key)) if responder.key_id() == Some(key.id()) => {
                if self.config.behaviour == Behaviour::Mute {
                    return;
                }
                match responder.respond(&key, entropy) {
                    Ok((transport, answer)) => {
                        self.asked.push_back(Asked::Send(answer));
                        self.sealed(transport, bytes, now);
                    }
                    Err(_) => self.asked.push_back(Asked::Close),
                }
            }
            _ => self.asked.push_back(Asked::Close),
        }
    }

    fn sealed(&mut self, transport: Transport, rest: &[u8], now: Instant) {
        self.link = Link::Sealed(Box::new(transport));
        self.begin();
        if !rest.is_empty() {
            self.handle_bytes(rest, [0; 32], now);
        }
    }

    fn unseal(&mut self, mut transport: Box<Transport>, bytes: &[u8], now: Instant) {
        let mut plain = Vec::new();
        match transport.decrypt(bytes, &mut plain) {
            Ok(()) => {
                self.link = Link::Sealed(transport);
                self.hear(&plain, now);
            }
            Err(_) => self.asked.push_back(Asked::Close),
        }
    }

    fn begin(&mut self) {
        self.device = Some(Device::new(self.config.clone()));
        self.collect();
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        if let Some(device) = &mut self.device {
            device.handle_bytes(bytes, now);
        }
    }

    fn collect(&mut self) {
        let Some(device) = &mut self.device else {
            return;
        };
        while let Some(output) = device.poll_output() {
            let asked = match (output, &mut self.link) {
                (Output::Close, _) => Asked::Close,
                (Output::Report(device::Event::Admitted), _) => Asked::Admitted,
                (Output::Report(_), _) => continue,
                (Output::Send(bytes), Link::Sealed(transport)) => {
                    let mut sealed = Vec::new();
                    if transport.encrypt(&bytes, &mut sealed).is_err() {
                        continue;
                    }
                    Asked::Send(sealed)
                }
                (Output::Send(bytes), _) => Asked::Send(bytes),
            };
            self.asked.push_back(asked);
        }
    }
}
