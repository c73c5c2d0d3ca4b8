//! The gRPC services.

pub mod connect;
pub mod connection;
pub mod convert;
pub mod fleet;
pub mod fleet_view;
pub mod generation;
pub mod identities;
pub mod routes;
pub mod server;
pub mod status;
pub mod stop;
#[cfg(test)]
mod testing;
pub mod watch;

/// The messages and services of the contracts in `proto/`, nested as their packages are.
pub mod proto {
    pub mod gsdk {
        pub mod connect {
            tonic::include_proto!("gsdk.connect");
        }
        pub mod device {
            tonic::include_proto!("gsdk.device");
        }
        pub mod err {
            tonic::include_proto!("gsdk.err");
        }
    }
    pub mod gatehouse {
        pub mod v1 {
            tonic::include_proto!("gatehouse.v1");
        }
    }
}

use tokio::net::TcpListener;

use crate::grpc::connect::ConnectService;
use crate::grpc::fleet::FleetService;
use crate::grpc::proto::gatehouse::v1::fleet_server::FleetServer;
use crate::grpc::proto::gsdk::connect::connect_server::ConnectServer;
use crate::grpc::routes::Routes;
use crate::grpc::server::{Server, Settings};
use crate::handle::Gateway;

/// Starts to serve a gateway to who connects to `listener`.
pub fn serve(gateway: Gateway, settings: Settings, listener: TcpListener) -> Server {
    let (stopper, stop) = stop::channel();
    let connect = ConnectServer::new(ConnectService::new(gateway.clone(), stop.clone()))
        .max_decoding_message_size(settings.message_size_max);
    let fleet = FleetServer::new(FleetService::new(gateway, stop))
        .max_decoding_message_size(settings.message_size_max);
    let routes = Routes::default().with(connect).with(fleet);
    Server::start(listener, settings, routes, stopper)
}
