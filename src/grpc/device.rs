//! The Device service: what devices tell of themselves.

use tonic::{Request, Response, Status};

use crate::config::CapabilityNumbers;
use crate::grpc::capability::{self, GetCapabilityInfoResponse};
use crate::grpc::content::ResourceError;
use crate::grpc::convert::device_id;
use crate::grpc::generation::Generation;
use crate::grpc::not_served::not_served;
use crate::grpc::proto::gsdk::device as wire;
use crate::grpc::proto::gsdk::device::device_server::Device;
use crate::grpc::resource::Resources;

const DEVICE_INFO: &str = "device/info";

/// Serves `gsdk.device.Device`, by both generations of its name.
pub struct DeviceService {
    resources: Resources,
    /// Which numbers capabilities have on prefixed paths.
    numbers: CapabilityNumbers,
}

impl DeviceService {
    pub const fn new(resources: Resources, numbers: CapabilityNumbers) -> Self {
        Self { resources, numbers }
    }
}

#[tonic::async_trait]
impl Device for DeviceService {
    async fn get_info(
        &self,
        request: Request<wire::GetInfoRequest>,
    ) -> Result<Response<wire::GetInfoResponse>, Status> {
        let device = device_id("deviceID", request.into_inner().device_id)?;
        let content = self.resources.read(device, DEVICE_INFO).await?;
        let info = wire::FactoryInfo {
            mac_addr: content.text("MACAddr")?,
            model_name: content.text("modelName")?,
            firmware_version: content.text("firmwareVersion")?,
            kernel_version: content.text("kernelVersion")?,
            bs_core_version: content.text("BSCoreVersion")?,
            board_version: content.text("boardVersion")?,
        };
        Ok(Response::new(wire::GetInfoResponse { info: Some(info) }))
    }

    async fn get_capability_info(
        &self,
        request: Request<wire::GetCapabilityInfoRequest>,
    ) -> Result<Response<GetCapabilityInfoResponse>, Status> {
        let generation = Generation::of(&request);
        let device = device_id("deviceID", request.into_inner().device_id)?;
        let device_type = self
            .resources
            .read(device, DEVICE_INFO)
            .await?
            .number("type")?;
        let resources = match self.resources.describe(device).await {
            // Not every device can describe itself; what it can do is not known then.
            Err(ResourceError::Refused { .. }) => None,
            resources => resources?,
        };
        let info = capability::of(device_type, resources.as_ref());
        Ok(Response::new(GetCapabilityInfoResponse::numbered(
            info,
            generation,
            self.numbers,
        )))
    }

    not_served! {
        "GetCapability" get_capability: wire::GetCapabilityRequest => wire::GetCapabilityResponse,
        "DeleteRootCA" delete_root_ca: wire::DeleteRootCaRequest => wire::DeleteRootCaResponse,
        "Lock" lock: wire::LockRequest => wire::LockResponse,
        "LockMulti" lock_multi: wire::LockMultiRequest => wire::LockMultiResponse,
        "Unlock" unlock: wire::UnlockRequest => wire::UnlockResponse,
        "UnlockMulti" unlock_multi: wire::UnlockMultiRequest => wire::UnlockMultiResponse,
        "Reboot" reboot: wire::RebootRequest => wire::RebootResponse,
        "RebootMulti" reboot_multi: wire::RebootMultiRequest => wire::RebootMultiResponse,
        "FactoryReset" factory_reset: wire::FactoryResetRequest => wire::FactoryResetResponse,
        "FactoryResetMulti" factory_reset_multi: wire::FactoryResetMultiRequest => wire::FactoryResetMultiResponse,
        "ClearDB" clear_db: wire::ClearDbRequest => wire::ClearDbResponse,
        "ClearDBMulti" clear_db_multi: wire::ClearDbMultiRequest => wire::ClearDbMultiResponse,
        "ResetConfig" reset_config: wire::ResetConfigRequest => wire::ResetConfigResponse,
        "ResetConfigMulti" reset_config_multi: wire::ResetConfigMultiRequest => wire::ResetConfigMultiResponse,
        "UpgradeFirmware" upgrade_firmware: wire::UpgradeFirmwareRequest => wire::UpgradeFirmwareResponse,
        "UpgradeFirmwareMulti" upgrade_firmware_multi: wire::UpgradeFirmwareMultiRequest => wire::UpgradeFirmwareMultiResponse,
        "GetHashKey" get_hash_key: wire::GetHashKeyRequest => wire::GetHashKeyResponse,
        "SetHashKey" set_hash_key: wire::SetHashKeyRequest => wire::SetHashKeyResponse,
    }
}
