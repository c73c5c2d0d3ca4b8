//! What clients reach: gRPC and HTTP, over the same gateway.

use std::sync::Arc;
use std::time::Duration;

use super::rooms::Rooms;
use super::sockets::{ClientSockets, Listening};
use crate::callers::audit::Audit;
use crate::callers::guard::Guard;
use crate::config::Config;
use crate::grpc::connection_mode::Advertised;
use crate::grpc::server::{Server, Settings};
use crate::grpc::{self, DeviceSettings};
use crate::handle::Gateway;
use crate::http;
use crate::http::iotmp::IotmpDoor;
use crate::logs::Control;
use crate::service::readiness::Readiness;
use crate::service::vitals::Vitals;

/// What both are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) rooms: &'a Rooms,
    pub(super) gateway: Gateway,
    pub(super) iotmp: IotmpDoor,
    pub(super) readiness: Readiness,
    pub(super) vitals: Vitals,
    pub(super) log: Option<Arc<dyn Control>>,
}

/// Both, as they serve.
pub(super) struct Faces {
    grpc: Server,
    http: Option<http::Server>,
}

impl Faces {
    pub(super) fn start(parts: Parts<'_>, listening: &Listening, sockets: ClientSockets) -> Self {
        let http = sockets.http.map(|(listener, address)| {
            let tls = parts.rooms.trust.http_tls();
            http::serve(parts.http(), tls, listener, address)
        });
        let mut settings = Settings::new(parts.rooms.trust.grpc_tls());
        settings.message_size_max = parts.config.grpc.message_max_bytes;
        let grpc = grpc::serve(parts.grpc(listening), settings, sockets.grpc);
        Self { grpc, http }
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

impl Parts<'_> {
    fn http(&self) -> http::Services {
        let Self { config, rooms, .. } = self;
        let audit = Audit::new(rooms.store.clone());
        http::Services {
            gateway: self.gateway.clone(),
            streams: rooms.streams.clone(),
            store: rooms.store.clone(),
            functions: rooms.functions.clone(),
            iotmp: config.http.iotmp.then(|| self.iotmp.clone()),
            guard: Guard::for_loopback(Arc::clone(&rooms.callers), audit),
            http: config.http.clone(),
            names: config.grpc.names.clone(),
            refusal_for: config.access.refusal_for,
            meter: rooms.meter.clone(),
            readiness: self.readiness.clone(),
            vitals: self.vitals.clone(),
            observer: rooms.observer.clone(),
        }
    }

    fn grpc(self, listening: &Listening) -> grpc::Services {
        let Self { config, rooms, .. } = self;
        let trust = rooms.trust.clone();
        let devices = DeviceSettings {
            advertised: Advertised {
                address: config.device.advertise.clone(),
                aes_port: listening.aes.map(|address| address.port()),
                tls_port: listening.tls.map(|address| address.port()),
            },
            roots: Arc::new(move || trust.roots()),
            credentials: Arc::new(rooms.vault.clone()),
            multi_in_flight_max: config.device.multi_in_flight_max,
            search: config.search.clone(),
            capability_numbers: config.compat.capability_numbers,
        };
        grpc::Services {
            gateway: self.gateway,
            store: rooms.store.clone(),
            vault: rooms.vault.clone(),
            callers: Arc::clone(&rooms.callers),
            access: config.grpc.clone(),
            refusal_for: config.access.refusal_for,
            log: self.log,
            observer: rooms.observer.clone(),
            devices,
            meter: rooms.meter.clone(),
            readiness: self.readiness,
        }
    }
}
