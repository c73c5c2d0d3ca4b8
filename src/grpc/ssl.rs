//! `EnableSSL` and `DisableSSL`: which link a device speaks from its next connection on.
//!
//! The tls link proves nothing by itself, so a device that has neither a credential nor a
//! certificate is given a credential along with the root.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use tonic::Status;

use crate::codec::pson::Value;
use crate::device::{ConnectionMode, DeviceId, LinkKind};
use crate::grpc::content::{Content, ResourceError};
use crate::grpc::resource::Resources;
use crate::identity::{Identity, Proof};
use crate::vault::Vault;

const SECURITY_SSL: &str = "security/ssl";

/// The root certificates that devices are to trust, as PEM text; asked at each call, so that they
/// can be replaced.
pub type Roots = Arc<dyn Fn() -> String + Send + Sync>;

/// Keeps the credentials that `EnableSSL` makes. Every call ends when its change is stored; the
/// errors are texts that say why it is not.
pub trait TlsCredentials: Send + Sync {
    /// Makes a credential, which holds from now on beside what held before. `None`: this device
    /// needs none.
    fn begin<'a>(
        &'a self,
        device: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<Option<String>, String>>;

    /// The device has taken what [`Self::begin`] made.
    fn confirm<'a>(
        &'a self,
        device: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// The device has not taken what [`Self::begin`] made: it is forgotten.
    fn abandon<'a>(
        &'a self,
        device: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Forgets the credential that was made for tls, if there is one, and no other.
    fn withdraw<'a>(
        &'a self,
        device: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>>;
}

impl TlsCredentials for Vault {
    fn begin<'a>(
        &'a self,
        _: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<Option<String>, String>> {
        let begun = self.begin_tls_credential(identity.clone());
        begun.map_err(|error| error.to_string()).boxed()
    }

    fn confirm<'a>(
        &'a self,
        _: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>> {
        let confirmed = self.confirm_tls_credential(identity.clone());
        confirmed.map_err(|error| error.to_string()).boxed()
    }

    fn abandon<'a>(
        &'a self,
        _: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>> {
        let abandoned = self.abandon_tls_credential(identity.clone());
        abandoned.map_err(|error| error.to_string()).boxed()
    }

    fn withdraw<'a>(
        &'a self,
        _: DeviceId,
        identity: &'a Identity,
    ) -> BoxFuture<'a, Result<(), String>> {
        let withdrawn = self.withdraw_tls_credential(identity.clone());
        withdrawn.map_err(|error| error.to_string()).boxed()
    }
}

/// Turns tls on and off on devices. Cheap to clone.
#[derive(Clone)]
pub struct Ssl {
    resources: Resources,
    credentials: Arc<dyn TlsCredentials>,
    roots: Roots,
    /// Whether devices can dial in over tls.
    is_listening: bool,
}

/// The session over which a device is written to.
struct Written {
    identity: Identity,
    proof: Proof,
    mode: ConnectionMode,
}

impl Ssl {
    pub const fn new(
        resources: Resources,
        credentials: Arc<dyn TlsCredentials>,
        roots: Roots,
        is_listening: bool,
    ) -> Self {
        Self {
            resources,
            credentials,
            roots,
            is_listening,
        }
    }

    /// Has the device speak tls from its next link on.
    ///
    /// # Errors
    /// Those of [`ResourceError`]; FAILED_PRECONDITION over a plain link, for a device that dials
    /// where the gateway does not listen, and for one that kept its link; UNAVAILABLE when the
    /// credential could not be stored.
    pub async fn enable(&self, device: DeviceId) -> Result<(), Status> {
        let session = self.session(device)?;
        if session.mode == ConnectionMode::DeviceToServer && !self.is_listening {
            return Err(Status::failed_precondition(format!(
                "device {device} dials the gateway, which does not listen for tls; configure \
                 tls.listen"
            )));
        }
        let has_proof = matches!(session.proof, Proof::Credential | Proof::Certificate);
        let credentials = (!has_proof).then_some(&*self.credentials);
        let write = |input| self.resources.write(device, SECURITY_SSL, input);
        enable(
            credentials,
            device,
            &session.identity,
            (self.roots)(),
            write,
        )
        .await
    }

