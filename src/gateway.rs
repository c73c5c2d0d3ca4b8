//! Puts the house together: opens the store, binds the sockets, starts actors and servers, and
//! takes all of it down again. The only file that sees every room.

mod error;
mod faces;
mod figures;
mod heartbeat;
mod measure;
mod reload;
mod secrets;
mod sessions;
mod settings;
mod sockets;
mod stop;
mod trust;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use actix::{Actor, Addr, Arbiter, AsyncContext, Recipient};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;

pub use self::error::StartError;
use self::faces::{Faces, Parts};
use self::heartbeat::Heartbeat;
use self::reload::{Background, Reloader};
use self::secrets::{Enroller, ToRegistry};
use self::sessions::{Sessions, Starter, accept_devices, cores, door, stream_hub};
pub use self::settings::SetLogLevel;
use self::settings::{Live, Settings};
pub use self::sockets::Listening;
use self::sockets::Sockets;
pub use self::stop::Stopped;
use self::trust::Trust;
use crate::callers::credentials::{self, Credentials};
use crate::callers::first_token;
use crate::clock;
use crate::config::Config;
use crate::functions::ServerFunctions;
use crate::handle::{Gateway, Told};
use crate::identity::SharedSecrets;
use crate::link::gateway_key;
use crate::link::listen::Listener;
use crate::link::random::random;
use crate::logs::{self, Control};
use crate::metrics::mailbox::Mailboxes;
use crate::metrics::{Meter, table};
use crate::registry::Stored;
use crate::registry::actor::{Committed, Registry, Surroundings};
use crate::registry::backoff::{Backoff, BackoffError};
use crate::registry::hub::Hub;
use crate::registry::machine::{Machine, Policy};
use crate::registry::meters::Observing;
use crate::registry::snapshot::Snapshot;
use crate::service::notify;
use crate::service::passed::Passed;
use crate::service::readiness::{Readiness, State};
use crate::service::vitals::Vitals;
use crate::session::AcceptLink;
use crate::store::{Limits, Opened, Retention, Store};
use crate::stream;
use crate::trace::{Observer, Tracer};

/// How a gateway is started, beside its configuration.
#[derive(Default)]
pub struct Start {
    /// Listening sockets that were opened for it.
    pub passed: Passed,
    /// Where the configuration came from; it is read again when it changes.
    pub file: Option<PathBuf>,
    /// How the level of the log is changed.
    pub set_log_level: Option<SetLogLevel>,
    /// Who leads the log of the process, where the API may ask him.
    pub log: Option<Arc<dyn Control>>,
}

/// A gateway that runs. Needs an actix system around it.
pub struct Running {
    handle: Gateway,
    faces: Faces,
    streams: stream::hub::Hub,
    registry: Addr<Registry>,
    registry_ended: oneshot::Receiver<()>,
    listeners: Vec<Addr<Listener>>,
    store: Store,
    arbiters: Vec<Arbiter>,
    listening: Listening,
    reloader: Reloader,
    background: Background,
    settings: Arc<Settings>,
    readiness: Readiness,
    vitals: Vitals,
    /// Beats to the very end.
    _heartbeat: Background,
    tracer: Tracer,
}

