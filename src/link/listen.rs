//! One listening socket: accepts, seats what it accepted, and hands it on.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::link::meters::Meters;
use crate::link::waiting_room::{Entrance, SeatId, WaitingRoom};
use crate::link::websocket::WebSocket;
use crate::time::Instant;

/// Connections the kernel may hold that are not accepted yet; a fleet that comes back at once
/// must find room.
const BACKLOG: i32 = 4096;

/// How long accepting rests when the process has no file left for another connection.
const REST: Duration = Duration::from_millis(100);

/// After how long a held connection asks for a place again: the waiting room turns over within
/// milliseconds, and who is not accepted yet waits in the kernel.
const HOLD: Duration = Duration::from_millis(5);

/// The waiting room that all listeners share, with the way to close who sits in it.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Mutex<Inside>>,
}

struct Inside {
    room: WaitingRoom,
    closers: HashMap<SeatId, Closer>,
    accepted: u64,
}

/// Closes a connection that gives its place up.
pub type Closer = Box<dyn FnOnce() + Send>;

/// A place in the waiting room; leaving it is dropping it.
pub struct Seat {
    door: Door,
    id: SeatId,
}

/// What the door says to an accepted connection.
pub enum Answer {
    /// Come in, as number so and so.
    Seated(u64, Seat),
    /// The same, and another gave way.
    SeatedInsteadOf(u64, Seat),
    /// Wait, and with it all that come after it.
    Hold,
    Refused,
}

impl Door {
    pub fn new(room: WaitingRoom) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Inside {
                room,
                closers: HashMap::new(),
                accepted: 0,
            })),
        }
    }

    /// Seats a connection that was just accepted, if there is room. One that gave way for it is
    /// told to close.
    pub fn enter(&self, source: IpAddr, now: Instant) -> Answer {
        let mut inside = self.inside();
        inside.accepted += 1;
        let number = inside.accepted;
        let (id, evicted) = match inside.room.enter(number, source, now) {
            Entrance::Seated(seat) => (seat, None),
            Entrance::SeatedInsteadOf { seat, evicted } => (seat, Some(evicted)),
            Entrance::Hold => return Answer::Hold,
            Entrance::Refused => return Answer::Refused,
        };
        let closer = evicted.and_then(|evicted| inside.closers.remove(&evicted));
        drop(inside);
        if let Some(close) = closer {
            close();
        }
        let door = self.clone();
        let seat = Seat { door, id };
        match evicted {
            Some(_) => Answer::SeatedInsteadOf(number, seat),
            None => Answer::Seated(number, seat),
        }
    }

    /// How many sit in the waiting room.
    pub fn waiting(&self) -> usize {
        self.inside().room.len()
    }

    /// Other bounds of the waiting room from now on.
    pub fn set_limits(&self, waiting_max: usize, per_source_max: usize) {
        self.inside().room.set_limits(waiting_max, per_source_max);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How the connection is closed when it has to give its place up.
    pub fn set_closer(&self, closer: Closer) {
        let mut inside = self.door.inside();
        if inside.room.holds(self.id) {
            inside.closers.insert(self.id, closer);
        } else {
            drop(inside);
            closer();
        }
    }

    /// The Connect of the peer is there: it keeps its place until it leaves.
    pub fn heard(&self) {
        let mut inside = self.door.inside();
        inside.room.heard(self.id);
        inside.closers.remove(&self.id);
        if inside.closers.is_empty() {
            inside.closers.shrink_to(64);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.room.leave(self.id);
        inside.closers.remove(&self.id);
    }
}

/// Opens a listening socket. Port 0 takes any that is free.
///
/// # Errors
/// When the address is not of this host, or busy.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the old connections of the port to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The actor of one listening socket.
pub struct Listener {
    listener: Arc<TcpListener>,
    /// Accepted, and waiting for a place in the waiting room.
    held: Option<(TcpStream, SocketAddr)>,
    door: Door,
    meters: Meters,
    is_holding: bool,
    /// Starts a session for an accepted connection.
    start: Box<dyn Fn(Accepted)>,
}

/// The bytes of an accepted connection.
pub enum Incoming {
    Tcp(std::net::TcpStream),
    WebSocket(Box<WebSocket>),
}

impl From<std::net::TcpStream> for Incoming {
    fn from(stream: std::net::TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

/// An accepted connection with its number and its seat.
pub struct Accepted {
    pub stream: Incoming,
    pub peer: SocketAddr,
    pub number: u64,
    pub seat: Seat,
}

/// Stop accepting.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopListening;

impl Listener {
    pub fn new(
        listener: TcpListener,
        door: Door,
        meters: Meters,
        start: impl Fn(Accepted) + 'static,
    ) -> Self {
        Self {
            listener: Arc::new(listener),
            held: None,
            door,
            meters,
            is_holding: false,
            start: Box::new(start),
        }
    }

    /// Accepts the next one, unless one is held. One at a time: a stream would yield some more that
    /// arrived together before it can be cancelled, and there would be nowhere to hold them.
    fn accept(&mut self, ctx: &mut Context<Self>) {
        if self.held.is_some() {
            ctx.run_later(HOLD, Self::ask_again);
            return;
        }
        let listener = Arc::clone(&self.listener);
        let arrival = wrap_future(async move { listener.accept().await });
        ctx.spawn(arrival.map(|arrival, listener: &mut Self, ctx| listener.arrived(arrival, ctx)));
    }

    fn ask_again(&mut self, ctx: &mut Context<Self>) {
        if let Some((stream, peer)) = self.held.take() {
            self.show_in(stream, peer);
        }
        self.accept(ctx);
    }

    fn arrived(&mut self, arrival: io::Result<(TcpStream, SocketAddr)>, ctx: &mut Context<Self>) {
        match arrival {
            Ok((stream, peer)) => self.show_in(stream, peer),
            Err(error) => {
                self.meters.error.increment(1);
                tracing::warn!(%error, rest = ?REST, "cannot accept, resting");
                ctx.run_later(REST, Self::accept);
                return;
            }
        }
        self.accept(ctx);
    }

    fn show_in(&mut self, stream: TcpStream, peer: SocketAddr) {
        let (number, seat) = match self.door.enter(peer.ip(), clock::now().instant) {
            Answer::Seated(number, seat) => {
                self.meters.seated.increment(1);
                (number, seat)
            }
            Answer::SeatedInsteadOf(number, seat) => {
                self.meters.evicted.increment(1);
                (number, seat)
            }
            Answer::Hold => {
                self.hold(true);
                self.held = Some((stream, peer));
                return;
            }
            Answer::Refused => {
                self.hold(false);
                self.meters.refused.increment(1);
                tracing::debug!(%peer, "turned away: its address has all its places in the waiting room");
                return;
            }
        };
        self.hold(false);
        match stream.into_std() {
            Ok(stream) => (self.start)(Accepted {
                stream: stream.into(),
                peer,
                number,
                seat,
            }),
            Err(error) => tracing::debug!(%peer, %error, "lost before it was handed on"),
        }
    }
}

impl Listener {
    /// Counts a connection that is held once, however often it asks again.
    fn hold(&mut self, is_holding: bool) {
        if self.is_holding != is_holding {
            self.is_holding = is_holding;
            self.meters.holding.set(u8::from(is_holding));
            self.meters.held.increment(u64::from(is_holding));
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.accept(ctx);
    }
}

impl Handler<StopListening> for Listener {
    type Result = ();

    fn handle(&mut self, _: StopListening, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
