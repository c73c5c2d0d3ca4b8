//! The Identities service.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tonic::{Request, Response, Status};

use crate::device::DeviceId;
use crate::grpc::convert::not_stored;
use crate::grpc::fleet_view;
use crate::grpc::proto::gatehouse::v1 as wire;
use crate::grpc::proto::gatehouse::v1::identities_server::Identities;
use crate::handle::Gateway;
use crate::identity::Identity;
use crate::registry::{Command, CommandError};
use crate::vault::{Devices, EnrolError, SecretKind, StoredIdentity, Vault, VaultError};

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;

/// How long an old secret holds where a request does not say: a day.
const GRACE_DEFAULT: u32 = 86_400;
/// The longest that it can hold, in seconds: 30 days.
const GRACE_MAX: u32 = 2_592_000;
/// So many devices are written to at once.
const ENROL_AT_ONCE: usize = 16;

/// The gateway, as far as this service needs it.
pub trait Fleet: Devices + 'static {
    /// Adds an ID to the accept filter.
    fn accept(&self, id: DeviceId) -> impl Future<Output = Result<(), CommandError>> + Send;
}

impl Fleet for Gateway {
    async fn accept(&self, id: DeviceId) -> Result<(), CommandError> {
        let command = Command::ChangeAcceptFilter {
            add: vec![id],
            remove: Vec::new(),
        };
        self.command(command).await.map(|_| ())
    }
}

/// Serves `gatehouse.v1.Identities`.
pub struct IdentitiesService<F> {
    vault: Vault,
    fleet: F,
}

impl<F> IdentitiesService<F> {
    pub const fn new(vault: Vault, fleet: F) -> Self {
        Self { vault, fleet }
    }
}

#[tonic::async_trait]
impl<F: Fleet> Identities for IdentitiesService<F> {
    async fn add(
        &self,
        request: Request<wire::AddIdentityRequest>,
    ) -> Result<Response<wire::AddIdentityResponse>, Status> {
        let request = request.into_inner();
        let kind = kind("kind", request.kind)?;
        let identity = identity("identity", request.identity)?;
        let accepted = if request.accept {
            Some(serial(&identity)?)
        } else {
            None
        };
        let secret = match kind {
            SecretKind::Credential => self.vault.add_credential(identity.clone()).await?,
            SecretKind::LinkKey => self.vault.add_link_key(identity.clone()).await?,
        };
        if let Some(id) = accepted
            && let Err(error) = self.fleet.accept(id).await
        {
            // Nobody will ever hear the secret.
            self.vault.remove(vec![identity], Some(kind)).await?;
            return Err(error.into());
        }
        Ok(Response::new(wire::AddIdentityResponse { secret }))
    }

    async fn list(
        &self,
        _: Request<wire::ListIdentitiesRequest>,
    ) -> Result<Response<wire::ListIdentitiesResponse>, Status> {
        let identities = self.vault.list().await.into_iter().map(view).collect();
        Ok(Response::new(wire::ListIdentitiesResponse { identities }))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveIdentitiesRequest>,
    ) -> Result<Response<wire::RemoveIdentitiesResponse>, Status> {
        let request = request.into_inner();
        let kind = match request.kind {
            0 => None,
            given => Some(kind("kind", given)?),
        };
        let named = request.identities.into_iter().enumerate();
        let identities = named
            .map(|(index, given)| identity(&format!("identities[{index}]"), Some(given)))
            .collect::<Result<_, _>>()?;
        self.vault.remove(identities, kind).await?;
        Ok(Response::new(wire::RemoveIdentitiesResponse {}))
    }

