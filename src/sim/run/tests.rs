mod streams;
mod told;

use std::net::{IpAddr, Ipv4Addr};

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::conversation::exponential;
use super::runner::{CUT, REPLACED};
use super::*;
use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, BODY_MAX, Split};
use crate::codec::message::{self, Answer, Authentication, Connect, Message, Run};
use crate::codec::pson::Value;
use crate::link::link_key::LinkKey;
use crate::sim::link::{Link, LinkError, Role, Security};
use crate::sim::report::{Event, Report};
use crate::sim::spec::Opening;

const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const REDIAL: Duration = Duration::from_millis(1);

fn aes() -> Security {
    Security::Aes(LinkKey::new([7; 32]))
}

fn spec(security: Security) -> Spec {
    Spec::new(1001, security)
}

fn dialling(to: SocketAddr) -> Dialling {
    Dialling {
        to,
        from: None,
        redial: REDIAL,
    }
}

/// No wait takes this long where the code works.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), event)
        .await
        .expect("what was waited for never came")
}

/// A device and what it tells.
struct Watched {
    device: DeviceHandle,
    reports: mpsc::Receiver<Report>,
}

impl Watched {
    fn listening(spec: Spec) -> Self {
        let (channel, reports) = mpsc::channel(64);
        let device = listen(spec, FREE, Reports::to(channel)).unwrap();
        Self { device, reports }
    }

    fn dialling(spec: Spec, dialling: Dialling) -> Self {
        let (channel, reports) = mpsc::channel(64);
        let device = dial(spec, dialling, Reports::to(channel));
        Self { device, reports }
    }

    /// The next event; what secures a link is looked at in tests of its own.
    async fn next(&mut self) -> Event {
        loop {
            let report = soon(self.reports.recv()).await.unwrap();
            assert_eq!(report.device, 1001);
            if !matches!(report.event, Event::Linked(_)) {
                return report.event;
            }
        }
    }

    async fn connect(&self) -> TcpStream {
        let address = self.device.address().unwrap();
        soon(TcpStream::connect(address)).await.unwrap()
    }
}

/// The gateway's end, by hand.
struct Gateway {
    link: Link,
    received: Vec<u8>,
}

impl Gateway {
    async fn new(stream: TcpStream, security: Security, role: Role) -> Self {
        let link = soon(Link::open(stream, &security, role)).await.unwrap();
        Self {
            link,
            received: Vec::new(),
        }
    }

    async fn accepted(listener: &TcpListener, security: Security) -> Self {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        Self::new(stream, security, Role::Accepted).await
    }

    /// The next message; an error at the end of the link.
    async fn next(&mut self) -> Result<Message, LinkError> {
        loop {
            if let Ok(Split::Frame(frame)) = frame::split(&self.received, BODY_MAX) {
                let end = frame.body.end;
                let body = &self.received[frame.body];
                let message = message::decode(Dialect::Current, frame.message_type, body).unwrap();
                self.received.drain(..end);
                return Ok(message);
            }
            soon(self.link.read(&mut self.received)).await?;
        }
    }

