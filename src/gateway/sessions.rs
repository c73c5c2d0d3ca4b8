//! Starts sessions: for the connections that devices open, and for those that the registry orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Addr, Arbiter, Recipient};
use actix_rt::ArbiterHandle;
use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::rooms::Rooms;
use crate::config::Config;
use crate::device::Generation;
use crate::link::listen::Accepted;
use crate::link::tls::device::DeviceTls;
use crate::metrics::Meter;
use crate::session::actor::{Deps, Session, SessionReport};
use crate::session::asked::Functions;
use crate::session::{self, AcceptLink};
use crate::stream::hub::Hub;
use crate::trace::Observer;
use crate::vault::LiveSecrets;

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
    pub(super) fn new(arbiters: &[Arbiter], config: &Config, rooms: &Rooms) -> Self {
        Self {
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            next: Arc::default(),
            policy: Arc::new(ArcSwap::from_pointee(session::Policy::new(config))),
            secrets: rooms.vault.live(),
            tls: rooms.trust.device_tls(),
            permits: Arc::new(Semaphore::new(config.inbound.handshakes_at_once(cores()))),
            streams: rooms.streams.clone(),
            functions: Arc::new(rooms.functions.clone()),
            meter: rooms.meter.clone(),
            observer: rooms.observer.clone(),
        }
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

    /// The largest body that a device may send, in bytes.
    pub(super) fn body_in_max(&self) -> usize {
        self.deps.policy.load().body_in_max
    }

    pub(super) fn accept(&self, accepted: Accepted, link: AcceptLink) {
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

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
