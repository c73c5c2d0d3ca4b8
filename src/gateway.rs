//! Puts the house together: opens the store, binds the sockets, starts actors and servers, and
//! takes all of it down again. The only folder that sees every room.
//!
//! A start goes through `opened`, `rooms`, `fleet`, `doors` and `faces`, in this order; the end is in
//! `stop`.

mod doors;
mod error;
mod faces;
mod figures;
mod fleet;
mod heartbeat;
mod measure;
mod opened;
mod reload;
mod rooms;
mod secrets;
mod sessions;
mod settings;
mod sockets;
mod stop;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;

use actix::{Addr, Arbiter};
use tokio::sync::oneshot;

use self::doors::Doors;
pub use self::error::StartError;
use self::faces::{Faces, Parts};
use self::fleet::Fleet;
use self::heartbeat::Heartbeat;
use self::opened::Opened;
use self::reload::{Background, Reloader};
use self::rooms::Rooms;
pub use self::settings::SetLogLevel;
use self::settings::{Live, Settings};
pub use self::sockets::Listening;
pub use self::stop::Stopped;
use crate::config::Config;
use crate::handle::Gateway;
use crate::link::listen::Listener;
use crate::logs::Control;
use crate::registry::actor::Registry;
use crate::service::notify;
use crate::service::passed::Passed;
use crate::service::readiness::{Readiness, State};
use crate::service::vitals::Vitals;
use crate::store::Store;
use crate::stream;
use crate::trace::Tracer;

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
    /// [`StartError`]; what was opened by then is closed.
    pub async fn start_with(config: Config, start: Start) -> Result<Self, StartError> {
        let opened = Opened::open(&config, start.passed, start.log.as_ref()).await?;
        let Opened {
            ground,
            store,
            stored,
            policy,
            sockets,
        } = opened;
        let rooms = Rooms::open(&config, ground, store, &stored).await?;
        // From here on nothing fails: what runs need not be taken down again.
        let fleet = Fleet::start(&config, &rooms, policy, stored);
        let doors = Doors::open(&config, &rooms.meter, &fleet, sockets.devices);
        let readiness = Readiness::default();
        let vitals = Vitals::new(notify::watchdog());
        measure::readiness(&rooms.meter, readiness.clone());
        let parts = Parts {
            config: &config,
            rooms: &rooms,
            gateway: fleet.handle.clone(),
            iotmp: doors.iotmp,
            readiness: readiness.clone(),
            vitals: vitals.clone(),
            log: start.log,
        };
        let listening = sockets.listening;
        let faces = Faces::start(parts, &listening, sockets.clients);
        let live = Live {
            registry: fleet.registry.clone(),
            starter: fleet.starter,
            door: doors.door,
            slow: rooms.observer.slow.clone(),
            store: rooms.store.clone(),
            meter: rooms.meter.clone(),
        };
        let settings = Settings::new(config.clone(), start.file, start.set_log_level, live);
        let settings = Arc::new(settings);
        let reloader = Reloader::new(&rooms, Arc::clone(&settings));
        let background = reloader.run_beside(&config, fleet.handle.clone(), rooms.meter);
        let heartbeat = Heartbeat {
            vitals: vitals.clone(),
            registry: fleet.registry.clone(),
            store: rooms.store.clone(),
            readiness: readiness.clone(),
        };
        readiness.set(State::Ready);
        notify::ready();
        Ok(Self {
            handle: fleet.handle,
            faces,
            streams: rooms.streams,
            registry: fleet.registry,
            registry_ended: fleet.registry_ended,
            listeners: doors.listeners,
            store: rooms.store,
            arbiters: fleet.arbiters,
            listening,
            reloader,
            background,
            settings,
            readiness,
            vitals,
            _heartbeat: tokio::spawn(heartbeat.run()).into(),
            tracer: rooms.observer.tracer,
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
