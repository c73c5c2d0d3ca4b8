//! `gatehouse.v1.Access`: who may call, and what was called.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::access::tokens::{NewToken, Token, TokenError};
use crate::access::{Caller, Role};
use crate::callers::audit::Audit;
use crate::callers::credentials::{Credentials, TokensError, expires_after};
use crate::grpc::convert::not_stored;
use crate::grpc::proto::gatehouse::v1 as proto;
use crate::grpc::proto::gatehouse::v1::access_server::Access;
use crate::registry::records::AuditEntry;

/// The largest page of the audit log, and the one by default.
const PAGE_MAX: u32 = 1000;

pub struct AccessService {
    credentials: Arc<Credentials>,
    audit: Audit,
}

impl AccessService {
    pub const fn new(credentials: Arc<Credentials>, audit: Audit) -> Self {
        Self { credentials, audit }
    }
}

#[tonic::async_trait]
impl Access for AccessService {
    async fn who_am_i(
        &self,
        request: Request<proto::WhoAmIRequest>,
    ) -> Result<Response<proto::WhoAmIResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(proto::WhoAmIResponse {
            name: caller.name.to_string(),
            role: role_number(caller.role),
        }))
    }

    async fn create_token(
        &self,
        request: Request<proto::CreateTokenRequest>,
    ) -> Result<Response<proto::CreateTokenResponse>, Status> {
        let created_by = caller(&request)?.name.clone();
        let request = request.into_inner();
        let new = NewToken {
            name: request.name.into(),
            role: role(request.role)?,
            expires_after: expires_after(request.expires_after_seconds),
            created_by,
        };
        let made = self.credentials.create(new, &rand::random()).await;
        let token = made.map_err(status)?.into_string();
        Ok(Response::new(proto::CreateTokenResponse { token }))
    }

    async fn list_tokens(
        &self,
        _: Request<proto::ListTokensRequest>,
    ) -> Result<Response<proto::ListTokensResponse>, Status> {
        let tokens = self.credentials.tokens().iter().map(token_info).collect();
        Ok(Response::new(proto::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<proto::RevokeTokenRequest>,
    ) -> Result<Response<proto::RevokeTokenResponse>, Status> {
        let name = request.into_inner().name;
        self.credentials.revoke(&name).await.map_err(status)?;
        Ok(Response::new(proto::RevokeTokenResponse {}))
    }

    async fn list_audit(
        &self,
        request: Request<proto::ListAuditRequest>,
    ) -> Result<Response<proto::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let size = match request.page_size {
            0 => PAGE_MAX,
            size => size.min(PAGE_MAX),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // One more tells whether there is another page.
        let entries = self.audit.read(request.after, size + 1).await;
        let mut entries = entries.map_err(Status::unavailable)?;
        let is_last = entries.len() <= size;
        entries.truncate(size);
        let newest = entries.last().map_or(0, |entry| entry.number);
        Ok(Response::new(proto::ListAuditResponse {
            next_after: if is_last { 0 } else { newest },
            entries: entries.into_iter().map(audit_entry).collect(),
        }))
    }
}

/// Whom the guard let in.
fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.ok_or_else(|| Status::internal("the call came past the guard"))
}

fn role(number: i32) -> Result<Role, Status> {
    match proto::Role::try_from(number) {
        Ok(proto::Role::Viewer) => Ok(Role::Viewer),
        Ok(proto::Role::Operator) => Ok(Role::Operator),
        Ok(proto::Role::Admin) => Ok(Role::Admin),
        Ok(proto::Role::Unspecified) | Err(_) => Err(Status::invalid_argument(format!(
            "the role is {number} instead of 1 (viewer), 2 (operator) or 3 (admin)"
        ))),
    }
}

fn role_number(role: Role) -> i32 {
    match role {
        Role::Viewer => proto::Role::Viewer,
        Role::Operator => proto::Role::Operator,
        Role::Admin => proto::Role::Admin,
    }
    .into()
}

fn status(error: TokensError) -> Status {
    let text = error.to_string();
    match error {
        TokensError::Token(TokenError::Name(_)) => Status::invalid_argument(text),
        TokensError::Token(TokenError::Taken(_)) => Status::already_exists(text),
        TokensError::Token(TokenError::Full) => Status::resource_exhausted(text),
        TokensError::Token(TokenError::NoSuchName(_)) => Status::not_found(text),
        TokensError::Token(TokenError::Unknown | TokenError::Expired) => {
            Status::unauthenticated(text)
        }
        TokensError::NotStored(error) => not_stored(&error, text),
    }
}

fn token_info(token: &Token) -> proto::TokenInfo {
    let stored = &token.stored;
    proto::TokenInfo {
        name: stored.name.to_string(),
        role: role_number(stored.role),
        created_unix_ms: stored.created_unix_ms,
        expires_unix_ms: stored.expires_unix_ms.unwrap_or(0),
        last_used_unix_ms: token.last_used_unix_ms(),
        created_by: stored.created_by.to_string(),
    }
}

fn audit_entry(entry: AuditEntry) -> proto::AuditEntry {
    proto::AuditEntry {
        number: entry.number,
        unix_ms: entry.unix_ms,
        caller: entry.caller.into(),
        peer: entry.peer.into(),
        call: entry.call.into(),
        arguments: entry.arguments.into(),
        result: entry.result.into(),
    }
}
