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
    pub const ALL: [Self; 4] = [
        Self::FleetKey,
        Self::Credential,
        Self::Certificate,
        Self::DeviceKey,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FleetKey => "fleet key",
            Self::Credential => "credential",
            Self::Certificate => "certificate",
            Self::DeviceKey => "device key",
        }
    }
}

/// A certificate, by its issuer and serial number: the first 16 bytes of SHA-256 over the DER of
/// the issuer's name and the bytes of the serial number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId(pub [u8; 16]);

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate ")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stored credential: the first 8 bytes of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(pub [u8; 8]);

/// A certificate that the TLS handshake proved: it stands under the root and was not revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    pub id: CertificateId,
    /// The devices that its subject alternative names name.
    pub devices: Box<[DeviceId]>,
}

/// What exactly a proof stands on; when that is withdrawn, so is the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    LinkKey(KeyId),
    Credential(CredentialId),
    Certificate(CertificateId),
}

/// A proof that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    pub proof: Proof,
    pub basis: Basis,
}

/// What a peer showed on its link and in its Connect, not yet judged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The active key with which the aes link was made.
    pub link_key: Option<(KeyId, KeyOwner)>,
    /// The certificate that the tls link proved.
    pub certificate: Option<Arc<DeviceCertificate>>,
    /// The `credential` of the Connect, up to [`CREDENTIAL_MAX`] bytes; empty when none was given.
    pub credential: Box<[u8]>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("link_key", &self.link_key)
            .field("certificate", &self.certificate)
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
    /// The stored credential of this device that `credential` is, if it is one.
    fn matches_credential(
        &self,
        id: Option<DeviceId>,
        identity: &Identity,
        credential: &[u8],
    ) -> Option<CredentialId>;
    /// Whether a certificate was made for this ID. A revoked one counts too: its device must not
    /// come back with the fleet key.
    fn has_certificate(&self, id: DeviceId) -> bool;
    /// Whether what a session stands on is still active: it was not withdrawn or revoked.
    fn still_holds(&self, basis: Basis) -> bool;
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
) -> Option<Proven> {
    let proven = |proof, basis| Some(Proven { proof, basis });
    // A key may have been withdrawn since the link was made.
    let link_key = evidence
        .link_key
        .filter(|(key, _)| secrets.still_holds(Basis::LinkKey(*key)));
    if let (Some((key, KeyOwner::Device(owner))), Some(id)) = (link_key, id)
        && owner == id
    {
        return proven(Proof::DeviceKey, Basis::LinkKey(key));
    }
    if let (Some(certificate), Some(id)) = (&evidence.certificate, id)
        && certificate.devices.contains(&id)
        && secrets.still_holds(Basis::Certificate(certificate.id))
    {
        return proven(Proof::Certificate, Basis::Certificate(certificate.id));
    }
    if let Some(credential) = secrets.matches_credential(id, identity, &evidence.credential) {
        return proven(Proof::Credential, Basis::Credential(credential));
    }
    let has_better = secrets.has_credential(id, identity)
        || id.is_some_and(|id| secrets.has_device_key(id) || secrets.has_certificate(id));
    match link_key {
        Some((key, KeyOwner::Fleet)) if !has_better => proven(Proof::FleetKey, Basis::LinkKey(key)),
        _ => None,
    }
}

