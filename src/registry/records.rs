//! What is stored beside the managed list: small records that the services keep.

use std::fmt;

pub use crate::access::tokens::StoredToken;

use crate::device::DeviceId;
use crate::identity::Identity;

/// One stored record. Two of the same [`RecordKey`] are the same record, older and newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Slaves(Slaves),
    Credential(StoredCredential),
    Refusal(Refusal),
    /// A device that is to be given a link key of its own when it next comes in.
    Enrolment(DeviceId),
    Token(StoredToken),
}

/// What names a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// By the parent device.
    Slaves(DeviceId),
    /// By the name under which the device connects.
    Credential(Identity),
    Refusal(DeviceId),
    Enrolment(DeviceId),
    /// By the token's name.
    Token(Box<str>),
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Slaves(slaves) => RecordKey::Slaves(slaves.parent),
            Self::Credential(credential) => RecordKey::Credential(credential.identity.clone()),
            Self::Refusal(refusal) => RecordKey::Refusal(refusal.device),
            Self::Enrolment(device) => RecordKey::Enrolment(*device),
            Self::Token(token) => RecordKey::Token(token.name.clone()),
        }
    }
}

/// The devices behind a parent device (`connect.SlaveDeviceInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slaves {
    pub parent: DeviceId,
    pub rs485: Vec<DeviceId>,
    pub wiegand: Vec<DeviceId>,
}

/// The credential of a device, as digests: SHA-256, which is fit for random secrets only.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// A serial number with an empty owner takes any owner.
    pub identity: Identity,
    pub digest: [u8; 32],
    /// The one before, which holds until the device has used the new one.
    pub previous: Option<PreviousDigest>,
    /// Milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// `EnableSSL` made it, so `DisableSSL` takes it away again.
    pub made_for_tls: bool,
    /// False while `EnableSSL` is not sure that the device has it: until then it proves the device
    /// and the fleet key does so too.
    pub confirmed: bool,
}

/// Neither digest is told: a digest says when a guess is right.
impl fmt::Debug for StoredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredential")
            .field("identity", &self.identity)
            .field("created_unix_ms", &self.created_unix_ms)
            .field("made_for_tls", &self.made_for_tls)
            .finish_non_exhaustive()
    }
}

/// A credential that a newer one is taking the place of.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousDigest {
    pub digest: [u8; 32],
    /// Milliseconds since the Unix epoch.
    pub holds_until_unix_ms: u64,
}

/// A pending device that somebody refused; it is kept off the pending list until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub device: DeviceId,
    pub by: Box<str>,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    pub expires_unix_ms: u64,
}

/// One entry of the audit log: a call that changes something, done or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Given by the store when it takes the entry; ascending.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Who called: `token ci`, `certificate anna`, `anonymous`, `nobody`.
    pub caller: Box<str>,
    /// From where: `192.0.2.7:49152`.
    pub peer: Box<str>,
    /// `gsdk.connect.Connect/AddAsyncConnection`.
    pub call: Box<str>,
    /// The arguments in short, without a secret.
    pub arguments: Box<str>,
    /// The name of a gRPC status code.
    pub result: Box<str>,
}
