//! The gateway that is measured: in this process, on free ports, on a directory of its own.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::fleet::{Proof, TYPE};
use super::ramp;
use crate::clock;
use crate::config::{ClientCertificates, Config, Credential, CredentialDigest, Listen};
use crate::device::DeviceId;
use crate::gateway::Running;
use crate::grpc::proto::gsdk::connect::connect_client::ConnectClient;
use crate::link::certs::Certs;
use crate::link::gateway_key;
use crate::link::grpc_tls;
use crate::link::host_names::HostNames;
use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::registry::Command;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::snapshot::Snapshot;

/// A client of the Connect API.
pub(super) type Client = ConnectClient<Channel>;

/// See the module.
pub(super) struct Subject {
    running: Running,
    config: Config,
    secret: String,
    key: LinkKey,
    /// Removed with the last of the gateway.
    directory: TempDir,
}

impl Subject {
    /// Starts a gateway that takes devices in which have the fleet key, or an ID of `with_secret`
    /// and the credential of the bench.
    ///
    /// # Errors
    /// When the gateway does not start.
    pub(super) async fn start(
        with_secret: impl Iterator<Item = u32>,
    ) -> Result<Self, Box<dyn Error>> {
        Self::with(with_secret, |_| ()).await
    }

    /// The same, and it counts nothing.
    ///
    /// # Errors
    /// When the gateway does not start.
    pub(super) async fn without_metrics(
        with_secret: impl Iterator<Item = u32>,
    ) -> Result<Self, Box<dyn Error>> {
        Self::with(with_secret, |config| config.metrics.enabled = false).await
    }

    async fn with(
        with_secret: impl Iterator<Item = u32>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let secret = hex::encode(key_files::random::<16>()?);
        let digest = CredentialDigest::of(secret.as_bytes());
        let credential = |id: u32| Credential {
            device: id.to_string(),
            owner: None,
            digest: digest.clone(),
        };
        let mut config = Config {
            data_dir: directory.path().join("data"),
            credential: with_secret.map(credential).collect(),
            ..Config::default()
        };
        config.grpc.listen = free();
        config.http.listen = Listen(Some(free()));
        config.aes.listen = Listen(Some(free()));
        config.tls.listen = Listen(Some(free()));
        config.plain.listen = Listen(Some(free()));
        // Nobody is spared when a bench is over.
        config.drain.pace = 1_000_000;
        change(&mut config);
        let running = Running::start(config.clone()).await?;
        let sealer = gateway_key::read(&config.gateway_key())?;
        let key = key_files::newest_fleet_key(&config.keys_dir(), &sealer)?;
        let allow_all = AcceptFilter {
            allow_all: true,
            ..AcceptFilter::default()
        };
        let filter = Command::SetAcceptFilter(allow_all);
        running.handle().command(filter).await?;
        Ok(Self {
            running,
            config,
            secret,
            key: key.ok_or("the gateway made no fleet key")?,
            directory,
        })
    }

    pub(super) async fn stop(self) {
        self.running.stop().await;
    }

    /// Where devices with this proof dial.
    ///
    /// # Errors
    /// When the gateway does not listen there.
    pub(super) fn address(&self, proof: &Proof) -> Result<SocketAddr, Box<dyn Error>> {
        let listening = self.running.listening();
        let address = match proof {
            Proof::Credential(_) => listening.plain,
            Proof::Key(_) => listening.aes,
            Proof::Tls { .. } => listening.tls,
        };
        Ok(address.ok_or("the gateway does not listen for devices")?)
    }

    /// Where REST and streams are.
    ///
    /// # Errors
    /// When the gateway does not listen there.
    pub(super) fn http(&self) -> Result<SocketAddr, Box<dyn Error>> {
        let http = self.running.listening().http;
        Ok(http.ok_or("the gateway does not listen for HTTP")?)
    }

    pub(super) fn credential(&self) -> Proof {
        Proof::Credential(self.secret.clone())
    }

