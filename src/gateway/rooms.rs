//! The rooms around the registry: the store, the secrets of devices, callers, functions, streams and
//! events. No actor runs in them; the store has its thread.

use std::sync::{Arc, OnceLock};

use actix::Addr;

use super::error::StartError;
use super::opened::Ground;
use super::secrets;
use super::trust::Trust;
use crate::callers::credentials::{self, Credentials};
use crate::callers::first_token;
use crate::config::{self, Config};
use crate::functions::ServerFunctions;
use crate::link::random::random;
use crate::metrics::Meter;
use crate::registry::Stored;
use crate::registry::actor::{Committed, Registry};
use crate::registry::hub::Hub;
use crate::store::{Opened, Store};
use crate::stream;
use crate::trace::Observer;
use crate::vault::Vault;

/// How the rooms reach the registry; empty until it runs.
pub(super) type ToRegistry = Arc<OnceLock<Addr<Registry>>>;

/// Each of them is a handle. Once all are dropped, the thread of the store ends.
pub(super) struct Rooms {
    pub(super) meter: Meter,
    pub(super) observer: Observer,
    pub(super) trust: Trust,
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) callers: Arc<Credentials>,
    pub(super) hub: Hub,
    pub(super) streams: stream::hub::Hub,
    pub(super) functions: ServerFunctions,
    pub(super) to_registry: ToRegistry,
}

impl Rooms {
    /// Opens them over a store that was read. Needs a tokio runtime around it, which outlives them.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) async fn open(
        config: &Config,
        ground: Ground,
        opened: Opened,
        stored: &Stored,
    ) -> Result<Self, StartError> {
        let Ground {
            meter,
            observer,
            sealer,
            trust,
        } = ground;
        let to_registry = ToRegistry::default();
        let store = run_store(opened, Arc::clone(&to_registry))?;
        let vault = {
            let (records, registry) = (&stored.records, Arc::clone(&to_registry));
            secrets::open(config, &sealer, &trust, records, &store, registry)?
        };
        let callers = Credentials::new(store.clone(), credentials::of_records(&stored.records));
        callers.set_revoked(trust.certificates().revoked.clone());
        make_first_token(&callers, config).await?;
        let (settings, endpoints) = (&config.functions, &config.endpoint);
        let functions = ServerFunctions::new(settings, endpoints, store.clone(), &meter)?;
        let hub = Hub::new(
            config.grpc.subscribers_max,
            stored.event_next.saturating_sub(1),
        );
        hub.counted_by(&meter);
        let streams = stream_hub(&config.stream);
        streams.counted_by(&meter);
        Ok(Self {
            meter,
            observer,
            trust,
            store,
            vault,
            callers: Arc::new(callers),
            hub,
            streams,
            functions,
            to_registry,
        })
    }
}

fn run_store(opened: Opened, to_registry: ToRegistry) -> Result<Store, StartError> {
    let on_commit = move |commit, result| {
        if let Some(registry) = to_registry.get() {
            registry.do_send(Committed(commit, result));
        }
    };
    opened.run(on_commit).map_err(|_| StartError::Thread)
}

async fn make_first_token(callers: &Credentials, config: &Config) -> Result<(), StartError> {
    let made = first_token::ensure(callers, &config.data_dir, &random()?).await?;
    if let Some(path) = made {
        tracing::info!(path = %path.display(), "wrote the first admin token; keep it safe");
    }
    Ok(())
}

/// The streams of all devices, as the settings bound them.
fn stream_hub(config: &config::Stream) -> stream::hub::Hub {
    stream::hub::Hub::new(stream::hub::Limits {
        sinks_max: config.sinks_max,
        resources_per_device_max: config.resources_per_device_max,
        queue_max: config.queue_max,
        interval_min: u32::try_from(config.interval_min.as_secs()).unwrap_or(u32::MAX),
    })
}
