//! Devices that send one sample after another.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::status;
use super::subject::Subject;
use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, BODY_MAX, Split};
use crate::codec::message::{self, Answer, Message, StreamData, StreamId};
use crate::codec::pson::Value;
use crate::sim::link::Link;

/// Sends samples.
pub(super) trait SendSamples {
    /// # Errors
    /// When the connection has ended.
    async fn send(&mut self, count: usize) -> Result<(), Box<dyn Error>>;
}

/// A device of the gateway, on a plain link.
pub(super) struct Sampler {
    link: Link,
    received: Vec<u8>,
    /// One sample as it is sent.
    sample: Vec<u8>,
}

impl Sampler {
    pub(super) const RESOURCE: &str = "temperature";

    /// # Errors
    /// When it is not admitted.
    pub(super) async fn connect(subject: &Subject, id: u32) -> Result<Self, Box<dyn Error>> {
        let proof = subject.credential();
        let link = status::connect(subject.address(&proof)?, id, &proof).await?;
        Ok(Self {
            link,
            received: Vec::new(),
            sample: Vec::new(),
        })
    }

    /// Answers the gateway until it has asked for the stream.
    ///
    /// # Errors
    /// When the link ends first.
    pub(super) async fn until_asked(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            while let Some(message) = self.next()? {
                match message {
                    Message::Describe { stream_id, .. } => {
                        let output = Value::map([("fn", 3_u64)]);
                        let all = Value::map([(Self::RESOURCE, output)]);
                        self.answer(stream_id, Some(all)).await?;
                    }
                    Message::StartStream { stream_id, .. } => {
                        let id = stream_id.ok_or("a Start Stream without an ID")?;
                        self.answer(stream_id, None).await?;
                        // The state that a device tells at first.
                        self.sample = sample(id);
                        let state = self.sample.clone();
                        self.link.write(&state).await?;
                        return Ok(());
                    }
                    _ => {}
                }
            }
            self.link.read(&mut self.received).await?;
        }
    }

    async fn answer(
        &mut self,
        stream_id: Option<StreamId>,
        payload: Option<Value>,
    ) -> Result<(), Box<dyn Error>> {
        let answer = Message::Ok(Answer {
            stream_id,
            parameters: None,
            payload,
        });
        Ok(self.link.write(&encoded(&answer)).await?)
    }

    fn next(&mut self) -> Result<Option<Message>, Box<dyn Error>> {
        let Split::Frame(frame) = frame::split(&self.received, BODY_MAX)? else {
            return Ok(None);
        };
        let end = frame.body.end;
        let body = &self.received[frame.body];
        let message = message::decode(Dialect::Current, frame.message_type, body)?;
        self.received.drain(..end);
        Ok(Some(message))
    }
}

impl SendSamples for Sampler {
    async fn send(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        let bytes = self.sample.repeat(count);
        Ok(self.link.write(&bytes).await?)
    }
}

fn sample(stream_id: StreamId) -> Vec<u8> {
    let value = Value::map([("celsius", Value::from(21.5)), ("humidity", 60_u64.into())]);
    encoded(&Message::StreamData(StreamData {
        stream_id,
        kind: None,
        parameters: None,
        payload: Some(value),
    }))
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode(Dialect::Current, message, &mut bytes);
    bytes
}

/// A device of the bare server: each line is a sample.
pub(super) struct BareSampler {
    stream: TcpStream,
}

impl BareSampler {
    /// # Errors
    /// When the server cannot be reached.
    pub(super) async fn connect(server: SocketAddr, id: u32) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("{id}\n").as_bytes()).await?;
        Ok(Self { stream })
    }
}

impl SendSamples for BareSampler {
    async fn send(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        const LINE: &str = "{\"resource\":\"temperature\",\"signal\":\"data\",\
                            \"payload\":{\"celsius\":21.5,\"humidity\":60}}\n";
        Ok(self.stream.write_all(LINE.repeat(count).as_bytes()).await?)
    }
}
