//! Answers what devices ask, over the store, the fleet and the configured endpoints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tracing::Instrument;

use crate::clock;
use crate::codec::pson::Value;
use crate::config;
use crate::device::{DeviceId, Generation};
use crate::functions::call::call;
use crate::functions::counts::Counts;
use crate::functions::endpoints::{EndpointError, Endpoints};
use crate::functions::event::{Watched, state_change};
use crate::functions::fleet::Fleet;
use crate::functions::places::Places;
use crate::functions::properties::{Changed, Setter};
use crate::functions::refusal::{self, denied, quoted};
use crate::functions::states::{Moved, States};
use crate::functions::subscriptions::{self, Purpose, Subscriptions};
use crate::functions::topic::{TopicFilter, TopicName};
use crate::handle::Gateway;
use crate::identity::Identity;
use crate::metrics::Meter;
use crate::session::asked::{
    Answerer, Denied, DeviceStream, Function, Functions, Outcome, Push, Subscription,
};
use crate::store::property::is_name;
use crate::store::{BucketName, Point, PropertyError, Store};

/// So many status events wait before they are conflated.
const EVENTS_MAX: usize = 1024;

/// Answers what devices ask. Cheap to clone; every clone is the same.
///
/// Answers and values are handed over under a lock, so that they come in order: who is handed them
/// must not call back.
#[derive(Clone)]
pub struct ServerFunctions {
    inner: Arc<Inner>,
}

/// What was not done, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Values that a device was not handed, because too much waits for it.
    pub dropped: u64,
    /// Functions that were refused because the device has too many in progress.
    pub too_many: u64,
    pub subscriptions: subscriptions::Counters,
}

struct Inner {
    store: Store,
    /// Empty until the gateway runs.
    fleet: OnceLock<Arc<dyn Fleet>>,
    setter: Setter,
    endpoints: Endpoints,
    places: Arc<Places>,
    streams: Arc<Streams>,
    too_many: AtomicU64,
    counts: Counts,
    runtime: Handle,
}

/// What is open, and what could not be handed over.
struct Streams {
    open: Mutex<Subscriptions<Push>>,
    dropped: AtomicU64,
}

impl ServerFunctions {
    /// Needs a tokio runtime around it, which outlives the sessions. Until [`Self::reach`] only what
    /// needs no other device is done.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(
        settings: &config::Functions,
        endpoints: &[config::Endpoint],
        store: Store,
        meter: &Meter,
    ) -> Result<Self, EndpointError> {
        let endpoints = Endpoints::new(endpoints)?;
        Ok(Self::with(settings, endpoints, store, meter))
    }

    pub(super) fn with(
        settings: &config::Functions,
        endpoints: Endpoints,
        store: Store,
        meter: &Meter,
    ) -> Self {
        let runtime = Handle::current();
        let streams = Arc::new(Streams {
            open: Mutex::new(Subscriptions::new(
                settings.streams_max,
                settings.retained_max,
            )),
            dropped: AtomicU64::new(0),
        });
        let told = streams.clone();
        let tell = move |changed| told.tell_property(changed);
        let setter = Setter::new(store.clone(), &runtime, tell);
        Self {
            inner: Arc::new(Inner {
                store,
                fleet: OnceLock::new(),
                setter,
                endpoints,
                places: Places::new(settings.in_flight_max),
                streams,
                too_many: AtomicU64::new(0),
                counts: Counts::new(meter),
                runtime,
            }),
        }
    }

    /// The gateway is there: devices are known from now on, and their comings and goings are told
    /// until it closes its subscriptions. Call it once, before the first device connects.
    pub fn reach(&self, gateway: Gateway) {
        let streams = self.inner.streams.clone();
        self.inner.runtime.spawn(follow(gateway.clone(), streams));
        self.reach_fleet(Arc::new(gateway));
    }

    pub(super) fn reach_fleet(&self, fleet: Arc<dyn Fleet>) {
        // It is set once, by the one who made this.
        let _ = self.inner.fleet.set(fleet);
    }

    /// Sets a property of a device, or deletes it (`None`); it is on disk when this is `Ok`, and the
    /// device was handed it, if it subscribed (null for a deleted one). How many wait is the
    /// caller's to bound.
    ///
    /// # Errors
    /// [`PropertyError`].
    pub async fn set_property(
        &self,
        device: DeviceId,
        name: &str,
        value: Option<Value>,
    ) -> Result<(), PropertyError> {
        let inner = &self.inner;
        inner.setter.set(device, name.to_owned(), value).await
    }

    pub fn counters(&self) -> Counters {
        Counters {
            dropped: self.inner.streams.dropped.load(Ordering::Relaxed),
            too_many: self.inner.too_many.load(Ordering::Relaxed),
            subscriptions: self.inner.streams.open().counters(),
        }
    }
}