impl Running {
    /// Starts everything, or nothing: whatever can fail comes before the first actor.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Start::default()).await
    }

    /// The same, with what a service manager and the command line have to say.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(config: Config, start: Start) -> Result<Self, StartError> {
        config.check()?;
        std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir {
            path: config.data_dir.clone(),
            source,
        })?;
        warn_of_open_networks(&config);
        let (opened, stored) = open_store(&config).await?;
        let sealer = gateway_key::open(&config.gateway_key(), &config.data_dir)?;
        let meter = match config.metrics.enabled {
            true => Meter::new(),
            false => Meter::off(),
        };
        let trust = Trust::open(&config, sealer.clone(), &meter)?;
        let policy = registry_policy(&config)?;
        let sockets = Sockets::open(&config, start.passed)?;
        if let Some(log) = &start.log {
            logs::count(log, &meter);
        }
        let observer = Observer::new(Tracer::start(&config.trace)?, config.log.slow_after);
        observer.tracer.count(&meter);
        figures::tell_build(&meter);
        figures::tell_limits(&meter, &config);

        let committed: Arc<OnceLock<Recipient<Committed>>> = Arc::default();
        let opened = opened.traced(observer.tracer.clone()).counting(&meter);
        let store = run_store(opened, Arc::clone(&committed))?;
        let new_secrets = ToRegistry::default();
        let vault = {
            let (records, registry) = (&stored.records, Arc::clone(&new_secrets));
            secrets::open(&config, &sealer, &trust, records, &store, registry)?
        };
        let callers = credentials::of_records(&stored.records);
        let callers = Arc::new(Credentials::new(store.clone(), callers));
        callers.set_revoked(trust.certificates().revoked.clone());
        make_first_token(&callers, &config).await?;
        let hub = Hub::new(
            config.grpc.subscribers_max,
            stored.event_next.saturating_sub(1),
        );
        hub.counted_by(&meter);
        let registry_arbiter = Arbiter::new();
        let mut arbiters: Vec<Arbiter> = (0..cores()).map(|_| Arbiter::new()).collect();
        let streams = stream_hub(&config.stream);
        streams.counted_by(&meter);
        let (settings, endpoints) = (&config.functions, &config.endpoint);
        let functions = ServerFunctions::new(settings, endpoints, store.clone(), &meter)?;
        let starter = Starter::new(
            &arbiters,
            &config,
            vault.live(),
            trust.device_tls(),
            streams.clone(),
            Arc::new(functions.clone()),
            meter.clone(),
        )
        .observed_by(observer.clone());
        let tracer = observer.tracer.clone();
        let secrets: SharedSecrets = vault.live().current();
        let mut machine = Machine::new(policy, secrets, stored, rand::random(), clock::now());
        // The first reader must find what was restored, however soon it comes.
        let published = Arc::new(ArcSwap::from_pointee(machine.snapshot()));
        let enroller = Enroller::new(vault.clone());
        let surroundings = {
            let (store, hub, published) = (store.clone(), hub.clone(), Arc::clone(&published));
            let (starter, enroller) = (starter.clone(), enroller.clone());
            let meter = meter.clone();
            move |registry| {
                let sessions = starter.reporting_to(registry);
                surroundings(store, hub, published, sessions, enroller, &meter)
            }
        };
        let (alive, registry_ended) = oneshot::channel();
        let registry = Registry::start_in_arbiter(&registry_arbiter.handle(), move |ctx| {
            // Set here, so that no answer of the store can come before.
            let _ = committed.set(ctx.address().recipient());
            let _ = new_secrets.set(ctx.address().recipient());
            Registry::new(machine, surroundings(ctx.address().recipient()), alive)
        });
        arbiters.push(registry_arbiter);
        let handle = Gateway::new(
            registry.clone(),
            published,
            hub,
            store.clone(),
            config.grpc.commands_in_flight_max,
            config.log.slow_after,
            Told {
                meter: &meter,
                observer: observer.clone(),
            },
        );
        measure::at_scrape(&meter, &handle);
        enroller.reach(handle.clone());
        functions.reach(handle.clone());
        let sessions = starter.reporting_to(registry.clone().recipient());
        let devices = [
            ("aes", sockets.aes, AcceptLink::Aes),
            ("tls", sockets.tls, AcceptLink::Tls),
            ("tls_stock", sockets.tls_stock, AcceptLink::Tls),
            ("plain", sockets.plain, AcceptLink::Plain),
        ];
        let door = door(&config);
        measure::waiting_room(&meter, door.clone());
        let listeners = accept_devices(&door, &sessions, devices);
        let iotmp = sessions.websocket_door(door.clone());
        let readiness = Readiness::default();
        let vitals = Vitals::new(notify::watchdog());
        show_readiness(&meter, &readiness);
        let parts = Parts {
            gateway: handle.clone(),
            store: store.clone(),
            vault: vault.clone(),
            callers: Arc::clone(&callers),
            trust: trust.clone(),
            streams: streams.clone(),
            functions,
            iotmp,
            meter: meter.clone(),
            readiness: readiness.clone(),
            vitals: vitals.clone(),
            log: start.log,
            observer,
        };
        let listening = sockets.listening;
        let faces = Faces::start(parts, &config, &listening, sockets.grpc, sockets.http)?;
        let live = Live {
            registry: registry.clone(),
            starter,
            door,
            meter: meter.clone(),
        };
        let settings = Settings::new(config.clone(), start.file, start.set_log_level, live);
        let settings = Arc::new(settings);
        let reloader = Reloader::new(trust, vault, callers, Arc::clone(&settings), &meter);
        let background = reloader.run_beside(&config, handle.clone(), meter);
        let heartbeat = Heartbeat {
            vitals: vitals.clone(),
            registry: registry.clone(),
            store: store.clone(),
            readiness: readiness.clone(),
        };
        readiness.set(State::Ready);
        notify::ready();
        Ok(Self {
            handle,
            faces,
            streams,
            registry,
            registry_ended,
            listeners,
            store,
            arbiters,
            listening,
            reloader,
            background,
            settings,
            readiness,
            vitals,
            _heartbeat: tokio::spawn(heartbeat.run()).into(),
            tracer,
        })
    }

    pub fn handle(&self) -> Gateway {
        self.handle.clone()
    }

    pub const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Reads certificates, revocations, keys and settings again.
    ///
    /// # Errors
    /// [`StartError`]; what is at fault stays as it was then.
    pub async fn reload(&self) -> Result<(), StartError> {
        self.reloader.reload().await
    }

    /// Waits until the registry has ended by a fault of its own. There is no gateway without it:
    /// the process should end, so that whoever started it starts it again.
    pub async fn failed(&mut self) {
        // An error says that the sender was dropped, which is all it is there for.
        let _ = (&mut self.registry_ended).await;
    }
}

fn show_readiness(meter: &Meter, readiness: &Readiness) {
    let ready = meter.gauge(&table::READY, &[]);
    let draining = meter.gauge(&table::DRAINING, &[]);
    let readiness = readiness.clone();
    meter.read_at_scrape(move || {
        let state = readiness.get();
        ready.set(f64::from(u8::from(state == State::Ready)));
        draining.set(f64::from(u8::from(state == State::Draining)));
    });
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

async fn make_first_token(callers: &Credentials, config: &Config) -> Result<(), StartError> {
    let made = first_token::ensure(callers, &config.data_dir, &random()?).await?;
    if let Some(path) = made {
        tracing::info!(path = %path.display(), "wrote the first admin token; keep it safe");
    }
    Ok(())
}

async fn open_store(config: &Config) -> Result<(Opened, Stored), StartError> {
    let directory = config.data_dir.clone();
    let retention = Retention {
        events_max: config.events.keep_max,
        age_max: config.events.keep_for,
        audit_max: config.access.audit_keep_max,
        limits: Limits::from(&config.functions),
    };
    let opening = tokio::task::spawn_blocking(move || Store::open(&directory, retention));
    let (opened, stored) = opening.await.map_err(|_| StartError::Thread)??;
    Ok((opened.keeping_free(config.store.free_min), stored))
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
        trouble_max: config.registry.trouble_max,
        forget_slaves: config.compat.forget_slaves,
        filter_by_address: config.compat.accept_filter_by_address,
        drain: config.drain.clone(),
    })
}
