//! The actor of one session: carries bytes, time and messages to the machine, and its outputs out.
//!
//! It has a single future beside its mailbox, which waits for the socket, the timer and whatever
//! is being opened. Between frames it owns no buffer: all sessions of a thread read into one.

mod io;
mod observed;
mod outside;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{self, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};
use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;
use tracing::Span;

use self::observed::Observed;
use crate::cause::{Cause, CauseKind};
use crate::clock;
use crate::device::{DeviceId, Generation, LinkKind};
use crate::link::dial;
use crate::link::listen::{Incoming, Seat};
use crate::metrics::Counted;
use crate::metrics::mailbox::Waiting;
use crate::session::asked::Functions;
use crate::session::machine::{Machine, Output, Request, Setup};
use crate::session::meters::Meters;
use crate::session::requests::{Answered, RequestError};
use crate::session::{
    AcceptLink, DialLink, DialOrder, KeyLookup, LiveTls, Policy, SessionCommand, SessionEvent,
};
use crate::stream::hub::Hub;
use crate::time::Instant;
use crate::trace::Observer;

/// How often one session reads before the others of its thread have their turn.
const READS_MAX: usize = 4;

/// What a session tells the registry: at most one each of Claimed, Slow, Described and Ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionReport {
    pub generation: Generation,
    pub event: SessionEvent,
    /// How the registry reaches the session: with the Connect of one that it did not dial.
    pub session: Option<Addr<Session>>,
    /// In the mailbox of the registry.
    pub waiting: Waiting,
}

/// What the registry orders.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionOrder {
    pub command: SessionCommand,
    /// In the mailbox of the session.
    pub waiting: Waiting,
}

/// Asks something of the device. `answer` is always sent to, unless the session dies of a fault of
/// the gateway, which drops it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DeviceRequest {
    pub request: Request,
    pub answer: Waiter,
    /// In the mailbox of the session.
    pub waiting: Waiting,
}

/// Whom the answer to a request is sent to.
pub type Waiter = oneshot::Sender<Result<Answered, RequestError>>;

/// Gives its place in the waiting room up to another connection.
#[derive(Message)]
#[rtype(result = "()")]
struct GiveWay;

/// Asks for the address of the gateway on the connection to the device; `None` when it is closed.
#[derive(Message)]
#[rtype(result = "Option<IpAddr>")]
pub struct GetLocalAddress;

/// What all sessions share.
pub struct Deps {
    /// What counts for sessions that begin from now on.
    pub policy: Arc<ArcSwap<Policy>>,
    pub keys: Arc<dyn KeyLookup>,
    pub tls: Arc<dyn LiveTls>,
    /// One for each handshake that may be computed at a time.
    pub permits: Arc<Semaphore>,
    pub reports: Recipient<SessionReport>,
    /// Who wants streams of devices.
    pub streams: Hub,
    /// Who does what devices ask.
    pub functions: Arc<dyn Functions>,
    pub meters: Meters,
    pub observer: Observer,
}

/// One session. Start it with [`Actor::start_in_arbiter`].
pub struct Session {
    machine: Machine<Waiter>,
    guard: Guard,
    link: LinkKind,
    peer: SocketAddr,
    device: Option<DeviceId>,
    /// Until the verdict, and where its span is kept.
    observed: Option<Box<Observed>>,
    /// An accepted connection sits in the waiting room until it is admitted or ends.
    seat: Option<Seat>,
    socket: Socket,
    /// What the socket did not take yet; without memory while it is empty.
    unsent: Vec<u8>,
    /// The sending side is to be shut down once everything is written.
    finishing: bool,
    opening: Option<Pin<Box<dyn Future<Output = Opened>>>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the timer is set to; earlier than the deadline when that has moved meanwhile.
    armed: Instant,
    /// How many values are on their way for streams of the device, once it opened one.
    pushes: Option<Arc<AtomicUsize>>,
}

enum Socket {
    /// Accepted on another thread; the one that runs the session must take it over.
    Accepted(Incoming),
    Open(io::Stream),
    /// Not open yet, or closed.
    None,
}

enum Opened {
    Dialled(Result<TcpStream, Cause>),
    /// None when the gateway is closing down.
    Permit(Option<OwnedSemaphorePermit>),
}

