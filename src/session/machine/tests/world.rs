//! A machine, the device at its other end, and what came out.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::cause::CauseKind;
use crate::codec::dialect::Dialect;
use crate::codec::frame::{Split, split};
use crate::codec::message::{Answer, Authentication, Connect, Message};
use crate::codec::message::{decode, encode};
use crate::codec::pson::Value;
use crate::config::{DialRole, Tls};
use crate::device::{ConnectionMode, DeviceId, LinkKind};
use crate::identity::{KeyId, KeyOwner};
use crate::link::link_key::LinkKey;
use crate::link::noise::{Initiator, Responder, Transport};
use crate::link::tls::device::DeviceTls;
use crate::link::tls::testing::{House, Leaf, device_tls};
use crate::session::asked::{Function, Outcome, Subscription};
use crate::session::in_hand::Serial;
use crate::session::machine::{Machine, Output, Request, Setup};
use crate::session::requests::{Answered, RequestError};
use crate::session::{AcceptLink, KeyLookup, Policy};
use crate::session::{DialLink, SessionCommand, SessionEvent};
use crate::stream::{Report, Wish};
use crate::time::Instant;

pub const FLEET_KEY: [u8; 32] = [7; 32];
pub const START: Instant = Instant::from_micros(1_000_000_000);

/// Knows the fleet key alone.
struct Keys;

impl KeyLookup for Keys {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)> {
        let key = LinkKey::new(FLEET_KEY);
        (key.id() == id).then_some((key, KeyOwner::Fleet))
    }
}

/// The root of all that speak TLS here, and the gateway's TLS in each role when it dials.
static HOUSE: LazyLock<House> = LazyLock::new(House::new);
static SERVER: LazyLock<Arc<DeviceTls>> = LazyLock::new(|| gateway_tls(DialRole::Server));
static CLIENT: LazyLock<Arc<DeviceTls>> = LazyLock::new(|| gateway_tls(DialRole::Client));

fn gateway_tls(dial_role: DialRole) -> Arc<DeviceTls> {
    let settings = Tls {
        dial_role,
        ..Tls::default()
    };
    device_tls(&HOUSE.material(), &settings)
}

/// The certificate of a device under the root of the gateway.
pub fn leaf(uris: &[&str]) -> Leaf {
    HOUSE.leaf(uris)
}

/// A device that is the TLS client.
pub fn tls_client(shows: Option<&Leaf>) -> Connection {
    let config = Arc::new(HOUSE.client(rustls::ALL_VERSIONS, shows));
    let name = "gateway".try_into().unwrap();
    ClientConnection::new(config, name).unwrap().into()
}

fn tls_server() -> Connection {
    let leaf = leaf(&["urn:gatehouse:device:4711"]);
    let config = Arc::new(HOUSE.server(rustls::ALL_VERSIONS, &leaf));
    ServerConnection::new(config).unwrap().into()
}

/// What came out of the machine, as the device and the registry see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Event(SessionEvent),
    Message(Message),
    HandshakeReady,
    Answer(u32, Result<Answered, RequestError>),
    Stream(Report),
    Function(Serial, Function),
    Subscribe(Serial, u16, Subscription),
    Unsubscribe(u16),
    Publish(u16, Value),
    Finish,
    Close,
}

pub struct World {
    pub machine: Machine<u32>,
    pub device: Device,
    pub now: Instant,
    seen: Vec<Seen>,
    /// How long the device had taken when it was let in.
    pub admitted: Option<Duration>,
    link: LinkKind,
    mode: ConnectionMode,
}

/// The other side: bytes to messages and back.
pub struct Device {
    pub dialect: Dialect,
    pub transport: Option<Transport>,
    pub tls: Option<Connection>,
    received: Vec<u8>,
}

/// Exactly these came out since the last look; the wording of a cause is free.
#[track_caller]
pub fn check(world: &mut World, expected: &[Seen]) {
    assert_eq!(world.take(), expected);
}

