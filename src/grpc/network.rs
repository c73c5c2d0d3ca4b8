//! The Network service: how devices stand in their networks.

use tonic::{Request, Response, Status};

use crate::device::DeviceId;
use crate::grpc::convert::device_id;
use crate::grpc::generation::Generation;
use crate::grpc::ip_config::{self, NETWORK_IP};
use crate::grpc::multi;
use crate::grpc::not_served::not_served;
use crate::grpc::proto::gsdk::network as wire;
use crate::grpc::proto::gsdk::network::network_server::Network;
use crate::grpc::resource::Resources;

/// Serves `gsdk.network.Network`, by both generations of its name.
pub struct NetworkService {
    resources: Resources,
    /// Devices that one call works on at the same time.
    in_flight_max: usize,
}

impl NetworkService {
    pub const fn new(resources: Resources, in_flight_max: usize) -> Self {
        Self {
            resources,
            in_flight_max,
        }
    }

    async fn set(&self, device: DeviceId, config: &wire::IpConfig) -> Result<(), Status> {
        let input = ip_config::write(config);
        self.resources.write(device, NETWORK_IP, input).await?;
        Ok(())
    }

    async fn set_if_dhcp(&self, device: DeviceId, config: &wire::IpConfig) -> Result<(), Status> {
        let present = self.resources.read(device, NETWORK_IP).await?;
        if !present.flag("useDHCP")? {
            return Err(Status::failed_precondition(format!(
                "device {device} has a fixed address; configure it with SetIPConfig"
            )));
        }
        self.set(device, config).await
    }
}

#[tonic::async_trait]
impl Network for NetworkService {
    async fn get_ip_config(
        &self,
        request: Request<wire::GetIpConfigRequest>,
    ) -> Result<Response<wire::GetIpConfigResponse>, Status> {
        let device = device_id("deviceID", request.into_inner().device_id)?;
        let content = self.resources.read(device, NETWORK_IP).await?;
        Ok(Response::new(wire::GetIpConfigResponse {
            config: Some(ip_config::read(&content)?),
        }))
    }

    async fn set_ip_config(
        &self,
        request: Request<wire::SetIpConfigRequest>,
    ) -> Result<Response<wire::SetIpConfigResponse>, Status> {
        let request = request.into_inner();
        let device = device_id("deviceID", request.device_id)?;
        let config = given(request.config)?;
        ip_config::check(&config)?;
        self.set(device, &config).await?;
        Ok(Response::new(wire::SetIpConfigResponse {}))
    }

    async fn set_ip_config_multi(
        &self,
        request: Request<wire::SetIpConfigMultiRequest>,
    ) -> Result<Response<wire::SetIpConfigMultiResponse>, Status> {
        let generation = Generation::of(&request);
        let request = request.into_inner();
        let config = given(request.config)?;
        ip_config::check_multi(&config)?;
        let work = |device| self.set_if_dhcp(device, &config);
        multi::each(request.device_i_ds, self.in_flight_max, generation, work).await?;
        Ok(Response::new(wire::SetIpConfigMultiResponse::default()))
    }

    not_served! {
        "GetWLANConfig" get_wlan_config: wire::GetWlanConfigRequest => wire::GetWlanConfigResponse,
        "SetWLANConfig" set_wlan_config: wire::SetWlanConfigRequest => wire::SetWlanConfigResponse,
        "SetWLANConfigMulti" set_wlan_config_multi: wire::SetWlanConfigMultiRequest => wire::SetWlanConfigMultiResponse,
    }
}

fn given(config: Option<wire::IpConfig>) -> Result<wire::IpConfig, Status> {
    config.ok_or_else(|| Status::invalid_argument("config is missing"))
}