impl Functions for ServerFunctions {
    fn run(&self, device: DeviceId, function: Function, answer: Option<Answerer>) {
        let inner = &self.inner;
        let asked = inner.counts.function(&function).clone();
        let tell = move |outcome| {
            asked.came_to(&outcome);
            tell(device, answer, outcome);
        };
        let Some(place) = inner.places.take(device) else {
            inner.too_many.fetch_add(1, Ordering::Relaxed);
            let text = "too many functions of the device are in progress";
            return tell(Err(denied(429, text)));
        };
        match inner.begin(device, function) {
            Ok(doing) => {
                inner.runtime.spawn(async move {
                    let outcome = doing.await;
                    drop(place);
                    tell(outcome);
                });
            }
            Err(denied) => tell(Err(denied)),
        }
    }

    fn subscribe(
        &self,
        stream: DeviceStream,
        subscription: Subscription,
        push: Push,
        answer: Answerer,
    ) {
        let answer = self
            .inner
            .counts
            .subscription(&subscription)
            .counting(answer);
        if let Subscription::Property {
            name,
            current: true,
        } = subscription
        {
            return self.inner.open_with_current(stream, name, push, answer);
        }
        let asked = self.inner.purpose(stream.device, subscription);
        let mut open = self.inner.streams.open();
        match asked.and_then(|asked| open.check_room(stream).map(|()| asked)) {
            Ok((who, purpose)) => {
                answer(Ok(None));
                let (push, first) = open.open(stream, who, purpose, push);
                for value in first {
                    self.inner.streams.hand(push, value);
                }
            }
            Err(denied) => answer(Err(denied)),
        }
    }

    fn unsubscribe(&self, stream: DeviceStream) {
        self.inner.streams.open().close(stream);
    }

    fn publish(&self, stream: DeviceStream, value: Value) {
        let streams = &self.inner.streams;
        for push in streams.open().published(stream, &value) {
            streams.hand(push, value.clone());
        }
    }

    fn session_ended(&self, device: DeviceId, generation: Generation) {
        self.inner.streams.open().close_session(device, generation);
    }
}

impl Inner {
    fn fleet(&self) -> Result<&Arc<dyn Fleet>, Denied> {
        let starting = || denied(503, "the gateway is starting; try again");
        self.fleet.get().ok_or_else(starting)
    }

    fn identity(&self, device: DeviceId) -> Result<Identity, Denied> {
        let gone = || denied(404, "the gateway does not list this device any more");
        self.fleet()?.identity(device).ok_or_else(gone)
    }