pub fn ended(kind: CauseKind) -> Seen {
    Seen::Event(SessionEvent::Ended(kind.into()))
}

pub fn ok(stream_id: u16) -> Seen {
    Seen::Message(Message::Ok(Answer {
        stream_id: Some(stream_id),
        ..Answer::default()
    }))
}

pub fn connect(stream_id: u16) -> Message {
    let Message::Connect(connect) = credentials("", "4711", None) else {
        panic!("it is a Connect");
    };
    Message::Connect(Connect {
        stream_id: Some(stream_id),
        ..connect
    })
}

pub fn credentials(username: &str, device: &str, keep_alive: Option<u64>) -> Message {
    Message::Connect(Connect {
        stream_id: Some(7),
        authentication: Authentication::Credentials {
            username: username.into(),
            device: device.into(),
            credential: b"secret".to_vec(),
        },
        keep_alive,
    })
}

pub fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 51_211))
}

pub fn setup() -> Setup {
    Setup {
        policy: Arc::new(Policy::default()),
        keys: Arc::new(Keys),
        tls: Arc::new(ArcSwap::new(Arc::clone(&SERVER))),
        stream_seed: 1000,
    }
}

/// For a gateway that is the TLS client when it dials.
fn turned() -> Setup {
    Setup {
        tls: Arc::new(ArcSwap::new(Arc::clone(&CLIENT))),
        ..setup()
    }
}

impl Device {
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            transport: None,
            tls: None,
            received: Vec::new(),
        }
    }

    /// A message as bytes of the connection.
    pub fn say(&mut self, message: &Message) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(self.dialect, message, &mut frame);
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&frame).unwrap();
            return self.tls_sent();
        }
        let Some(transport) = &mut self.transport else {
            return frame;
        };
        let mut sealed = Vec::new();
        transport.encrypt(&frame, &mut sealed).unwrap();
        sealed
    }

    /// What its TLS has to say.
    pub fn tls_sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut bytes).unwrap();
            }
        }
        bytes
    }

    fn hear_tls(tls: &mut Connection, mut bytes: &[u8], received: &mut Vec<u8>) {
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).unwrap();
            if tls.process_new_packets().is_err() {
                return;
            }
            // It says `WouldBlock` at the end of what is there.
            let _ = tls.reader().read_to_end(received);
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<Message> {
        match (&mut self.transport, &mut self.tls) {
            (Some(transport), _) => transport.decrypt(bytes, &mut self.received).unwrap(),
            (None, Some(tls)) => Self::hear_tls(tls, bytes, &mut self.received),
            (None, None) => self.received.extend_from_slice(bytes),
        }
        let mut heard = Vec::new();
        while let Split::Frame(frame) = split(&self.received, usize::MAX).unwrap() {
            let body = &self.received[frame.body.clone()];
            heard.push(decode(self.dialect, frame.message_type, body).unwrap());
            self.received.drain(..frame.body.end);
        }
        heard
    }
}

impl World {
    /// Every link in both directions, each up and waiting for the Connect.
    pub fn all(dialect: Dialect) -> Vec<Self> {
        let dialled = |link| Machine::dialled(peer(), link, setup(), START);
        let mut plain = Self::new(
            dialled(DialLink::Plain),
            dialect,
            LinkKind::Plain,
            ConnectionMode::ServerToDevice,
        );
        plain.machine.handle_opened([1; 32], START);
        vec![
            Self::plain(dialect),
            Self::aes(dialect),
            Self::tls_accepted(dialect, tls_client(None)).shake_hands(),
            Self::tls_dialled(dialect).shake_hands(),
            Self::tls_turned(dialect).shake_hands(),
            plain,
            Self::dialled_aes(dialect),
        ]
    }

    pub fn plain(dialect: Dialect) -> Self {
        let machine = Machine::inbound(peer(), AcceptLink::Plain, setup(), START);
        let mode = ConnectionMode::DeviceToServer;
        Self::new(machine, dialect, LinkKind::Plain, mode)
    }

