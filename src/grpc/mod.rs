//! The gRPC services.

pub mod access;
#[cfg(test)]
mod access_tests;
pub mod admin;
pub mod approvals;
pub mod approvals_view;
pub mod audit;
pub mod body;
pub mod capability;
pub mod code;
pub mod connect;
pub mod connection_mode;
pub mod content;
pub mod contracts;
pub mod convert;
pub mod counts;
pub mod device;
pub mod fleet;
pub mod fleet_view;
pub mod generation;
pub mod health;
pub mod identities;
pub mod ip_config;
pub mod multi;
pub mod network;
mod not_served;
mod observed;
pub mod operation;
pub mod reflection;
pub mod resource;
pub mod routes;
pub mod server;
pub mod slaves;
pub mod ssl;
pub mod status;
pub mod stop;
#[cfg(test)]
mod testing;
pub mod top_view;

/// The messages and services of the contracts in `proto/`, nested as their packages are.
pub mod proto {
    pub mod device {
        tonic::include_proto!("device");
    }
    pub mod gsdk {
        pub mod admin {
            tonic::include_proto!("gsdk.admin");
        }
        pub mod connect {
            tonic::include_proto!("gsdk.connect");
        }
        pub mod device {
            tonic::include_proto!("gsdk.device");
        }
        pub mod err {
            tonic::include_proto!("gsdk.err");
        }
        pub mod network {
            tonic::include_proto!("gsdk.network");
        }
        pub mod rs485 {
            tonic::include_proto!("gsdk.rs485");
        }
        pub mod wiegand {
            tonic::include_proto!("gsdk.wiegand");
        }
    }
    pub mod gatehouse {
        pub mod v1 {
            tonic::include_proto!("gatehouse.v1");
        }
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::callers::guard::Guard;
use crate::config;
use crate::grpc::access::AccessService;
use crate::grpc::admin::AdminService;
use crate::grpc::approvals::ApprovalsService;
use crate::grpc::connect::{ConnectService, DeviceCalls};
use crate::grpc::connection_mode::Advertised;
use crate::grpc::device::DeviceService;
use crate::grpc::fleet::FleetService;
use crate::grpc::identities::IdentitiesService;
use crate::grpc::network::NetworkService;
use crate::grpc::operation::OperationService;
use crate::grpc::proto::gatehouse::v1::access_server::AccessServer;
use crate::grpc::proto::gatehouse::v1::approvals_server::ApprovalsServer;
use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
use crate::grpc::proto::gatehouse::v1::identities_server::IdentitiesServer;
use crate::grpc::proto::gatehouse::v1::operation_server::OperationServer;
use crate::grpc::proto::gsdk::admin::admin_server::AdminServer;
use crate::grpc::proto::gsdk::connect::connect_server::ConnectServer;
use crate::grpc::proto::gsdk::device::device_server::DeviceServer;
use crate::grpc::proto::gsdk::network::network_server::NetworkServer;
use crate::grpc::proto::gsdk::rs485::rs485_server::Rs485Server;
use crate::grpc::proto::gsdk::wiegand::wiegand_server::WiegandServer;
use crate::grpc::resource::Resources;
use crate::grpc::routes::Routes;
use crate::grpc::server::{Server, Settings};
use crate::grpc::slaves::SlavesService;
use crate::grpc::ssl::{Roots, Ssl, TlsCredentials};
use crate::grpc::stop::Stop;
use crate::handle::Gateway;
use crate::logs::Control;
use crate::metrics::{Meter, table};
use crate::search::udp::Searcher;
use crate::service::readiness::Readiness;
use crate::store::Store;
use crate::trace::Observer;
use crate::vault::Vault;

/// What the services reach, and how they serve it.
pub struct Services {
    pub gateway: Gateway,
    pub store: Store,
    pub vault: Vault,
    /// Tokens, and which certificates of clients are revoked.
    pub callers: Arc<Credentials>,
    /// From where nothing need be shown.
    pub access: config::Grpc,
    /// How long the refusal of a pending device holds when the call does not say.
    pub refusal_for: Duration,
    /// Who leads the log of the process, if the gateway may ask him.
    pub log: Option<Arc<dyn Control>>,
    pub observer: Observer,
    pub devices: DeviceSettings,
    pub meter: Meter,
    pub readiness: Readiness,
}

/// What the calls on devices are made with.
pub struct DeviceSettings {
    pub advertised: Advertised,
    pub roots: Roots,
    pub credentials: Arc<dyn TlsCredentials>,
    /// Devices that one `…Multi` call works on at the same time.
    pub multi_in_flight_max: usize,
    pub search: config::Search,
    pub capability_numbers: config::CapabilityNumbers,
}

/// Starts to serve a gateway to who connects to `listener`.
pub fn serve(services: Services, mut settings: Settings, listener: TcpListener) -> Server {
    settings.connected = services.meter.gauge(&table::GRPC_CONNECTIONS, &[]);
    let (stopper, stop) = stop::channel();
    let routes = services.routes(settings.message_size_max, stop);
    Server::start(listener, settings, routes, stopper)
}

impl Services {
    fn routes(self, size_max: usize, stop: Stop) -> Routes {
        let Self {
            gateway,
            store,
            vault,
            callers,
            access,
            refusal_for,
            log,
            observer,
            devices,
            meter,
            readiness,
        } = self;
        let audit = Audit::new(store);
        let is_open = Arc::new(move |peer| access.is_open_to(peer));
        let guard = Guard::new(Arc::clone(&callers), is_open, audit.clone());
        let resources = Resources::new(gateway.clone());
        let in_flight_max = devices.multi_in_flight_max;
        let device = DeviceService::new(resources.clone(), devices.capability_numbers);
        let network = NetworkService::new(resources.clone(), in_flight_max);
        let slaves = SlavesService::new(resources.clone());
        let calls = devices.calls(resources);
        let connect = ConnectService::new(gateway.clone(), calls, stop.clone());
        let approvals = ApprovalsService::new(gateway.clone(), refusal_for);
        let identities = IdentitiesService::new(vault, gateway.clone());
        let fleet = FleetService::new(gateway, stop.clone());
        let access = AccessService::new(callers, audit);
        let operation = OperationService::new(log);
        let routes = Routes::new(guard)
            .counted_by(&meter)
            .observed_by(observer)
            .with(ConnectServer::new(connect).max_decoding_message_size(size_max))
            .with(DeviceServer::new(device).max_decoding_message_size(size_max))
            .with(NetworkServer::new(network).max_decoding_message_size(size_max))
            .with(Rs485Server::new(slaves.clone()).max_decoding_message_size(size_max))
            .with(WiegandServer::new(slaves).max_decoding_message_size(size_max))
            .with(AdminServer::new(AdminService).max_decoding_message_size(size_max))
            .with(FleetServer::new(fleet).max_decoding_message_size(size_max))
            .with(ApprovalsServer::new(approvals).max_decoding_message_size(size_max))
            .with(IdentitiesServer::new(identities).max_decoding_message_size(size_max))
            .with(AccessServer::new(access).max_decoding_message_size(size_max))
            .with(OperationServer::new(operation).max_decoding_message_size(size_max));
        let routes = reflection::with_reflection(routes, stop.clone());
        let health = health::server(routes.names(), readiness, stop);
        routes.with(health)
    }
}

impl DeviceSettings {
    fn calls(self, resources: Resources) -> DeviceCalls {
        let is_listening = self.advertised.tls_port.is_some();
        let (credentials, roots) = (self.credentials, self.roots);
        DeviceCalls {
            advertised: self.advertised,
            ssl: Ssl::new(resources.clone(), credentials, roots, is_listening),
            resources,
            searcher: Searcher::new(self.search),
            in_flight_max: self.multi_in_flight_max,
        }
    }
}
