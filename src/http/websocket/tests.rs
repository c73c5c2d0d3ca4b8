//! Sockets over real connections, with a hub that is fed by hand.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use futures_util::FutureExt;
use serde_json::{Value as Json, json};
use soketto::connection::CloseReason;
use soketto::handshake::{Client as Handshake, ServerResponse};
use soketto::{Data, Incoming, Receiver, Sender};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::conversation::{Terms, WRONG_MAX};
use super::socket::{MESSAGE_MAX, Subject, serve};
use crate::cause::CauseKind;
use crate::codec::pson::Value;
use crate::device::{DeviceId, Generation};
use crate::http::lease::Over;
use crate::http::problem::Problem;
use crate::stream::hub::{Hub, Limits, Sink};
use crate::stream::{Arrival, Pace, Refusal, Report, Wish};
use crate::time::Instant;

/// A device whose session is played by hand.
pub struct Device {
    pub hub: Hub,
    sessions: u64,
    seconds: u64,
    orders: mpsc::UnboundedSender<Wish>,
    wishes: mpsc::UnboundedReceiver<Wish>,
}

impl Device {
    /// One that is not connected; `queue_max` values wait in one sink.
    pub fn away(queue_max: usize) -> Self {
        let (orders, wishes) = mpsc::unbounded_channel();
        Self {
            hub: Hub::new(Limits {
                sinks_max: 100,
                resources_per_device_max: 100,
                queue_max,
                interval_min: 1,
            }),
            sessions: 0,
            seconds: 0,
            orders,
            wishes,
        }
    }

    fn id() -> DeviceId {
        DeviceId::new(7).expect("above zero")
    }

    fn generation(&self) -> Generation {
        Generation::dialled(self.sessions)
    }

    pub fn open(&self, resource: &str, seconds: u32) -> Sink {
        let pace = Pace::Every(NonZeroU32::new(seconds).expect("above zero"));
        self.hub.open(Self::id(), resource, pace).expect("room")
    }

    pub fn attach(&mut self) {
        self.sessions += 1;
        let orders = self.orders.clone();
        let order = move |wish| orders.send(wish).expect("heard");
        self.hub
            .attach(Self::id(), self.generation(), Box::new(order));
    }

    pub fn detach(&self, cause: CauseKind) {
        self.hub
            .detach(Self::id(), self.generation(), &cause.into());
    }

    fn report(&self, report: Report) {
        let now = Instant::from_micros(self.seconds * 1_000_000);
        self.hub.report(Self::id(), self.generation(), report, now);
    }

    pub fn started(&self, resource: &str, seconds: u32) {
        self.report(Report::Started {
            resource: resource.into(),
            sampled: NonZeroU32::new(seconds),
            events: false,
        });
    }

    pub fn refused(&self, resource: &str) {
        self.report(Report::Refused {
            resource: resource.into(),
            refusal: Refusal {
                code: 404,
                text: "no such resource".into(),
            },
        });
    }

    /// A sample one second after the last one.
    pub fn sample(&mut self, resource: &str, value: &str) {
        self.seconds += 1;
        self.report(Report::Data {
            resource: resource.into(),
            arrival: Arrival::Sample,
            value: value.into(),
        });
    }

    /// The next thing that is wanted of it, in seconds; 0 for nothing any more.
    async fn wish(&mut self) -> (String, u32) {
        let wish = self.wishes.recv().await.expect("a wish");
        let seconds = wish.sampled.map_or(0, NonZeroU32::get);
        (wish.resource.to_string(), seconds)
    }
}

/// A server whose sockets are all about one device.
struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    given: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    async fn start(hub: &Hub, may_input: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let given = Arc::new(Mutex::new(Vec::new()));
        let (hub, all) = (hub.clone(), given.clone());
        let route = move |upgrade: WebSocketUpgrade| {
            let subject = subject(hub.clone(), may_input, all.clone());
            let mut stopped = stopped.clone();
            async move {
                let upgrade = upgrade.max_message_size(MESSAGE_MAX);
                upgrade.on_upgrade(async move |socket| {
                    let over = async {
                        let _ = stopped.wait_for(|stopped| *stopped).await;
                        Over::Stopping
                    };
                    serve(socket, subject, over).await;
                })
            }
        };
        let router = Router::new().route("/", get(route));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            stop,
            given,
        }
    }
}