/// The secrets as they are shared between threads.
pub type SharedSecrets = Arc<dyn Secrets>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREDENTIAL: &[u8] = b"right";
    const KEY: KeyId = KeyId([9; 8]);
    const WITHDRAWN: KeyId = KeyId([8; 8]);
    const GOOD: CertificateId = CertificateId([1; 16]);
    const REVOKED: CertificateId = CertificateId([2; 16]);

    /// What is stored for the one device of the table.
    #[derive(Clone, Copy, Debug)]
    struct Stored {
        device_key: bool,
        credential: bool,
        certificate: bool,
    }

    impl Secrets for Stored {
        fn has_device_key(&self, id: DeviceId) -> bool {
            self.device_key && id == device(7)
        }

        fn has_credential(&self, _: Option<DeviceId>, _: &Identity) -> bool {
            self.credential
        }

        fn matches_credential(
            &self,
            _: Option<DeviceId>,
            _: &Identity,
            credential: &[u8],
        ) -> Option<CredentialId> {
            (self.credential && credential == CREDENTIAL).then_some(CredentialId([1; 8]))
        }

        fn has_certificate(&self, _: DeviceId) -> bool {
            self.certificate
        }

        fn still_holds(&self, basis: Basis) -> bool {
            ![Basis::Certificate(REVOKED), Basis::LinkKey(WITHDRAWN)].contains(&basis)
        }

        fn dial_keys(&self, _: Option<DeviceId>) -> Vec<KeyId> {
            Vec::new()
        }
    }

    fn device(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn certificate(id: CertificateId, named: u32) -> Option<Arc<DeviceCertificate>> {
        let devices = Box::new([device(named)]);
        Some(Arc::new(DeviceCertificate { id, devices }))
    }

    /// The proof as the rules state it, strongest first.
    fn expected(stored: Stored, known: bool, evidence: &Evidence) -> Option<Proof> {
        let shown = evidence.certificate.as_ref();
        let names = shown.is_some_and(|shown| shown.id == GOOD && *shown.devices == [device(7)]);
        let link_key = evidence.link_key.filter(|(key, _)| *key == KEY);
        match link_key.map(|(_, owner)| owner) {
            Some(KeyOwner::Device(id)) if known && id == device(7) => Some(Proof::DeviceKey),
            _ if known && names => Some(Proof::Certificate),
            _ if stored.credential && *evidence.credential == *CREDENTIAL => {
                Some(Proof::Credential)
            }
            Some(KeyOwner::Fleet)
                if !stored.credential && !(known && (stored.device_key || stored.certificate)) =>
            {
                Some(Proof::FleetKey)
            }
            _ => None,
        }
    }

    #[test]
    fn the_strongest_proof_that_holds_is_found() {
        let identity = Identity::new("", "7").unwrap();
        let link_keys = [
            None,
            Some((KEY, KeyOwner::Fleet)),
            Some((KEY, KeyOwner::Device(device(7)))),
            Some((KEY, KeyOwner::Device(device(8)))),
            Some((WITHDRAWN, KeyOwner::Fleet)),
            Some((WITHDRAWN, KeyOwner::Device(device(7)))),
        ];
        let certificates = [
            None,
            certificate(GOOD, 7),
            certificate(GOOD, 8),
            certificate(REVOKED, 7),
        ];
        let rows = (0..32).flat_map(|row| link_keys.map(|key| (row, key)));
        for (row, link_key) in rows {
            let [device_key, credential, has_certificate, known, right] =
                [1, 2, 4, 8, 16].map(|bit| row & bit != 0);
            let stored = Stored {
                device_key,
                credential,
                certificate: has_certificate,
            };
            for certificate in &certificates {
                let evidence = Evidence {
                    link_key,
                    certificate: certificate.clone(),
                    credential: if right { CREDENTIAL } else { b"wrong" }.into(),
                };
                let proven = prove(&stored, known.then(|| device(7)), &identity, &evidence);
                assert_eq!(
                    proven.map(|proven| proven.proof),
                    expected(stored, known, &evidence),
                    "{stored:?}, id known: {known}, {evidence:?}, credential right: {right}"
                );
            }
        }
    }

    #[test]
    fn no_evidence_is_no_proof() {
        let identity = Identity::new("", "7").unwrap();
        let stored = Stored {
            device_key: false,
            credential: false,
            certificate: false,
        };
        let evidence = Evidence::default();
        assert_eq!(prove(&stored, Some(device(7)), &identity, &evidence), None);
    }

    #[test]
    fn proofs_compare_by_strength() {
        assert!(Proof::FleetKey < Proof::Credential);
        assert!(Proof::Credential < Proof::Certificate);
        assert!(Proof::Certificate < Proof::DeviceKey);
    }

    #[test]
    fn a_serial_number_is_canonical_decimal() {
        let serial = |device: &str| Identity::new("", device).unwrap().serial();
        assert_eq!(serial("1"), DeviceId::new(1));
        assert_eq!(serial("4294967295"), DeviceId::new(u32::MAX));
        for name in ["0", "01", "4294967296", "-1", "1.0", "1a", "99999999999999"] {
            assert_eq!(serial(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_checked_by_length_and_character() {
        let longest = "a".repeat(NAME_MAX);
        assert!(Identity::new("", "a").is_ok());
        assert!(Identity::new(&longest, &longest).is_ok());
        for (owner, name) in [("", ""), ("", "a b"), ("ä", "a"), ("", "a/b"), ("", "a\0")] {
            assert!(Identity::new(owner, name).is_err(), "{owner:?} {name:?}");
        }
        let longer = format!("{longest}a");
        assert!(Identity::new(&longer, "a").is_err());
        assert!(Identity::new("", &longer).is_err());
    }

    #[test]
    fn debug_hides_the_credential() {
        let evidence = Evidence {
            credential: CREDENTIAL.into(),
            ..Evidence::default()
        };
        let shown = format!("{evidence:?}");
        assert!(
            shown.contains("5 bytes") && !shown.contains("right"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn every_serial_number_is_read_back(id in 1..=u32::MAX) {
            let identity = Identity::new("", &id.to_string()).unwrap();
            prop_assert_eq!(identity.serial(), DeviceId::new(id));
        }

        #[test]
        fn no_name_panics(owner: String, device: String) {
            let _ = Identity::new(&owner, &device).map(|identity| identity.serial());
        }
    }
}
