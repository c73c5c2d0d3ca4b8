//! `gatehouse.v1.Operation`: how the gateway itself is run.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::grpc::proto::gatehouse::v1 as proto;
use crate::grpc::proto::gatehouse::v1::operation_server::Operation;
use crate::logs::Control;

/// The longest time that a level may be set for.
const LONGEST: Duration = Duration::from_hours(365 * 24);

pub struct OperationService {
    /// `None` where somebody else leads the log of the process.
    log: Option<Arc<dyn Control>>,
}

impl OperationService {
    pub const fn new(log: Option<Arc<dyn Control>>) -> Self {
        Self { log }
    }

    fn log(&self) -> Result<&dyn Control, Status> {
        let no_log = || Status::failed_precondition("the log of this process is not the gateway's");
        self.log.as_deref().ok_or_else(no_log)
    }
}

#[tonic::async_trait]
impl Operation for OperationService {
    async fn get_log_level(
        &self,
        _: Request<proto::GetLogLevelRequest>,
    ) -> Result<Response<proto::GetLogLevelResponse>, Status> {
        let log_level = Some(log_level(self.log()?));
        Ok(Response::new(proto::GetLogLevelResponse { log_level }))
    }

    async fn set_log_level(
        &self,
        request: Request<proto::SetLogLevelRequest>,
    ) -> Result<Response<proto::SetLogLevelResponse>, Status> {
        let log = self.log()?;
        let proto::SetLogLevelRequest { level, for_ms } = request.into_inner();
        let holds = (for_ms > 0).then(|| Duration::from_millis(for_ms));
        if holds.is_some_and(|holds| holds > LONGEST) {
            let text = format!("for_ms is {for_ms}; write at most {}", LONGEST.as_millis());
            return Err(Status::invalid_argument(text));
        }
        let level = (!level.is_empty()).then_some(level.as_str());
        log.set(level, holds)
            .map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let log_level = Some(log_level(log));
        Ok(Response::new(proto::SetLogLevelResponse { log_level }))
    }
}

fn log_level(log: &dyn Control) -> proto::LogLevel {
    let in_force = log.level();
    let millis = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    proto::LogLevel {
        level: in_force.level,
        configured: in_force.configured,
        // One that is about to return has not returned yet.
        returns_after_ms: in_force.returns_in.map_or(0, |left| millis(left).max(1)),
    }
}
