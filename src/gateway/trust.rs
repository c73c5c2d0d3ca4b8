//! What the gateway shows and whom it trusts: certificates, revocations, ticket keys. Read at the
//! start, and again while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::Mutex;

use super::error::StartError;
use super::figures::ExpiryGauges;
use crate::callers::credentials::Credentials;
use crate::clock;
use crate::config::{Config, Credential};
use crate::link::certs::Certs;
use crate::link::expiry::Expiry;
use crate::link::host_names::HostNames;
use crate::link::keyring::{self, Certificates};
use crate::link::random::random;
use crate::link::seal::Sealer;
use crate::link::ticket_file::{self, TicketKeyRecord};
use crate::link::tls::device::{DeviceTls, Material};
use crate::link::tls::tickets::{TicketKey, TicketKeys, Tickets};
use crate::link::{grpc_tls, http_tls, issued, revocation};
use crate::metrics::Meter;
use crate::vault::Vault;

/// Cheap to clone; every clone is the same.
#[derive(Clone)]
pub(super) struct Trust {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    sealer: Sealer,
    time: Arc<dyn TimeProvider>,
    tickets: Arc<Tickets>,
    device_tls: Arc<ArcSwap<DeviceTls>>,
    grpc_tls: Arc<ArcSwap<ServerConfig>>,
    http_tls: Arc<ArcSwap<ServerConfig>>,
    read: ArcSwap<Read>,
    gauges: ExpiryGauges,
    /// One change at a time.
    reloading: Mutex<Stored>,
}

/// The ticket keys that are in their file.
struct Stored(Vec<TicketKey>);

/// What the files said.
struct Read {
    certs: Certs,
    /// The roots as PEM text.
    roots: Arc<str>,
    certificates: Arc<Certificates>,
    expiry: Expiry,
}

impl Read {
    /// What is there; what is not is made.
    fn first(config: &Config, sealer: &Sealer) -> Result<Self, StartError> {
        let names = HostNames::of_this_machine(&config.grpc.names);
        let certs = Certs::open(&config.certs_dir(), &names, sealer, clock::now())?;
        Self::with(certs, config)
    }

    fn again(config: &Config, sealer: &Sealer) -> Result<Self, StartError> {
        Self::with(Certs::reopen(&config.certs_dir(), sealer)?, config)
    }

    fn with(certs: Certs, config: &Config) -> Result<Self, StartError> {
        let issued = issued::read(&config.certs_dir())?;
        let certificates = Certificates {
            issued: issued::devices_of(&issued, clock::now()),
            revoked: revocation::revoked_ids(&certs.crls),
        };
        Ok(Self {
            expiry: Expiry::of(&certs, &issued, &certificates.revoked),
            roots: certs.roots_pem().into(),
            certs,
            certificates: Arc::new(certificates),
        })
    }

    /// Whether a ticket that was made under `other` is still good.
    fn trusts_as(&self, other: &Self) -> bool {
        self.certs.roots == other.certs.roots
            && self.certificates.revoked == other.certificates.revoked
    }

    fn device_tls(
        &self,
        config: &Config,
        tickets: &Arc<Tickets>,
        time: &Arc<dyn TimeProvider>,
    ) -> Result<DeviceTls, StartError> {
        let material = Material {
            roots: self.certs.roots.clone(),
            crls: self.certs.crls.clone(),
            chain: self.certs.chain.clone(),
            key: self.certs.key.clone_key(),
        };
        let (tickets, time) = (Arc::clone(tickets), Arc::clone(time));
        Ok(DeviceTls::new(&material, &config.tls, tickets, time)?)
    }

    fn grpc_tls(&self, config: &Config) -> Result<ServerConfig, StartError> {
        let crls = self.certs.crls.clone();
        let clients = config.grpc.client_certificates;
        Ok(grpc_tls::grpc_server(&self.certs, crls, clients)?)
    }

    fn http_tls(&self) -> Result<ServerConfig, StartError> {
        let crls = self.certs.crls.clone();
        Ok(http_tls::http_server(&self.certs, crls)?)
    }
}

