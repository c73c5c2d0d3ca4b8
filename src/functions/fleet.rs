//! What is asked of the fleet here: of the gateway, or of a stand-in for it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::device::DeviceId;
use crate::handle::Gateway;
use crate::identity::Identity;
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};

pub(super) trait Fleet: Send + Sync {
    /// The owner and name of a listed device that was ever admitted.
    fn identity(&self, device: DeviceId) -> Option<Identity>;

    /// The listed device of this owner and name.
    fn find(&self, identity: &Identity) -> Option<DeviceId>;

    fn ask(
        &self,
        device: DeviceId,
        request: Request,
    ) -> BoxFuture<'static, Result<Answered, RequestError>>;
}

impl Fleet for Gateway {
    fn identity(&self, device: DeviceId) -> Option<Identity> {
        self.snapshot().devices.get(&device)?.identity.clone()
    }

    fn find(&self, identity: &Identity) -> Option<DeviceId> {
        self.snapshot().find(identity).map(|view| view.id)
    }

    fn ask(
        &self,
        device: DeviceId,
        request: Request,
    ) -> BoxFuture<'static, Result<Answered, RequestError>> {
        let gateway = self.clone();
        async move { gateway.ask(device, request).await }.boxed()
    }
}
