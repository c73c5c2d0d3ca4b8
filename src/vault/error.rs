//! Why the vault did not do what it was asked.

use crate::device::DeviceId;
use crate::identity::Identity;
use crate::link::key_files::KeyFileError;
use crate::link::keyring::KeyringError;
use crate::registry::NotStored;
use crate::vault::SecretKind;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{identity} has a {kind} already; rotate it, or remove it first")]
    AlreadyThere {
        identity: Identity,
        kind: SecretKind,
    },
    /// `what` is a kind of secret, or both.
    #[error("{identity} has no {what} here")]
    NotThere {
        identity: Identity,
        what: &'static str,
    },
    #[error("the credential of {0} stands in the configuration; change it there")]
    Configured(Identity),
    #[error("{0} is no serial number; a link key needs one, as the device names itself by an ID")]
    NoSerial(Identity),
    #[error(
        "device {0} was given a link key by enrolment and has not used it yet; enrol it again, or remove the key first"
    )]
    Enrolling(DeviceId),
    /// What stands in files does not go together; what was active before stays so.
    #[error(transparent)]
    Material(#[from] KeyringError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("the change could not be stored: {0}")]
    NotStored(NotStored),
    #[error("the gateway is shutting down")]
    ShuttingDown,
}
