//! What a Connect claims.

use std::sync::Arc;
use std::time::Duration;

use crate::cause::{Cause, CauseKind};
use crate::codec::message::{Authentication, Connect};
use crate::identity::{CREDENTIAL_MAX, Identity};
use crate::session::keepalive::negotiate;

/// The codes of an Error to a Connect, in its parameters.
pub const BAD_CREDENTIALS: u64 = 2;
const INVALID_KEEP_ALIVE: u64 = 3;
const BAD_ENCODING: u64 = 4;

/// A Connect that is well formed.
pub struct Claimed {
    pub identity: Identity,
    pub credential: Box<[u8]>,
    pub keep_alive: Duration,
}

/// A Connect that no proof could help.
pub struct Rejected {
    pub code: u64,
    /// Its detail is told to the peer: it speaks of nothing but what the peer sent.
    pub cause: Cause,
}

/// Checks the names, the credential and the interval of a Connect.
pub fn check(connect: Connect) -> Result<Claimed, Rejected> {
    let (username, device, credential) = match connect.authentication {
        Authentication::Credentials {
            username,
            device,
            credential,
        } => (username, device, credential),
        Authentication::Certificate(_) => {
            let text = "a certificate sent as text proves nothing";
            return Err(rejected(BAD_CREDENTIALS, CauseKind::NotProven, text));
        }
        Authentication::Malformed(text) => {
            return Err(rejected(BAD_ENCODING, CauseKind::BadIdentity, text));
        }
    };
    let bad_name = |text| rejected(BAD_CREDENTIALS, CauseKind::BadIdentity, text);
    let identity =
        Identity::new(&username, &device).map_err(|error| bad_name(error.to_string()))?;
    if credential.len() > CREDENTIAL_MAX {
        let text = format!("the credential is too long, it is 0 to {CREDENTIAL_MAX} bytes");
        return Err(bad_name(text));
    }
    let keep_alive = negotiate(connect.keep_alive).map_err(|error| {
        let kind = CauseKind::ProtocolError;
        rejected(INVALID_KEEP_ALIVE, kind, error.to_string())
    })?;
    Ok(Claimed {
        identity,
        credential: credential.into(),
        keep_alive,
    })
}

fn rejected(code: u64, kind: CauseKind, text: impl Into<Arc<str>>) -> Rejected {
    let cause = Cause::new(kind, text);
    Rejected { code, cause }
}
