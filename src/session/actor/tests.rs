//! Sessions over loopback, with a hand-made device and a registry that only listens.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Context, Handler};
use arc_swap::ArcSwap;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Deps, DeviceRequest, Session, SessionOrder, SessionReport, Waiter};
use crate::cause::CauseKind;
use crate::codec::dialect::Dialect;
use crate::codec::frame::{Split, split};
use crate::codec::message::{Answer, Authentication, Connect, Message, Run, StreamData};
use crate::codec::message::{decode, encode};
use crate::codec::pson::Value;
use crate::config::{DialRole, Tls};
use crate::device::{DeviceId, Generation};
use crate::identity::{KeyId, KeyOwner};
use crate::link::link_key::LinkKey;
use crate::link::listen::{self, Door};
use crate::link::noise::{Initiator, Transport};
use crate::link::tls::device::DeviceTls;
use crate::link::tls::testing::{House, device_tls};
use crate::link::waiting_room::WaitingRoom;
use crate::metrics::Meter;
use crate::metrics::mailbox::{Mailbox, Waiting};
use crate::session::asked::{Answerer, DeviceStream, Function, Functions, Push, Subscription};
use crate::session::machine::Request;
use crate::session::meters::Meters;
use crate::session::requests::{Answered, RequestError};
use crate::session::{AcceptLink, KeyLookup, Policy};
use crate::session::{DialLink, DialOrder, SessionCommand, SessionEvent};
use crate::stream::hub::{Hub, Limits};
use crate::time::Instant;

const GENERATION: Generation = Generation::accepted(1);

fn key() -> LinkKey {
    LinkKey::new([7; 32])
}

struct Keys;

impl KeyLookup for Keys {
    fn find(&self, id: KeyId) -> Option<(LinkKey, KeyOwner)> {
        (key().id() == id).then(|| (key(), KeyOwner::Fleet))
    }
}

static HOUSE: LazyLock<House> = LazyLock::new(House::new);

fn gateway_tls(dial_role: DialRole) -> Arc<DeviceTls> {
    let settings = Tls {
        dial_role,
        ..Tls::default()
    };
    device_tls(&HOUSE.material(), &settings)
}

/// What the functions were called for.
enum Asked {
    Run(Function, Option<Answerer>),
    Subscribe(DeviceStream, Subscription, Push, Answerer),
    Unsubscribe(DeviceStream),
    Publish(DeviceStream, Value),
    Ended(DeviceId, Generation),
}

/// Hands on whatever devices ask; who hands nothing on drops it.
struct Told(mpsc::UnboundedSender<Asked>);

impl Told {
    fn tell(&self, asked: Asked) {
        drop(self.0.send(asked));
    }
}

impl Functions for Told {
    fn run(&self, _device: DeviceId, function: Function, answer: Option<Answerer>) {
        self.tell(Asked::Run(function, answer));
    }

    fn subscribe(
        &self,
        stream: DeviceStream,
        subscription: Subscription,
        push: Push,
        answer: Answerer,
    ) {
        self.tell(Asked::Subscribe(stream, subscription, push, answer));
    }

    fn unsubscribe(&self, stream: DeviceStream) {
        self.tell(Asked::Unsubscribe(stream));
    }

    fn publish(&self, stream: DeviceStream, value: Value) {
        self.tell(Asked::Publish(stream, value));
    }

    fn session_ended(&self, device: DeviceId, generation: Generation) {
        self.tell(Asked::Ended(device, generation));
    }
}

struct Registry(mpsc::UnboundedSender<SessionReport>);

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<SessionReport> for Registry {
    type Result = ();

    fn handle(&mut self, report: SessionReport, _ctx: &mut Self::Context) {
        self.0.send(report).unwrap();
    }
}

/// A registry and what is reported to it.
struct Reports {
    deps: Arc<Deps>,
    door: Door,
    reports: mpsc::UnboundedReceiver<SessionReport>,
    meter: Meter,
}