impl Trust {
    /// Reads what is there and makes what is not. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) fn open(config: &Config, sealer: Sealer, meter: &Meter) -> Result<Self, StartError> {
        let read = Read::first(config, &sealer)?;
        let gauges = ExpiryGauges::new(meter);
        gauges.tell(read.expiry.clone());
        let time: Arc<dyn TimeProvider> = Arc::new(DefaultTimeProvider);
        let tickets = Arc::new(open_tickets(config, &sealer, &time)?);
        let device_tls = read.device_tls(config, &tickets, &time)?;
        let grpc_tls = read.grpc_tls(config)?;
        let http_tls = read.http_tls()?;
        let trust = Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                sealer,
                time,
                tickets,
                device_tls: Arc::new(ArcSwap::from_pointee(device_tls)),
                grpc_tls: Arc::new(ArcSwap::from_pointee(grpc_tls)),
                http_tls: Arc::new(ArcSwap::from_pointee(http_tls)),
                read: ArcSwap::from_pointee(read),
                gauges,
                reloading: Mutex::new(Stored(Vec::new())),
            }),
        };
        trust.inner.store_tickets(&mut Stored(Vec::new()));
        Ok(trust)
    }

    pub(super) fn device_tls(&self) -> Arc<ArcSwap<DeviceTls>> {
        Arc::clone(&self.inner.device_tls)
    }

    pub(super) fn grpc_tls(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.inner.grpc_tls)
    }

    pub(super) fn http_tls(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.inner.http_tls)
    }

    pub(super) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.inner.read.load().certificates)
    }

    /// The roots that devices are to trust, as PEM text.
    pub(super) fn roots(&self) -> String {
        self.inner.read.load().roots.as_ref().to_owned()
    }

    /// Reads everything again, and takes these credentials of the configuration. Sessions whose proof
    /// was revoked are closed once what is new is in force: it counts from the next handshake on.
    ///
    /// # Errors
    /// [`StartError`]; everything stays as it was then.
    pub(super) async fn reload(
        &self,
        vault: &Vault,
        callers: &Credentials,
        configured: &[Credential],
    ) -> Result<(), StartError> {
        let configured = keyring::configured(configured)?;
        let mut stored = self.inner.reloading.lock().await;
        let inner = Arc::clone(&self.inner);
        let reading = tokio::task::spawn_blocking(move || {
            let read = Read::again(&inner.config, &inner.sealer)?;
            let device_tls = read.device_tls(&inner.config, &inner.tickets, &inner.time)?;
            let grpc_tls = read.grpc_tls(&inner.config)?;
            let http_tls = read.http_tls()?;
            Ok::<_, StartError>((read, device_tls, grpc_tls, http_tls))
        });
        let (read, device_tls, grpc_tls, http_tls) =
            reading.await.map_err(|_| StartError::Thread)??;
        let inner = Arc::clone(&self.inner);
        let put_in_force = move || {
            inner.device_tls.store(Arc::new(device_tls));
            inner.grpc_tls.store(Arc::new(grpc_tls));
            inner.http_tls.store(Arc::new(http_tls));
        };
        let certificates = Arc::clone(&read.certificates);
        vault
            .reload_files(configured, certificates, put_in_force)
            .await?;
        let keeps_tickets = read.trusts_as(&self.inner.read.load());
        callers.set_revoked(read.certificates.revoked.clone());
        self.inner.gauges.tell(read.expiry.clone());
        self.inner.read.store(Arc::new(read));
        if !keeps_tickets && !self.inner.tickets.discard_all() {
            tracing::error!("session tickets of before could not be discarded, each is verified");
        }
        self.inner.store_tickets(&mut stored);
        Ok(())
    }

    /// Has the ticket keys on disk that may be needed after a restart.
    pub(super) async fn keep_tickets(&self) {
        let mut stored = self.inner.reloading.lock().await;
        self.inner.store_tickets(&mut stored);
    }
}

impl Inner {
    fn store_tickets(&self, stored: &mut Stored) {
        let keys = self.tickets.keys_to_store();
        if keys == stored.0 {
            return;
        }
        let record = |key: &TicketKey| TicketKeyRecord {
            key: key.key,
            born_unix_ms: key.born.saturating_mul(1000),
        };
        let records: Vec<_> = keys.iter().map(record).collect();
        let dir = self.config.keys_dir();
        match ticket_file::store_tickets(&dir, &self.sealer, &records) {
            Ok(()) => stored.0 = keys,
            Err(error) => {
                tracing::warn!(%error, "ticket keys are not stored: devices will not resume after a restart");
            }
        }
    }
}

/// The ticket keys of earlier starts, which only decrypt, and a fresh one. Tickets only save work:
/// the gateway starts without those that cannot be read.
fn open_tickets(
    config: &Config,
    sealer: &Sealer,
    time: &Arc<dyn TimeProvider>,
) -> Result<Tickets, StartError> {
    let dir = config.keys_dir();
    let older = ticket_file::load_tickets(&dir, sealer).unwrap_or_else(|error| {
        tracing::warn!(%error, "session tickets of before are worth nothing");
        Vec::new()
    });
    let older = older.into_iter().map(|record| TicketKey {
        key: record.key,
        born: record.born_unix_ms / 1000,
    });
    let now = clock::now().unix_ms / 1000;
    let lifetime = config.tls.ticket_lifetime;
    let keys = TicketKeys::new(random()?, older.collect(), lifetime, now);
    let fresh = Box::new(|| random().ok());
    Ok(Tickets::new(keys, Arc::clone(time), fresh))
}