    /// Accepted on the tls link, its handshake not begun.
    pub fn tls_accepted(dialect: Dialect, device: Connection) -> Self {
        let machine = Machine::inbound(peer(), AcceptLink::Tls, setup(), START);
        let mode = ConnectionMode::DeviceToServer;
        let mut world = Self::new(machine, dialect, LinkKind::Tls, mode);
        world.device.tls = Some(device);
        world
    }

    /// Dialled on the tls link, on which the device speaks first.
    pub fn tls_dialled(dialect: Dialect) -> Self {
        Self::dialled_tls(dialect, setup(), tls_client(None))
    }

    /// Dialled on the tls link, on which the gateway speaks first.
    pub fn tls_turned(dialect: Dialect) -> Self {
        Self::dialled_tls(dialect, turned(), tls_server())
    }

    fn dialled_tls(dialect: Dialect, setup: Setup, device: Connection) -> Self {
        let machine = Machine::dialled(peer(), DialLink::Tls, setup, START);
        let mode = ConnectionMode::ServerToDevice;
        let mut world = Self::new(machine, dialect, LinkKind::Tls, mode);
        world.device.tls = Some(device);
        world.machine.handle_opened([6; 32], START);
        world.drain();
        world
    }

    /// Lets both ends of the tls link speak until they wait.
    pub fn shake_hands(mut self) -> Self {
        loop {
            let bytes = self.device.tls_sent();
            if bytes.is_empty() {
                return self;
            }
            self.feed(&bytes);
            self.machine.handle_permit([3; 32], self.now);
            self.drain();
            self.seen.retain(|seen| *seen != Seen::HandshakeReady);
        }
    }

    /// Accepted on the aes link, its handshake not begun.
    pub fn aes_accepted(dialect: Dialect) -> Self {
        let machine = Machine::inbound(peer(), AcceptLink::Aes, setup(), START);
        let mode = ConnectionMode::DeviceToServer;
        Self::new(machine, dialect, LinkKind::Aes, mode)
    }

    fn aes(dialect: Dialect) -> Self {
        let mut world = Self::aes_accepted(dialect);
        let (mut initiator, first) = Initiator::start(&LinkKey::new(FLEET_KEY), [2; 32]).unwrap();
        world.feed(&first);
        check(&mut world, &[Seen::HandshakeReady]);
        world.machine.handle_permit([3; 32], world.now);
        let answer = world.raw_sent();
        assert!(initiator.read(&mut &answer[..]).unwrap());
        world.device.transport = Some(initiator.finish().unwrap());
        world
    }

    fn dialled_aes(dialect: Dialect) -> Self {
        let (mut world, first) = Self::dialled_aes_opened(dialect);
        let mut responder = Responder::new();
        assert!(responder.read(&mut &first[..]).unwrap());
        let key = LinkKey::new(FLEET_KEY);
        let (transport, answer) = responder.respond(&key, [4; 32]).unwrap();
        world.device.transport = Some(transport);
        world.feed(&answer);
        world
    }

    /// Dialled on the aes link, with the bytes that were sent on it.
    pub fn dialled_aes_opened(dialect: Dialect) -> (Self, Vec<u8>) {
        let link = DialLink::Aes(LinkKey::new(FLEET_KEY).id());
        let machine = Machine::dialled(peer(), link, setup(), START);
        let mode = ConnectionMode::ServerToDevice;
        let mut world = Self::new(machine, dialect, LinkKind::Aes, mode);
        world.machine.handle_opened([5; 32], START);
        let first = world.raw_sent();
        (world, first)
    }

    pub fn new(
        machine: Machine<u32>,
        dialect: Dialect,
        link: LinkKind,
        mode: ConnectionMode,
    ) -> Self {
        Self {
            machine,
            device: Device::new(dialect),
            now: START,
            seen: Vec::new(),
            admitted: None,
            link,
            mode,
        }
    }

    /// A device of today on the plain link that was just admitted, asked for its info.
    pub fn admitted() -> Self {
        let mut world = Self::plain(Dialect::Current);
        world.say(&connect(7));
        world.take();
        world.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
        world.take();
        world
    }

