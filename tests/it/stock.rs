//! Stock IOTMP clients over the transports that they know: TCP, TLS 1.2 with a certificate that
//! they do not verify, and a WebSocket with text frames that are no text.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatehouse::cause::CauseKind;
use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::frame::{self, Split};
use gatehouse::codec::message::{self, Answer, Authentication, Connect, Message};
use gatehouse::codec::pson::Value;
use gatehouse::config::{Config, Credential, CredentialDigest, Listen};
use gatehouse::device::{DeviceId, Status};
use gatehouse::session::machine::Request as DeviceRequest;
use gatehouse::session::requests::Answered;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::allow_all;
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

const ID: u32 = 1001;
const CREDENTIAL: &[u8] = b"open sesame";

/// The first stream ID that every such client on Linux draws; its bytes are no UTF-8.
const FIRST_STREAM: u16 = 17767;

/// How such a client frames what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    WebSocket,
}

/// A client that behaves as the one for Linux.
struct Stock<S> {
    stream: S,
    framing: Framing,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stock<S> {
    const fn new(stream: S, framing: Framing) -> Self {
        Self {
            stream,
            framing,
            received: Vec::new(),
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is read");
        self.stream.flush().await.expect("it is read");
    }

    async fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message::encode(Dialect::Current, message, &mut bytes);
        if self.framing == Framing::WebSocket {
            bytes = text_frame(&bytes);
        }
        self.write(&bytes).await;
    }

    /// The next message but those that ask what the device is: it does not know, and says so.
    async fn hear(&mut self) -> Message {
        loop {
            let message = self.next().await;
            let stream_id = match &message {
                Message::Run(run) if run.resource == Some(Value::String("device/info".into())) => {
                    run.stream_id
                }
                Message::Describe { stream_id, .. } => *stream_id,
                _ => return message,
            };
            let unknown = Answer {
                stream_id,
                ..Answer::default()
            };
            self.say(&Message::Error(unknown)).await;
        }
    }

    /// The next message; over a WebSocket the next frame must hold exactly one.
    async fn next(&mut self) -> Message {
        if self.framing == Framing::WebSocket {
            let (first, body) = soon("a frame", self.frame()).await;
            assert_eq!(first, 0x82, "one binary frame, not fragmented");
            self.received = body;
        }
        loop {
            let split = frame::split(&self.received, frame::BODY_MAX).expect("a frame");
            if let Split::Frame(found) = split {
                let body = &self.received[found.body.clone()];
                let message = message::decode(Dialect::Current, found.message_type, body);
                self.received.drain(..found.body.end);
                if self.framing == Framing::WebSocket {
                    assert!(self.received.is_empty(), "one message in a frame");
                }
                return message.expect("a message");
            }
            assert!(self.framing == Framing::None, "a whole message in a frame");
            let read = self.stream.read_buf(&mut self.received);
            assert_ne!(soon("bytes", read).await.expect("bytes"), 0, "closed");
        }
    }

    /// A frame of the gateway: its first byte and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.expect("a frame");
        let length = match self.stream.read_u8().await.expect("a length") {
            126 => self.stream.read_u16().await.expect("a length").into(),
            short => u64::from(short),
        };
        let mut body = vec![0; usize::try_from(length).expect("small")];
        self.stream.read_exact(&mut body).await.expect("a body");
        (first, body)
    }

    /// The next frame that carries no message.
    async fn control(&mut self) -> (u8, Vec<u8>) {
        loop {
            let frame = soon("a frame", self.frame()).await;
            if frame.0 != 0x82 {
                return frame;
            }
        }
    }

    async fn connect(&mut self, keep_alive: Option<u64>) {
        self.say(&connect(keep_alive)).await;
        let admitted = Message::Ok(Answer {
            stream_id: Some(FIRST_STREAM),
            ..Answer::default()
        });
        assert_eq!(self.hear().await, admitted);
    }

    /// Keeps alive over more than three intervals of one second.
    async fn keep_alive(&mut self) {
        let mut beats = tokio::time::interval(Duration::from_millis(700));
        for _ in 0..6 {
            beats.tick().await;
            self.say(&Message::KeepAlive).await;
            assert_eq!(self.hear().await, Message::KeepAlive);
        }
    }