    async fn connect(&mut self) -> Connect {
        match self.next().await {
            Ok(Message::Connect(connect)) => connect,
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, message: Message) {
        let mut bytes = Vec::new();
        message::encode(Dialect::Current, &message, &mut bytes);
        soon(self.link.write(&bytes)).await.unwrap();
    }

    async fn admit(&mut self) {
        let stream_id = self.connect().await.stream_id;
        self.send(Message::Ok(answer(stream_id))).await;
    }
}

fn answer(stream_id: Option<u16>) -> Answer {
    Answer {
        stream_id,
        ..Answer::default()
    }
}

#[tokio::test]
async fn a_listening_device_connects_over_either_link_and_tells_of_itself() {
    for security in [Security::Plain, aes()] {
        let mut watched = Watched::listening(spec(security.clone()));
        let stream = watched.connect().await;
        let mut gateway = Gateway::new(stream, security, Role::Dialled).await;
        let connect = gateway.connect().await;
        let Authentication::Credentials { device, .. } = connect.authentication else {
            panic!("{connect:?}");
        };
        assert_eq!((device.as_str(), connect.keep_alive), ("1001", Some(60)));
        gateway.send(Message::Ok(answer(connect.stream_id))).await;
        let run = Run {
            stream_id: Some(5),
            resource: Some(Value::from("device/info")),
            ..Run::default()
        };
        gateway.send(Message::Run(run)).await;
        let Ok(Message::Ok(info)) = gateway.next().await else {
            panic!("no answer");
        };
        assert_eq!(
            info.payload.unwrap().get("id"),
            Some(&Value::Unsigned(1001))
        );
        for event in [Event::Opened, Event::Admitted, Event::Described] {
            assert_eq!(watched.next().await, event);
        }
        drop(gateway);
        assert!(watched.next().await.is_ended());
        let counts = watched.device.counts();
        assert_eq!((counts.links, counts.open, counts.lost), (1, 0, 1));
    }
}

#[tokio::test]
async fn a_newer_link_ends_the_older() {
    let mut watched = Watched::listening(spec(aes()));
    let mut older = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    older.admit().await;
    assert!(watched.device.until(|counts| counts.up == 1).await);
    let mut newer = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    newer.admit().await;
    assert!(older.next().await.is_err());
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(watched.next().await);
    }
    let expected = [
        Event::Opened,
        Event::Admitted,
        Event::Ended(REPLACED.to_owned()),
        Event::Opened,
        Event::Admitted,
    ];
    assert_eq!(events, expected);
    let counts = watched.device.counts();
    assert_eq!((counts.links, counts.open, counts.up), (2, 1, 1));
}

#[tokio::test]
async fn a_refused_device_dials_again() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut watched = Watched::dialling(spec(aes()), dialling(to));
    let mut gateway = Gateway::accepted(&listener, aes()).await;
    let stream_id = gateway.connect().await.stream_id;
    let refusal = Answer {
        payload: Some(Value::map([("error", "who are you")])),
        ..answer(stream_id)
    };
    gateway.send(Message::Error(refusal)).await;
    assert_eq!(watched.next().await, Event::Opened);
    assert_eq!(
        watched.next().await,
        Event::Refused("who are you".to_owned())
    );
    assert_eq!(watched.next().await, Event::Ended("refused".to_owned()));
    Gateway::accepted(&listener, aes()).await.admit().await;
    assert_eq!(watched.next().await, Event::Opened);
    assert_eq!(watched.next().await, Event::Admitted);
}

#[tokio::test]
async fn a_cut_closes_the_connection_and_the_device_goes_on() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut watched = Watched::dialling(spec(Security::Plain), dialling(to));
    let mut gateway = Gateway::accepted(&listener, Security::Plain).await;
    gateway.admit().await;
    assert_eq!(watched.next().await, Event::Opened);
    assert_eq!(watched.next().await, Event::Admitted);
    watched.device.cut();
    assert!(matches!(gateway.next().await, Err(LinkError::Closed)));
    assert_eq!(watched.next().await, Event::Ended(CUT.to_owned()));
    Gateway::accepted(&listener, Security::Plain).await;

    let mut watched = Watched::listening(spec(aes()));
    let mut gateway = Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
    gateway.admit().await;
    assert!(watched.device.until(|counts| counts.up == 1).await);
    watched.device.cut();
    assert!(gateway.next().await.is_err());
    for _ in 0..2 {
        watched.next().await;
    }
    assert_eq!(watched.next().await, Event::Ended(CUT.to_owned()));
    Gateway::new(watched.connect().await, aes(), Role::Dialled).await;
}

#[tokio::test]
async fn a_stopped_device_has_no_socket_left() {
    let watched = Watched::listening(spec(Security::Plain));
    let address = watched.device.address().unwrap();
    let mut gateway = Gateway::new(watched.connect().await, Security::Plain, Role::Dialled).await;
    gateway.admit().await;
    watched.device.stop().await;
    assert!(gateway.next().await.is_err());
    let again = listen(spec(Security::Plain), address, Reports::default()).unwrap();
    assert_eq!(again.address(), Some(address));
    drop(again);
    let is_refused = async { while TcpStream::connect(address).await.is_ok() {} };
    soon(is_refused).await;
}