    async fn rotate(
        &self,
        request: Request<wire::RotateIdentityRequest>,
    ) -> Result<Response<wire::RotateIdentityResponse>, Status> {
        let request = request.into_inner();
        let kind = kind("kind", request.kind)?;
        let identity = identity("identity", request.identity)?;
        let grace = grace(request.grace_seconds)?;
        let secret = self.vault.rotate(identity, kind, grace).await?;
        Ok(Response::new(wire::RotateIdentityResponse { secret }))
    }

    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::EnrolResponse>, Status> {
        let mut ids = fleet_view::device_ids("device_ids", &request.into_inner().device_ids)?;
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            Vault::can_enrol(&self.fleet, *id)?;
        }
        let enrol = |id| self.vault.enrol(&self.fleet, id);
        let enrolled: Vec<_> = stream::iter(ids)
            .map(enrol)
            .buffered(ENROL_AT_ONCE)
            .collect()
            .await;
        enrolled.into_iter().collect::<Result<(), _>>()?;
        Ok(Response::new(wire::EnrolResponse {}))
    }
}

fn identity(field: &str, given: Option<wire::Identity>) -> Result<Identity, Status> {
    let given = given.ok_or_else(|| Status::invalid_argument(format!("{field} is missing")))?;
    Identity::new(&given.owner, &given.device)
        .map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

fn serial(identity: &Identity) -> Result<DeviceId, Status> {
    identity.serial().ok_or_else(|| {
        Status::invalid_argument(format!(
            "accept is set, but {identity} is no serial number; a name is given its ID when it first comes in, add that to the accept filter"
        ))
    })
}

fn kind(field: &str, given: i32) -> Result<SecretKind, Status> {
    match wire::SecretKind::try_from(given) {
        Ok(wire::SecretKind::Credential) => Ok(SecretKind::Credential),
        Ok(wire::SecretKind::LinkKey) => Ok(SecretKind::LinkKey),
        Ok(wire::SecretKind::Unspecified) | Err(_) => Err(Status::invalid_argument(format!(
            "{field} is {given}; it must be 1, a credential, or 2, a link key"
        ))),
    }
}

fn grace(seconds: u32) -> Result<Duration, Status> {
    match seconds {
        0 => Ok(Duration::from_secs(GRACE_DEFAULT.into())),
        1..=GRACE_MAX => Ok(Duration::from_secs(seconds.into())),
        _ => Err(Status::invalid_argument(format!(
            "grace_seconds is {seconds}; it must be 0, which means {GRACE_DEFAULT}, or up to {GRACE_MAX}"
        ))),
    }
}

fn view(stored: StoredIdentity) -> wire::StoredIdentity {
    let kind = match stored.kind {
        SecretKind::Credential => wire::SecretKind::Credential,
        SecretKind::LinkKey => wire::SecretKind::LinkKey,
    };
    wire::StoredIdentity {
        identity: Some(wire::Identity {
            owner: stored.identity.owner.into(),
            device: stored.identity.device.into(),
        }),
        kind: kind.into(),
        created_unix_ms: stored.created_unix_ms,
        in_file: stored.in_file,
        rotating: stored.rotating,
    }
}

impl From<VaultError> for Status {
    fn from(error: VaultError) -> Self {
        let text = error.to_string();
        match error {
            VaultError::AlreadyThere { .. } => Self::already_exists(text),
            VaultError::NotThere { .. } => Self::not_found(text),
            VaultError::NoSerial(_) => Self::invalid_argument(text),
            VaultError::Configured(_) | VaultError::Enrolling(_) | VaultError::Material(_) => {
                Self::failed_precondition(text)
            }
            VaultError::NotStored(error) => not_stored(&error, text),
            VaultError::KeyFile(error) if error.is_no_space() => Self::resource_exhausted(text),
            VaultError::KeyFile(_) | VaultError::ShuttingDown => Self::unavailable(text),
        }
    }
}

impl From<EnrolError> for Status {
    fn from(error: EnrolError) -> Self {
        let text = error.to_string();
        match error {
            EnrolError::NotConnected(_) | EnrolError::PlainLink(_) | EnrolError::Refused { .. } => {
                Self::failed_precondition(text)
            }
            EnrolError::NotAnswered { .. } => Self::unavailable(text),
            EnrolError::Vault(error) => error.into(),
        }
    }
}
