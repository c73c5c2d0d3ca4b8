//! The Approvals service.

use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::access::Caller;
use crate::clock;
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::grpc::proto::gatehouse::v1::approvals_server::Approvals;
use crate::grpc::{approvals_view, fleet_view};
use crate::handle::Gateway;
use crate::registry::Command;

/// Who is named when the authentication layer found nobody.
const NOBODY: &str = "anonymous";

/// Serves `gatehouse.v1.Approvals`.
pub struct ApprovalsService {
    gateway: Gateway,
    refusal_for: Duration,
}

impl ApprovalsService {
    /// A refusal that does not say how long it holds does so for `refusal_for`.
    pub fn new(gateway: Gateway, refusal_for: Duration) -> Self {
        Self {
            gateway,
            refusal_for,
        }
    }
}

#[tonic::async_trait]
impl Approvals for ApprovalsService {
    async fn list_pending(
        &self,
        _: Request<wire::ListPendingRequest>,
    ) -> Result<Response<wire::ListPendingResponse>, Status> {
        let pending = approvals_view::pending(&self.gateway.snapshot());
        Ok(Response::new(pending))
    }

    async fn list_unproven(
        &self,
        _: Request<wire::ListUnprovenRequest>,
    ) -> Result<Response<wire::ListUnprovenResponse>, Status> {
        let unproven = approvals_view::unproven(&self.gateway.snapshot());
        Ok(Response::new(unproven))
    }

    async fn list_refused(
        &self,
        _: Request<wire::ListRefusedRequest>,
    ) -> Result<Response<wire::ListRefusedResponse>, Status> {
        let now = clock::now().unix_ms;
        let refused = approvals_view::refused(&self.gateway.snapshot(), now);
        Ok(Response::new(refused))
    }

    async fn approve(
        &self,
        request: Request<wire::ApproveRequest>,
    ) -> Result<Response<wire::ApproveResponse>, Status> {
        let by = decided_by(&request);
        let request = request.into_inner();
        let command = Command::Approve {
            ids: fleet_view::device_ids("device_ids", &request.device_ids)?,
            enrol: request.enrol,
            by,
        };
        self.gateway.command(command).await?;
        Ok(Response::new(wire::ApproveResponse {}))
    }

    async fn refuse(
        &self,
        request: Request<wire::RefuseRequest>,
    ) -> Result<Response<wire::RefuseResponse>, Status> {
        let by = decided_by(&request);
        let request = request.into_inner();
        let holds = match request.for_seconds {
            0 => self.refusal_for,
            seconds => Duration::from_secs(seconds),
        };
        let holds = u64::try_from(holds.as_millis()).unwrap_or(u64::MAX);
        let command = Command::Refuse {
            ids: fleet_view::device_ids("device_ids", &request.device_ids)?,
            until_unix_ms: clock::now().unix_ms.saturating_add(holds),
            by,
        };
        self.gateway.command(command).await?;
        Ok(Response::new(wire::RefuseResponse {}))
    }

    async fn change_accept_filter(
        &self,
        request: Request<wire::ChangeAcceptFilterRequest>,
    ) -> Result<Response<wire::ChangeAcceptFilterResponse>, Status> {
        let request = request.into_inner();
        let command = Command::ChangeAcceptFilter {
            add: fleet_view::device_ids("add_device_ids", &request.add_device_ids)?,
            remove: fleet_view::device_ids("remove_device_ids", &request.remove_device_ids)?,
        };
        self.gateway.command(command).await?;
        Ok(Response::new(wire::ChangeAcceptFilterResponse {}))
    }
}

fn decided_by<T>(request: &Request<T>) -> Box<str> {
    let caller = request.extensions().get::<Caller>();
    caller.map_or_else(|| NOBODY.into(), |caller| caller.name.clone())
}
