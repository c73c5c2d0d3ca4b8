//! Why a call failed, in one sentence with the mend.

use std::error::Error;
use std::io;
use std::path::Path;

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tonic::{Code, Status};

use super::exit::{Exit, Failure};
use super::profile::Target;
use crate::grpc::code::code_name;

/// The alert about our certificate that a text tells: HTTP/2 hands on the text of an error alone.
fn alert_in(words: &str) -> Option<AlertDescription> {
    const ALERTS: [AlertDescription; 6] = [
        AlertDescription::CertificateRequired,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::BadCertificate,
        AlertDescription::UnknownCA,
    ];
    ALERTS
        .into_iter()
        .find(|alert| words.ends_with(&format!("alert: {alert:?}")))
}

/// Why there is no connection.
pub fn of_connection(error: &(dyn Error + 'static), target: &Target) -> Failure {
    let address = &target.address;
    if let Some(tls) = find(error, tls_in) {
        return of_tls(tls, target);
    }
    let (kind, words) = match find(error, |error| error.downcast_ref::<io::Error>()) {
        Some(io) => (Some(io.kind()), io.to_string()),
        None => (None, innermost(error)),
    };
    if let Some(alert) = alert_in(&words) {
        return of_tls(&TlsError::AlertReceived(alert), target);
    }
    let text = match kind {
        Some(io::ErrorKind::ConnectionRefused) => format!(
            "nobody listens at {address}: is the gateway running (`gatehouse gateway`), and is that its address (--address)?"
        ),
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => closed(target),
        _ if words.contains("connection closed") => closed(target),
        _ if words.contains("lookup") => format!(
            "no address is known for the host {}: is the name right (--address)?",
            address.host
        ),
        _ => format!(
            "the gateway at {address} cannot be reached: {words}; is the address right (--address)?"
        ),
    };
    Failure::new(Exit::Unreachable, text)
}

fn closed(target: &Target) -> String {
    let certificate = match target.identity {
        None => "does it want a client certificate (--cert, --cert-key), ",
        Some(_) => "",
    };
    format!(
        "{} closed the connection: {certificate}does it serve your network (grpc.open_to), and is that its gRPC port?",
        target.address
    )
}

/// Why a call failed.
pub fn of_status(status: &Status, target: &Target) -> Failure {
    // What the gateway says itself has no source.
    if let Some(source) = status.source() {
        return of_connection(source, target);
    }
    let said = status.message();
    let (exit, text) = match status.code() {
        Code::Unauthenticated => (
            Exit::NotPermitted,
            format!(
                "the gateway does not know this client ({said}): give a token that is valid (--token-file) or a client certificate (--cert, --cert-key)"
            ),
        ),
        Code::PermissionDenied => (
            Exit::NotPermitted,
            format!(
                "this client may not do that ({said}): `gatehouse ctl whoami` tells its role, `gatehouse ctl token create` makes a token with another one"
            ),
        ),
        Code::Unimplemented => (
            Exit::Failed,
            format!(
                "this gateway does not serve that call ({said}): it is older than this program"
            ),
        ),
        Code::NotFound => (Exit::NotFound, said.to_owned()),
        Code::InvalidArgument => (Exit::Usage, said.to_owned()),
        _ if said.is_empty() => (
            Exit::Failed,
            format!("the gateway answered {}", code_name(status.code())),
        ),
        code => (Exit::Failed, format!("{said} ({})", code_name(code))),
    };
    Failure::new(exit, text)
}

fn of_tls(error: &TlsError, target: &Target) -> Failure {
    let Target { address, ca, .. } = target;
    let ca = Path::display(ca);
    match error {
        TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Failure::new(
            Exit::Unreachable,
            format!(
                "the certificate of the gateway at {address} is not signed by {ca}: give the root of that very gateway with --ca (certs/ca.crt in its data directory)"
            ),
        ),
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Failure::new(
            Exit::Unreachable,
            format!(
                "the gateway's certificate is not valid for the name {}: use a name or address that is in it (--address), or add this one to grpc.names in the gateway's configuration",
                address.host
            ),
        ),
        TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Failure::new(
            Exit::Unreachable,
            format!("the certificate of the gateway at {address} has expired: issue a new one"),
        ),
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => Failure::new(
            Exit::NotPermitted,
            "this gateway wants a client certificate: make one with `gatehouse certs operator` and give it with --cert and --cert-key",
        ),
        TlsError::AlertReceived(alert) if target.identity.is_some() => Failure::new(
            Exit::NotPermitted,
            format!(
                "the gateway does not take the client certificate ({alert:?}): is it signed by this gateway's root, for a client, neither expired nor revoked?"
            ),
        ),
        TlsError::InvalidMessage(_) => Failure::new(
            Exit::Unreachable,
            format!(
                "what listens at {address} does not speak TLS: is that the gateway's gRPC port?"
            ),
        ),
        other => Failure::new(
            Exit::Unreachable,
            format!("no secure connection to {address}: {other}"),
        ),
    }
}

/// A TLS error, also as the payload of an IO error, which `source` passes over.
fn tls_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inner
        .and_then(|inner| inner.downcast_ref())
        .or_else(|| error.downcast_ref())
}