/// Reports the end of a session that dies without having reported it.
struct Guard {
    deps: Arc<Deps>,
    generation: Generation,
    /// The device that the hub and the functions know to be connected.
    attached: Option<DeviceId>,
    ended: bool,
}

/// Everything a session waits for, as one future.
struct Drive;

impl Session {
    /// A connection that a listener accepted. `link` is what its listener speaks.
    pub fn inbound(
        stream: impl Into<Incoming>,
        peer: SocketAddr,
        seat: Seat,
        link: AcceptLink,
        generation: Generation,
        deps: Arc<Deps>,
    ) -> Self {
        let now = clock::now().instant;
        let machine = Machine::inbound(peer, link, setup(&deps), now);
        let kind = match link {
            AcceptLink::Plain | AcceptLink::WebSocket { secured: false } => LinkKind::Plain,
            AcceptLink::Aes => LinkKind::Aes,
            AcceptLink::Tls | AcceptLink::WebSocket { secured: true } => LinkKind::Tls,
        };
        let socket = Socket::Accepted(stream.into());
        let mut session = Self::new(machine, peer, kind, generation, deps, socket);
        session.seat = Some(seat);
        session
    }

    /// A connection to a device, which the session opens itself.
    pub fn dialled(order: &DialOrder, deps: Arc<Deps>) -> Self {
        let now = clock::now().instant;
        let address = order.address;
        let machine = Machine::dialled(address, order.link, setup(&deps), now);
        let kind = match order.link {
            DialLink::Plain => LinkKind::Plain,
            DialLink::Aes(_) => LinkKind::Aes,
            DialLink::Tls => LinkKind::Tls,
        };
        let mut session = Self::new(machine, address, kind, order.generation, deps, Socket::None);
        session.opening = Some(Box::pin(async move {
            Opened::Dialled(dial::open(address).await)
        }));
        session
    }

    fn new(
        machine: Machine<Waiter>,
        peer: SocketAddr,
        link: LinkKind,
        generation: Generation,
        deps: Arc<Deps>,
        socket: Socket,
    ) -> Self {
        Self {
            machine,
            guard: Guard {
                deps,
                generation,
                attached: None,
                ended: false,
            },
            link,
            peer,
            device: None,
            observed: None,
            seat: None,
            socket,
            unsent: Vec::new(),
            finishing: false,
            opening: None,
            timer: None,
            armed: Instant::ZERO,
            pushes: None,
        }
    }

    /// Made for each message instead of kept, so that an idle session does not pay for it.
    fn span(&self) -> Span {
        tracing::info_span!(
            "session",
            device = self.device.map(DeviceId::get),
            peer = %self.peer,
            link = self.link.as_str(),
            generation = %self.guard.generation,
        )
    }

