//! The actors of the fleet: the registry on an arbiter of its own, and the arbiters of its sessions.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, AsyncContext};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::measure;
use super::rooms::Rooms;
use super::secrets::Enroller;
use super::sessions::{Sessions, Starter, cores};
use crate::clock;
use crate::config::Config;
use crate::handle::{Gateway, Told};
use crate::identity::SharedSecrets;
use crate::metrics::Meter;
use crate::metrics::mailbox::Mailboxes;
use crate::registry::Stored;
use crate::registry::actor::{Registry, Surroundings};
use crate::registry::hub::Hub;
use crate::registry::machine::{Machine, Policy};
use crate::registry::meters::Observing;
use crate::registry::snapshot::Snapshot;
use crate::store::Store;

pub(super) struct Fleet {
    /// Those of the sessions, then that of the registry.
    pub(super) arbiters: Vec<Arbiter>,
    pub(super) registry: Addr<Registry>,
    /// The sender is dropped when the registry has ended.
    pub(super) registry_ended: oneshot::Receiver<()>,
    pub(super) starter: Starter,
    pub(super) handle: Gateway,
}

impl Fleet {
    /// Brings back what was stored. From here on devices are dialled, and every room reaches the
    /// registry.
    pub(super) fn start(config: &Config, rooms: &Rooms, policy: Policy, stored: Stored) -> Self {
        let meter = &rooms.meter;
        let mut arbiters: Vec<_> = (0..cores()).map(|_| Arbiter::new()).collect();
        let starter = Starter::new(&arbiters, config, rooms);
        let enroller = Enroller::new(rooms.vault.clone());
        let secrets: SharedSecrets = rooms.vault.live().current();
        let mut machine = Machine::new(policy, secrets, stored, rand::random(), clock::now());
        // The first reader must find what was restored, however soon it comes.
        let published = Arc::new(ArcSwap::from_pointee(machine.snapshot()));
        let surroundings = {
            let (store, hub, published) = (
                rooms.store.clone(),
                rooms.hub.clone(),
                Arc::clone(&published),
            );
            let (starter, enroller, meter) = (starter.clone(), enroller.clone(), meter.clone());
            move |registry: &Addr<Registry>| {
                let sessions = starter.reporting_to(registry.clone().recipient());
                surroundings(store, hub, published, sessions, enroller, &meter)
            }
        };
        let (alive, registry_ended) = oneshot::channel();
        let to_registry = Arc::clone(&rooms.to_registry);
        let arbiter = Arbiter::new();
        let registry = Registry::start_in_arbiter(&arbiter.handle(), move |ctx| {
            // Set here, so that no answer of the store can come before.
            let _ = to_registry.set(ctx.address());
            Registry::new(machine, surroundings(&ctx.address()), alive)
        });
        arbiters.push(arbiter);
        let handle = Gateway::new(
            registry.clone(),
            published,
            rooms.hub.clone(),
            rooms.store.clone(),
            config.grpc.commands_in_flight_max,
            Told {
                meter,
                observer: rooms.observer.clone(),
            },
        );
        measure::at_scrape(meter, &handle);
        enroller.reach(handle.clone());
        rooms.functions.reach(handle.clone());
        Self {
            arbiters,
            registry,
            registry_ended,
            starter,
            handle,
        }
    }
}

fn surroundings(
    store: Store,
    hub: Hub,
    published: Arc<ArcSwap<Snapshot>>,
    sessions: Sessions,
    enroller: Enroller,
    meter: &Meter,
) -> Surroundings {
    let log = store.clone();
    Surroundings {
        persist: Box::new(move |commit, change| store.apply(commit, change)),
        append: Box::new(move |events| log.append_events(events)),
        hub,
        published,
        dial: Box::new(move |order| sessions.dial(order)),
        enrol: Box::new(move |device| enroller.enrol(device)),
        observing: Observing::new(meter),
        mailbox: Mailboxes::new(meter).session,
    }
}
