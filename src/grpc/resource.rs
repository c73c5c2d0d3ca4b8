//! Asks devices for what their resources hold, and writes to them.

use crate::codec::message::Answer;
use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::grpc::content::{Content, ResourceError};
use crate::handle::Gateway;
use crate::session::machine::Request;
use crate::session::requests::Answered;

/// The resources of connected devices. Cheap to clone.
#[derive(Clone)]
pub struct Resources {
    gateway: Gateway,
}

impl Resources {
    pub const fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What the resource holds.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn read(
        &self,
        device: DeviceId,
        resource: &'static str,
    ) -> Result<Content, ResourceError> {
        self.run(device, resource, None).await
    }

    /// Writes, and answers with what the resource holds then.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn write(
        &self,
        device: DeviceId,
        resource: &'static str,
        input: Value,
    ) -> Result<Content, ResourceError> {
        self.run(device, resource, Some(input)).await
    }

    /// The names of all resources of a device, each with what the device says of it.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub async fn describe(&self, device: DeviceId) -> Result<Option<Value>, ResourceError> {
        let request = Request::Describe { resource: None };
        let answer = self.ask(device, "a Describe", request).await?;
        Ok(answer.payload)
    }

    async fn run(
        &self,
        device: DeviceId,
        resource: &'static str,
        payload: Option<Value>,
    ) -> Result<Content, ResourceError> {
        let request = Request::Run {
            resource: resource.to_owned(),
            payload,
        };
        let answer = self.ask(device, resource, request).await?;
        Ok(Content {
            device,
            resource,
            value: answer.payload,
        })
    }

    async fn ask(
        &self,
        device: DeviceId,
        resource: &'static str,
        request: Request,
    ) -> Result<Answer, ResourceError> {
        match self.gateway.ask(device, request).await {
            Ok(Answered::Ok(answer)) => Ok(answer),
            Ok(Answered::Error(answer)) => Err(ResourceError::refused(device, resource, &answer)),
            Err(error) => Err(ResourceError::unanswered(device, resource, error)),
        }
    }
}