    /// Takes an accepted socket over into the runtime of this thread.
    fn take_over(&mut self) {
        match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Accepted(stream) => match io::adopt(stream) {
                Ok(stream) => self.socket = Socket::Open(stream),
                Err(error) => self.lost(&error),
            },
            other => self.socket = other,
        }
    }

    fn lost(&mut self, error: &std::io::Error) {
        let text = dial::error_text(error);
        self.machine
            .handle_io_error(error.kind(), &text, clock::now().instant);
    }

    /// Runs until everything waits; ready once the session is closed.
    fn drive(&mut self, ctx: &Context<Self>, task: &mut task::Context<'_>) -> Poll<()> {
        let mut reads = 0;
        loop {
            if self.carry_out(ctx).is_break() {
                return Poll::Ready(());
            }
            self.flush(task);
            if self.machine.has_output() || self.poll_opening(task) || self.poll_timer(task) {
                continue;
            }
            if reads == READS_MAX {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.read(task) {
                return Poll::Pending;
            }
            reads += 1;
        }
    }

    /// Hands on what the machine counted and measured.
    fn count(&mut self) {
        let meters = &self.guard.deps.meters;
        meters.count(self.link, &self.machine.take_counters());
        for (step, took) in self.machine.take_steps() {
            self.guard.deps.meters.step(self.link, step, took);
            self.observe(step, took);
        }
    }

    /// Carries the outputs out; breaks at the last one.
    fn carry_out(&mut self, ctx: &Context<Self>) -> ControlFlow<()> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(bytes) if self.unsent.is_empty() => self.unsent = bytes,
                Output::Send(bytes) => self.unsent.extend(bytes),
                Output::Report(event) => self.report(event, ctx),
                Output::HandshakeReady => self.await_permit(),
                // Who asked may have gone.
                Output::Admitted { took } => self.observe_admission(took),
                Output::Answer(waiter, answer) => drop(waiter.send(answer)),
                Output::Stream(report) => self.stream_report(report),
                Output::Function(serial, function) => self.run_function(serial, function, ctx),
                Output::Subscribe(serial, id, subscription) => {
                    self.subscribe(serial, id, subscription, ctx);
                }
                Output::Unsubscribe(id) => self.unsubscribe(id),
                Output::Publish(id, value) => self.publish(id, value),
                Output::Finish => self.finishing = true,
                Output::Close => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    fn report(&mut self, event: SessionEvent, ctx: &Context<Self>) {
        self.span().in_scope(|| match &event {
            // Whoever never was a session is a line in the log for debugging alone: anybody can
            // connect and go away.
            SessionEvent::Ended(cause) if self.device.is_some() => {
                tracing::info!(%cause, "session ended");
            }
            SessionEvent::Ended(cause) => tracing::debug!(%cause, "connection ended"),
            event => tracing::debug!(?event, "session reports"),
        });
        let mut session = None;
        match &event {
            SessionEvent::Claimed(_) => {
                if let Some(seat) = &self.seat {
                    seat.heard();
                }
                session = Some(ctx.address());
            }
            SessionEvent::Described { .. } | SessionEvent::Slow { .. } => {}
            SessionEvent::Ended(cause) => {
                self.seat = None;
                // A session may end before what led to it was counted.
                self.count();
                self.observe_end(cause);
            }
        }
        self.guard.report(event, session);
    }

    fn await_permit(&mut self) {
        let permits = Arc::clone(&self.guard.deps.permits);
        let waiting = Counted::one_more(&self.guard.deps.meters.handshakes_waiting);
        self.opening = Some(Box::pin(async move {
            let permit = permits.acquire_owned().await.ok();
            drop(waiting);
            Opened::Permit(permit)
        }));
    }

    /// Whether something was opened.
    fn poll_opening(&mut self, task: &mut task::Context<'_>) -> bool {
        let Some(opening) = &mut self.opening else {
            return false;
        };
        let Poll::Ready(opened) = opening.as_mut().poll(task) else {
            return false;
        };
        self.opening = None;
        let now = clock::now().instant;
        match opened {
            Opened::Dialled(Ok(stream)) => {
                self.socket = Socket::Open(io::Stream::Tcp(stream));
                match io::entropy() {
                    Ok(entropy) => self.machine.handle_opened(entropy, now),
                    Err(error) => self.lost(&error),
                }
            }
            Opened::Dialled(Err(cause)) => self.machine.handle_dial_failed(cause, now),
            // Held for the computation alone. The semaphore is closed at the end of the gateway.
            Opened::Permit(_permit) => match io::entropy() {
                Ok(entropy) => self.machine.handle_permit(entropy, now),
                Err(error) => self.lost(&error),
            },
        }
        true
    }

    /// Whether the deadline of the machine has come. A deadline that moves away leaves the timer
    /// alone until it fires.
    fn poll_timer(&mut self, task: &mut task::Context<'_>) -> bool {
        let Some(deadline) = self.machine.poll_timeout() else {
            self.timer = None;
            return false;
        };
        let until = clock::deadline(deadline);
        let timer = self.timer.get_or_insert_with(|| {
            self.armed = deadline;
            Box::pin(tokio::time::sleep_until(until))
        });
        if self.armed > deadline {
            self.armed = deadline;
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(task).is_ready() {
            let now = clock::now().instant;
            if deadline <= now {
                self.machine.handle_timeout(now);
                return true;
            }
            self.armed = deadline;
            timer.as_mut().reset(until);
        }
        false
    }

    /// Writes what the socket takes.
    fn flush(&mut self, task: &mut task::Context<'_>) {
        let Socket::Open(stream) = &mut self.socket else {
            return;
        };
        if let Err(error) = stream.flush(task) {
            return self.lost(&error);
        }
        if !self.unsent.is_empty() {
            let written = stream.write(&self.unsent, task);
            let now = clock::now().instant;
            match written {
                Ok(count) if count == self.unsent.len() => self.unsent = Vec::new(),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) => return self.lost(&error),
            }
            self.machine.handle_written(self.unsent.len(), now);
        }
        if self.finishing && self.unsent.is_empty() {
            // A connection that is broken already is found so by the next read.
            self.finishing = stream.poll_shutdown(task).is_pending();
        }
    }

    /// Whether something came. Reads once, into the buffer of the thread.
    fn read(&mut self, task: &mut task::Context<'_>) -> bool {
        let (Socket::Open(stream), true) = (&mut self.socket, self.machine.wants_read()) else {
            return false;
        };
        let machine = &mut self.machine;
        let came = io::SCRATCH.with_borrow_mut(|scratch| {
            let read = match stream.poll_read(scratch, task) {
                Poll::Ready(read) => read?,
                Poll::Pending => return Ok(false),
            };
            let now = clock::now().instant;
            match read {
                0 => machine.handle_eof(now),
                count => machine.handle_bytes(&scratch[..count], now),
            }
            Ok(true)
        });
        came.unwrap_or_else(|error: std::io::Error| {
            self.lost(&error);
            true
        })
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(seat) = &self.seat {
            let me = ctx.address();
            seat.set_closer(Box::new(move || me.do_send(GiveWay)));
        }
        self.take_over();
        ctx.spawn(Drive);
    }
}