    fn begin(
        &self,
        device: DeviceId,
        function: Function,
    ) -> Result<BoxFuture<'static, Outcome>, Denied> {
        Ok(match function {
            Function::ReadProperty { name } => {
                let read = self.store.property(device, &name);
                let none = move || denied(404, format!("there is no property {}", quoted(&name)));
                read.map(|read| read.map_err(not_read)?.map(Some).ok_or_else(none))
                    .boxed()
            }
            Function::SetProperty { name, value } => {
                let set = self.setter.set(device, name, Some(value));
                set.map(|set| {
                    set.map(|()| None)
                        .map_err(|error| refusal::property(&error))
                })
                .boxed()
            }
            Function::CallDevice {
                device: called,
                resource,
                input,
            } => call(
                self.fleet()?,
                &self.identity(device)?,
                &called,
                resource,
                input,
            )?,
            Function::CallEndpoint { name, data } => {
                let caller = self.identity(device)?;
                let span = tracing::debug_span!("function", device = device.get());
                let called = self.endpoints.call(&caller, &name, data.as_ref())?;
                called.instrument(span).boxed()
            }
            Function::WriteBucket { name, data } => {
                let owner = self.identity(device)?.owner;
                let name = name.into();
                let point = Point {
                    unix_ms: clock::now().unix_ms,
                    device,
                    value: data,
                };
                let written = self.store.append_point(BucketName { owner, name }, point);
                let written = written.map(|written| written.map(|()| None));
                written
                    .map(|written| written.map_err(|error| refusal::bucket(&error)))
                    .boxed()
            }
        })
    }

    /// What a stream is opened for, and in whose name.
    fn purpose(
        &self,
        device: DeviceId,
        subscription: Subscription,
    ) -> Result<(Identity, Purpose), Denied> {
        let who = self.identity(device)?;
        let no_topic = |error: super::topic::TopicError| denied(400, error.to_string());
        let purpose = match subscription {
            Subscription::Property { name, .. } => Purpose::Property {
                name: property_name(name)?,
            },
            Subscription::Event { name, filters } => {
                Purpose::Event(Watched::new(&name, filters.as_ref(), &who)?)
            }
            Subscription::TopicIn { filter } => {
                Purpose::TopicIn(TopicFilter::new(&filter).map_err(no_topic)?)
            }
            Subscription::TopicOut { topic, retained } => Purpose::TopicOut {
                topic: TopicName::new(&topic).map_err(no_topic)?,
                retained,
            },
        };
        Ok((who, purpose))
    }

    /// Its Ok has the present value, and no change is lost between the two.
    fn open_with_current(&self, stream: DeviceStream, name: String, push: Push, answer: Answerer) {
        let who = self.identity(stream.device);
        let asked = who.and_then(|who| Ok((who, property_name(name)?)));
        let mut open = self.streams.open();
        let asked = asked.and_then(|asked| open.check_room(stream).map(|()| asked));
        let (who, name) = match asked {
            Ok(asked) => asked,
            Err(denied) => return answer(Err(denied)),
        };
        let opening = open.begin_open(stream, who, &name, push);
        drop(open);
        let read = self.store.property(stream.device, &name);
        let streams = self.streams.clone();
        self.runtime.spawn(async move {
            let read = read.await;
            let mut open = streams.open();
            match read {
                Ok(value) => {
                    answer(Ok(value));
                    if let Some((push, Some(newer))) = open.opened(stream, opening) {
                        streams.hand(push, newer);
                    }
                }
                Err(error) => {
                    open.give_up(stream, opening);
                    answer(Err(not_read(error)));
                }
            }
        });
    }
}

impl Streams {
    fn open(&self) -> MutexGuard<'_, Subscriptions<Push>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was taken; it is counted where it was not.
    fn hand(&self, push: &Push, value: Value) -> bool {
        let taken = push(value);
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn tell_property(&self, changed: Changed) {
        let Changed {
            device,
            name,
            value,
        } = changed;
        let value = value.unwrap_or(Value::Null);
        let mut open = self.open();
        for (push, value) in open.property_changed(device, &name, &value, clock::now().unix_ms) {
            self.hand(push, value);
        }
    }

    fn tell_state(&self, moved: &Moved) {
        let device = &moved.who.device;
        let open = self.open();
        let watching = open.state_changed(&moved.who.owner, device);
        for push in watching {
            self.hand(
                push,
                state_change(device, moved.is_connected, moved.unix_ms),
            );
        }
    }
}

async fn follow(gateway: Gateway, streams: Arc<Streams>) {
    let mut states = States::new(gateway.snapshot());
    let mut events = gateway.follow(EVENTS_MAX);
    while let Some(delivery) = events.next().await {
        if let Some(moved) = states.handle(&delivery, &gateway.snapshot()) {
            streams.tell_state(&moved);
        }
    }
}

fn tell(device: DeviceId, answer: Option<Answerer>, outcome: Outcome) {
    match (answer, outcome) {
        (Some(answer), outcome) => answer(outcome),
        (None, Err(Denied { code, text })) => {
            tracing::debug!(device = device.get(), code, %text, "not done, and the device wants no answer");
        }
        (None, Ok(_)) => {}
    }
}

fn property_name(name: String) -> Result<Box<str>, Denied> {
    if is_name(&name) {
        return Ok(name.into());
    }
    Err(refusal::property(&PropertyError::BadName))
}

fn not_read(error: String) -> Denied {
    denied(503, format!("the property was not read: {error}"))
}
