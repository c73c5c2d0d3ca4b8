//! Puts the house together: opens the store, binds the sockets, starts actors and servers, and
//! takes all of it down again. The only file that sees every room.

mod error;
mod sessions;
mod sockets;

use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, AsyncContext, Recipient};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::oneshot;

pub use self::error::StartError;
use self::sessions::{Sessions, Starter, accept_devices, cores};
pub use self::sockets::Listening;
use self::sockets::Sockets;
use crate::clock;
use crate::config::Config;
use crate::device::DeviceId;
use crate::grpc;
use crate::grpc::DeviceSettings;
use crate::grpc::connection_mode::Advertised;
use crate::grpc::server::{Server, Settings};
use crate::grpc::ssl::TlsCredentials;
use crate::handle::Gateway;
use crate::identity::Identity;
use crate::link::certs::Certs;
use crate::link::host_names::HostNames;
use crate::link::key_files;
use crate::link::keyring::{self, Keyring, Material};
use crate::link::listen::{Listener, StopListening};
use crate::link::tls;
use crate::link::tls::device::{self, DeviceTls};
use crate::link::tls::tickets::{TicketKeys, Tickets};
use crate::registry::Stored;
use crate::registry::actor::{Committed, Drain, Registry, Surroundings};
use crate::registry::backoff::{Backoff, BackoffError};
use crate::registry::hub::Hub;
use crate::registry::machine::{Machine, Policy};
use crate::registry::snapshot::Snapshot;
use crate::session::AcceptLink;
use crate::store::{Opened, Retention, Store};

/// How long a drain may take before the process ends anyway.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A gateway that runs. Needs an actix system around it.
pub struct Running {
    handle: Gateway,
    grpc: Server,
    registry: Addr<Registry>,
    registry_ended: oneshot::Receiver<()>,
    listeners: Vec<Addr<Listener>>,
    store: Store,
    arbiters: Vec<Arbiter>,
    listening: Listening,
}

