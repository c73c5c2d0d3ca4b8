//! Who a device says it is, what it shows for it, and how strong that is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::device::{ConnectionMode, DeviceId, LinkKind};

/// The longest owner or device name, in bytes.
pub const NAME_MAX: usize = 64;
/// The longest credential, in bytes.
pub const CREDENTIAL_MAX: usize = 256;

/// The name under which a device connects: a serial number, which is its ID, or any other name,
/// which is given an ID of its own when it is first admitted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The `username` of the IOTMP Connect: 0 … 64 of `A–Z a–z 0–9 . _ -`.
    pub owner: Box<str>,
    /// The `device` of the IOTMP Connect: 1 … 64 of the same.
    pub device: Box<str>,
}

/// Why a name was refused; the text names what was wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} {problem}; it is {rule} of A-Z a-z 0-9 . _ -")]
pub struct NameError {
    part: &'static str,
    problem: &'static str,
    rule: &'static str,
}

impl Identity {
    /// Checks both names.
    ///
    /// # Errors
    /// [`NameError`] when one is too long, empty where it must not be, or has another character.
    pub fn new(owner: &str, device: &str) -> Result<Self, NameError> {
        check_name("username", owner, "0 to 64")?;
        check_name("device", device, "1 to 64")?;
        if device.is_empty() {
            return Err(NameError {
                part: "device",
                problem: "is empty",
                rule: "1 to 64",
            });
        }
        Ok(Self {
            owner: owner.into(),
            device: device.into(),
        })
    }

    /// The ID that the device name states, if it is a serial number: canonical decimal, without
    /// sign or leading zero.
    pub fn serial(&self) -> Option<DeviceId> {
        let digits = self.device.as_bytes();
        let canonical = digits
            .first()
            .is_some_and(|first| (b'1'..=b'9').contains(first))
            && digits.iter().all(u8::is_ascii_digit);
        if !canonical {
            return None;
        }
        self.device.parse().ok().and_then(DeviceId::new)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.owner.is_empty() {
            f.write_str(&self.device)
        } else {
            write!(f, "{}/{}", self.owner, self.device)
        }
    }
}

fn check_name(part: &'static str, name: &str, rule: &'static str) -> Result<(), NameError> {
    let problem = if name.len() > NAME_MAX {
        "is too long"
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        "has a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(NameError {
        part,
        problem,
        rule,
    })
}

/// The first 8 bytes of SHA-256 over the 32 raw bytes of a link key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {self}")
    }
}

/// Whose an active link key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    Fleet,
    Device(DeviceId),
}

/// How a device proved that it is the one it names, weakest first, so that proofs compare by
/// strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// The aes link was made with a key of the fleet, and the ID has nothing stronger.
    FleetKey,
    /// The credential of its Connect matches the stored digest.
    Credential,
    /// A certificate under the root names this ID.
    Certificate,
    /// The aes link was made with the key of exactly this ID.
    DeviceKey,
}

impl Proof {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FleetKey => "fleet key",
            Self::Credential => "credential",
            Self::Certificate => "certificate",
            Self::DeviceKey => "device key",
        }
    }
}

/// What a peer showed on its link and in its Connect, not yet judged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The active key with which the aes link was made.
    pub link_key: Option<KeyOwner>,
    /// The `credential` of the Connect, up to [`CREDENTIAL_MAX`] bytes; empty when none was given.
    pub credential: Box<[u8]>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("link_key", &self.link_key)
            .field(
                "credential",
                &format_args!("{} bytes", self.credential.len()),
            )
            .finish()
    }
}

/// A Connect that waits for the registry's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub identity: Identity,
    pub evidence: Evidence,
    pub link: LinkKind,
    /// Who opened the TCP connection.
    pub mode: ConnectionMode,
    pub peer: SocketAddr,
    pub keep_alive: Duration,
}

/// The secrets that are active now, as the registry judges by them.
///
/// Replaced as a whole when keys or credentials change, never altered in place.
pub trait Secrets: Send + Sync {
    /// Whether this ID has a link key of its own.
    fn has_device_key(&self, id: DeviceId) -> bool;
    /// Whether a credential is stored for this device; `id` is `None` for a name without one yet.
    fn has_credential(&self, id: Option<DeviceId>, identity: &Identity) -> bool;
    /// Whether `credential` matches what is stored for this device.
    fn matches_credential(
        &self,
        id: Option<DeviceId>,
        identity: &Identity,
        credential: &[u8],
    ) -> bool;
    /// The keys to try, in this order, when the gateway dials this device; `None` for a device
    /// whose ID is not known yet.
    fn dial_keys(&self, id: Option<DeviceId>) -> Vec<KeyId>;
}

/// Judges the evidence: the strongest proof that holds for this device, or `None`.
///
/// `id` is `None` for a named device that was never admitted.
pub fn prove(
    secrets: &dyn Secrets,
    id: Option<DeviceId>,
    identity: &Identity,
    evidence: &Evidence,
) -> Option<Proof> {
    if let (Some(KeyOwner::Device(owner)), Some(id)) = (evidence.link_key, id)
        && owner == id
    {
        return Some(Proof::DeviceKey);
    }
    let has_credential = secrets.has_credential(id, identity);
    if has_credential && secrets.matches_credential(id, identity, &evidence.credential) {
        return Some(Proof::Credential);
    }
    let has_device_key = id.is_some_and(|id| secrets.has_device_key(id));
    let fleet_holds =
        evidence.link_key == Some(KeyOwner::Fleet) && !has_credential && !has_device_key;
    fleet_holds.then_some(Proof::FleetKey)
}

/// The secrets as they are shared between threads.
pub type SharedSecrets = Arc<dyn Secrets>;
