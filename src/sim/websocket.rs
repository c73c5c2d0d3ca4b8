//! The device end of a WebSocket, as stock clients lead it: every message goes in a text frame of
//! its own, although it is no text.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use soketto::Parsing;
use soketto::base::{Codec, Header, OpCode};
use soketto::handshake::client::Header as HttpHeader;
use soketto::handshake::{Client, ServerResponse};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::link::LinkError;
use crate::codec::frame::BODY_MAX;

/// Where gateways serve devices.
const PATH: &str = "/iotmp";
const PROTOCOL: &str = "iotmp";

/// What the vendor's client calls itself.
const USER_AGENT: HttpHeader<'static> = HttpHeader {
    name: "User-Agent",
    value: b"ThingerHTTP/2.0",
};

/// More than any header of a frame and of a message takes.
const HEADERS_MAX: usize = 32;
const READ_MAX: usize = 16 * 1024;

/// What lies under a WebSocket: TCP, or tls over it.
pub(super) trait Bytes: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Bytes for T {}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    bytes: Box<dyn Bytes>,
    codec: Codec,
    /// No whole frame yet.
    received: Vec<u8>,
    /// Answers to pings.
    unsent: Vec<u8>,
}

impl WebSocket {
    /// Asks the gateway for one, under the name that it was dialled by.
    ///
    /// # Errors
    /// When it answers otherwise, or the connection breaks.
    pub async fn open(bytes: Box<dyn Bytes>, host: &str) -> Result<Self, LinkError> {
        let mut client = Client::new(bytes.compat(), host, PATH);
        client.add_protocol(PROTOCOL);
        client.set_headers(&[USER_AGENT]);
        let answer = client.handshake().await;
        let answer = answer.map_err(|error| LinkError::WebSocket(error.to_string()))?;
        match answer {
            ServerResponse::Accepted { protocol } if protocol.as_deref() == Some(PROTOCOL) => {}
            ServerResponse::Accepted { .. } => {
                let why = format!("the gateway does not speak {PROTOCOL} over it");
                return Err(LinkError::WebSocket(why));
            }
            ServerResponse::Redirect { status_code, .. }
            | ServerResponse::Rejected { status_code } => {
                let why = format!("the gateway answered with status {status_code}");
                return Err(LinkError::WebSocket(why));
            }
        }
        let mut codec = Codec::new();
        codec.set_max_data_size(BODY_MAX + HEADERS_MAX);
        Ok(Self {
            received: client.take_buffer().to_vec(),
            bytes: client.into_inner().into_inner(),
            codec,
            unsent: Vec::new(),
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn write(&mut self, message: &[u8]) -> Result<(), LinkError> {
        let frame = self.frame(OpCode::Text, message);
        self.unsent.extend(frame);
        self.bytes.write_all(&self.unsent).await?;
        self.bytes.flush().await?;
        self.unsent.clear();
        Ok(())
    }

    /// Says that it ends.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn close(mut self) -> io::Result<()> {
        let frame = self.frame(OpCode::Close, &[]);
        self.bytes.write_all(&frame).await?;
        self.bytes.shutdown().await
    }

    /// Appends what came to `plain`; that can be nothing.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        plain: &mut Vec<u8>,
    ) -> Poll<Result<(), LinkError>> {
        self.send_pongs(context)?;
        if self.take_frames(plain)? {
            return Poll::Ready(Ok(()));
        }
        let mut buffer = [MaybeUninit::uninit(); READ_MAX];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(&mut self.bytes).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(LinkError::Closed));
        }
        self.received.extend_from_slice(buffer.filled());
        self.take_frames(plain)?;
        Poll::Ready(Ok(()))
    }

    fn send_pongs(&mut self, context: &mut Context<'_>) -> Result<(), LinkError> {
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.bytes).poll_write(context, &self.unsent) {
                Poll::Ready(sent) => drop(self.unsent.drain(..sent?)),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    /// Whether there was one at least.
    fn take_frames(&mut self, plain: &mut Vec<u8>) -> Result<bool, LinkError> {
        let mut start = 0;
        loop {
            let rest = &self.received[start..];
            let header = self.codec.decode_header(rest);
            let header = header.map_err(|error| LinkError::WebSocket(error.to_string()))?;
            let Parsing::Done { value, offset } = header else {
                break;
            };
            let end = offset + value.payload_len();
            let Some(payload) = rest.get(offset..end) else {
                break;
            };
            let mut payload = payload.to_vec();
            Codec::apply_mask(&value, &mut payload);
            match value.opcode() {
                OpCode::Text | OpCode::Binary | OpCode::Continue => plain.extend(payload),
                OpCode::Ping => {
                    let pong = self.frame(OpCode::Pong, &payload);
                    self.unsent.extend(pong);
                }
                OpCode::Close => return Err(LinkError::Closed),
                _ => {}
            }
            start += end;
        }
        self.received.drain(..start);
        Ok(start > 0)
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mut header = Header::new(opcode);
        header.set_masked(true).set_mask(rand::random());
        header.set_payload_len(payload.len());
        let mut frame = self.codec.encode_header(&header).to_vec();
        let start = frame.len();
        frame.extend_from_slice(payload);
        Codec::apply_mask(&header, &mut frame[start..]);
        frame
    }
}
