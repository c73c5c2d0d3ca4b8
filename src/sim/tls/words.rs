//! Why a tls link failed, for people.

use rustls::{AlertDescription, CertificateError, Error};

/// One phrase for an error of TLS; the same cause always gives the same phrase, so that they can
/// be counted.
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => format!("the gateway's certificate {}", certificate(why)),
        Error::NoCertificatesPresented => "the gateway showed no certificate".to_owned(),
        Error::AlertReceived(alert) => format!("the gateway {}", received(*alert)),
        Error::PeerIncompatible(_) => {
            "the gateway and the device share no version or cipher of TLS".to_owned()
        }
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the other end does not speak TLS".to_owned()
        }
        other => other.to_string(),
    }
}

fn certificate(why: &CertificateError) -> String {
    let text = match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by the device's root"
        }
        CertificateError::ApplicationVerificationFailure => {
            "has not the role urn:gatehouse:gateway"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for this end of a link"
        }
        other => return format!("is refused: {other}"),
    };
    text.to_owned()
}

fn received(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CertificateRequired => "wants a certificate of the device",
        AlertDescription::UnknownCA => "does not trust the root of the device's certificate",
        AlertDescription::CertificateExpired => "finds the device's certificate expired",
        AlertDescription::CertificateRevoked => "finds the device's certificate revoked",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => "refused the device's certificate",
        AlertDescription::ProtocolVersion => "does not speak this version of TLS",
        AlertDescription::HandshakeFailure => "refused the handshake",
        other => return format!("refused with the alert {other:?}"),
    };
    text.to_owned()
}
