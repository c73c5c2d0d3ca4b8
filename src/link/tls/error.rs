//! Why a tls link ends, in words for whoever has to find out why a device does not get in.

use rustls::{CertificateError, Error};

use super::certificate::Malformed;
use super::stream::HELD_MAX;

/// Why a tls link ended; after any of these it must be closed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum TlsLinkError {
    #[error("{0}")]
    NotTls(&'static str),
    #[error("the peer sent more than {HELD_MAX} bytes that make no whole record or message")]
    TooLong,
    #[error("{}", handshake_text(.0))]
    Handshake(Error),
    #[error("the certificate of the resumed session holds no more: {}", certificate_text(.0))]
    Resumed(Error),
    #[error("{0}")]
    Certificate(#[from] Malformed),
    #[error("{}", record_text(.0))]
    Record(Error),
    #[error("the link is not up, or its keys are used up: it must be made again")]
    NotUp,
}

fn handshake_text(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => {
            format!("the device ended the TLS handshake with the alert {alert:?}")
        }
        error => format!("the TLS handshake failed: {}", certificate_text(error)),
    }
}

fn certificate_text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "the certificate names no device, it should have urn:gatehouse:device:<id>".to_owned()
        }
        Error::NoCertificatesPresented => {
            "the device shows no certificate, here it must".to_owned()
        }
        error => error.to_string(),
    }
}

fn record_text(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("the device ended TLS with the alert {alert:?}"),
        error => format!("the TLS of the device is broken: {error}"),
    }
}