fn find<'a, T>(
    error: &'a (dyn Error + 'static),
    in_one: impl Fn(&'a (dyn Error + 'static)) -> Option<&'a T>,
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = in_one(error) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            address: "door.example:4000".parse().unwrap(),
            ca: "ca.crt".into(),
            identity: None,
            token: None,
        }
    }

    fn of_io(error: io::Error) -> Failure {
        of_connection(&error, &target())
    }

    fn certificate(error: CertificateError) -> Failure {
        let tls = TlsError::InvalidCertificate(error);
        of_io(io::Error::new(io::ErrorKind::InvalidData, tls))
    }

    #[test]
    fn each_way_to_miss_a_gateway_has_its_mend() {
        for (failure, exit, told) in [
            (
                of_io(io::ErrorKind::ConnectionRefused.into()),
                Exit::Unreachable,
                "is the gateway running",
            ),
            (
                of_io(io::Error::other("failed to lookup address information")),
                Exit::Unreachable,
                "host door.example",
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                Exit::Unreachable,
                "not signed by ca.crt",
            ),
            (
                certificate(CertificateError::NotValidForName),
                Exit::Unreachable,
                "not valid for the name door.example",
            ),
            (
                of_connection(
                    &TlsError::AlertReceived(AlertDescription::CertificateRequired),
                    &target(),
                ),
                Exit::NotPermitted,
                "--cert and --cert-key",
            ),
        ] {
            assert_eq!(failure.exit, exit, "{failure}");
            assert!(failure.text.contains(told), "{failure}");
            assert!(!failure.text.contains('\n'), "{failure}");
        }
    }

    #[test]
    fn a_wish_for_a_certificate_is_found_in_a_text_too() {
        let words = "received fatal alert: CertificateRequired";
        let failure = of_io(io::Error::new(io::ErrorKind::InvalidData, words));
        assert_eq!(failure.exit, Exit::NotPermitted);
        assert!(
            failure.text.contains("wants a client certificate"),
            "{failure}"
        );
        let words = "received fatal alert: CertificateRevoked";
        assert_eq!(alert_in(words), Some(AlertDescription::CertificateRevoked));
        assert_eq!(alert_in("connection refused"), None);
        let failure = of_io(io::ErrorKind::ConnectionReset.into());
        assert!(failure.text.contains("--cert-key"), "{failure}");
    }

    #[test]
    fn each_status_has_its_exit_code() {
        for (status, exit, told) in [
            (
                Status::unauthenticated("no token"),
                Exit::NotPermitted,
                "no token",
            ),
            (
                Status::permission_denied("wants admin"),
                Exit::NotPermitted,
                "whoami",
            ),
            (
                Status::unimplemented("unknown service x"),
                Exit::Failed,
                "older",
            ),
            (
                Status::not_found("device 7 is not listed"),
                Exit::NotFound,
                "device 7",
            ),
            (
                Status::invalid_argument("port is -1"),
                Exit::Usage,
                "port is -1",
            ),
            (
                Status::unavailable("Cannot connect to the device"),
                Exit::Failed,
                "Cannot connect to the device (UNAVAILABLE)",
            ),
            (Status::internal(""), Exit::Failed, "answered INTERNAL"),
            (
                Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused))),
                Exit::Unreachable,
                "is the gateway running",
            ),
        ] {
            let failure = of_status(&status, &target());
            assert_eq!(failure.exit, exit, "{failure}");
            assert!(failure.text.contains(told), "{failure}");
        }
    }
}