    /// Writes the fleet key where devices can read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn key_file(&self) -> Result<Proof, Box<dyn Error>> {
        let path = self.directory.path().join("fleet.key");
        if !path.exists() {
            key_files::write(&path, &self.key)?;
        }
        Ok(Proof::Key(path))
    }

    pub(super) fn tls_credential(&self) -> Proof {
        Proof::Tls {
            root: self.root(),
            secret: self.secret.clone(),
        }
    }

    /// A directory for another server of the bench, which lives as long as this.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn directory_beside(&self) -> io::Result<PathBuf> {
        let path = self.directory.path().join("beside");
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn root(&self) -> PathBuf {
        self.config.certs_dir().join("ca.crt")
    }

    pub(super) const fn key(&self) -> &LinkKey {
        &self.key
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.running.handle().snapshot()
    }

    /// How many devices are connected.
    pub(super) fn connected(&self) -> usize {
        // Devices that dial are listed as long as they are connected.
        self.snapshot().devices.len()
    }

    /// How many devices from this ID on are connected.
    pub(super) fn connected_from(&self, first_id: u32) -> usize {
        let snapshot = self.snapshot();
        let views = snapshot.devices.values().rev();
        views.take_while(|view| view.id.get() >= first_id).count()
    }

    /// Ends the sessions of these devices, as the API does.
    ///
    /// # Errors
    /// When the registry refuses.
    pub(super) async fn disconnect(&self, ids: Range<u32>) -> Result<(), Box<dyn Error>> {
        let ids = ids.filter_map(DeviceId::new).collect();
        let command = Command::Disconnect(ids);
        self.running.handle().command(command).await?;
        Ok(())
    }

    /// # Errors
    /// When devices stay.
    pub(super) async fn until_empty(&self) -> Result<(), Box<dyn Error>> {
        ramp::until("every device was gone", || self.connected() == 0).await
    }

    /// Whether every device that is connected has told its type.
    pub(super) fn is_settled(&self) -> bool {
        let snapshot = self.snapshot();
        // Those that connected last have the highest IDs and are the last to tell.
        let mut views = snapshot.devices.values().rev();
        views.all(|view| view.device_type == TYPE)
    }

    /// # Errors
    /// When the API cannot be reached.
    pub(super) async fn client(&self) -> Result<Client, Box<dyn Error>> {
        self.client_at(self.running.listening().grpc).await
    }

    /// A client of another server with the gateway's certificate.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) async fn client_at(&self, address: SocketAddr) -> Result<Client, Box<dyn Error>> {
        let root = fs::read_to_string(self.root())?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root));
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", address.port()))?;
        let channel = endpoint.tls_config(tls)?.connect().await?;
        Ok(Client::new(channel).max_decoding_message_size(usize::MAX))
    }

    /// The TLS of the gateway's API.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub(super) fn tls(&self) -> Result<rustls::ServerConfig, Box<dyn Error>> {
        let certs = self.certs()?;
        let revoked = certs.crls.clone();
        Ok(grpc_tls::grpc_server(
            &certs,
            revoked,
            ClientCertificates::Optional,
        )?)
    }

    /// What the gateway is to devices on tls links, made of rustls alone: the same certificate,
    /// the same question for one of theirs, and one ticket for each.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub(super) fn bare_tls(&self) -> Result<rustls::ServerConfig, Box<dyn Error>> {
        let mut config = self.tls()?;
        config.alpn_protocols.clear();
        config.send_tls13_tickets = 1;
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(config)
    }

    /// What the gateway's certificate stands under.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn roots(&self) -> Result<rustls::RootCertStore, Box<dyn Error>> {
        let mut roots = rustls::RootCertStore::empty();
        for root in self.certs()?.roots {
            roots.add(root)?;
        }
        Ok(roots)
    }

    fn certs(&self) -> Result<Certs, Box<dyn Error>> {
        let names = HostNames::of_this_machine(&[]);
        let sealer = gateway_key::read(&self.config.gateway_key())?;
        let certs = Certs::open(&self.config.certs_dir(), &names, &sealer, clock::now())?;
        Ok(certs)
    }
}

fn free() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