impl Reports {
    fn new(policy: Policy, permits: usize) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let meter = Meter::new();
        let deps = Deps {
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            keys: Arc::new(Keys),
            tls: Arc::new(ArcSwap::new(gateway_tls(DialRole::Server))),
            permits: Arc::new(Semaphore::new(permits)),
            reports: Registry(sender).start().recipient(),
            streams: hub(),
            functions: Arc::new(Told(mpsc::unbounded_channel().0)),
            meters: Meters::new(&meter),
            observer: crate::trace::Observer::silent(),
        };
        Self {
            meter,
            deps: Arc::new(deps),
            door: Door::new(WaitingRoom::new(8, 8)),
            reports,
        }
    }

    /// For a gateway that is the TLS client when it dials.
    fn turned() -> Self {
        let mut reports = Self::new(Policy::default(), 0);
        let deps = Arc::get_mut(&mut reports.deps).unwrap();
        deps.tls = Arc::new(ArcSwap::new(gateway_tls(DialRole::Client)));
        reports
    }

    async fn next(&mut self) -> SessionEvent {
        let report = self.reports.recv().await.unwrap();
        assert_eq!(report.generation, GENERATION);
        report.event
    }

    async fn ended(&mut self, kind: CauseKind) {
        let event = self.next().await;
        let SessionEvent::Ended(cause) = event else {
            panic!("it ends, not {event:?}");
        };
        assert_eq!(cause.kind, kind, "{cause}");
    }

    /// Waits until a scrape has such a line.
    async fn counted(&self, is_it: impl Fn(&str) -> bool) {
        while !self.meter.render().lines().any(&is_it) {
            tokio::task::yield_now().await;
        }
    }

    async fn claimed(&mut self) {
        let event = self.next().await;
        assert!(matches!(event, SessionEvent::Claimed(_)), "{event:?}");
    }

    /// A session on an arbiter of its own, and the device's end of its connection.
    async fn accept(&self, link: AcceptLink) -> (Addr<Session>, Device) {
        let (session, stream) = self.accept_raw(link).await;
        (session, Device::new(stream))
    }

    async fn accept_raw(&self, link: AcceptLink) -> (Addr<Session>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (accepted, peer) = accepted.unwrap();
        let accepted = accepted.into_std().unwrap();
        let deps = Arc::clone(&self.deps);
        let now = crate::clock::now().instant;
        let listen::Answer::Seated(_, seat) = self.door.enter(peer.ip(), now) else {
            panic!("no seat");
        };
        let arbiter = Arbiter::new();
        let session = Session::start_in_arbiter(&arbiter.handle(), move |_| {
            Session::inbound(accepted, peer, seat, link, GENERATION, deps)
        });
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        (session, stream)
    }
}

fn hub() -> Hub {
    Hub::new(Limits {
        sinks_max: 8,
        resources_per_device_max: 8,
        queue_max: 8,
        interval_min: 1,
    })
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A device of today.
struct Device {
    stream: Box<dyn Stream>,
    transport: Option<Transport>,
    received: Vec<u8>,
}

impl Device {
    fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            transport: None,
            received: Vec::new(),
        }
    }

    async fn secure(&mut self) {
        let (mut initiator, first) = Initiator::start(&key(), [1; 32]).unwrap();
        self.stream.write_all(&first).await.unwrap();
        let mut answer = [0; 50];
        self.stream.read_exact(&mut answer).await.unwrap();
        assert!(initiator.read(&mut &answer[..]).unwrap());
        self.transport = Some(initiator.finish().unwrap());
    }

    async fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        encode(Dialect::Current, message, &mut bytes);
        if let Some(transport) = &mut self.transport {
            let mut sealed = Vec::new();
            transport.encrypt(&bytes, &mut sealed).unwrap();
            bytes = sealed;
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message; `None` at the end.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Split::Frame(frame) = split(&self.received, usize::MAX).unwrap() {
                let body = &self.received[frame.body.clone()];
                let heard = decode(Dialect::Current, frame.message_type, body).unwrap();
                self.received.drain(..frame.body.end);
                return Some(heard);
            }
            let mut bytes = [0; 1024];
            let count = self.stream.read(&mut bytes).await.unwrap();
            match &mut self.transport {
                _ if count == 0 => return None,
                Some(transport) => transport
                    .decrypt(&bytes[..count], &mut self.received)
                    .unwrap(),
                None => self.received.extend_from_slice(&bytes[..count]),
            }
        }
    }

    async fn asked(&mut self) -> u16 {
        let heard = self.hear().await;
        let Some(Message::Run(run)) = heard else {
            panic!("a Run comes, not {heard:?}");
        };
        run.stream_id.unwrap()
    }
}