    /// Has the device speak aes from its next link on.
    ///
    /// # Errors
    /// As [`Self::enable`].
    pub async fn disable(&self, device: DeviceId) -> Result<(), Status> {
        let session = self.session(device)?;
        let input = Value::map([("enabled", false)]);
        let state = self.resources.write(device, SECURITY_SSL, input).await?;
        check(&state, false)?;
        let withdrawn = self.credentials.withdraw(device, &session.identity).await;
        withdrawn.map_err(|why| {
            Status::unavailable(format!(
                "device {device} leaves tls, but its credential could not be withdrawn: {why}"
            ))
        })
    }

    /// Secrets go over a secured link alone.
    fn session(&self, device: DeviceId) -> Result<Written, Status> {
        let snapshot = self.resources.gateway().snapshot();
        let view = snapshot.devices.get(&device);
        let Some((view, session)) = view.and_then(|view| Some((view, view.session.as_ref()?)))
        else {
            return Err(ResourceError::NotConnected.into());
        };
        if session.link == LinkKind::Plain {
            return Err(Status::failed_precondition(format!(
                "device {device} is connected over a plain link, where {SECURITY_SSL} is not \
                 written; connect it over aes"
            )));
        }
        let Some(identity) = view.identity.clone() else {
            return Err(Status::internal(format!(
                "device {device} is up without a name"
            )));
        };
        Ok(Written {
            identity,
            proof: session.proof,
            mode: view.mode,
        })
    }
}

/// Makes a credential if `credentials` are given, writes, and settles what becomes of it: while it
/// is not known whether the device took it, the old and the new one hold.
async fn enable<F>(
    credentials: Option<&dyn TlsCredentials>,
    device: DeviceId,
    identity: &Identity,
    root: String,
    write: impl FnOnce(Value) -> F,
) -> Result<(), Status>
where
    F: Future<Output = Result<Content, ResourceError>>,
{
    let mut credential = None;
    if let Some(credentials) = credentials {
        let begun = credentials.begin(device, identity).await;
        credential = begun.map_err(|why| {
            Status::unavailable(format!(
                "no credential could be made for device {device}: {why}"
            ))
        })?;
    }
    let made = credentials.filter(|_| credential.is_some());
    let mut input = vec![("enabled", Value::from(true)), ("root", root.into())];
    input.extend(credential.map(|credential| ("credential", Value::from(credential))));
    let (is_refused, result) = match write(Value::map(input)).await {
        Ok(state) => match check(&state, true) {
            Ok(()) => (false, Ok(())),
            Err(status) => (!is_on(&state), Err(status)),
        },
        Err(error) => (error.is_certain(), Err(error.into())),
    };
    match (made, &result) {
        (Some(credentials), Ok(())) => confirm(credentials, device, identity).await,
        (Some(credentials), Err(_)) if is_refused => {
            if let Err(why) = credentials.abandon(device, identity).await {
                tracing::warn!(device = device.get(), %why, "a credential that no device has was not forgotten");
            }
            result
        }
        _ => result,
    }
}

async fn confirm(
    credentials: &dyn TlsCredentials,
    device: DeviceId,
    identity: &Identity,
) -> Result<(), Status> {
    let confirmed = credentials.confirm(device, identity).await;
    confirmed.map_err(|why| {
        Status::unavailable(format!(
            "device {device} has its credential, which holds, but this could not be stored: {why}"
        ))
    })
}

/// Whether the state that the device told may be one with tls; an unreadable one may.
fn is_on(state: &Content) -> bool {
    state.flag("enabled").unwrap_or(true)
}