impl Running {
    /// Starts everything, or nothing: whatever can fail comes before the first actor.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir {
            path: config.data_dir.clone(),
            source,
        })?;
        warn_of_open_networks(&config);
        let (opened, stored) = open_store(&config).await?;
        let keyring = Arc::new(load_keyring(&config)?);
        let certs = open_certs(&config)?;
        let root = root(&config)?;
        let tls = tls::grpc_server(&certs, config.grpc.client_certificates)?;
        let device_tls = Arc::new(ArcSwap::from_pointee(device_tls(&config, &certs)?));
        let policy = registry_policy(&config)?;
        let sockets = Sockets::bind(&config)?;

        let committed: Arc<OnceLock<Recipient<Committed>>> = Arc::default();
        let store = run_store(opened, Arc::clone(&committed))?;
        let hub = Hub::new(
            config.grpc.subscribers_max,
            stored.event_next.saturating_sub(1),
        );
        let registry_arbiter = Arbiter::new();
        let mut arbiters: Vec<Arbiter> = (0..cores()).map(|_| Arbiter::new()).collect();
        let starter = Starter::new(&arbiters, &config, Arc::clone(&keyring), device_tls);
        let mut machine = Machine::new(policy, keyring, stored, rand::random(), clock::now());
        // The first reader must find what was restored, however soon it comes.
        let published = Arc::new(ArcSwap::from_pointee(machine.snapshot()));
        let surroundings = {
            let (store, hub, published) = (store.clone(), hub.clone(), Arc::clone(&published));
            let starter = starter.clone();
            move |registry| surroundings(store, hub, published, starter.reporting_to(registry))
        };
        let (alive, registry_ended) = oneshot::channel();
        let registry = Registry::start_in_arbiter(&registry_arbiter.handle(), move |ctx| {
            // Set here, so that no answer of the store can come before.
            let _ = committed.set(ctx.address().recipient());
            Registry::new(machine, surroundings(ctx.address().recipient()), alive)
        });
        arbiters.push(registry_arbiter);
        let handle = Gateway::new(
            registry.clone(),
            published,
            hub,
            store.clone(),
            config.grpc.commands_in_flight_max,
        );
        let sessions = starter.reporting_to(registry.clone().recipient());
        let devices = [
            (sockets.aes, AcceptLink::Aes),
            (sockets.tls, AcceptLink::Tls),
            (sockets.plain, AcceptLink::Plain),
        ];
        let listeners = accept_devices(&config, &sessions, devices);
        let grpc = grpc::serve(
            handle.clone(),
            grpc_settings(&config, tls),
            device_settings(&config, &sockets.listening, root),
            config.access.refusal_for,
            sockets.grpc,
        );
        Ok(Self {
            handle,
            grpc,
            registry,
            registry_ended,
            listeners,
            store,
            arbiters,
            listening: sockets.listening,
        })
    }

    pub fn handle(&self) -> Gateway {
        self.handle.clone()
    }

    pub const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Waits until the registry has ended by a fault of its own. There is no gateway without it:
    /// the process should end, so that whoever started it starts it again.
    pub async fn failed(&mut self) {
        // An error says that the sender was dropped, which is all it is there for.
        let _ = (&mut self.registry_ended).await;
    }

    /// Stops accepting, ends every session with a Disconnect, tells it, stores it, and ends.
    pub async fn stop(self) {
        for listener in &self.listeners {
            listener.do_send(StopListening);
        }
        let (done, drained) = oneshot::channel();
        self.registry.do_send(Drain { done });
        if tokio::time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
            tracing::warn!("sessions were still open at the end of the drain and are cut");
        }
        self.handle.close_subscriptions();
        self.grpc.stop().await;
        let store = self.store;
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        if let Err(error) = closed.unwrap_or_else(|error| Err(error.to_string())) {
            tracing::error!(%error, "the store did not close as it should");
        }
        for arbiter in self.arbiters {
            arbiter.stop();
        }
    }
}

fn warn_of_open_networks(config: &Config) {
    for network in &config.grpc.open_to {
        tracing::warn!(
            %network,
            "gRPC is open to every client in this network that trusts the root certificate; \
             require client certificates where that is too much"
        );
    }
}

fn load_keyring(config: &Config, sealer: &Sealer) -> Result<Keyring, StartError> {
    let directory = config.keys_dir();
    if let Some(made) = key_files::ensure_fleet_key(&directory, sealer)? {
        tracing::info!(path = %made.display(), "made the first fleet key; devices need it");
    }
    Ok(Keyring::new(Material {
        keys: key_files::load(&directory)?,
        credentials: keyring::configured(&config.credential)?,
        certificates: Arc::default(),
    })?)
}

fn open_certs(config: &Config) -> Result<Certs, StartError> {
    let names = HostNames::of_this_machine(&config.grpc.names);
    Ok(Certs::open(&config.certs_dir(), &names, clock::now())?)
}

fn device_tls(config: &Config, certs: &Certs) -> Result<DeviceTls, StartError> {
    let time: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
    let now = clock::now().unix_ms / 1000;
    let keys = TicketKeys::new(rand::random(), Vec::new(), config.tls.ticket_lifetime, now);
    let fresh = Box::new(|| Some(rand::random()));
    let tickets = Tickets::new(keys, Arc::clone(&time), fresh);
    let material = device::Material {
        roots: certs.roots.clone(),
        crls: Vec::new(),
        chain: certs.chain.clone(),
        key: certs.key.clone_key(),
    };
    Ok(DeviceTls::new(
        &material,
        &config.tls,
        Arc::new(tickets),
        time,
    )?)
}

