//! The Connect service: reads come from the snapshot, everything else is a command.

use tonic::{Request, Response, Status};

use crate::grpc::convert;
use crate::grpc::generation::Generation;
use crate::grpc::proto::gsdk::connect as wire;
use crate::grpc::proto::gsdk::connect::connect_server::Connect;
use crate::grpc::status::{self, StatusStream};
use crate::grpc::stop::Stop;
use crate::handle::Gateway;
use crate::registry::{Command, Reply};

/// Serves `gsdk.connect.Connect`, by both generations of its name.
pub struct ConnectService {
    gateway: Gateway,
    stop: Stop,
}

impl ConnectService {
    pub fn new(gateway: Gateway, stop: Stop) -> Self {
        Self { gateway, stop }
    }
}

#[tonic::async_trait]
impl Connect for ConnectService {
    type SubscribeStatusStream = StatusStream;

    /// When the client goes away, this future is dropped and with it the command, which cancels
    /// the dial.
    async fn connect(
        &self,
        request: Request<wire::ConnectRequest>,
    ) -> Result<Response<wire::ConnectResponse>, Status> {
        let command = convert::connect(request.into_inner().connect_info)?;
        match self.gateway.command(command).await? {
            Reply::Connected(id) => Ok(Response::new(wire::ConnectResponse {
                device_id: id.get(),
            })),
            Reply::Done => Err(Status::internal("the registry told no device")),
        }
    }

    async fn add_async_connection(
        &self,
        request: Request<wire::AddAsyncConnectionRequest>,
    ) -> Result<Response<wire::AddAsyncConnectionResponse>, Status> {
        let command = convert::add_async(&request.into_inner().connect_infos)?;
        self.gateway.command(command).await?;
        Ok(Response::new(wire::AddAsyncConnectionResponse {}))
    }

    async fn delete_async_connection(
        &self,
        request: Request<wire::DeleteAsyncConnectionRequest>,
    ) -> Result<Response<wire::DeleteAsyncConnectionResponse>, Status> {
        let ids = convert::known_ids(&request.into_inner().device_i_ds);
        self.gateway.command(Command::DeleteAsync(ids)).await?;
        Ok(Response::new(wire::DeleteAsyncConnectionResponse {}))
    }

    async fn set_accept_filter(
        &self,
        request: Request<wire::SetAcceptFilterRequest>,
    ) -> Result<Response<wire::SetAcceptFilterResponse>, Status> {
        let filter = convert::accept_filter(request.into_inner().filter)?;
        self.gateway
            .command(Command::SetAcceptFilter(filter))
            .await?;
        Ok(Response::new(wire::SetAcceptFilterResponse {}))
    }

    async fn get_accept_filter(
        &self,
        _: Request<wire::GetAcceptFilterRequest>,
    ) -> Result<Response<wire::GetAcceptFilterResponse>, Status> {
        let snapshot = self.gateway.snapshot();
        let filter = convert::accept_filter_info(&snapshot.accept_filter);
        Ok(Response::new(wire::GetAcceptFilterResponse {
            filter: Some(filter),
        }))
    }

    async fn get_pending_list(
        &self,
        _: Request<wire::GetPendingListRequest>,
    ) -> Result<Response<wire::GetPendingListResponse>, Status> {
        let snapshot = self.gateway.snapshot();
        let pending = snapshot.pending.values();
        Ok(Response::new(wire::GetPendingListResponse {
            device_infos: pending.map(|view| convert::pending_info(view)).collect(),
        }))
    }

    async fn get_device_list(
        &self,
        request: Request<wire::GetDeviceListRequest>,
    ) -> Result<Response<wire::GetDeviceListResponse>, Status> {
        let generation = generation(&request);
        let snapshot = self.gateway.snapshot();
        let devices = snapshot.devices.values();
        Ok(Response::new(wire::GetDeviceListResponse {
            device_infos: devices
                .map(|view| convert::device_info(view, generation))
                .collect(),
        }))
    }

    async fn disconnect(
        &self,
        request: Request<wire::DisconnectRequest>,
    ) -> Result<Response<wire::DisconnectResponse>, Status> {
        let ids = convert::known_ids(&request.into_inner().device_i_ds);
        self.gateway.command(Command::Disconnect(ids)).await?;
        Ok(Response::new(wire::DisconnectResponse {}))
    }

    async fn disconnect_all(
        &self,
        _: Request<wire::DisconnectAllRequest>,
    ) -> Result<Response<wire::DisconnectAllResponse>, Status> {
        self.gateway.command(Command::DisconnectAll).await?;
        Ok(Response::new(wire::DisconnectAllResponse {}))
    }

    async fn subscribe_status(
        &self,
        request: Request<wire::SubscribeStatusRequest>,
    ) -> Result<Response<StatusStream>, Status> {
        let generation = generation(&request);
        let queue_size = convert::queue_size(request.into_inner().queue_size)?;
        let subscription = self.gateway.subscribe(queue_size)?;
        Ok(Response::new(status::stream(
            subscription,
            generation,
            self.stop.clone(),
        )))
    }

    async fn search_device(
        &self,
        _: Request<wire::SearchDeviceRequest>,
    ) -> Result<Response<wire::SearchDeviceResponse>, Status> {
        not_built("SearchDevice")
    }

    async fn get_slave_device(
        &self,
        _: Request<wire::GetSlaveDeviceRequest>,
    ) -> Result<Response<wire::GetSlaveDeviceResponse>, Status> {
        not_built("GetSlaveDevice")
    }

    async fn set_slave_device(
        &self,
        _: Request<wire::SetSlaveDeviceRequest>,
    ) -> Result<Response<wire::SetSlaveDeviceResponse>, Status> {
        not_built("SetSlaveDevice")
    }

    async fn set_connection_mode(
        &self,
        _: Request<wire::SetConnectionModeRequest>,
    ) -> Result<Response<wire::SetConnectionModeResponse>, Status> {
        not_built("SetConnectionMode")
    }

    async fn set_connection_mode_multi(
        &self,
        _: Request<wire::SetConnectionModeMultiRequest>,
    ) -> Result<Response<wire::SetConnectionModeMultiResponse>, Status> {
        not_built("SetConnectionModeMulti")
    }

    async fn enable_ssl(
        &self,
        _: Request<wire::EnableSslRequest>,
    ) -> Result<Response<wire::EnableSslResponse>, Status> {
        not_built("EnableSSL")
    }

    async fn enable_ssl_multi(
        &self,
        _: Request<wire::EnableSslMultiRequest>,
    ) -> Result<Response<wire::EnableSslMultiResponse>, Status> {
        not_built("EnableSSLMulti")
    }

    async fn disable_ssl(
        &self,
        _: Request<wire::DisableSslRequest>,
    ) -> Result<Response<wire::DisableSslResponse>, Status> {
        not_built("DisableSSL")
    }

    async fn disable_ssl_multi(
        &self,
        _: Request<wire::DisableSslMultiRequest>,
    ) -> Result<Response<wire::DisableSslMultiResponse>, Status> {
        not_built("DisableSSLMulti")
    }
}

/// The generation of paths by which a request came.
fn generation<T>(request: &Request<T>) -> Generation {
    request
        .extensions()
        .get::<Generation>()
        .copied()
        .unwrap_or_default()
}

fn not_built<T>(rpc: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!(
        "{rpc} is not built yet in this version"
    )))
}
