use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::link::meters::Meters;
use crate::link::waiting_room::WaitingRoom;
use crate::metrics::Meter;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket";
const IOTMP: &str = "Sec-WebSocket-Protocol: iotmp";

/// An HTTP server with the door behind it, and what came through.
struct Front {
    address: SocketAddr,
    came: mpsc::UnboundedReceiver<(Accepted, AcceptLink)>,
}

async fn front(total_max: usize, per_source_max: usize) -> Front {
    let (sender, came) = mpsc::unbounded_channel();
    let door = Door::new(WaitingRoom::new(total_max, per_source_max));
    let start = move |accepted, link| drop(sender.send((accepted, link)));
    let door = IotmpDoor::new(door, 1000, Meters::new(&Meter::off(), "websocket"), start);
    let handler = async move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let carrying = Carrying {
            peer,
            local: Some([127, 0, 0, 9].into()),
            secured: true,
        };
        upgrade(&door, request, carrying)
            .unwrap_or_else(|refused| (refused.status, refused.text).into_response())
    };
    let router = Router::new().route("/iotmp", get(handler));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Front { address, came }
}

impl Front {
    /// What is answered, up to the end of the head, and the connection.
    async fn ask(&self, lines: &[&str]) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let lines = lines.join("\r\n");
        let request = format!("GET /iotmp HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(head).unwrap().to_lowercase(), stream)
    }

    async fn check(&self, lines: &[&str], status: &str, named: &str) {
        let (head, mut stream) = self.ask(lines).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.lines().next().unwrap().parse().unwrap();
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(named), "{text}");
    }
}

#[tokio::test]
async fn a_device_comes_in_over_text_frames_that_are_no_text() {
    let mut front = front(8, 8).await;
    let (head, mut device) = front.ask(&[UPGRADE, VERSION, KEY, IOTMP]).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-protocol: iotmp\r\n"), "{head}");
    let accept = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
    assert!(head.contains(accept), "{head}");
    let (accepted, link) = front.came.recv().await.unwrap();
    assert_eq!(link, AcceptLink::WebSocket { secured: true });
    assert_eq!(accepted.peer, device.local_addr().unwrap());
    let Incoming::WebSocket(mut stream) = accepted.stream else {
        panic!("no WebSocket");
    };
    assert_eq!(stream.local(), Some([127, 0, 0, 9].into()));

    let not_utf8 = [0x81, 0x83, 0, 0, 0, 0, 0xff, 0xfe, 0x00];
    device.write_all(&not_utf8).await.unwrap();
    let mut came = [0; 3];
    stream.read_exact(&mut came).await.unwrap();
    assert_eq!(came, [0xff, 0xfe, 0x00]);

    // One message in two pieces, then two in one.
    stream.write_all(&[0x01, 0x02, 0x08]).await.unwrap();
    stream.write_all(&[0x2a]).await.unwrap();
    stream
        .write_all(&[0x05, 0x00, 0x01, 0x01, 0x07])
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut told = Vec::new();
    device.read_to_end(&mut told).await.unwrap();
    let expected = [
        &[0x82, 0x04, 0x01, 0x02, 0x08, 0x2a][..],
        &[0x82, 0x02, 0x05, 0x00],
        &[0x82, 0x03, 0x01, 0x01, 0x07],
        &[0x88, 0x02, 0x03, 0xe8],
    ];
    assert_eq!(told, expected.concat());
}

#[tokio::test]
async fn pings_are_answered_and_a_close_ends_it() {
    let mut front = front(8, 8).await;
    let (_, mut device) = front.ask(&[UPGRADE, VERSION, KEY, IOTMP]).await;
    let (accepted, _) = front.came.recv().await.unwrap();
    let Incoming::WebSocket(mut stream) = accepted.stream else {
        panic!("no WebSocket");
    };
    let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
    let close = [0x88, 0x80, 0, 0, 0, 0];
    device
        .write_all(&[&ping[..], &close].concat())
        .await
        .unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.unwrap();
    assert!(came.is_empty());
    drop(stream);
    let mut told = Vec::new();
    device.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, [0x8a, 0x02, b'h', b'i', 0x88, 0x00]);
}

#[tokio::test]
async fn a_frame_too_large_ends_it_by_its_header() {
    let mut front = front(8, 8).await;
    let (_, mut device) = front.ask(&[UPGRADE, VERSION, KEY, IOTMP]).await;
    let (accepted, _) = front.came.recv().await.unwrap();
    let Incoming::WebSocket(mut stream) = accepted.stream else {
        panic!("no WebSocket");
    };
    device
        .write_all(&[0x82, 0xfe, 0x04, 0x00, 0, 0, 0, 0])
        .await
        .unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a WebSocket message is larger than 1020 bytes"
    );
    drop(stream);
    let mut told = Vec::new();
    device.read_to_end(&mut told).await.unwrap();
    assert_eq!(told, [0x88, 0x02, 0x03, 0xf1]);
}

#[tokio::test]
async fn another_subprotocol_is_one_among_several_or_refused() {
    let mut front = front(8, 8).await;
    let several = "Sec-WebSocket-Protocol: mqtt, iotmp";
    let (head, _device) = front.ask(&[UPGRADE, VERSION, KEY, several]).await;
    assert!(head.contains("sec-websocket-protocol: iotmp\r\n"), "{head}");
    assert!(front.came.recv().await.is_some());
    let other = "Sec-WebSocket-Protocol: mqtt";
    let right = "Sec-WebSocket-Protocol: iotmp";
    front
        .check(&[UPGRADE, VERSION, KEY, other], "400", right)
        .await;
    front.check(&[UPGRADE, VERSION, KEY], "400", right).await;
}

#[tokio::test]
async fn what_is_no_websocket_is_told_so() {
    let front = front(8, 8).await;
    front.check(&[IOTMP], "426", "Upgrade: websocket").await;
    let other = "Sec-WebSocket-Version: 8";
    let right = "Sec-WebSocket-Version: 13";
    front
        .check(&[UPGRADE, other, KEY, IOTMP], "400", right)
        .await;
    let short = "Sec-WebSocket-Key: short";
    front
        .check(&[UPGRADE, VERSION, short, IOTMP], "400", right)
        .await;
}

#[tokio::test]
async fn the_waiting_room_bounds_them() {
    let asked = [UPGRADE, VERSION, KEY, IOTMP];
    let mut full = front(1, 8).await;
    let (_, _device) = full.ask(&asked).await;
    let (seated, _) = full.came.recv().await.unwrap();
    seated.seat.heard();
    full.check(&asked, "503", "try again").await;
    let mut crowded = front(8, 1).await;
    let (_, _device) = crowded.ask(&asked).await;
    let (seated, _) = crowded.came.recv().await.unwrap();
    seated.seat.heard();
    crowded.check(&asked, "429", "try again").await;
}
