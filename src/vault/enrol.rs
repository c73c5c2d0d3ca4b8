//! Enrolment: a device that came in with the fleet key is given a link key of its own.

use crate::codec::pson::Value;
use crate::device::{DeviceId, LinkKind};
use crate::handle::Gateway;
use crate::identity::KeyId;
use crate::link::link_key::LinkKey;
use crate::session::machine::Request;
use crate::session::requests::{Answered, RequestError};
use crate::vault::{Vault, VaultError};

/// The resource of a device that takes its link key.
const RESOURCE: &str = "security/key";

/// The devices that are connected, as enrolment reaches them.
pub trait Devices: Send + Sync {
    /// What secures the session of a device that is connected, and so has proved itself.
    fn link(&self, id: DeviceId) -> Option<LinkKind>;

    fn ask(
        &self,
        id: DeviceId,
        request: Request,
    ) -> impl Future<Output = Result<Answered, RequestError>> + Send;
}

impl Devices for Gateway {
    fn link(&self, id: DeviceId) -> Option<LinkKind> {
        let snapshot = self.snapshot();
        let session = snapshot.devices.get(&id)?.session.as_ref()?;
        Some(session.link)
    }

    async fn ask(&self, id: DeviceId, request: Request) -> Result<Answered, RequestError> {
        Self::ask(self, id, request).await
    }
}

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("device {0} is not connected; a link key is written to a connected device")]
    NotConnected(DeviceId),
    #[error(
        "device {0} is connected over a plain link; a link key is written over aes or tls only"
    )]
    PlainLink(DeviceId),
    #[error("device {id} refused the link key{}", with(*.code))]
    Refused { id: DeviceId, code: Option<u64> },
    /// The device may have the key or not; both ways in are open.
    #[error("device {id} did not answer for the link key: {source}; enrol it again")]
    NotAnswered { id: DeviceId, source: RequestError },
    #[error(transparent)]
    Vault(#[from] VaultError),
}

fn with(code: Option<u64>) -> String {
    code.map_or_else(String::new, |code| format!(" with the code {code}"))
}

impl Vault {
    /// Whether a device can be enrolled now.
    ///
    /// # Errors
    /// [`EnrolError::NotConnected`], [`EnrolError::PlainLink`].
    pub fn can_enrol(devices: &impl Devices, id: DeviceId) -> Result<(), EnrolError> {
        match devices.link(id) {
            Some(LinkKind::Aes | LinkKind::Tls) => Ok(()),
            Some(LinkKind::Plain) => Err(EnrolError::PlainLink(id)),
            None => Err(EnrolError::NotConnected(id)),
        }
    }

    /// Writes a link key to a connected device. The key is on disk, beside what opens the device
    /// now, before the device hears of it, so that it can come in whatever happens between.
    ///
    /// - The device answers Ok: it uses the key from its next link on, and the fleet key opens its
    ///   ID no longer, from now on and not from its next link on: until then whoever has the fleet
    ///   key could come in its place. A device that says Ok and forgets the key is shut out;
    ///   removing its key lets it in again. Where it had a key of its own already, that one holds
    ///   until the first use of the new one, as in a rotation: nobody else has it, and the session
    ///   that is up may stand on it.
    /// - It answers Error: the key goes, everything is as before.
    /// - No answer comes: the device may have the key. Both ways in stay open, its first use ends
    ///   the other, and the next enrolment offers the same key.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn enrol(&self, devices: &impl Devices, id: DeviceId) -> Result<(), EnrolError> {
        Self::can_enrol(devices, id)?;
        let (key, is_fresh) = self.offer_key(id).await?;
        let key_id = key.id();
        match devices.ask(id, write(&key)).await {
            Ok(Answered::Ok(_)) if self.has_key(id).await => Ok(()),
            Ok(Answered::Ok(_)) => Ok(self.accept(id, key_id).await?),
            Ok(Answered::Error(answer)) => {
                if is_fresh {
                    self.retract(id, key_id).await?;
                }
                let code = answer.parameters.as_ref().and_then(Value::as_unsigned);
                Err(EnrolError::Refused { id, code })
            }
            Err(source) => {
                if is_fresh && was_not_sent(&source) {
                    self.retract(id, key_id).await?;
                }
                Err(EnrolError::NotAnswered { id, source })
            }
        }
    }

    async fn accept(&self, id: DeviceId, key: KeyId) -> Result<(), VaultError> {
        self.change(move |ledger| Ok(ledger.accept_key(id, key)))
            .await
    }

    async fn retract(&self, id: DeviceId, key: KeyId) -> Result<(), VaultError> {
        self.change(move |ledger| Ok(ledger.retract_key(id, key)))
            .await
    }
}

fn write(key: &LinkKey) -> Request {
    let key = Value::Bytes(key.as_bytes().to_vec());
    Request::Run {
        resource: RESOURCE.to_owned(),
        payload: Some(Value::map([("key", key)])),
    }
}

/// A session that ended may have sent the request before.
const fn was_not_sent(error: &RequestError) -> bool {
    match error {
        RequestError::TooMany { .. }
        | RequestError::TooManyBytes { .. }
        | RequestError::TooLarge { .. }
        | RequestError::NotSecured
        | RequestError::UnknownResource
        | RequestError::IsAction
        | RequestError::NotStreamed => true,
        RequestError::NotConnected | RequestError::TimedOut | RequestError::SessionEnded(_) => {
            false
        }
    }
}
