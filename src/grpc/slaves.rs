//! The devices behind a device, on RS-485 and on Wiegand: the resource `slaves`, which holds a list
//! of IDs for each of the two.

use tonic::{Request, Response, Status};

use crate::codec::pson::Value;
use crate::grpc::convert::{device_id, slave_ids};
use crate::grpc::not_served::not_served;
use crate::grpc::proto::gsdk::rs485::rs485_server::Rs485;
use crate::grpc::proto::gsdk::wiegand::wiegand_server::Wiegand;
use crate::grpc::proto::gsdk::{rs485, wiegand};
use crate::grpc::resource::Resources;

const SLAVES: &str = "slaves";
const RS485: &str = "rs485";
const WIEGAND: &str = "wiegand";

/// Serves `gsdk.rs485.RS485` and `gsdk.wiegand.Wiegand`. Cheap to clone.
#[derive(Clone)]
pub struct SlavesService {
    resources: Resources,
}

impl SlavesService {
    pub const fn new(resources: Resources) -> Self {
        Self { resources }
    }

    async fn read(&self, field: &str, parent: u32, bus: &str) -> Result<Vec<u32>, Status> {
        let parent = device_id(field, parent)?;
        let content = self.resources.read(parent, SLAVES).await?;
        Ok(content.ids(bus)?)
    }

    /// Writes the list of one bus; that of the other stays.
    async fn write(
        &self,
        field: &str,
        parent: u32,
        bus: &str,
        ids: Vec<u32>,
    ) -> Result<(), Status> {
        let parent = device_id(field, parent)?;
        let ids = ids.into_iter().map(Value::from).collect();
        let input = Value::map([(bus, Value::Array(ids))]);
        self.resources.write(parent, SLAVES, input).await?;
        Ok(())
    }

    async fn rs485_infos(&self, parent: u32) -> Result<Vec<rs485::SlaveDeviceInfo>, Status> {
        let ids = self.read("deviceID", parent, RS485).await?;
        let info = |device_id| rs485::SlaveDeviceInfo {
            device_id,
            enabled: true,
            parent_id: parent,
            ..rs485::SlaveDeviceInfo::default()
        };
        Ok(ids.into_iter().map(info).collect())
    }
}

#[tonic::async_trait]
impl Rs485 for SlavesService {
    async fn search_device(
        &self,
        request: Request<rs485::SearchDeviceRequest>,
    ) -> Result<Response<rs485::SearchDeviceResponse>, Status> {
        let slave_infos = self.rs485_infos(request.into_inner().device_id).await?;
        Ok(Response::new(rs485::SearchDeviceResponse { slave_infos }))
    }

    async fn get_device(
        &self,
        request: Request<rs485::GetDeviceRequest>,
    ) -> Result<Response<rs485::GetDeviceResponse>, Status> {
        let slave_infos = self.rs485_infos(request.into_inner().device_id).await?;
        Ok(Response::new(rs485::GetDeviceResponse { slave_infos }))
    }

    async fn set_device(
        &self,
        request: Request<rs485::SetDeviceRequest>,
    ) -> Result<Response<rs485::SetDeviceResponse>, Status> {
        let request = request.into_inner();
        let ids = request.slave_infos.iter().map(|info| info.device_id);
        let ids = slave_ids("slaveInfos", ids)?;
        self.write("deviceID", request.device_id, RS485, ids)
            .await?;
        Ok(Response::new(rs485::SetDeviceResponse {}))
    }

    not_served! {
        "GetConfig" get_config: rs485::GetConfigRequest => rs485::GetConfigResponse,
        "SetConfig" set_config: rs485::SetConfigRequest => rs485::SetConfigResponse,
        "SetConfigMulti" set_config_multi: rs485::SetConfigMultiRequest => rs485::SetConfigMultiResponse,
    }
}

#[tonic::async_trait]
impl Wiegand for SlavesService {
    async fn search_device(
        &self,
        request: Request<wiegand::SearchDeviceRequest>,
    ) -> Result<Response<wiegand::SearchDeviceResponse>, Status> {
        let parent = request.into_inner().parent_device_id;
        let wiegand_device_i_ds = self.read("parentDeviceID", parent, WIEGAND).await?;
        Ok(Response::new(wiegand::SearchDeviceResponse {
            wiegand_device_i_ds,
        }))
    }

    async fn get_device(
        &self,
        request: Request<wiegand::GetDeviceRequest>,
    ) -> Result<Response<wiegand::GetDeviceResponse>, Status> {
        let parent = request.into_inner().parent_device_id;
        let ids = self.read("parentDeviceID", parent, WIEGAND).await?;
        let info = |device_id| wiegand::WiegandDeviceInfo {
            device_id,
            ..wiegand::WiegandDeviceInfo::default()
        };
        Ok(Response::new(wiegand::GetDeviceResponse {
            device_infos: ids.into_iter().map(info).collect(),
        }))
    }

    async fn set_device(
        &self,
        request: Request<wiegand::SetDeviceRequest>,
    ) -> Result<Response<wiegand::SetDeviceResponse>, Status> {
        let request = request.into_inner();
        if let Some(index) = request.device_infos.iter().position(has_wires) {
            return Err(Status::unimplemented(format!(
                "deviceInfos[{index}] has inputs or outputs, which cannot be set; leave them out"
            )));
        }
        let ids = request.device_infos.iter().map(|info| info.device_id);
        let ids = slave_ids("deviceInfos", ids)?;
        let parent = request.parent_device_id;
        self.write("parentDeviceID", parent, WIEGAND, ids).await?;
        Ok(Response::new(wiegand::SetDeviceResponse {}))
    }

    not_served! {
        "GetConfig" get_config: wiegand::GetConfigRequest => wiegand::GetConfigResponse,
        "SetConfig" set_config: wiegand::SetConfigRequest => wiegand::SetConfigResponse,
        "SetConfigMulti" set_config_multi: wiegand::SetConfigMultiRequest => wiegand::SetConfigMultiResponse,
    }
}

const fn has_wires(info: &wiegand::WiegandDeviceInfo) -> bool {
    info.tamper_input.is_some()
        || info.red_led_output.is_some()
        || info.green_led_output.is_some()
        || info.buzzer_output.is_some()
}