fn connect() -> Message {
    Message::Connect(Connect {
        stream_id: Some(7),
        authentication: Authentication::Credentials {
            username: String::new(),
            device: "4711".into(),
            credential: Vec::new(),
        },
        keep_alive: None,
    })
}

fn ok(stream_id: u16, payload: Option<Value>) -> Message {
    Message::Ok(Answer {
        stream_id: Some(stream_id),
        parameters: None,
        payload,
    })
}

fn admit() -> SessionOrder {
    order(SessionCommand::Admit(DeviceId::new(4711).unwrap()))
}

fn order(command: SessionCommand) -> SessionOrder {
    let waiting = waiting();
    SessionOrder { command, waiting }
}

fn ask(request: Request, answer: Waiter) -> DeviceRequest {
    DeviceRequest {
        request,
        answer,
        waiting: waiting(),
    }
}

fn waiting() -> Waiting {
    Mailbox::new(&Meter::off(), "session").enter(Instant::ZERO)
}

/// From the secured link to the end of the session.
async fn check_conversation(mut reports: Reports, session: Addr<Session>, mut device: Device) {
    device.say(&connect()).await;
    reports.claimed().await;
    session.send(admit()).await.unwrap();
    assert_eq!(device.hear().await, Some(ok(7, None)));

    let id = device.asked().await;
    let info = Value::Map(vec![("type".into(), Value::Unsigned(12))]);
    device.say(&ok(id, Some(info))).await;
    let described = SessionEvent::Described { device_type: 12 };
    assert_eq!(reports.next().await, described);

    device.say(&Message::KeepAlive).await;
    assert_eq!(device.hear().await, Some(Message::KeepAlive));

    let (answer, answered) = oneshot::channel();
    let request = Request::Run {
        resource: "door".into(),
        payload: Some(Value::Bool(true)),
    };
    session.do_send(ask(request, answer));
    let id = device.asked().await;
    device.say(&ok(id, Some(Value::Unsigned(4)))).await;
    let answered = answered.await.unwrap();
    let Ok(Answered::Ok(answer)) = answered else {
        panic!("it is answered with Ok, not {answered:?}");
    };
    assert_eq!(answer.payload, Some(Value::Unsigned(4)));

    for flow in ["in", "out"] {
        let end = format!("flow=\"{flow}\"}} 4");
        reports
            .counted(|line| line.starts_with("gatehouse_frames_total") && line.ends_with(&end))
            .await;
    }

    session.do_send(order(SessionCommand::Close(CauseKind::Drain.into())));
    reports.ended(CauseKind::Drain).await;
    let heard = device.hear().await;
    assert!(
        matches!(heard, Some(Message::Disconnect { .. })),
        "{heard:?}"
    );
    assert_eq!(device.hear().await, None);
    drop(device);
    check_gone(&session, reports).await;
}

/// The actor stops, and has reported no more than it should.
async fn check_gone(session: &Addr<Session>, mut reports: Reports) {
    while session.connected() {
        tokio::task::yield_now().await;
    }
    drop(reports.deps);
    assert!(reports.reports.recv().await.is_none());
}

#[actix::test]
async fn a_plain_device_from_accept_to_drain() {
    let reports = Reports::new(Policy::default(), 0);
    let (session, device) = reports.accept(AcceptLink::Plain).await;
    check_conversation(reports, session, device).await;
}

