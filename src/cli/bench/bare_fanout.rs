//! A bare axum server: lines from a device's socket go to the WebSockets on its path, with no
//! gateway between.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::samples::WINDOW;

/// The channel of each device.
type Channels = Arc<Mutex<HashMap<u32, broadcast::Sender<Utf8Bytes>>>>;

/// A server that runs; dropping it ends it.
pub(super) struct BareFanout {
    pub(super) http: SocketAddr,
    pub(super) devices: SocketAddr,
    _tasks: JoinSet<()>,
}

impl BareFanout {
    /// # Errors
    /// When it cannot listen.
    pub(super) async fn serve() -> io::Result<Self> {
        let channels = Channels::default();
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let devices = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addresses = (http.local_addr()?, devices.local_addr()?);
        let mut tasks = JoinSet::new();
        let routes = Router::new()
            .route("/{id}", get(upgrade))
            .with_state(Arc::clone(&channels));
        tasks.spawn(async move {
            // It ends with its task.
            let _ = axum::serve(http, routes).await;
        });
        tasks.spawn(async move {
            while let Ok((stream, _)) = devices.accept().await {
                tokio::spawn(read(stream, Arc::clone(&channels)));
            }
        });
        Ok(Self {
            http: addresses.0,
            devices: addresses.1,
            _tasks: tasks,
        })
    }
}

/// The channel of one device, made by whoever comes first.
fn channel(channels: &Channels, id: u32) -> broadcast::Sender<Utf8Bytes> {
    let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
    let channel = channels
        .entry(id)
        .or_insert_with(|| broadcast::channel(4 * WINDOW).0);
    channel.clone()
}

async fn read(stream: TcpStream, channels: Channels) {
    let mut lines = BufReader::new(stream).lines();
    let Ok(Some(id)) = lines.next_line().await else {
        return;
    };
    let Ok(id) = id.parse() else { return };
    let channel = channel(&channels, id);
    while let Ok(Some(line)) = lines.next_line().await {
        // Nobody may be listening.
        let _ = channel.send(line.into());
    }
}

async fn upgrade(
    State(channels): State<Channels>,
    Path(id): Path<u32>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let samples = channel(&channels, id).subscribe();
    upgrade.on_upgrade(move |socket| forward(socket, samples))
}

async fn forward(mut socket: WebSocket, mut samples: broadcast::Receiver<Utf8Bytes>) {
    while let Ok(text) = samples.recv().await {
        if socket.send(Message::Text(text)).await.is_err() {
            return;
        }
    }
}
