//! What clients reach: gRPC and HTTP, over the same gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::error::StartError;
use super::sockets::Listening;
use super::trust::Trust;
use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::callers::guard::Guard;
use crate::config::Config;
use crate::functions::ServerFunctions;
use crate::grpc::connection_mode::Advertised;
use crate::grpc::server::{Server, Settings};
use crate::grpc::{self, DeviceSettings};
use crate::handle::Gateway;
use crate::http;
use crate::http::iotmp::IotmpDoor;
use crate::logs::Control;
use crate::metrics::Meter;
use crate::service::readiness::Readiness;
use crate::service::vitals::Vitals;
use crate::store::Store;
use crate::stream::hub::Hub;
use crate::trace::Observer;
use crate::vault::Vault;

/// What both are made of.
pub(super) struct Parts {
    pub(super) gateway: Gateway,
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) callers: Arc<Credentials>,
    pub(super) trust: Trust,
    pub(super) streams: Hub,
    pub(super) functions: ServerFunctions,
    pub(super) iotmp: IotmpDoor,
    pub(super) meter: Meter,
    pub(super) readiness: Readiness,
    pub(super) vitals: Vitals,
    pub(super) log: Option<Arc<dyn Control>>,
    pub(super) observer: Observer,
}

/// Both, as they serve.
pub(super) struct Faces {
    grpc: Server,
    http: Option<http::Server>,
}

impl Faces {
    pub(super) fn start(
        parts: Parts,
        config: &Config,
        listening: &Listening,
        grpc: TcpListener,
        http: Option<TcpListener>,
    ) -> Result<Self, StartError> {
        let http = http.map(|listener| {
            let tls = parts.trust.http_tls();
            http::serve(parts.http(config), tls, listener)
        });
        let http = http.transpose().map_err(StartError::Http)?;
        let mut settings = Settings::new(parts.trust.grpc_tls());
        settings.message_size_max = config.grpc.message_max_bytes;
        let grpc = grpc::serve(parts.grpc(config, listening), settings, grpc);
        Ok(Self { grpc, http })
    }

    /// Ends streams, lets calls in progress end within this time, then cuts what is left.
    pub(super) async fn stop(self, within: Duration) {
        let http = async {
            if let Some(http) = self.http {
                http.stop_within(within).await;
            }
        };
        tokio::join!(http, self.grpc.stop_within(within));
    }
}

impl Parts {
    fn http(&self, config: &Config) -> http::Services {
        let audit = Audit::new(self.store.clone());
        http::Services {
            gateway: self.gateway.clone(),
            streams: self.streams.clone(),
            store: self.store.clone(),
            functions: self.functions.clone(),
            iotmp: config.http.iotmp.then(|| self.iotmp.clone()),
            guard: Guard::for_loopback(Arc::clone(&self.callers), audit),
            http: config.http.clone(),
            names: config.grpc.names.clone(),
            refusal_for: config.access.refusal_for,
            meter: self.meter.clone(),
            readiness: self.readiness.clone(),
            vitals: self.vitals.clone(),
            observer: self.observer.clone(),
        }
    }

    fn grpc(self, config: &Config, listening: &Listening) -> grpc::Services {
        let trust = self.trust;
        let devices = DeviceSettings {
            advertised: Advertised {
                address: config.device.advertise.clone(),
                aes_port: listening.aes.map(|address| address.port()),
                tls_port: listening.tls.map(|address| address.port()),
            },
            roots: Arc::new(move || trust.roots()),
            credentials: Arc::new(self.vault.clone()),
            multi_in_flight_max: config.device.multi_in_flight_max,
            search: config.search.clone(),
            capability_numbers: config.compat.capability_numbers,
        };
        grpc::Services {
            gateway: self.gateway,
            store: self.store,
            vault: self.vault,
            callers: self.callers,
            access: config.grpc.clone(),
            refusal_for: config.access.refusal_for,
            log: self.log,
            observer: self.observer,
            devices,
            meter: self.meter,
            readiness: self.readiness,
        }
    }
}