    /// Answers one Run with its input.
    async fn answer_run(&mut self) {
        let Message::Run(run) = self.hear().await else {
            panic!("no Run");
        };
        assert_eq!(run.resource, Some(Value::String("echo".into())));
        let answer = Answer {
            stream_id: run.stream_id,
            parameters: None,
            payload: run.payload,
        };
        self.say(&Message::Ok(answer)).await;
    }
}

fn connect(keep_alive: Option<u64>) -> Message {
    Message::Connect(Connect {
        stream_id: Some(FIRST_STREAM),
        authentication: Authentication::Credentials {
            username: String::new(),
            device: ID.to_string(),
            credential: CREDENTIAL.to_vec(),
        },
        keep_alive,
    })
}

/// A masked text frame, whatever is in it.
fn text_frame(bytes: &[u8]) -> Vec<u8> {
    let mask = [0x0f, 0xf0, 0x55, 0xaa];
    let length = u8::try_from(bytes.len()).expect("small");
    assert!(length < 126, "small");
    let masked = bytes.iter().zip(mask.iter().cycle());
    let masked = masked.map(|(byte, mask)| byte ^ mask);
    let header = [0x81, 0x80 | length];
    header.into_iter().chain(mask).chain(masked).collect()
}

/// A gateway that knows the credential of the client.
async fn gateway() -> TestGateway {
    gateway_with(|_| ()).await
}

async fn gateway_with(change: impl FnOnce(&mut Config)) -> TestGateway {
    let free = Listen(Some(([127, 0, 0, 1], 0).into()));
    let gateway = TestGateway::with(|config| {
        config.plain.listen = free;
        config.tls.stock_listen = free;
        config.credential.push(Credential {
            device: ID.to_string(),
            owner: None,
            digest: CredentialDigest::of(CREDENTIAL),
        });
        change(config);
    })
    .await;
    allow_all(&mut gateway.client().await).await;
    gateway
}

fn status(gateway: &TestGateway) -> Option<Status> {
    let snapshot = gateway.handle().snapshot();
    let id = DeviceId::new(ID).expect("not zero");
    snapshot.devices.get(&id).map(|device| device.status)
}

/// What such a client must be able to do, over whichever transport.
async fn live<S: AsyncRead + AsyncWrite + Unpin>(
    gateway: &TestGateway,
    mut device: Stock<S>,
    connected: Status,
) {
    device.connect(Some(1)).await;
    device.keep_alive().await;
    assert_eq!(status(gateway), Some(connected));
    let handle = gateway.handle();
    let id = DeviceId::new(ID).expect("not zero");
    let input = Value::String("déjà vu ".repeat(40));
    let request = DeviceRequest::Run {
        resource: "echo".to_owned(),
        payload: Some(Value::Unsigned(7)),
    };
    let (answered, ()) = tokio::join!(handle.ask(id, request), device.answer_run());
    match answered {
        Ok(Answered::Ok(answer)) => assert_eq!(answer.payload, Some(Value::Unsigned(7))),
        other => panic!("{other:?}"),
    }
    let request = DeviceRequest::Run {
        resource: "echo".to_owned(),
        payload: Some(input),
    };
    let asking = tokio::spawn(async move { handle.ask(id, request).await });
    let Message::Run(long) = device.hear().await else {
        panic!("no Run");
    };
    assert!(matches!(long.payload, Some(Value::String(text)) if text.len() > 300));
    drop(device);
    assert!(soon("its end", asking).await.expect("no panic").is_err());
}

#[test]
fn i_03_over_tcp() {
    run(async {
        let gateway = gateway().await;
        let stream = TcpStream::connect(gateway.plain()).await.expect("open");
        let device = Stock::new(stream, Framing::None);
        live(&gateway, device, Status::TcpConnected).await;
        gateway.stop().await;
    });
}