/// The answer is the whole new state.
fn check(state: &Content, enabled: bool) -> Result<(), Status> {
    let Content { device, .. } = state;
    if state.has("enabled")? && state.flag("enabled")? == enabled {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "device {device} took {SECURITY_SSL} and kept its link"
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use tonic::Code;

    use super::*;
    use crate::cause::CauseKind;
    use crate::session::requests::RequestError;

    /// Notes what it is told, and fails where it is told to.
    #[derive(Default)]
    struct Fake {
        told: Mutex<Vec<&'static str>>,
        fails: &'static str,
        needs_none: bool,
    }

    impl Fake {
        fn note(&self, what: &'static str) -> BoxFuture<'_, Result<(), String>> {
            self.told.lock().expect("not poisoned").push(what);
            let result = if self.fails == what {
                Err("no space".to_owned())
            } else {
                Ok(())
            };
            std::future::ready(result).boxed()
        }

        fn told(&self) -> Vec<&'static str> {
            self.told.lock().expect("not poisoned").clone()
        }
    }

    impl TlsCredentials for Fake {
        fn begin<'a>(
            &'a self,
            _: DeviceId,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<Option<String>, String>> {
            let made = (!self.needs_none).then(|| "secret".to_owned());
            self.note("begin").map(|done| done.map(|()| made)).boxed()
        }

        fn confirm<'a>(
            &'a self,
            _: DeviceId,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<(), String>> {
            self.note("confirm")
        }

        fn abandon<'a>(
            &'a self,
            _: DeviceId,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<(), String>> {
            self.note("abandon")
        }

        fn withdraw<'a>(
            &'a self,
            _: DeviceId,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<(), String>> {
            self.note("withdraw")
        }
    }

    fn id() -> DeviceId {
        DeviceId::new(7).expect("not 0")
    }

    fn state(value: Value) -> Result<Content, ResourceError> {
        Ok(Content {
            device: id(),
            resource: SECURITY_SSL,
            value: Some(value),
        })
    }

    fn unanswered(error: RequestError) -> Result<Content, ResourceError> {
        Err(ResourceError::unanswered(id(), SECURITY_SSL, error))
    }

    /// The input that was written, and how it ended.
    async fn enabled(
        credentials: Option<&Fake>,
        answer: Result<Content, ResourceError>,
    ) -> (Option<Value>, Result<(), Status>) {
        let identity = Identity::new("", "7").expect("a name");
        let mut written = None;
        let write = |input| {
            written = Some(input);
            std::future::ready(answer)
        };
        let credentials = credentials.map(|fake| fake as &dyn TlsCredentials);
        let result = enable(credentials, id(), &identity, "PEM".to_owned(), write).await;
        (written, result)
    }

    #[tokio::test]
    async fn a_credential_is_stored_written_and_confirmed() {
        let fake = Fake::default();
        let (written, result) = enabled(Some(&fake), state(Value::map([("enabled", true)]))).await;
        assert!(result.is_ok());
        let expected = Value::map([
            ("enabled", Value::from(true)),
            ("root", "PEM".into()),
            ("credential", "secret".into()),
        ]);
        assert_eq!(written, Some(expected));
        assert_eq!(fake.told(), ["begin", "confirm"]);
    }

    #[tokio::test]
    async fn a_device_that_has_proof_is_given_the_root_alone() {
        let none_needed = Fake {
            needs_none: true,
            ..Fake::default()
        };
        for fake in [None, Some(&none_needed)] {
            let (written, result) = enabled(fake, state(Value::map([("enabled", true)]))).await;
            assert!(result.is_ok());
            assert_eq!(written.expect("written").get("credential"), None);
        }
        assert_eq!(none_needed.told(), ["begin"]);
    }

    #[tokio::test]
    async fn what_a_device_surely_did_not_take_is_forgotten_and_the_rest_is_kept() {
        let refused = ResourceError::refused(id(), SECURITY_SSL, &Default::default());
        let lost = RequestError::SessionEnded(CauseKind::Disconnected.into());
        for (answer, code, told) in [
            (
                Err(refused),
                Code::FailedPrecondition,
                vec!["begin", "abandon"],
            ),
            (
                unanswered(RequestError::NotConnected),
                Code::NotFound,
                vec!["begin", "abandon"],
            ),
            (
                state(Value::map([("enabled", false)])),
                Code::FailedPrecondition,
                vec!["begin", "abandon"],
            ),
            (
                unanswered(RequestError::TimedOut),
                Code::DeadlineExceeded,
                vec!["begin"],
            ),
            (unanswered(lost), Code::Unavailable, vec!["begin"]),
            (state(Value::Null), Code::Internal, vec!["begin"]),
            (
                state(Value::map([("enabled", "yes")])),
                Code::Internal,
                vec!["begin"],
            ),
        ] {
            let fake = Fake::default();
            let (_, result) = enabled(Some(&fake), answer).await;
            assert_eq!(result.expect_err("failed").code(), code);
            assert_eq!(fake.told(), told);
        }
    }

    #[tokio::test]
    async fn nothing_is_written_without_a_stored_credential() {
        for (fails, is_written) in [("begin", false), ("confirm", true)] {
            let fake = Fake {
                fails,
                ..Fake::default()
            };
            let (written, result) =
                enabled(Some(&fake), state(Value::map([("enabled", true)]))).await;
            assert_eq!(result.expect_err("failed").code(), Code::Unavailable);
            assert_eq!(written.is_some(), is_written);
        }
    }
}
