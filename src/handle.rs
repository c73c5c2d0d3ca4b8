//! The handle through which every service reaches the gateway: cheap to clone, knows no actor's
//! inside.

mod counts;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Addr;
use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use tokio::sync::{Semaphore, oneshot};

use self::counts::Counts;
use crate::clock;
use crate::device::DeviceId;
use crate::event::History;
use crate::metrics::Meter;
use crate::metrics::mailbox::Mailboxes;
use crate::registry::actor::{Cancelled, FindSession, Registry, SlowAnswer, Submit};
use crate::registry::hub::{Hub, Subscription, TooManySubscribers};
use crate::registry::snapshot::Snapshot;
use crate::registry::{Command, CommandError, Reply, RequestId};
use crate::session::actor::{DeviceRequest, GetLocalAddress, Session};
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::store::Store;
use crate::trace::Observer;

/// Cheap to clone; every clone reaches the same gateway.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Addr<Registry>,
    published: Arc<ArcSwap<Snapshot>>,
    hub: Hub,
    store: Store,
    /// An actix mailbox is no backpressure: what a client can cause passes here first.
    permits: Semaphore,
    commands_max: usize,
    next_request: AtomicU64,
    mailboxes: Mailboxes,
    counts: Counts,
    observer: Observer,
}

/// By whom it is told what is asked of the gateway.
pub struct Told<'a> {
    pub meter: &'a Meter,
    pub observer: Observer,
}

impl Gateway {
    /// `commands_max` commands may wait at once.
    pub fn new(
        registry: Addr<Registry>,
        published: Arc<ArcSwap<Snapshot>>,
        hub: Hub,
        store: Store,
        commands_max: usize,
        told: Told<'_>,
    ) -> Self {
        let Told { meter, observer } = told;
        Self {
            inner: Arc::new(Inner {
                registry,
                published,
                hub,
                store,
                permits: Semaphore::new(commands_max),
                commands_max,
                next_request: AtomicU64::new(0),
                mailboxes: Mailboxes::new(meter),
                counts: Counts::new(meter),
                observer,
            }),
        }
    }

    /// The newest published state; never waits.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.published.load_full()
    }

    /// Has the registry carry out a command. Dropping the future of a `Connect` cancels it.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::LimitReached`] at once when too many are waiting.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        let inner = &self.inner;
        let Ok(_permit) = inner.permits.try_acquire() else {
            return Err(CommandError::LimitReached(format!(
                "{} commands are waiting already, which is the limit",
                inner.commands_max
            )));
        };
        let request = RequestId(inner.next_request.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let mut guard = CancelGuard {
            registry: &inner.registry,
            request: Some(request),
        };
        inner.registry.do_send(Submit {
            request,
            command,
            reply,
            waiting: inner.mailboxes.registry.enter(clock::now().instant),
        });
        let answer = answer.await;
        guard.request = None;
        answer.unwrap_or(Err(CommandError::ShuttingDown))
    }

    /// Asks something of a connected device.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::NotConnected`] for a device that is not, or not listed.
    pub async fn ask(&self, device: DeviceId, request: Request) -> Result<Answered, RequestError> {
        let Observer { tracer, slow } = &self.inner.observer;
        let attributes = || vec![KeyValue::new("device", i64::from(device.get()))];
        let span = tracer.within("device request", attributes);
        let (count, since) = (self.inner.counts.begin(), clock::now().instant);
        let answered = self.ask_session(device, request).await;
        let took = clock::now().instant.since(since);
        count.ended(&answered, took);
        slow.device(Some(device), "request", took);
        if let (Some(span), Err(error)) = (span, &answered) {
            span.failed(&error.to_string());
        }
        answered
    }

    async fn ask_session(
        &self,
        device: DeviceId,
        request: Request,
    ) -> Result<Answered, RequestError> {
        let session = self.session(device).await?;
        let (answer, answered) = oneshot::channel();
        let asked = clock::now().instant;
        let waiting = self.inner.mailboxes.session.enter(asked);
        session.do_send(DeviceRequest {
            request,
            answer,
            waiting,
        });
        let answer = answered.await.unwrap_or(Err(RequestError::NotConnected));
        let took = clock::now().instant.since(asked);
        if self.inner.observer.slow.is_slow(took) {
            self.inner.registry.do_send(SlowAnswer(device, took));
        }
        answer
    }

    /// The address of the gateway on its connection to a device.
    ///
    /// # Errors
    /// [`RequestError::NotConnected`].
    pub async fn local_address(&self, device: DeviceId) -> Result<IpAddr, RequestError> {
        let session = self.session(device).await?;
        let address = session.send(GetLocalAddress).await.ok().flatten();
        address.ok_or(RequestError::NotConnected)
    }

    async fn session(&self, device: DeviceId) -> Result<Addr<Session>, RequestError> {
        // What a client can cause passes here first, as commands do.
        let permit = self.inner.permits.acquire().await;
        let found = self.inner.registry.send(FindSession(device)).await;
        drop(permit);
        found.ok().flatten().ok_or(RequestError::NotConnected)
    }

    /// Follows the events from now on; at most `queue_max` wait before they are conflated.
    ///
    /// # Errors
    /// [`TooManySubscribers`].
    pub fn subscribe(&self, queue_max: usize) -> Result<Subscription, TooManySubscribers> {
        self.inner.hub.subscribe(queue_max)
    }

    /// The same for a part of the gateway itself, which takes no client's place.
    pub fn follow(&self, queue_max: usize) -> Subscription {
        self.inner.hub.follow(queue_max)
    }

    /// Ends every subscription.
    pub fn close_subscriptions(&self) {
        self.inner.hub.close();
    }

    /// The events after number `after`, up to and including `until`; one answer may hold only the
    /// first of them, and is asked again from its last.
    ///
    /// # Errors
    /// A text when the event log cannot be read.
    pub async fn events(&self, after: u64, until: u64) -> Result<History, String> {
        self.inner.store.events(after, until).await
    }
}

/// Tells the registry when nobody waits for a command any more.
struct CancelGuard<'a> {
    registry: &'a Addr<Registry>,
    /// `None` once it was answered.
    request: Option<RequestId>,
}

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.registry.do_send(Cancelled(request));
        }
    }
}
