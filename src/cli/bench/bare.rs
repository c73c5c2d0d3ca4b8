//! What the gateway is measured beside: a loop that accepts, answers the Connect with Ok, and
//! keeps the connection, in one task each.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use super::bare_link::{BareLink, BareSecurity};
use crate::codec::dialect::Dialect;
use crate::codec::frame::{self, BODY_MAX, Split};
use crate::codec::message::{self, Answer, Message};
use crate::link::listen;
use crate::sim::link::LinkError;

/// The tasks of the connections.
type Serving = Arc<Mutex<Vec<AbortHandle>>>;

/// Accepts as long as it is there.
pub(super) struct BareLoop {
    address: SocketAddr,
    connected: Arc<AtomicUsize>,
    serving: Serving,
    accepting: JoinHandle<()>,
}

impl BareLoop {
    /// # Errors
    /// When it cannot listen.
    pub(super) fn start(security: BareSecurity) -> io::Result<Self> {
        let socket = listen::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        let connected = Arc::new(AtomicUsize::new(0));
        let serving = Serving::default();
        let accepting = accept(
            TcpListener::from_std(socket)?,
            security,
            Arc::clone(&connected),
            Arc::clone(&serving),
        );
        Ok(Self {
            address,
            connected,
            serving,
            accepting: tokio::spawn(accepting),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection.
    pub(super) fn cut(&self) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.drain(..).for_each(|task| task.abort());
    }

    /// How many devices were answered so far.
    pub(super) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Drop for BareLoop {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    security: BareSecurity,
    connected: Arc<AtomicUsize>,
    serving: Serving,
) {
    // An accept that fails is missed in the count, and the bench says so in the end.
    while let Ok((stream, _)) = listener.accept().await {
        let (security, connected) = (security.clone(), Arc::clone(&connected));
        let task = tokio::spawn(async move {
            // It ends as it began: with its device.
            let _ = serve(stream, security, &connected).await;
        });
        let mut serving = serving.lock().unwrap_or_else(PoisonError::into_inner);
        serving.push(task.abort_handle());
    }
}

async fn serve(
    stream: TcpStream,
    security: BareSecurity,
    connected: &AtomicUsize,
) -> Result<(), LinkError> {
    stream.set_nodelay(true)?;
    let mut link = BareLink::open(stream, security).await?;
    let mut received = Vec::new();
    let answer = loop {
        link.read(&mut received).await?;
        if let Some(answer) = answer_to(&received) {
            break answer;
        }
    };
    drop(received);
    link.write(&answer).await?;
    drop(answer);
    connected.fetch_add(1, Ordering::Relaxed);
    loop {
        let mut ignored = Vec::new();
        link.read(&mut ignored).await?;
    }
}

/// Ok, once the Connect is whole.
fn answer_to(received: &[u8]) -> Option<Vec<u8>> {
    let Ok(Split::Frame(frame)) = frame::split(received, BODY_MAX) else {
        return None;
    };
    let body = &received[frame.body];
    let Ok(Message::Connect(connect)) = message::decode(Dialect::Current, frame.message_type, body)
    else {
        return None;
    };
    let ok = Message::Ok(Answer {
        stream_id: connect.stream_id,
        ..Answer::default()
    });
    let mut bytes = Vec::new();
    message::encode(Dialect::Current, &ok, &mut bytes);
    Some(bytes)
}
