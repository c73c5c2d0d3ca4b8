use std::time::Duration;

use soketto::handshake::Server;
use soketto::handshake::server::Response;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, Split};
use crate::codec::message::{self, Answer, Message};
use crate::codec::pson::Value;
use crate::sim::link::Security;
use crate::sim::quirks::Like;
use crate::sim::report::{Event, Report, Reports};
use crate::sim::run::{self, DeviceHandle};
use crate::sim::spec::{Dialling, Spec};

/// No wait takes this long where the code works.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), event)
        .await
        .expect("what was waited for never came")
}

/// The gateway's end, by hand.
struct Gateway {
    stream: TcpStream,
    codec: Codec,
    received: Vec<u8>,
}

impl Gateway {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        let mut server = Server::new(stream.compat());
        server.add_protocol(PROTOCOL);
        let key = {
            let request = soon(server.receive_request()).await.unwrap();
            assert_eq!(request.path(), PATH);
            assert_eq!(request.protocols().collect::<Vec<_>>(), [PROTOCOL]);
            request.key()
        };
        let response = Response::Accept {
            key,
            protocol: Some(PROTOCOL),
        };
        soon(server.send_response(&response)).await.unwrap();
        Self {
            stream: server.into_inner().into_inner(),
            codec: Codec::new(),
            received: Vec::new(),
        }
    }

    async fn next(&mut self) -> (Header, Vec<u8>) {
        loop {
            if let Ok(Parsing::Done { value, offset }) = self.codec.decode_header(&self.received) {
                let end = offset + value.payload_len();
                if self.received.len() >= end {
                    let mut payload = self.received[offset..end].to_vec();
                    Codec::apply_mask(&value, &mut payload);
                    self.received.drain(..end);
                    return (value, payload);
                }
            }
            assert!(
                soon(self.stream.read_buf(&mut self.received))
                    .await
                    .unwrap()
                    > 0
            );
        }
    }

    /// The next message, which must have come alone in a masked text frame.
    async fn message(&mut self) -> Message {
        let (header, payload) = self.next().await;
        assert_eq!((header.opcode(), header.is_masked()), (OpCode::Text, true));
        let Ok(Split::Frame(frame)) = frame::split(&payload, BODY_MAX) else {
            panic!("no whole message");
        };
        assert_eq!(frame.body.end, payload.len());
        message::decode(Dialect::Current, frame.message_type, &payload[frame.body]).unwrap()
    }

    async fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        let mut header = Header::new(opcode);
        header.set_payload_len(payload.len());
        let frame = [self.codec.encode_header(&header), payload].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn say(&mut self, messages: &[Message]) {
        let mut bytes = Vec::new();
        for message in messages {
            message::encode(Dialect::Current, message, &mut bytes);
        }
        self.send(OpCode::Binary, &bytes).await;
    }
}

async fn device() -> (TcpListener, DeviceHandle, mpsc::Receiver<Report>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut spec = Spec::new(1001, Security::Plain);
    spec.websocket = true;
    Like::Linux.apply(&mut spec.device);
    let dialling = Dialling {
        to: listener.local_addr().unwrap(),
        from: None,
        redial: Duration::from_millis(1),
    };
    let (channel, reports) = mpsc::channel(64);
    let device = run::dial(spec, dialling, Reports::to(channel));
    (listener, device, reports)
}

fn ok(stream_id: Option<u16>) -> Message {
    Message::Ok(Answer {
        stream_id,
        ..Answer::default()
    })
}

#[tokio::test]
async fn a_device_talks_in_text_frames_that_are_no_text() {
    let (listener, device, mut reports) = device().await;
    let mut gateway = Gateway::accept(&listener).await;
    let Message::Connect(connect) = gateway.message().await else {
        panic!("no Connect");
    };
    let describe = Message::Describe {
        stream_id: Some(200),
        resource: None,
        parameters: None,
    };
    // Two in one frame.
    gateway
        .say(&[ok(connect.stream_id), describe.clone()])
        .await;
    let (header, payload) = gateway.next().await;
    assert_eq!(header.opcode(), OpCode::Text);
    assert!(std::str::from_utf8(&payload).is_err());
    gateway.send(OpCode::Ping, b"still there?").await;
    let (header, payload) = gateway.next().await;
    assert_eq!(
        (header.opcode(), &payload[..]),
        (OpCode::Pong, &b"still there?"[..])
    );
    // One in two pieces of the path.
    let mut bytes = Vec::new();
    message::encode(Dialect::Current, &describe, &mut bytes);
    let mut header = Header::new(OpCode::Text);
    header.set_payload_len(bytes.len());
    let frame = [gateway.codec.encode_header(&header), &bytes].concat();
    for byte in frame {
        gateway.stream.write_all(&[byte]).await.unwrap();
    }
    let Message::Ok(answer) = gateway.message().await else {
        panic!("no Ok");
    };
    assert!(matches!(answer.payload, Some(Value::Map(_))));
    gateway.send(OpCode::Close, &[]).await;
    assert!(soon(device.until(|counts| counts.lost == 1)).await);
    let opened = reports.recv().await.unwrap().event;
    let linked = reports.recv().await.unwrap().event;
    assert_eq!(
        (opened, linked),
        (Event::Opened, Event::Linked("websocket"))
    );
}

#[tokio::test]
async fn who_offers_no_websocket_gets_no_device() {
    let (listener, _device, mut reports) = device().await;
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    assert_eq!(soon(reports.recv()).await.unwrap().event, Event::Opened);
    let Event::Ended(why) = soon(reports.recv()).await.unwrap().event else {
        panic!("it is no end");
    };
    assert!(why.contains("status 404"), "{why}");
}
