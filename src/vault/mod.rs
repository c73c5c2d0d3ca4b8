//! The vault: the secrets that devices prove themselves by, while the gateway runs.
//!
//! [`ledger`] decides, [`Vault`] carries out: what a change needs goes to the key files and to the
//! store first, and counts once it is there. Then a new [`Keyring`](crate::link::keyring::Keyring)
//! takes the place of the old one, for the handshakes at once and for the registry through a
//! closure, so that it ends the sessions whose proof was taken away.

mod carry_out;
mod enrol;
mod error;
pub mod key_store;
pub mod ledger;
mod live;
mod shell;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod watch;

pub use self::enrol::{Devices, EnrolError};
pub use self::error::VaultError;
pub use self::live::LiveSecrets;
pub use self::shell::{Commit, OnChange, Surroundings, Vault};

use std::fmt;

use crate::identity::Identity;

/// What kind of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretKind {
    /// The `credential` of the IOTMP Connect.
    Credential,
    /// The key of the aes link.
    LinkKey,
}

impl SecretKind {
    pub const ALL: [Self; 2] = [Self::Credential, Self::LinkKey];
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credential => "credential",
            Self::LinkKey => "link key",
        })
    }
}

/// One proof of one device, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredIdentity {
    /// A link key is of a serial number, and of whatever owner the device names.
    pub identity: Identity,
    pub kind: SecretKind,
    /// Milliseconds since the Unix epoch; 0 where that is not known.
    pub created_unix_ms: u64,
    /// It stands in the configuration and is changed there.
    pub in_file: bool,
    /// A newer secret was made and the device has not used it yet.
    pub rotating: bool,
}