fn grpc_settings(config: &Config, tls: rustls::ServerConfig) -> Settings {
    let allowed = config.grpc.clone();
    let mut settings = Settings::new(
        Arc::new(ArcSwap::from_pointee(tls)),
        Arc::new(move |peer| allowed.is_open_to(peer)),
    );
    settings.message_size_max = config.grpc.message_max_bytes;
    settings
}

/// The root certificate, as PEM text.
fn root(config: &Config) -> Result<String, StartError> {
    let path = config.certs_dir().join("ca.crt");
    std::fs::read_to_string(&path).map_err(|source| StartError::Root { path, source })
}

fn device_settings(config: &Config, listening: &Listening, root: String) -> DeviceSettings {
    DeviceSettings {
        advertised: Advertised {
            address: config.device.advertise.clone(),
            aes_port: listening.aes.map(|address| address.port()),
            // Nobody listens for tls yet.
            tls_port: None,
        },
        roots: Arc::new(move || root.clone()),
        credentials: Arc::new(NoCredentials),
        multi_in_flight_max: config.device.multi_in_flight_max,
        search: config.search.clone(),
        capability_numbers: config.compat.capability_numbers,
    }
}

/// Stands where the store of credentials will.
struct NoCredentials;

impl TlsCredentials for NoCredentials {
    fn begin<'a>(
        &'a self,
        _: DeviceId,
        _: &'a Identity,
    ) -> BoxFuture<'a, Result<Option<String>, String>> {
        ready(Err("this version makes no credentials".to_owned())).boxed()
    }

    fn confirm<'a>(&'a self, _: DeviceId, _: &'a Identity) -> BoxFuture<'a, Result<(), String>> {
        ready(Ok(())).boxed()
    }

    fn abandon<'a>(&'a self, _: DeviceId, _: &'a Identity) -> BoxFuture<'a, Result<(), String>> {
        ready(Ok(())).boxed()
    }

    fn withdraw<'a>(&'a self, _: DeviceId, _: &'a Identity) -> BoxFuture<'a, Result<(), String>> {
        ready(Ok(())).boxed()
    }
}

async fn open_store(config: &Config) -> Result<(Opened, Stored), StartError> {
    let directory = config.data_dir.clone();
    let retention = Retention {
        events_max: config.events.keep_max,
        age_max: config.events.keep_for,
        audit_max: config.access.audit_keep_max,
    };
    let opening = tokio::task::spawn_blocking(move || Store::open(&directory, retention));
    Ok(opening.await.map_err(|_| StartError::Thread)??)
}

fn run_store(
    opened: Opened,
    committed: Arc<OnceLock<Recipient<Committed>>>,
) -> Result<Store, StartError> {
    let on_commit = move |commit, result| {
        if let Some(registry) = committed.get() {
            registry.do_send(Committed(commit, result));
        }
    };
    opened.run(on_commit).map_err(|_| StartError::Thread)
}

fn surroundings(
    store: Store,
    hub: Hub,
    published: Arc<ArcSwap<Snapshot>>,
    sessions: Sessions,
) -> Surroundings {
    let log = store.clone();
    Surroundings {
        persist: Box::new(move |commit, change| store.apply(commit, change)),
        append: Box::new(move |events| log.append_events(events)),
        hub,
        published,
        dial: Box::new(move |order| sessions.dial(order)),
        enrol: Box::new(|_| ()),
    }
}

fn registry_policy(config: &Config) -> Result<Policy, BackoffError> {
    Ok(Policy {
        backoff: Backoff::new(config.reconnect.min, config.reconnect.max)?,
        stable_after: config.reconnect.stable_after,
        dial: config.dial.clone(),
        takeover_burst: config.takeover.burst,
        takeover_interval: config.takeover.interval,
        devices_max: config.registry.devices_max,
        sessions_max: config.session.sessions_max,
        pending_max: config.registry.pending_max,
        unproven_max: config.registry.unproven_max,
        forget_slaves: config.compat.forget_slaves,
        filter_by_address: config.compat.accept_filter_by_address,
    })
}