fn subject(hub: Hub, may_input: bool, given: Arc<Mutex<Vec<(String, Value)>>>) -> Subject {
    Subject {
        hub,
        device: Device::id(),
        terms: Terms {
            may_input,
            only: None,
        },
        first: None,
        give: Arc::new(move |resource: Arc<str>, value| {
            let is_known = &*resource == "led";
            given
                .lock()
                .expect("sound")
                .push((resource.to_string(), value));
            async move {
                let unknown = || Problem::not_found("the resource is not streamed now");
                is_known.then_some(()).ok_or_else(unknown)
            }
            .boxed()
        }),
    }
}

type Stream = Compat<TcpStream>;

struct Client {
    sender: Sender<Stream>,
    receiver: Receiver<Stream>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("connects");
        let mut handshake = Handshake::new(stream.compat(), "localhost", "/");
        let answer = handshake.handshake().await.expect("an answer");
        assert!(matches!(answer, ServerResponse::Accepted { .. }));
        let (sender, receiver) = handshake.into_builder().finish();
        Self { sender, receiver }
    }

    async fn say(&mut self, frame: &str) {
        self.sender.send_text(frame).await.expect("sent");
        self.sender.flush().await.expect("sent");
    }

    /// The next frame without its time, or how the socket was closed.
    async fn hear(&mut self) -> Result<Json, CloseReason> {
        loop {
            let mut bytes = Vec::new();
            match self.receiver.receive(&mut bytes).await.expect("a frame") {
                Incoming::Data(Data::Text(_)) => {
                    let mut frame: Json = serde_json::from_slice(&bytes).expect("JSON");
                    if let Some(pairs) = frame.as_object_mut() {
                        pairs.remove("ts");
                    }
                    return Ok(frame);
                }
                Incoming::Closed(reason) => return Err(reason),
                Incoming::Data(Data::Binary(_)) => panic!("binary"),
                Incoming::Pong(_) => {}
            }
        }
    }
}

fn start(interval: u32) -> Json {
    json!({"resource": "temp", "signal": "start", "interval": interval, "events": false})
}

fn data(value: &str) -> Json {
    json!({"resource": "temp", "signal": "data", "payload": value})
}

fn stop(reason: &str) -> Json {
    json!({"resource": "temp", "signal": "stop", "reason": reason})
}