    /// Connects and admits, and looks at nothing of it.
    pub fn admit(mut self) -> Self {
        self.say(&connect(7));
        self.take();
        self.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
        self.take();
        self
    }

    /// Admits who has connected already, past the Ok and the request for its info.
    pub fn admit_again(mut self) -> Self {
        self.command(SessionCommand::Admit(DeviceId::new(4711).unwrap()));
        self.seen.drain(..2);
        self
    }

    pub const fn link(&self) -> LinkKind {
        self.link
    }

    pub const fn mode(&self) -> ConnectionMode {
        self.mode
    }

    pub fn link_key(&self) -> Option<(KeyId, KeyOwner)> {
        (self.link == LinkKind::Aes).then_some((LinkKey::new(FLEET_KEY).id(), KeyOwner::Fleet))
    }

    /// The ID under which `device/info` was asked for.
    pub fn asked_id(&self) -> u16 {
        setup().stream_seed + 1
    }

    pub fn say(&mut self, message: &Message) {
        let bytes = self.device.say(message);
        self.feed(&bytes);
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.machine.handle_bytes(bytes, self.now);
        self.drain();
    }

    pub fn command(&mut self, command: SessionCommand) {
        self.machine.handle_command(command, self.now);
        self.drain();
    }

    pub fn request(&mut self, request: Request, waiter: u32) {
        self.machine.handle_request(request, waiter, self.now);
        self.drain();
    }

    pub fn wish(&mut self, wish: Wish) {
        self.machine.handle_wish(wish, self.now);
        self.drain();
    }

    pub fn told(&mut self, serial: Serial, outcome: Outcome) {
        self.machine.handle_outcome(serial, outcome, self.now);
        self.drain();
    }

    pub fn push(&mut self, id: u16, value: Value) -> bool {
        let taken = self.machine.handle_push(id, value, self.now);
        self.drain();
        taken
    }

    /// Runs a resource; the ID of the request.
    pub fn ask(&mut self, waiter: u32) -> u16 {
        let request = Request::Run {
            resource: "a".into(),
            payload: None,
        };
        self.request(request, waiter);
        let seen = self.take();
        let [Seen::Message(Message::Run(run))] = &seen[..] else {
            panic!("a Run was sent, not {seen:?}");
        };
        run.stream_id.unwrap()
    }

    /// Time passes, and the timer fires when it is due.
    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        if self
            .machine
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            self.machine.handle_timeout(self.now);
        }
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let heard = self.device.hear(&bytes);
                    self.seen.extend(heard.into_iter().map(Seen::Message));
                }
                Output::Report(SessionEvent::Ended(cause)) => self.seen.push(ended(cause.kind)),
                Output::Report(event) => self.seen.push(Seen::Event(event)),
                Output::Admitted { took } => self.admitted = Some(took),
                Output::HandshakeReady => self.seen.push(Seen::HandshakeReady),
                Output::Answer(waiter, answer) => self.seen.push(Seen::Answer(waiter, answer)),
                Output::Stream(report) => self.seen.push(Seen::Stream(report)),
                Output::Function(serial, function) => {
                    self.seen.push(Seen::Function(serial, function));
                }
                Output::Subscribe(serial, id, subscription) => {
                    self.seen.push(Seen::Subscribe(serial, id, subscription));
                }
                Output::Unsubscribe(id) => self.seen.push(Seen::Unsubscribe(id)),
                Output::Publish(id, value) => self.seen.push(Seen::Publish(id, value)),
                Output::Finish => self.seen.push(Seen::Finish),
                Output::Close => self.seen.push(Seen::Close),
            }
        }
    }

    pub fn take(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// The only output is these bytes, which are no IOTMP.
    pub fn raw_sent(&mut self) -> Vec<u8> {
        let Some(Output::Send(bytes)) = self.machine.poll_output() else {
            panic!("something is sent");
        };
        assert_eq!(self.machine.poll_output(), None);
        bytes
    }
}
