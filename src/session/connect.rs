//! What a Connect claims.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::cause::{Cause, CauseKind};
use crate::codec::message::{Authentication, Connect};
use crate::device::DeviceId;
use crate::identity::{CREDENTIAL_MAX, DeviceCertificate, Identity};
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

/// The certificate that the tls link proved, and its DER.
pub type ProvenCertificate<'a> = (&'a Arc<DeviceCertificate>, &'a [u8]);

/// Checks the names, the credential and the interval of a Connect. `proven` is what the device
/// has shown to hold the key of.
pub fn check(connect: Connect, proven: Option<ProvenCertificate<'_>>) -> Result<Claimed, Rejected> {
    let (username, device, credential) = match connect.authentication {
        Authentication::Credentials {
            username,
            device,
            credential,
        } => (username, device, credential),
        Authentication::Certificate(text) => {
            let named = named_by(&text, proven);
            let id = named.map_err(|text| rejected(BAD_CREDENTIALS, CauseKind::NotProven, text))?;
            (String::new(), id.to_string(), Vec::new())
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

/// The one device of a certificate that is sent as text: whoever has seen it can do so, so it must
/// be the one that the link has proved.
fn named_by(text: &str, proven: Option<ProvenCertificate<'_>>) -> Result<DeviceId, &'static str> {
    let (certificate, der) =
        proven.ok_or("a certificate sent as text proves nothing, show it in the TLS handshake")?;
    let sent = certificate_of(text)
        .ok_or("the certificate in the Connect is neither PEM nor the base64 of its DER")?;
    if *sent != *der {
        return Err("the certificate in the Connect is not the one of the TLS handshake");
    }
    match *certificate.devices {
        [id] => Ok(id),
        _ => Err("the certificate names several devices, say which one by its name"),
    }
}

fn certificate_of(text: &str) -> Option<CertificateDer<'static>> {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    if text.contains(begin) {
        CertificateDer::from_pem_slice(text.as_bytes()).ok()
    } else {
        let pem = format!("{begin}\n{}\n{end}\n", text.trim());
        CertificateDer::from_pem_slice(pem.as_bytes()).ok()
    }
}

fn rejected(code: u64, kind: CauseKind, text: impl Into<Arc<str>>) -> Rejected {
    let cause = Cause::new(kind, text);
    Rejected { code, cause }
}
