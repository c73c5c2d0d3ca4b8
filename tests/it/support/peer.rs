//! A device of a test's own words: bytes over a plain link, said and heard one frame at a time.

use std::net::SocketAddr;

use gatehouse::codec::dialect::Dialect;
use gatehouse::codec::frame::{self, BODY_MAX, Split};
use gatehouse::codec::message::{self, Answer, Authentication, Connect, Message, Run, StreamId};
use gatehouse::codec::pson::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// The device on its link.
pub struct Peer {
    stream: TcpStream,
    dialect: Dialect,
    received: Vec<u8>,
}

impl Peer {
    /// A link on which nothing was said yet.
    pub async fn dial(to: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(to)).await;
        let stream = stream.expect("a listener");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            dialect: Dialect::Current,
            received: Vec::new(),
        }
    }

    /// A link on which this device of an owner was admitted, and its `device/info` refused.
    pub async fn admitted(to: SocketAddr, dialect: Dialect, owner: &str, device: &str) -> Self {
        let mut peer = Self::dial(to).await;
        peer.dialect = dialect;
        peer.say(&connect(owner, device)).await;
        let answer = peer.hear().await;
        assert!(matches!(answer, Message::Ok(_)), "{answer:?}");
        peer.refuse_info().await;
        peer
    }

    /// The gateway asks what it is; it does not know.
    pub async fn refuse_info(&mut self) {
        let Message::Run(run) = self.hear().await else {
            panic!("the gateway asks for device/info first");
        };
        assert_eq!(run.resource, Some("device/info".into()));
        self.say(&error(run.stream_id)).await;
    }

    pub const fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    pub async fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message::encode(self.dialect, message, &mut bytes);
        self.say_bytes(&bytes).await;
    }

    pub async fn say_hex(&mut self, hex: &str) {
        self.say_bytes(&hex::decode(hex).expect("hex")).await;
    }

    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        // A gateway that has closed already is seen by what is heard next.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame with its header; `None` at the end of the link.
    pub async fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Ok(Split::Frame(frame)) = frame::split(&self.received, BODY_MAX) {
                return Some(self.received.drain(..frame.body.end).collect());
            }
            let read = self.stream.read_buf(&mut self.received);
            match soon("a frame", read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message.
    pub async fn hear(&mut self) -> Message {
        let frame = self.frame().await.expect("the link is up");
        let Ok(Split::Frame(split)) = frame::split(&frame, BODY_MAX) else {
            panic!("a whole frame");
        };
        let message = message::decode(self.dialect, split.message_type, &frame[split.body]);
        message.expect("a message")
    }

    pub async fn hears_hex(&mut self, hex: &str) {
        let frame = self.frame().await.map(hex::encode);
        assert_eq!(frame.as_deref(), Some(hex));
    }

    /// The link ends, and nothing was said before.
    pub async fn hears_the_end(&mut self) {
        let frame = self.frame().await.map(hex::encode);
        assert_eq!((frame, self.received.len()), (None, 0));
    }

    /// Nothing waits that the gateway said: it answers a Keep Alive, and nothing comes before.
    pub async fn hears_nothing(&mut self) {
        self.say(&Message::KeepAlive).await;
        assert_eq!(self.hear().await, Message::KeepAlive);
    }

    /// A Run of this resource; its ID.
    pub async fn hears_run(&mut self, resource: &str) -> Run {
        match self.hear().await {
            Message::Run(run) if run.resource == Some(resource.into()) => run,
            other => panic!("no Run of {resource}: {other:?}"),
        }
    }

    /// A Describe of one resource, or of all; its ID.
    pub async fn hears_describe(&mut self, resource: Option<&str>) -> StreamId {
        match self.hear().await {
            Message::Describe {
                stream_id,
                resource: asked,
                ..
            } if asked == resource.map(Into::into) => stream_id.expect("an ID"),
            other => panic!("no Describe of {resource:?}: {other:?}"),
        }
    }

    /// Answers the Describe of all resources with these functions.
    pub async fn describes(&mut self, functions: &[(&str, u64)]) {
        let id = self.hears_describe(None).await;
        let functions = functions
            .iter()
            .map(|(name, function)| (*name, Value::map([("fn", *function)])));
        let payload = Value::map(functions);
        self.say(&ok(id, Some(payload))).await;
    }

    /// A Start Stream of this resource: its ID and its interval in milliseconds.
    pub async fn hears_start(&mut self, resource: &str) -> (StreamId, Option<u64>) {
        match self.hear().await {
            Message::StartStream {
                stream_id,
                resource: asked,
                parameters,
            } if asked == Some(resource.into()) => {
                let interval = parameters.as_ref().and_then(|map| map.get("interval"));
                let interval = interval.and_then(Value::as_unsigned);
                (stream_id.expect("an ID"), interval)
            }
            other => panic!("no Start Stream of {resource}: {other:?}"),
        }
    }

    /// A Stop Stream; its ID.
    pub async fn hears_stop(&mut self) -> StreamId {
        match self.hear().await {
            Message::StopStream { stream_id, .. } => stream_id.expect("an ID"),
            other => panic!("no Stop Stream: {other:?}"),
        }
    }

    pub async fn says_data(&mut self, id: StreamId, value: impl Into<Value>) {
        let data = message::StreamData {
            stream_id: id,
            kind: None,
            parameters: None,
            payload: Some(value.into()),
        };
        self.say(&Message::StreamData(data)).await;
    }
}

/// A Connect by credentials; the credential is `secret`.
pub fn connect(owner: &str, device: &str) -> Message {
    connect_every(None, owner, device)
}

/// The same with an interval of its own for Keep Alives, in seconds.
pub fn connect_every(keep_alive: Option<u64>, owner: &str, device: &str) -> Message {
    Message::Connect(Connect {
        stream_id: Some(17767),
        authentication: Authentication::Credentials {
            username: owner.to_owned(),
            device: device.to_owned(),
            credential: b"secret".to_vec(),
        },
        keep_alive,
    })
}

pub fn ok(stream_id: impl Into<Option<StreamId>>, payload: Option<Value>) -> Message {
    Message::Ok(Answer {
        stream_id: stream_id.into(),
        parameters: None,
        payload,
    })
}

/// An Error that says nothing, as for an unknown resource.
pub fn error(stream_id: Option<StreamId>) -> Message {
    Message::Error(Answer {
        stream_id,
        ..Answer::default()
    })
}
