//! Who calls, and whether that still holds: asked once for each call, and for as long as a stream
//! lasts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::watch;

use crate::access::tokens::TokenError;
use crate::access::{Caller, Role};
use crate::callers::audit::Audit;
use crate::callers::credentials::Credentials;
use crate::callers::peer::Peer;
use crate::clock;
use crate::identity::CertificateId;

/// The longest wait for an expiry; then it is looked at again.
const EXPIRY_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Whether a peer at this address is taken as an operator when it shows nothing.
pub type IsOpen = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Stands before every service. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    credentials: Arc<Credentials>,
    is_open: IsOpen,
    audit: Audit,
}

/// A caller that was let in, and what that stands on.
#[derive(Clone, Debug)]
pub struct Pass {
    pub caller: Caller,
    /// The digest of the token.
    token: Option<[u8; 32]>,
    /// The certificate, and when it expires.
    certificate: Option<(CertificateId, u64)>,
    /// The soonest expiry of what was shown.
    expires_unix_ms: Option<u64>,
}

/// Why somebody is not let in; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "nobody is let in from this network without credentials: show a client certificate of a \
         viewer, operator or admin, or send the header \"authorization: Bearer <token>\""
    )]
    NothingShown,
    #[error(
        "the certificate shown is not of a viewer, operator or admin; have one made with \
         \"gatehouse certs\""
    )]
    OtherRole,
    #[error("the certificate shown was revoked")]
    Revoked,
    #[error("the certificate shown has expired")]
    CertificateExpired,
    #[error("the header \"authorization\" is not \"Bearer <token>\"")]
    Malformed,
    #[error("{0}")]
    Token(#[from] TokenError),
}

impl Guard {
    pub fn new(credentials: Arc<Credentials>, is_open: IsOpen, audit: Audit) -> Self {
        Self {
            credentials,
            is_open,
            audit,
        }
    }

    /// A guard that takes who shows nothing as an operator on loopback, and nowhere else.
    pub fn for_loopback(credentials: Arc<Credentials>, audit: Audit) -> Self {
        Self::new(credentials, Arc::new(|peer| peer.is_loopback()), audit)
    }

    pub const fn audit(&self) -> &Audit {
        &self.audit
    }

    /// As whom the sender of a request is taken.
    ///
    /// All that is shown must hold. Where both are shown the token's role counts: whoever sends a
    /// token means to act as that. What does not hold never makes the sender anonymous.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Pass, Refusal> {
        let now = clock::now().unix_ms;
        let by_certificate = self.by_certificate(peer, now)?;
        let by_token = self.by_token(headers, now)?;
        match (by_certificate, by_token) {
            (Some(certificate), Some(token)) => Ok(Pass {
                certificate: certificate.certificate,
                expires_unix_ms: soonest(certificate.expires_unix_ms, token.expires_unix_ms),
                ..token
            }),
            (Some(pass), None) | (None, Some(pass)) => Ok(pass),
            (None, None) => self.anonymous(peer).ok_or(Refusal::NothingShown),
        }
    }

    /// Whether what a pass stands on still holds.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn still_holds(&self, pass: &Pass) -> Result<(), Refusal> {
        let now = clock::now().unix_ms;
        if let Some((certificate, expires)) = pass.certificate {
            self.judge_certificate(certificate, expires, now)?;
        }
        if let Some(digest) = &pass.token {
            self.credentials.tokens().still_holds(digest, now)?;
        }
        Ok(())
    }

    /// Waits until a pass holds no longer, and says why.
    pub async fn withdrawn(self, pass: Pass) -> Refusal {
        let mut changes = self.credentials.changes();
        loop {
            if let Err(refusal) = self.still_holds(&pass) {
                return refusal;
            }
            changed_or_expired(&mut changes, pass.expires_unix_ms).await;
        }
    }

    /// Whether a pass can ever end: an anonymous one does not.
    pub const fn can_end(pass: &Pass) -> bool {
        pass.token.is_some() || pass.certificate.is_some()
    }

    fn by_certificate(&self, peer: Option<&Peer>, now: u64) -> Result<Option<Pass>, Refusal> {
        let Some(shown) = peer.and_then(|peer| peer.certificate.as_ref()) else {
            return Ok(None);
        };
        self.judge_certificate(shown.id, shown.expires_unix_ms, now)?;
        Ok(Some(Pass {
            caller: shown.caller.clone().ok_or(Refusal::OtherRole)?,
            token: None,
            certificate: Some((shown.id, shown.expires_unix_ms)),
            expires_unix_ms: Some(shown.expires_unix_ms),
        }))
    }

    fn judge_certificate(&self, id: CertificateId, expires: u64, now: u64) -> Result<(), Refusal> {
        if self.credentials.is_revoked(id) {
            return Err(Refusal::Revoked);
        }
        if expires <= now {
            return Err(Refusal::CertificateExpired);
        }
        Ok(())
    }

    fn by_token(&self, headers: &HeaderMap, now: u64) -> Result<Option<Pass>, Refusal> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = shown.next() else {
            return Ok(None);
        };
        let text = value.to_str().ok().and_then(bearer);
        let text = text.filter(|_| shown.next().is_none());
        let tokens = self.credentials.tokens();
        let token = tokens.authenticate(text.ok_or(Refusal::Malformed)?, now)?;
        Ok(Some(Pass {
            caller: token.stored.caller(),
            token: Some(token.stored.digest),
            certificate: None,
            expires_unix_ms: token.stored.expires_unix_ms,
        }))
    }

    fn anonymous(&self, peer: Option<&Peer>) -> Option<Pass> {
        (self.is_open)(peer?.address.ip().to_canonical()).then(|| Pass {
            caller: Caller {
                name: "anonymous".into(),
                role: Role::Operator,
            },
            token: None,
            certificate: None,
            expires_unix_ms: None,
        })
    }
}

/// The token of `Bearer <token>`; the scheme in any case, as everywhere.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

fn soonest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

async fn changed_or_expired(changes: &mut watch::Receiver<()>, expires_unix_ms: Option<u64>) {
    let left = |expires: u64| expires.saturating_sub(clock::now().unix_ms);
    let pause = expires_unix_ms.map_or(EXPIRY_PAUSE_MAX, |expires| {
        Duration::from_millis(left(expires)).min(EXPIRY_PAUSE_MAX)
    });
    tokio::select! {
        changed = changes.changed() => {
            if changed.is_err() {
                // Nobody can revoke any more; only time can.
                tokio::time::sleep(pause).await;
            }
        }
        () = tokio::time::sleep(pause) => {}
    }
}