// The handlers only tell the machine: actix polls the futures of an actor after its messages, so
// `Drive` carries out what they led to.

impl Handler<SessionOrder> for Session {
    type Result = ();

    fn handle(&mut self, order: SessionOrder, ctx: &mut Self::Context) {
        let now = clock::now().instant;
        order.waiting.taken(now);
        let command = order.command;
        let admitted = match &command {
            SessionCommand::Admit(device) => Some(*device),
            SessionCommand::Refuse(_) | SessionCommand::Close(_) => None,
        };
        if admitted.is_some() {
            self.device = admitted;
            self.seat = None;
        }
        self.machine.handle_command(command, now);
        if let (Some(device), true) = (admitted, self.machine.is_up())
            && self.guard.attached.is_none()
        {
            self.attach(device, ctx);
        }
    }
}

impl Handler<GiveWay> for Session {
    type Result = ();

    fn handle(&mut self, _: GiveWay, _ctx: &mut Self::Context) {
        // Who was admitted meanwhile has left the room and keeps its session.
        if self.seat.take().is_some() {
            let text = "gave its place up to a peer that may speak";
            let order = SessionCommand::Close(Cause::new(CauseKind::Busy, text));
            self.machine.handle_command(order, clock::now().instant);
        }
    }
}

impl Handler<DeviceRequest> for Session {
    type Result = ();

    fn handle(&mut self, asked: DeviceRequest, _ctx: &mut Self::Context) {
        let now = clock::now().instant;
        asked.waiting.taken(now);
        self.machine
            .handle_request(asked.request, asked.answer, now);
    }
}

impl Handler<GetLocalAddress> for Session {
    type Result = Option<IpAddr>;

    fn handle(&mut self, _: GetLocalAddress, _ctx: &mut Self::Context) -> Self::Result {
        match &self.socket {
            Socket::Open(stream) => stream.local(),
            Socket::Accepted(_) | Socket::None => None,
        }
    }
}

impl ActorFuture<Session> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut Session,
        ctx: &mut Context<Session>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        let closed = session.drive(ctx, task);
        session.count();
        if closed.is_ready() {
            session.socket = Socket::None;
            ctx.stop();
        }
        closed
    }
}

impl Guard {
    fn report(&mut self, event: SessionEvent, session: Option<Addr<Session>>) {
        if let SessionEvent::Ended(cause) = &event {
            self.ended = true;
            if let Some(device) = self.attached.take() {
                self.deps.streams.detach(device, self.generation, cause);
                self.deps.functions.session_ended(device, self.generation);
            }
        }
        // A session has four reports to make in its life, so this queue cannot be flooded.
        self.deps.reports.do_send(SessionReport {
            generation: self.generation,
            event,
            session,
            waiting: self.deps.meters.registry.enter(clock::now().instant),
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            self.report(SessionEvent::Ended(CauseKind::Internal.into()), None);
        }
    }
}

fn setup(deps: &Deps) -> Setup {
    Setup {
        policy: deps.policy.load_full(),
        keys: Arc::clone(&deps.keys),
        tls: Arc::clone(&deps.tls),
        stream_seed: rand::random(),
    }
}

#[cfg(test)]
mod tests;
