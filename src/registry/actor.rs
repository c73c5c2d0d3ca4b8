//! The registry's shell: feeds the machine, carries out what it says, arms one timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResponse,
    SpawnHandle,
};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::clock;
use crate::device::{DeviceId, Generation};
use crate::event::StatusEvent;
use crate::identity::SharedSecrets;
use crate::metrics::mailbox::{Mailbox, Waiting};
use crate::registry::hub::Hub;
use crate::registry::machine::{Machine, Policy};
use crate::registry::meters::Observing;
use crate::registry::snapshot::Snapshot;
use crate::registry::{
    Command, CommandError, CommitId, NotStored, Output, Reply, RequestId, StoreChange,
};
use crate::session::actor::{Session, SessionOrder, SessionReport};
use crate::session::{DialOrder, SessionCommand, SessionEvent};
use crate::time::Instant;

/// What the registry reaches on its right, and how it starts sessions, handed over at start-up.
pub struct Surroundings {
    /// Takes a change to the store, which answers with [`Committed`].
    pub persist: Box<dyn Fn(CommitId, StoreChange) + Send>,
    /// Takes events to the event log; called before they are published.
    pub append: Box<dyn Fn(Vec<StatusEvent>) + Send>,
    pub hub: Hub,
    pub published: Arc<ArcSwap<Snapshot>>,
    /// Starts a session actor that dials.
    pub dial: Box<dyn Fn(DialOrder) -> Addr<Session> + Send>,
    /// Gives a device a link key of its own.
    pub enrol: Box<dyn Fn(DeviceId) + Send>,
    pub observing: Observing,
    /// The mailboxes of the sessions.
    pub mailbox: Mailbox,
}

/// The one supervisor. It builds a new session for each attempt, with a generation of its own:
/// actix's own supervisor neither waits between two starts nor survives a panic.
pub struct Registry {
    machine: Machine,
    surroundings: Surroundings,
    sessions: HashMap<Generation, Addr<Session>>,
    replies: HashMap<RequestId, oneshot::Sender<Result<Reply, CommandError>>>,
    timer: Option<(Instant, SpawnHandle)>,
    drained: Option<oneshot::Sender<()>>,
    /// Dropped with the actor, however it ends: whoever holds the other end knows then.
    _alive: oneshot::Sender<()>,
}

/// A command with the way its reply goes back.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Submit {
    pub request: RequestId,
    pub command: Command,
    pub reply: oneshot::Sender<Result<Reply, CommandError>>,
    /// In the mailbox of the registry.
    pub waiting: Waiting,
}

/// The client that sent this command does not wait any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Cancelled(pub RequestId);

/// Asks for the session of a device that is connected.
#[derive(Message)]
#[rtype(result = "Option<Addr<Session>>")]
pub struct FindSession(pub DeviceId);

/// A device took this long to answer a request, or did not.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SlowAnswer(pub DeviceId, pub Duration);

/// The secrets that are active from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplaceSecrets(pub SharedSecrets);

/// The store has a change on disk, or says why not.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Committed(pub CommitId, pub Result<(), NotStored>);

/// The rules that hold from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReplacePolicy(pub Policy);

/// Asks for a sign of life.
#[derive(Message)]
#[rtype(result = "Figures")]
pub struct Probe;

/// What the registry has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub struct Figures {
    /// Devices that are connected.
    pub sessions: usize,
    /// Devices that are listed.
    pub devices: usize,
}

/// End all sessions; `done` is told when the last one has ended and everything is stored.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain {
    pub done: oneshot::Sender<()>,
}

impl Registry {
    /// `alive` is dropped when the registry ends, also by a fault of its own.
    pub fn new(machine: Machine, surroundings: Surroundings, alive: oneshot::Sender<()>) -> Self {
        Self {
            _alive: alive,
            machine,
            surroundings,
            sessions: HashMap::new(),
            replies: HashMap::new(),
            timer: None,
            drained: None,
        }
    }