#[tokio::test]
async fn a_socket_stays_open_while_its_device_is_lost_and_comes_back() {
    let mut device = Device::away(4);
    let server = Server::start(&device.hub, false).await;
    let mut client = Client::connect(&server).await;
    client.say(r#"{"resource":"temp","interval":2}"#).await;
    assert_eq!(client.hear().await, Ok(stop("not_connected")));
    for value in ["before", "after"] {
        device.attach();
        assert_eq!(device.wish().await, ("temp".into(), 2));
        device.started("temp", 2);
        device.sample("temp", value);
        assert_eq!(client.hear().await, Ok(start(2)));
        assert_eq!(client.hear().await, Ok(data(value)));
        device.detach(CauseKind::KeepAliveTimeout);
        assert_eq!(client.hear().await, Ok(stop("keep_alive_timeout")));
    }
    device.attach();
    device.refused("temp");
    let refused = client.hear().await.expect("a frame");
    assert_eq!(
        (&refused["signal"], &refused["code"]),
        (&json!("error"), &json!(404))
    );
}

#[tokio::test]
async fn an_interval_changes_and_a_stream_is_stopped_at_the_device() {
    let mut device = Device::away(4);
    device.attach();
    let server = Server::start(&device.hub, false).await;
    let mut client = Client::connect(&server).await;
    for (frame, seconds) in [
        (r#"{"resource":"temp","interval":6}"#, 6),
        (r#"{"resource":"temp","interval":9,"enabled":true}"#, 9),
    ] {
        client.say(frame).await;
        assert_eq!(device.wish().await, ("temp".into(), seconds));
    }
    client.say(r#"{"resource":"temp","enabled":false}"#).await;
    assert_eq!(client.hear().await, Ok(stop("the client asked for it")));
    assert_eq!(device.wish().await, ("temp".into(), 0));
    client.say(r#"{"resource":"temp","interval":6}"#).await;
    assert_eq!(device.wish().await, ("temp".into(), 6));
    drop(client);
    assert_eq!(device.wish().await, ("temp".into(), 0));
}

#[tokio::test]
async fn a_slow_reader_is_told_how_many_it_lost() {
    const SENT: usize = 200;
    let mut device = Device::away(4);
    device.attach();
    let server = Server::start(&device.hub, false).await;
    let mut client = Client::connect(&server).await;
    client.say(r#"{"resource":"temp","interval":1}"#).await;
    device.wish().await;
    device.started("temp", 1);
    assert_eq!(client.hear().await, Ok(start(1)));
    // More than the buffers of a connection hold.
    let value = "x".repeat(256 << 10);
    for n in 0..SENT {
        device.sample("temp", &format!("{n} {value}"));
        tokio::task::yield_now().await;
    }
    let (mut heard, mut lost) = (0, 0);
    while heard + lost < SENT {
        let frame = client.hear().await.expect("a frame");
        lost += frame["lost"].as_u64().map_or(0, |lost| lost as usize);
        let expected = format!("{} ", heard + lost);
        let payload = frame["payload"].as_str().expect("a text");
        assert!(payload.starts_with(&expected), "{expected}");
        heard += 1;
    }
    assert!(lost > 0, "all {heard} fitted into the buffers");
}

#[tokio::test]
async fn input_goes_to_the_device_in_order_and_what_it_does_not_take_is_told() {
    let device = Device::away(4);
    let server = Server::start(&device.hub, true).await;
    let mut client = Client::connect(&server).await;
    client.say(r#"{"resource":"led","payload":true}"#).await;
    client.say(r#"{"resource":"led","payload":null}"#).await;
    client.say(r#"{"resource":"lamp","payload":1}"#).await;
    let refused = client.hear().await;
    let reason = "the resource is not streamed now";
    let frame = json!({"resource": "lamp", "signal": "error", "code": 404, "reason": reason});
    assert_eq!(refused, Ok(frame));
    let given = server.given.lock().expect("sound").clone();
    let expected = [
        ("led".to_owned(), Value::Bool(true)),
        ("led".to_owned(), Value::Null),
        ("lamp".to_owned(), Value::Unsigned(1)),
    ];
    assert_eq!(given, expected);
}

#[tokio::test]
async fn wrong_frames_are_answered_until_there_are_too_many() {
    let device = Device::away(4);
    let server = Server::start(&device.hub, false).await;
    let mut client = Client::connect(&server).await;
    for _ in 1..WRONG_MAX {
        client.say(r#"{"resource":"temp","interval":"5"}"#).await;
        let frame = client.hear().await.expect("a frame");
        assert_eq!(frame["code"], 400);
        let reason = frame["reason"].as_str().expect("a text");
        assert!(reason.contains("whole seconds"), "{reason}");
    }
    client.say("{}").await;
    let closed = client.hear().await.expect_err("closed");
    assert_eq!(closed.code, 1008);
}

#[tokio::test]
async fn a_stop_of_the_gateway_is_a_close_that_says_so() {
    let device = Device::away(4);
    let server = Server::start(&device.hub, false).await;
    let mut client = Client::connect(&server).await;
    client.say(r#"{"resource":"temp"}"#).await;
    assert_eq!(client.hear().await, Ok(stop("not_connected")));
    server.stop.send_replace(true);
    let closed = client.hear().await.expect_err("closed");
    assert_eq!(closed.code, 1001);
    assert_eq!(
        closed.descr.as_deref(),
        Some("the gateway is shutting down")
    );
}