#[tokio::test]
async fn another_key_opens_no_link() {
    let other = Security::Aes(LinkKey::new([8; 32]));
    let mut watched = Watched::listening(spec(other.clone()));
    let link = soon(Link::open(watched.connect().await, &aes(), Role::Dialled)).await;
    assert!(matches!(link, Err(LinkError::Closed | LinkError::Io(_))));
    assert_eq!(watched.next().await, Event::Opened);
    let Event::Ended(why) = watched.next().await else {
        panic!("it is no end");
    };
    assert!(why.contains("asks for key"), "{why}");

    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut watched = Watched::dialling(spec(other), dialling(to));
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let link = soon(Link::open(stream, &aes(), Role::Accepted)).await;
    assert!(matches!(link, Err(LinkError::UnknownKey(_))));
    assert_eq!(watched.next().await, Event::Opened);
    let Event::Ended(why) = watched.next().await else {
        panic!("it is no end");
    };
    assert!(why.starts_with("no link came about: "), "{why}");
}

#[tokio::test]
async fn a_device_that_never_begins_says_so_much_and_no_more() {
    let said = async |security: Security, opening, listens: bool| {
        let spec = Spec {
            opening,
            ..spec(security)
        };
        if listens {
            let watched = Watched::listening(spec);
            let stream = watched.connect().await;
            everything(stream).await
        } else {
            let listener = TcpListener::bind(FREE).await.unwrap();
            let to = listener.local_addr().unwrap();
            let _watched = Watched::dialling(spec, dialling(to));
            let (stream, _) = soon(listener.accept()).await.unwrap();
            everything(stream).await
        }
    };
    let hello = said(aes(), Opening::Half, false).await;
    assert_eq!(
        (hello.len(), hello[0], &hello[9..11]),
        (35, 1, &[0, 48][..])
    );
    let answer = said(aes(), Opening::Half, true).await;
    assert_eq!((answer.len(), &answer[..2]), (26, &[0, 48][..]));
    for listens in [true, false] {
        let connect = said(Security::Plain, Opening::Half, listens).await;
        assert!(matches!(
            frame::split(&connect, BODY_MAX),
            Ok(Split::Incomplete(_))
        ));
        assert!(said(aes(), Opening::Silence, listens).await.is_empty());
        assert!(!said(aes(), Opening::Garbage, listens).await.is_empty());
    }
}

/// All that the other end says until this end closes its half.
async fn everything(mut stream: TcpStream) -> Vec<u8> {
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    said
}

#[tokio::test]
async fn it_dials_from_the_address_it_is_given() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let from = IpAddr::from([127, 0, 0, 5]);
    let dialling = Dialling {
        from: Some(from),
        ..dialling(listener.local_addr().unwrap())
    };
    let _watched = Watched::dialling(spec(aes()), dialling);
    let (_, peer) = soon(listener.accept()).await.unwrap();
    assert_eq!(peer.ip(), from);
}

#[tokio::test]
async fn it_tells_that_nobody_listens_and_tries_again() {
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.bind(FREE).unwrap();
    let to = reserved.local_addr().unwrap();
    let mut watched = Watched::dialling(spec(aes()), dialling(to));
    for _ in 0..2 {
        assert!(matches!(watched.next().await, Event::Unreachable(_)));
    }
    assert_eq!(watched.device.counts().links, 0);
}

#[tokio::test]
async fn churn_ends_sessions_from_the_device() {
    let spec = Spec {
        churn: Some(REDIAL),
        ..spec(aes())
    };
    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let watched = Watched::dialling(spec, dialling(to));
    for _ in 0..2 {
        let mut gateway = Gateway::accepted(&listener, aes()).await;
        gateway.admit().await;
        assert!(gateway.next().await.is_err());
    }
    assert!(watched.device.counts().admitted >= 2);
}

#[test]
fn exponential_times_have_their_mean() {
    let mean = Duration::from_secs(10);
    let times = (0..10_000_u32).map(|n| exponential(mean, f64::from(n) / 10_000.0));
    let average = times.sum::<Duration>() / 10_000;
    assert!(average.abs_diff(mean) < mean / 100, "{average:?}");
    assert_eq!(exponential(Duration::MAX, 1.0), Duration::MAX);
}
