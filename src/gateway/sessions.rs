//! Starts sessions: for the connections that devices open, and for those that the registry orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Addr, Arbiter, Recipient};
use actix_rt::ArbiterHandle;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::{self, Config};
use crate::device::Generation;
use crate::http::iotmp::IotmpDoor;
use crate::link::listen::{Accepted, Door, Listener};
use crate::link::meters::Meters;
use crate::link::tls::device::DeviceTls;
use crate::link::waiting_room::WaitingRoom;
use crate::metrics::Meter;
use crate::session::actor::{Deps, Session, SessionReport};
use crate::session::asked::Functions;
use crate::session::{self, AcceptLink};
use crate::stream::hub::{Hub, Limits};
use crate::trace::Observer;
use crate::vault::LiveSecrets;

/// The waiting room of all devices that dial, whichever way they come in.
pub(super) fn door(config: &Config) -> Door {
    Door::new(WaitingRoom::new(
        config.inbound.waiting_max,
        config.inbound.waiting_per_source_max,
    ))
}

/// Lets devices in that dial.
pub(super) fn accept_devices(
    door: &Door,
    sessions: &Sessions,
    sockets: [(&'static str, Option<TcpListener>, AcceptLink); 4],
) -> Vec<Addr<Listener>> {
    let start = |(name, socket, link): (&str, Option<TcpListener>, AcceptLink)| {
        let sessions = sessions.clone();
        let meters = Meters::new(&sessions.starter.meter, name);
        let accept = move |accepted| sessions.accept(accepted, link);
        socket.map(|socket| Listener::new(socket, door.clone(), meters, accept).start())
    };
    sockets.into_iter().filter_map(start).collect()
}

/// Starts sessions, each on the next arbiter in turn.
#[derive(Clone)]
pub(super) struct Sessions {
    starter: Starter,
    deps: Arc<Deps>,
}

/// What all sessions share, whoever they report to.
#[derive(Clone)]
pub(super) struct Starter {
    arbiters: Arc<[ArbiterHandle]>,
    next: Arc<AtomicUsize>,
    policy: Arc<ArcSwap<session::Policy>>,
    secrets: Arc<LiveSecrets>,
    tls: Arc<ArcSwap<DeviceTls>>,
    permits: Arc<Semaphore>,
    streams: Hub,
    functions: Arc<dyn Functions>,
    meter: Meter,
    observer: Observer,
}

impl Starter {
    pub(super) fn new(
        arbiters: &[Arbiter],
        config: &Config,
        secrets: Arc<LiveSecrets>,
        tls: Arc<ArcSwap<DeviceTls>>,
        streams: Hub,
        functions: Arc<dyn Functions>,
        meter: Meter,
    ) -> Self {
        Self {
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            next: Arc::default(),
            policy: Arc::new(ArcSwap::from_pointee(session::Policy::new(config))),
            secrets,
            tls,
            permits: Arc::new(Semaphore::new(config.inbound.handshakes_at_once(cores()))),
            streams,
            functions,
            meter,
            observer: Observer::silent(),
        }
    }

    /// Tells this observer of every session.
    pub(super) fn observed_by(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    pub(super) fn reporting_to(&self, reports: Recipient<SessionReport>) -> Sessions {
        Sessions {
            starter: self.clone(),
            deps: Arc::new(Deps {
                policy: Arc::clone(&self.policy),
                keys: self.secrets.clone(),
                tls: self.tls.clone(),
                permits: Arc::clone(&self.permits),
                reports,
                streams: self.streams.clone(),
                functions: Arc::clone(&self.functions),
                meters: session::meters::Meters::new(&self.meter),
                observer: self.observer.clone(),
            }),
        }
    }

    /// Sessions that begin from now on follow these settings.
    pub(super) fn set_policy(&self, config: &Config) {
        self.policy.store(Arc::new(session::Policy::new(config)));
    }

    fn arbiter(&self) -> &ArbiterHandle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.arbiters[turn % self.arbiters.len()]
    }
}

impl Sessions {
    pub(super) fn dial(&self, order: session::DialOrder) -> Addr<Session> {
        let deps = Arc::clone(&self.deps);
        Session::start_in_arbiter(self.starter.arbiter(), move |_| {
            Session::dialled(&order, deps)
        })
    }

    /// The way in over a WebSocket.
    pub(super) fn websocket_door(&self, door: Door) -> IotmpDoor {
        let sessions = self.clone();
        let body_max = sessions.deps.policy.load().body_in_max;
        let start = move |accepted, link| sessions.accept(accepted, link);
        let meters = Meters::new(&self.starter.meter, "websocket");
        IotmpDoor::new(door, body_max, meters, start)
    }

    fn accept(&self, accepted: Accepted, link: AcceptLink) {
        let deps = Arc::clone(&self.deps);
        let generation = Generation::accepted(accepted.number);
        Session::start_in_arbiter(self.starter.arbiter(), move |_| {
            Session::inbound(
                accepted.stream,
                accepted.peer,
                accepted.seat,
                link,
                generation,
                deps,
            )
        });
    }
}

/// The streams of all devices, as the settings bound them.
pub(super) fn stream_hub(config: &config::Stream) -> Hub {
    Hub::new(Limits {
        sinks_max: config.sinks_max,
        resources_per_device_max: config.resources_per_device_max,
        queue_max: config.queue_max,
        interval_min: u32::try_from(config.interval_min.as_secs()).unwrap_or(u32::MAX),
    })
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