#[actix::test]
async fn an_aes_device_from_accept_to_drain() {
    let reports = Reports::new(Policy::default(), 1);
    let (session, mut device) = reports.accept(AcceptLink::Aes).await;
    device.secure().await;
    assert_eq!(reports.deps.permits.available_permits(), 1);
    check_conversation(reports, session, device).await;
}

/// A device that is the TLS client, and shows its certificate.
async fn tls_client(
    stream: TcpStream,
    version: &'static SupportedProtocolVersion,
) -> io::Result<Device> {
    let leaf = HOUSE.device(4711);
    let config = HOUSE.client(&[version], Some(&leaf));
    let name = "gateway".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Device::new(connector.connect(name, stream).await?))
}

#[actix::test]
async fn a_tls_device_from_accept_to_drain() {
    for version in [&TLS12, &TLS13] {
        let reports = Reports::new(Policy::default(), 1);
        let (session, stream) = reports.accept_raw(AcceptLink::Tls).await;
        let device = tls_client(stream, version).await.unwrap();
        assert_eq!(reports.deps.permits.available_permits(), 1);
        check_conversation(reports, session, device).await;
    }
}

#[actix::test]
async fn a_tls_device_from_dial_to_drain() {
    for version in [&TLS12, &TLS13] {
        let reports = Reports::new(Policy::default(), 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = dial(&reports, listener.local_addr().unwrap(), DialLink::Tls);
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let device = tls_client(stream, version).await.unwrap();
        check_conversation(reports, session, device).await;
    }
}

#[actix::test]
async fn a_device_that_is_the_tls_server_from_dial_to_drain() {
    for version in [&TLS12, &TLS13] {
        let reports = Reports::turned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = dial(&reports, listener.local_addr().unwrap(), DialLink::Tls);
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let config = HOUSE.server(&[version], &HOUSE.device(4711));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let device = Device::new(acceptor.accept(stream).await.unwrap());
        check_conversation(reports, session, device).await;
    }
}

#[actix::test]
async fn a_refused_tls_device_reads_the_alert() {
    let mut reports = Reports::new(Policy::default(), 1);
    let (session, stream) = reports.accept_raw(AcceptLink::Tls).await;
    let leaf = HOUSE.leaf(&["urn:gatehouse:gateway"]);
    let config = HOUSE.client(&[&TLS12], Some(&leaf));
    let name = "gateway".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let refused = connector.connect(name, stream).await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    reports.ended(CauseKind::HandshakeFailed).await;
    check_gone(&session, reports).await;
}

#[actix::test]
async fn a_dialled_device_from_dial_to_drain() {
    let reports = Reports::new(Policy::default(), 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let session = dial(&reports, listener.local_addr().unwrap(), DialLink::Plain);
    let (stream, _) = listener.accept().await.unwrap();
    check_conversation(reports, session, Device::new(stream)).await;
}

fn dial(reports: &Reports, address: std::net::SocketAddr, link: DialLink) -> Addr<Session> {
    let order = DialOrder {
        generation: GENERATION,
        address,
        link,
    };
    let deps = Arc::clone(&reports.deps);
    Session::start_in_arbiter(&Arbiter::current(), move |_| Session::dialled(&order, deps))
}

#[actix::test]
async fn a_dial_that_is_refused_ends_at_once() {
    let mut reports = Reports::new(Policy::default(), 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let session = dial(&reports, address, DialLink::Plain);
    reports.ended(CauseKind::DialFailed).await;
    check_gone(&session, reports).await;
}

#[actix::test]
async fn a_dialled_device_that_closes_the_aes_link_does_not_hold_the_key() {
    let mut reports = Reports::new(Policy::default(), 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = DialLink::Aes(key().id());
    let session = dial(&reports, listener.local_addr().unwrap(), link);
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 9]).await.unwrap();
    drop(stream);
    reports.ended(CauseKind::KeyRefused).await;
    check_gone(&session, reports).await;
}

#[actix::test]
async fn a_handshake_waits_for_its_permit_and_gives_it_back() {
    let mut reports = Reports::new(Policy::default(), 0);
    let (session, mut device) = reports.accept(AcceptLink::Aes).await;
    let permits = Arc::clone(&reports.deps.permits);
    let secured = async {
        device.secure().await;
        device
    };
    let bytes = "gatehouse_link_bytes_total{link=\"aes\"";
    // The answer cannot come before the permit is there.
    let mut secured = std::pin::pin!(secured);
    tokio::select! {
        biased;
        _ = &mut secured => panic!("answered without a permit"),
        () = reports.counted(|line| line == format!("{bytes},flow=\"in\"}} 59")) => {}
    }
    let unsent = format!("{bytes},flow=\"out\"}} 0");
    reports.counted(|line| line == unsent).await;
    let waits = "gatehouse_handshakes_waiting 1";
    reports.counted(|line| line == waits).await;
    permits.add_permits(1);
    drop(secured.await);
    reports.ended(CauseKind::ClosedByDevice).await;
    assert_eq!(permits.available_permits(), 1);
    check_gone(&session, reports).await;
}

#[actix::test]
async fn the_timer_ends_who_says_nothing() {
    let policy = Policy {
        first_byte_deadline: Duration::ZERO,
        ..Policy::default()
    };
    let mut reports = Reports::new(policy, 0);
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    reports.ended(CauseKind::FirstByteTimeout).await;
    assert_eq!(device.hear().await, None);
    check_gone(&session, reports).await;
}

#[actix::test]
async fn a_deadline_that_comes_nearer_is_kept() {
    let policy = Policy {
        first_byte_deadline: Duration::from_secs(3600),
        connect_deadline: Duration::from_secs(3600),
        verdict_deadline: Duration::from_secs(3600),
        request_deadline: Duration::ZERO,
        ..Policy::default()
    };
    let mut reports = Reports::new(policy, 0);
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    device.say(&connect()).await;
    reports.claimed().await;
    session.send(admit()).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let request = Request::Describe { resource: None };
    session.do_send(ask(request, answer));
    assert_eq!(answered.await.unwrap(), Err(RequestError::TimedOut));
    session.do_send(order(SessionCommand::Close(CauseKind::Drain.into())));
    reports.ended(CauseKind::Drain).await;
    drop(device);
    check_gone(&session, reports).await;
}

#[actix::test]
async fn who_writes_and_never_reads_is_closed() {
    let mut reports = Reports::new(Policy::default(), 0);
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    device.say(&connect()).await;
    reports.claimed().await;
    session.send(admit()).await.unwrap();
    let flood = [0x05, 0x00].repeat(4096);
    while device.stream.write_all(&flood).await.is_ok() {}
    reports.ended(CauseKind::IoError).await;
    check_gone(&session, reports).await;
}

#[test]
fn a_session_is_small() {
    // Of the 2 KiB that an idle session may cost, the rest is left to actix, the socket and the
    // timer.
    assert!(size_of::<Session>() <= 768, "{}", size_of::<Session>());
}

struct Crash;

impl actix::Message for Crash {
    type Result = ();
}

impl Handler<Crash> for Session {
    type Result = ();

    fn handle(&mut self, _: Crash, _ctx: &mut Self::Context) {
        panic!("a fault of the gateway, made by its test");
    }
}

#[actix::test]
async fn a_session_that_dies_is_reported_all_the_same() {
    let mut reports = Reports::new(Policy::default(), 0);
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    device.say(&connect()).await;
    reports.claimed().await;
    session.do_send(Crash);
    // With this the reports end when the session is gone, also when it has told nothing.
    let Reports {
        deps, mut reports, ..
    } = reports;
    drop(deps);
    let report = reports.recv().await.unwrap();
    assert_eq!(
        report.event,
        SessionEvent::Ended(CauseKind::Internal.into())
    );
    assert!(reports.recv().await.is_none());
}

#[actix::test]
async fn what_a_device_asks_is_done_outside_and_ends_with_the_session() {
    let mut reports = Reports::new(Policy::default(), 0);
    let (sender, mut asked) = mpsc::unbounded_channel();
    Arc::get_mut(&mut reports.deps).unwrap().functions = Arc::new(Told(sender));
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    device.say(&connect()).await;
    reports.claimed().await;
    session.send(admit()).await.unwrap();
    device.hear().await;
    device.asked().await;

    let run = |stream_id| {
        Message::Run(Run {
            stream_id: Some(stream_id),
            resource: Some(1_u64.into()),
            parameters: Some("cfg".into()),
            ..Run::default()
        })
    };
    device.say(&run(3)).await;
    let Some(Asked::Run(function, Some(answer))) = asked.recv().await else {
        panic!("a function is run");
    };
    assert_eq!(function, Function::ReadProperty { name: "cfg".into() });
    answer(Ok(Some(5_u64.into())));
    assert_eq!(device.hear().await, Some(ok(3, Some(5_u64.into()))));

    device.say(&run(4)).await;
    let Some(Asked::Run(_, answer)) = asked.recv().await else {
        panic!("a function is run");
    };
    drop(answer);
    let Some(Message::Error(failed)) = device.hear().await else {
        panic!("an answerer that is dropped answers for itself");
    };
    assert_eq!(failed.parameters, Some(500_u64.into()));

    let start = Message::StartStream {
        stream_id: Some(5),
        resource: Some(8_u64.into()),
        parameters: Some(Value::map([("event", "alarm")])),
    };
    device.say(&start).await;
    let Some(Asked::Subscribe(stream, subscription, push, answer)) = asked.recv().await else {
        panic!("a stream is opened");
    };
    let alarm = Subscription::Event {
        name: "alarm".into(),
        filters: None,
    };
    assert_eq!(subscription, alarm);
    let expected = DeviceStream {
        device: DeviceId::new(4711).unwrap(),
        generation: GENERATION,
        id: 5,
    };
    assert_eq!(stream, expected);
    answer(Ok(None));
    assert!(push(1_u64.into()));
    assert_eq!(device.hear().await, Some(ok(5, None)));
    let data = Message::StreamData(StreamData {
        stream_id: 5,
        kind: None,
        parameters: None,
        payload: Some(1_u64.into()),
    });
    assert_eq!(device.hear().await, Some(data.clone()));
    device.say(&data).await;
    let Some(Asked::Publish(stream, value)) = asked.recv().await else {
        panic!("it is published");
    };
    assert_eq!((stream, value), (expected, 1_u64.into()));
    let stop = Message::StopStream {
        stream_id: Some(5),
        parameters: None,
        payload: None,
    };
    device.say(&stop).await;
    let unsubscribed = asked.recv().await;
    assert!(matches!(unsubscribed, Some(Asked::Unsubscribe(stream)) if stream == expected));
    assert_eq!(device.hear().await, Some(ok(5, None)));

    drop(device);
    reports.ended(CauseKind::ClosedByDevice).await;
    let ended = asked.recv().await;
    assert!(matches!(ended, Some(Asked::Ended(device, GENERATION)) if device == expected.device));
    check_gone(&session, reports).await;
    assert!(!push(1_u64.into()));
}

#[actix::test]
async fn a_session_that_was_never_admitted_ends_unheard_by_the_functions() {
    let mut reports = Reports::new(Policy::default(), 0);
    let (sender, mut asked) = mpsc::unbounded_channel();
    Arc::get_mut(&mut reports.deps).unwrap().functions = Arc::new(Told(sender));
    let (session, mut device) = reports.accept(AcceptLink::Plain).await;
    device.say(&connect()).await;
    reports.claimed().await;
    drop(device);
    session
        .send(order(SessionCommand::Refuse(CauseKind::NotProven.into())))
        .await
        .unwrap();
    reports.ended(CauseKind::NotProven).await;
    check_gone(&session, reports).await;
    assert!(asked.recv().await.is_none());
}
