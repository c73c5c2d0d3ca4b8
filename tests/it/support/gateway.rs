//! A gateway in this process, on free ports and a data directory of its own.

use std::net::SocketAddr;

use gatehouse::clock;
use gatehouse::config::{Config, Listen};
use gatehouse::device::DeviceId;
use gatehouse::gateway::Running;
use gatehouse::link::authority::CertificatePair;
use gatehouse::link::gateway_key;
use gatehouse::link::key_files;
use gatehouse::link::link_key::LinkKey;
use gatehouse::link::roots::Roots;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::client::{self, Admin, Client};

pub struct TestGateway {
    running: Running,
    ca: String,
    fleet_key: LinkKey,
    config: Config,
    /// Removed when the test is over.
    _directory: TempDir,
}

impl TestGateway {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts with a configuration that `change` made different from the default.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = config(directory.path());
        change(&mut config);
        let keys = config.keys_dir();
        let ca = config.certs_dir().join("ca.crt");
        let running = Running::start(config.clone()).await.expect("a gateway");
        Self {
            running,
            ca: std::fs::read_to_string(ca).expect("ca.crt"),
            fleet_key: fleet_key(&keys),
            config,
            _directory: directory,
        }
    }

    pub fn grpc(&self) -> SocketAddr {
        self.running.listening().grpc
    }

    pub fn aes(&self) -> SocketAddr {
        self.running
            .listening()
            .aes
            .expect("the aes listener is on")
    }

    pub fn tls(&self) -> SocketAddr {
        let tls = self.running.listening().tls;
        tls.expect("the tls listener is on")
    }

    pub fn plain(&self) -> SocketAddr {
        let plain = self.running.listening().plain;
        plain.expect("the plain listener is on")
    }

    pub fn http(&self) -> SocketAddr {
        self.running.listening().http.expect("HTTP is on")
    }

    /// Where stock IOTMP clients dial over TLS.
    pub fn tls_stock(&self) -> SocketAddr {
        let tls = self.running.listening().tls_stock;
        tls.expect("the tls listener of stock clients is on")
    }

    /// A certificate for this device under the gateway's root.
    pub fn device_certificate(&self, id: u32, serves: bool) -> CertificatePair {
        let sealer = gateway_key::read(&self.config.gateway_key()).expect("a gateway key");
        let dir = self.config.certs_dir();
        let roots = Roots::read(&dir, &sealer).expect("readable");
        let authority = roots.expect("a root").signer(&dir).expect("its key");
        let ids = [DeviceId::new(id).expect("not zero")];
        let pair = authority.device(&ids, serves, clock::now());
        pair.expect("a certificate")
    }

    /// A channel of the first admin.
    pub async fn admin(&self) -> Admin {
        let token = self.config.data_dir.join("admin.token");
        let token = std::fs::read_to_string(token).expect("the first admin token");
        client::with_token(self.channel().await, token.trim())
    }

    pub fn handle(&self) -> gatehouse::handle::Gateway {
        self.running.handle()
    }

    pub fn ca(&self) -> &str {
        &self.ca
    }

    pub fn fleet_key(&self) -> LinkKey {
        self.fleet_key.clone()
    }

    pub async fn channel(&self) -> Channel {
        let channel = client::channel(self.grpc(), "localhost", self.ca()).await;
        channel.expect("a channel")
    }

    pub async fn client(&self) -> Client {
        Client::new(self.channel().await)
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// Free ports on loopback, and redials that do not make a test wait.
pub fn config(directory: &std::path::Path) -> Config {
    let mut config = Config::default();
    let free: SocketAddr = ([127, 0, 0, 1], 0).into();
    config.data_dir = directory.join("data");
    config.grpc.listen = free;
    config.aes.listen = Listen(Some(free));
    config.tls.listen = Listen(Some(free));
    config.http.listen = Listen(Some(free));
    config.reconnect.min = std::time::Duration::from_millis(50);
    config.reconnect.max = std::time::Duration::from_millis(200);
    config
}

/// The first fleet key, which the gateway made at its first start, in clear.
pub fn fleet_key(keys: &std::path::Path) -> LinkKey {
    let data = keys.parent().expect("a data directory");
    let sealer = gateway_key::read(&data.join("gateway.key")).expect("a gateway key");
    let key = key_files::newest_fleet_key(keys, &sealer).expect("readable");
    key.expect("a fleet key")
}
