//! What a session and the rooms beside it hand each other: wishes and reports of streams, what the
//! device asks and what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Addr, AsyncContext, Context, Handler, Message};

use crate::clock;
use crate::codec::message::StreamId;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::session::actor::Session;
use crate::session::asked::{
    Answerer, Denied, DeviceStream, Function, Outcome, Push, Subscription,
};
use crate::session::in_hand::Serial;
use crate::stream::{Report, Wish};

/// Values on their way to one session that it has not taken yet: its mailbox holds nobody up.
const PUSHES_MAX: usize = 64;

/// What is wanted of a resource.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wished(Wish);

/// What became of something that the device asked.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Told {
    serial: Serial,
    outcome: Outcome,
}

/// A value for a stream that the device opened.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Pushed {
    id: StreamId,
    value: Value,
}

/// Answers for whoever was asked and does not.
struct Pending {
    session: Addr<Session>,
    serial: Serial,
    is_told: bool,
}

impl Session {
    /// The device may be streamed from now on.
    pub(super) fn attach(&mut self, device: DeviceId, ctx: &Context<Self>) {
        let session = ctx.address();
        // The hub sends a wish for each change of a plan, of which there are few.
        let order = Box::new(move |wish| session.do_send(Wished(wish)));
        self.guard.attached = Some(device);
        let generation = self.guard.generation;
        self.guard.deps.streams.attach(device, generation, order);
    }

    pub(super) fn stream_report(&self, report: Report) {
        if let Some(device) = self.device {
            let now = clock::now().instant;
            let generation = self.guard.generation;
            let streams = &self.guard.deps.streams;
            streams.report(device, generation, report, now);
        }
    }

    pub(super) fn run_function(&self, serial: Serial, function: Function, ctx: &Context<Self>) {
        // Also where the device wants no answer: the end of it makes room for the next one.
        let answer = answerer(ctx.address(), serial);
        if let Some(device) = self.device {
            self.guard
                .deps
                .functions
                .run(device, function, Some(answer));
        }
    }

    pub(super) fn subscribe(
        &mut self,
        serial: Serial,
        id: StreamId,
        subscription: Subscription,
        ctx: &Context<Self>,
    ) {
        let answer = answerer(ctx.address(), serial);
        let pushes = Arc::clone(self.pushes.get_or_insert_default());
        let push = push(ctx.address(), id, pushes);
        if let Some(stream) = self.device_stream(id) {
            let functions = &self.guard.deps.functions;
            functions.subscribe(stream, subscription, push, answer);
        }
    }

    pub(super) fn unsubscribe(&self, id: StreamId) {
        if let Some(stream) = self.device_stream(id) {
            self.guard.deps.functions.unsubscribe(stream);
        }
    }

    pub(super) fn publish(&self, id: StreamId, value: Value) {
        if let Some(stream) = self.device_stream(id) {
            self.guard.deps.functions.publish(stream, value);
        }
    }

    fn device_stream(&self, id: StreamId) -> Option<DeviceStream> {
        Some(DeviceStream {
            device: self.device?,
            generation: self.guard.generation,
            id,
        })
    }
}

fn answerer(session: Addr<Session>, serial: Serial) -> Answerer {
    let mut pending = Pending {
        session,
        serial,
        is_told: false,
    };
    Box::new(move |outcome| pending.tell(outcome))
}

fn push(session: Addr<Session>, id: StreamId, pushes: Arc<AtomicUsize>) -> Push {
    Box::new(move |value| {
        if !session.connected() {
            return false;
        }
        if pushes.fetch_add(1, Ordering::Relaxed) >= PUSHES_MAX {
            pushes.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        session.do_send(Pushed { id, value });
        true
    })
}

impl Pending {
    /// At most as many are on their way as the machine lets the device ask for.
    fn tell(&mut self, outcome: Outcome) {
        self.is_told = true;
        let serial = self.serial;
        self.session.do_send(Told { serial, outcome });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_told {
            let text = "the gateway failed to do what was asked".into();
            self.tell(Err(Denied { code: 500, text }));
        }
    }
}

impl Handler<Wished> for Session {
    type Result = ();

    fn handle(&mut self, Wished(wish): Wished, _ctx: &mut Self::Context) {
        self.machine.handle_wish(wish, clock::now().instant);
    }
}

impl Handler<Told> for Session {
    type Result = ();

    fn handle(&mut self, Told { serial, outcome }: Told, _ctx: &mut Self::Context) {
        let now = clock::now().instant;
        self.machine.handle_outcome(serial, outcome, now);
    }
}

impl Handler<Pushed> for Session {
    type Result = ();

    fn handle(&mut self, Pushed { id, value }: Pushed, _ctx: &mut Self::Context) {
        if let Some(pushes) = &self.pushes {
            pushes.fetch_sub(1, Ordering::Relaxed);
        }
        // What is dropped is counted by the machine.
        self.machine.handle_push(id, value, clock::now().instant);
    }
}