    /// Carries out everything the machine has to say. The snapshot and the events go first, so that
    /// whoever has a reply, or an answer to its Connect, finds its effect.
    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        let mut events = Vec::new();
        let mut orders = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Event(event) => events.push(event),
                order => orders.push(order),
            }
        }
        for observed in self.machine.take_observed() {
            self.surroundings.observing.record(observed);
        }
        if let Some(snapshot) = self.machine.news() {
            self.surroundings.published.store(Arc::new(snapshot));
        }
        if !events.is_empty() {
            (self.surroundings.append)(events.clone());
            self.surroundings.hub.publish(&events);
        }
        for order in orders {
            self.carry_out_one(order);
        }
        self.arm(ctx);
        if self.machine.is_drained() {
            if let Some(done) = self.drained.take() {
                let _ = done.send(());
            }
            ctx.stop();
        }
    }

    fn carry_out_one(&mut self, order: Output) {
        match order {
            Output::Dial(order) => {
                let generation = order.generation;
                let session = (self.surroundings.dial)(order);
                self.sessions.insert(generation, session);
            }
            Output::Session(generation, command) => self.order(generation, command),
            Output::Persist(commit, change) => (self.surroundings.persist)(commit, change),
            Output::Reply(request, reply) => {
                if let Some(waiter) = self.replies.remove(&request) {
                    // A client that went away needs no answer.
                    let _ = waiter.send(reply);
                }
            }
            Output::Enrol(device) => (self.surroundings.enrol)(device),
            // Told before everything else.
            Output::Event(_) => {}
        }
    }

    /// A session whose actor is gone has reported its end already, or its guard has.
    fn order(&self, generation: Generation, command: SessionCommand) {
        if let Some(session) = self.sessions.get(&generation) {
            let waiting = self.surroundings.mailbox.enter(clock::now().instant);
            session.do_send(SessionOrder { command, waiting });
        }
    }

    /// Keeps one timer, for the soonest deadline. One that fires early is harmless.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let now = clock::now();
        let Some(due) = self.machine.poll_timeout(now) else {
            return;
        };
        if self.timer.is_some_and(|(armed, _)| armed <= due) {
            return;
        }
        if let Some((_, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        let handle = ctx.run_later(due.since(now.instant), |registry, ctx| {
            registry.timer = None;
            registry.machine.handle_timeout(clock::now());
            registry.carry_out(ctx);
        });
        self.timer = Some((due, handle));
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.carry_out(ctx);
    }
}

impl Handler<Submit> for Registry {
    type Result = ();

    fn handle(&mut self, submit: Submit, ctx: &mut Self::Context) {
        let now = clock::now();
        submit.waiting.taken(now.instant);
        self.replies.insert(submit.request, submit.reply);
        self.machine
            .handle_command(submit.request, submit.command, now);
        self.carry_out(ctx);
    }
}

impl Handler<Cancelled> for Registry {
    type Result = ();

    fn handle(&mut self, Cancelled(request): Cancelled, ctx: &mut Self::Context) {
        if self.replies.remove(&request).is_some() {
            self.machine.handle_cancelled(request, clock::now());
            self.carry_out(ctx);
        }
    }
}

impl Handler<FindSession> for Registry {
    type Result = Option<Addr<Session>>;

    fn handle(&mut self, FindSession(device): FindSession, _: &mut Context<Self>) -> Self::Result {
        let generation = self.machine.session_of(device)?;
        self.sessions.get(&generation).cloned()
    }
}

impl Handler<SlowAnswer> for Registry {
    type Result = ();

    fn handle(&mut self, SlowAnswer(device, took): SlowAnswer, ctx: &mut Context<Self>) {
        self.machine.handle_slow(device, took, clock::now());
        self.carry_out(ctx);
    }
}

impl Handler<ReplaceSecrets> for Registry {
    type Result = ();

    fn handle(&mut self, ReplaceSecrets(secrets): ReplaceSecrets, ctx: &mut Context<Self>) {
        self.machine.handle_secrets(secrets, clock::now());
        self.carry_out(ctx);
    }
}

impl Handler<SessionReport> for Registry {
    type Result = ();

    fn handle(&mut self, report: SessionReport, ctx: &mut Self::Context) {
        let now = clock::now();
        report.waiting.taken(now.instant);
        let generation = report.generation;
        if let Some(session) = report.session {
            self.sessions.insert(generation, session);
        }
        if matches!(report.event, SessionEvent::Ended(_)) {
            self.sessions.remove(&generation);
        }
        self.machine.handle_session(generation, report.event, now);
        self.carry_out(ctx);
    }
}

impl Handler<Committed> for Registry {
    type Result = ();

    fn handle(&mut self, Committed(commit, result): Committed, ctx: &mut Self::Context) {
        self.machine.handle_committed(commit, result, clock::now());
        self.carry_out(ctx);
    }
}

impl Handler<ReplacePolicy> for Registry {
    type Result = ();

    fn handle(&mut self, ReplacePolicy(policy): ReplacePolicy, ctx: &mut Context<Self>) {
        self.machine.handle_policy(policy, clock::now());
        self.carry_out(ctx);
    }
}

impl Handler<Probe> for Registry {
    type Result = Figures;

    fn handle(&mut self, _: Probe, _: &mut Context<Self>) -> Figures {
        Figures {
            sessions: self.machine.sessions(),
            devices: self.machine.devices(),
        }
    }
}

impl Handler<Drain> for Registry {
    type Result = ();

    fn handle(&mut self, drain: Drain, ctx: &mut Self::Context) {
        self.drained = Some(drain.done);
        self.machine.handle_drain(clock::now());
        self.carry_out(ctx);
    }
}
