//! The Admin service: what this gateway is.

use tonic::{Request, Response, Status};

use crate::grpc::proto::gsdk::admin::admin_server::Admin;
use crate::grpc::proto::gsdk::admin::{GetInfoRequest, GetInfoResponse};

/// Serves `gsdk.admin.Admin`.
pub struct AdminService;

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_info(
        &self,
        _: Request<GetInfoRequest>,
    ) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // Whoever packages it may set this; a date of our own would make no two builds alike.
            build_date: option_env!("GATEHOUSE_BUILD_DATE")
                .unwrap_or_default()
                .to_owned(),
        }))
    }
}