/// Takes whatever certificate it is shown.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[test]
fn i_03_over_tls_1_2() {
    run(async {
        let gateway = gateway().await;
        let stream = TcpStream::connect(gateway.tls_stock()).await.expect("open");
        let stream = careless(&rustls::version::TLS12, stream).await;
        let device = Stock::new(stream, Framing::None);
        live(&gateway, device, Status::TlsConnected).await;
        gateway.stop().await;
    });
}

/// Opens a WebSocket as the client for Linux does.
async fn open(gateway: &TestGateway) -> Stock<TcpStream> {
    let stream = TcpStream::connect(gateway.http()).await.expect("open");
    upgrade(stream).await
}

/// The same over TLS 1.3.
async fn open_tls(gateway: &TestGateway) -> Stock<TlsStream<TcpStream>> {
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.http().port()));
    let stream = TcpStream::connect(address).await.expect("open");
    upgrade(careless(&rustls::version::TLS13, stream).await).await
}

/// TLS without a look at the certificate.
async fn careless(
    version: &'static SupportedProtocolVersion,
    stream: TcpStream,
) -> TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("the version fits")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    assert!(config.alpn_protocols.is_empty());
    let name = ServerName::from(stream.peer_addr().expect("connected").ip());
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.expect("TLS")
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Stock<S> {
    // They name the host that they were told to dial, whatever the gateway is called.
    let request = "GET /iotmp HTTP/1.1\r\nHost: backend.example.org\r\nUser-Agent: ThingerHTTP/2.0\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: iotmp\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    Stock::new(stream, Framing::WebSocket)
}

#[test]
fn i_04_over_a_websocket_with_text_frames_that_are_no_text() {
    let mut bytes = Vec::new();
    message::encode(Dialect::Current, &connect(None), &mut bytes);
    assert!(std::str::from_utf8(&bytes).is_err());
    run(async {
        let gateway = gateway().await;
        let device = open(&gateway).await;
        live(&gateway, device, Status::TcpConnected).await;
        gateway.stop().await;
        let gateway = gateway_with(|config| {
            config.http.listen = Listen(Some(([0, 0, 0, 0], 0).into()));
        })
        .await;
        let device = open_tls(&gateway).await;
        live(&gateway, device, Status::TlsConnected).await;
        gateway.stop().await;
    });
}

#[test]
fn a_websocket_is_let_in_by_proof_alone_and_told_when_it_is_not() {
    run(async {
        let gateway = gateway().await;
        let mut device = open(&gateway).await;
        device
            .say(&Message::Connect(Connect {
                stream_id: Some(FIRST_STREAM),
                authentication: Authentication::Credentials {
                    username: String::new(),
                    device: ID.to_string(),
                    credential: b"sesame".to_vec(),
                },
                keep_alive: None,
            }))
            .await;
        let Message::Error(refusal) = device.hear().await else {
            panic!("it was let in");
        };
        let reason = Value::map([("error", CauseKind::NotProven.as_str())]);
        assert_eq!(refusal.payload, Some(reason));
        assert_eq!(device.control().await.0, 0x88);
        gateway.stop().await;
    });
}

#[test]
fn a_websocket_that_is_closed_ends_the_session_and_one_that_is_drained_is_told() {
    run(async {
        let gateway = gateway().await;
        let mut device = open(&gateway).await;
        device.connect(None).await;
        // A ping between two messages, and a message in two fragments with a ping inside.
        device.write(&[0x89, 0x81, 0, 0, 0, 0, b'?']).await;
        assert_eq!(device.control().await, (0x8a, b"?".to_vec()));
        let first = [0x01, 0x81, 0, 0, 0, 0, 0x05];
        let last = [0x80, 0x81, 0, 0, 0, 0, 0x00];
        device.write(&[&first[..], &last].concat()).await;
        assert_eq!(device.hear().await, Message::KeepAlive);
        device.write(&[0x88, 0x80, 0, 0, 0, 0]).await;
        assert_eq!(device.control().await.0, 0x88);
        let mut again = open(&gateway).await;
        again.connect(None).await;
        gateway.stop().await;
        assert!(matches!(again.hear().await, Message::Disconnect { .. }));
        assert_eq!(again.control().await.0, 0x88);
    });
}
