//! The gRPC services.

pub mod admin;
pub mod approvals;
pub mod approvals_view;
pub mod capability;
pub mod connect;
pub mod connection;
pub mod connection_mode;
pub mod content;
pub mod contracts;
pub mod convert;
pub mod device;
pub mod fleet;
pub mod fleet_view;
pub mod generation;
pub mod identities;
pub mod ip_config;
pub mod multi;
pub mod network;
mod not_served;
pub mod resource;
pub mod routes;
pub mod server;
pub mod slaves;
pub mod ssl;
pub mod status;
pub mod stop;
#[cfg(test)]
mod testing;
pub mod watch;

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

use crate::config;
use crate::grpc::admin::AdminService;
use crate::grpc::approvals::ApprovalsService;
use crate::grpc::connect::{ConnectService, DeviceCalls};
use crate::grpc::connection_mode::Advertised;
use crate::grpc::device::DeviceService;
use crate::grpc::fleet::FleetService;
use crate::grpc::network::NetworkService;
use crate::grpc::proto::gatehouse::v1::approvals_server::ApprovalsServer;
use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
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
use crate::handle::Gateway;
use crate::search::udp::Searcher;

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
pub fn serve(
    gateway: Gateway,
    settings: Settings,
    devices: DeviceSettings,
    refusal_for: Duration,
    listener: TcpListener,
) -> Server {
    let (stopper, stop) = stop::channel();
    let size_max = settings.message_size_max;
    let resources = Resources::new(gateway.clone());
    let in_flight_max = devices.multi_in_flight_max;
    let device = DeviceService::new(resources.clone(), devices.capability_numbers);
    let network = NetworkService::new(resources.clone(), in_flight_max);
    let slaves = SlavesService::new(resources.clone());
    let is_listening = devices.advertised.tls_port.is_some();
    let calls = DeviceCalls {
        advertised: devices.advertised,
        ssl: Ssl::new(
            resources.clone(),
            devices.credentials,
            devices.roots,
            is_listening,
        ),
        resources,
        searcher: Searcher::new(devices.search),
        in_flight_max,
    };
    let connect = ConnectService::new(gateway.clone(), calls, stop.clone());
    let approvals = ApprovalsService::new(gateway.clone(), refusal_for);
    let fleet = FleetService::new(gateway, stop);
    let routes = Routes::default()
        .with(ConnectServer::new(connect).max_decoding_message_size(size_max))
        .with(DeviceServer::new(device).max_decoding_message_size(size_max))
        .with(NetworkServer::new(network).max_decoding_message_size(size_max))
        .with(Rs485Server::new(slaves.clone()).max_decoding_message_size(size_max))
        .with(WiegandServer::new(slaves).max_decoding_message_size(size_max))
        .with(AdminServer::new(AdminService).max_decoding_message_size(size_max))
        .with(ApprovalsServer::new(approvals).max_decoding_message_size(size_max))
        .with(FleetServer::new(fleet).max_decoding_message_size(size_max));
    Server::start(listener, settings, routes, stopper)
}
