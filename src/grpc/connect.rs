//! The Connect service: reads come from the snapshot, everything else is a command.

use std::future::Future;

use tonic::{Request, Response, Status};

use crate::device::DeviceId;
use crate::grpc::connection_mode::{self, Advertised};
use crate::grpc::convert;
use crate::grpc::generation::Generation;
use crate::grpc::multi;
use crate::grpc::proto::gsdk::connect as wire;
use crate::grpc::proto::gsdk::connect::connect_server::Connect;
use crate::grpc::resource::Resources;
use crate::grpc::ssl::Ssl;
use crate::grpc::status::{self, StatusStream};
use crate::grpc::stop::Stop;
use crate::handle::Gateway;
use crate::registry::{Command, Reply};
use crate::search::udp::Searcher;

/// Serves `gsdk.connect.Connect`, by both generations of its name.
pub struct ConnectService {
    gateway: Gateway,
    calls: DeviceCalls,
    stop: Stop,
}

/// What the calls on devices and on the subnet need beside the gateway.
pub struct DeviceCalls {
    pub resources: Resources,
    pub advertised: Advertised,
    pub ssl: Ssl,
    pub searcher: Searcher,
    /// Devices that one call works on at the same time.
    pub in_flight_max: usize,
}

impl DeviceCalls {
    async fn set_mode(&self, device: DeviceId, mode: wire::ConnectionMode) -> Result<(), Status> {
        connection_mode::set(&self.resources, &self.advertised, device, mode).await
    }

    async fn each<W, F>(&self, ids: Vec<u32>, generation: Generation, work: W) -> Result<(), Status>
    where
        W: Fn(DeviceId) -> F,
        F: Future<Output = Result<(), Status>>,
    {
        multi::each(ids, self.in_flight_max, generation, work).await
    }
}

impl ConnectService {
    pub const fn new(gateway: Gateway, calls: DeviceCalls, stop: Stop) -> Self {
        Self {
            gateway,
            calls,
            stop,
        }
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
        let generation = Generation::of(&request);
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
        let generation = Generation::of(&request);
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
        request: Request<wire::SearchDeviceRequest>,
    ) -> Result<Response<wire::SearchDeviceResponse>, Status> {
        let time = convert::search_time(request.into_inner().timeout)?;
        let found = self.calls.searcher.search(time).await?;
        if found.is_empty() {
            return Err(Status::not_found("No device found in the subnet"));
        }
        Ok(Response::new(wire::SearchDeviceResponse {
            device_infos: found.into_iter().map(convert::search_info).collect(),
        }))
    }

    async fn get_slave_device(
        &self,
        _: Request<wire::GetSlaveDeviceRequest>,
    ) -> Result<Response<wire::GetSlaveDeviceResponse>, Status> {
        let snapshot = self.gateway.snapshot();
        Ok(Response::new(wire::GetSlaveDeviceResponse {
            slave_device_infos: snapshot.slaves.iter().map(convert::slave_info).collect(),
        }))
    }

    async fn set_slave_device(
        &self,
        request: Request<wire::SetSlaveDeviceRequest>,
    ) -> Result<Response<wire::SetSlaveDeviceResponse>, Status> {
        let command = convert::set_slaves(&request.into_inner().slave_device_infos)?;
        self.gateway.command(command).await?;
        Ok(Response::new(wire::SetSlaveDeviceResponse {}))
    }

    async fn set_connection_mode(
        &self,
        request: Request<wire::SetConnectionModeRequest>,
    ) -> Result<Response<wire::SetConnectionModeResponse>, Status> {
        let request = request.into_inner();
        let mode = connection_mode::asked(request.connection_mode)?;
        let device = convert::device_id("deviceID", request.device_id)?;
        self.calls.set_mode(device, mode).await?;
        Ok(Response::new(wire::SetConnectionModeResponse {}))
    }

    async fn set_connection_mode_multi(
        &self,
        request: Request<wire::SetConnectionModeMultiRequest>,
    ) -> Result<Response<wire::SetConnectionModeMultiResponse>, Status> {
        let generation = Generation::of(&request);
        let request = request.into_inner();
        let mode = connection_mode::asked(request.connection_mode)?;
        let work = |device| self.calls.set_mode(device, mode);
        self.calls
            .each(request.device_i_ds, generation, work)
            .await?;
        Ok(Response::new(
            wire::SetConnectionModeMultiResponse::default(),
        ))
    }

    async fn enable_ssl(
        &self,
        request: Request<wire::EnableSslRequest>,
    ) -> Result<Response<wire::EnableSslResponse>, Status> {
        let device = convert::device_id("deviceID", request.into_inner().device_id)?;
        self.calls.ssl.enable(device).await?;
        Ok(Response::new(wire::EnableSslResponse {}))
    }

    async fn enable_ssl_multi(
        &self,
        request: Request<wire::EnableSslMultiRequest>,
    ) -> Result<Response<wire::EnableSslMultiResponse>, Status> {
        let generation = Generation::of(&request);
        let ids = request.into_inner().device_i_ds;
        let work = |device| self.calls.ssl.enable(device);
        self.calls.each(ids, generation, work).await?;
        Ok(Response::new(wire::EnableSslMultiResponse::default()))
    }

    async fn disable_ssl(
        &self,
        request: Request<wire::DisableSslRequest>,
    ) -> Result<Response<wire::DisableSslResponse>, Status> {
        let device = convert::device_id("deviceID", request.into_inner().device_id)?;
        self.calls.ssl.disable(device).await?;
        Ok(Response::new(wire::DisableSslResponse {}))
    }

    async fn disable_ssl_multi(
        &self,
        request: Request<wire::DisableSslMultiRequest>,
    ) -> Result<Response<wire::DisableSslMultiResponse>, Status> {
        let generation = Generation::of(&request);
        let ids = request.into_inner().device_i_ds;
        let work = |device| self.calls.ssl.disable(device);
        self.calls.each(ids, generation, work).await?;
        Ok(Response::new(wire::DisableSslMultiResponse::default()))
    }
}
