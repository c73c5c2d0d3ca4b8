//! Clients of REST, WebSockets and event streams.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::soon;

/// Calls one gateway.
#[derive(Clone)]
pub struct Web {
    address: SocketAddr,
    client: reqwest::Client,
}

impl Web {
    pub fn new(address: SocketAddr) -> Self {
        // Nothing here is over TLS, and the client still wants to know what would do it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build();
        Self {
            address,
            client: client.expect("a client"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<&Json>) -> Response {
        let mut request = self.client.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(body);
        }
        soon(path, request.send()).await.expect("an answer")
    }

    /// Reads as a part of a trace of the caller's.
    pub async fn traced(&self, path: &str, traceparent: &str) -> Response {
        let request = self.client.get(self.url(path));
        let request = request.header("traceparent", traceparent);
        soon(path, request.send()).await.expect("an answer")
    }

    /// Reads JSON that must come.
    pub async fn get(&self, path: &str) -> Json {
        let (status, body) = self.try_get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn try_get(&self, path: &str) -> (StatusCode, Json) {
        answer(self.call(Method::GET, path, None).await).await
    }

    pub async fn post(&self, path: &str, body: Json) -> (StatusCode, Json) {
        answer(self.call(Method::POST, path, Some(&body)).await).await
    }

    /// Opens a WebSocket that must come about.
    pub async fn socket(&self, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.address);
        let (stream, _) = soon(path, connect_async(url)).await.expect("a socket");
        Socket { stream }
    }
}

async fn answer(response: Response) -> (StatusCode, Json) {
    let status = response.status();
    let text = soon("a body", response.text()).await.expect("text");
    let body = serde_json::from_str(&text).unwrap_or(Json::String(text));
    (status, body)
}

/// One WebSocket with frames of JSON.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub async fn send(&mut self, frame: Json) {
        let sent = self.stream.send(Message::text(frame.to_string()));
        soon("a frame to leave", sent)
            .await
            .expect("an open socket");
    }

    /// The next frame of JSON.
    pub async fn next(&mut self) -> Json {
        loop {
            let message = soon("a frame", self.stream.next()).await;
            match message.expect("an open socket").expect("a frame") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(why) => panic!("the socket was closed: {why:?}"),
                _ => {}
            }
        }
    }

    /// Reads on until a frame with this signal.
    pub async fn until(&mut self, signal: &str) -> Json {
        loop {
            let frame = self.next().await;
            if frame["signal"] == signal {
                return frame;
            }
        }
    }
}
