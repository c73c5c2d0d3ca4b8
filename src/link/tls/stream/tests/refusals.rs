//! Whose certificate does not hold, in both roles.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, Error, SupportedProtocolVersion};

use super::super::TlsLinkError;
use super::pair::{Device, Gateway, meet};
use crate::config::{DeviceCertificates, Tls};
use crate::link::tls::device::{DeviceTls, Material};
use crate::link::tls::testing::{Clock, EXPIRY, House, Leaf, device_tls, tickets};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A device that shows `leaf` fails with `expected`, whether it is the TLS client or server, and
/// hears `alert`.
#[track_caller]
fn check_refused(
    tls: &Arc<DeviceTls>,
    house: &House,
    leaf: &Leaf,
    expected: &CertificateError,
    alert: AlertDescription,
) {
    for version in VERSIONS {
        for (mut gateway, mut device) in [
            (
                Gateway::server(tls),
                Device::client(house.client(&[version], Some(leaf))),
            ),
            (
                Gateway::client(tls),
                Device::server(house.server(&[version], leaf)),
            ),
        ] {
            device.say(b"connect");
            let refused = meet(&mut gateway, &mut device, usize::MAX).unwrap_err();
            let TlsLinkError::Handshake(Error::InvalidCertificate(error)) = &refused else {
                panic!("{version:?}: {refused:?}");
            };
            assert_eq!(error, expected, "{version:?}");
            assert_eq!(device.refusal(), Some(Error::AlertReceived(alert)));
            assert_eq!(gateway.take_plain(), b"");
        }
    }
}

fn settings(device_certificates: DeviceCertificates) -> Tls {
    Tls {
        device_certificates,
        ..Tls::default()
    }
}

#[test]
fn a_device_without_a_certificate_where_one_is_required() {
    let house = House::new();
    let tls = device_tls(&house.material(), &settings(DeviceCertificates::Required));
    let alert = AlertDescription::CertificateRequired;
    for version in VERSIONS {
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(house.client(&[version], None));
        let refused = meet(&mut gateway, &mut device, usize::MAX).unwrap_err();
        assert_eq!(
            refused,
            TlsLinkError::Handshake(Error::NoCertificatesPresented)
        );
        assert!(
            refused.to_string().contains("shows no certificate"),
            "{refused}"
        );
        assert_eq!(device.refusal(), Some(Error::AlertReceived(alert)));

        let leaf = house.device(1);
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(house.client(&[version], Some(&leaf)));
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
        assert!(gateway.is_up());
    }
}

#[test]
fn a_certificate_of_another_role() {
    let house = House::new();
    let tls = device_tls(&house.material(), &Tls::default());
    for uri in [
        "urn:gatehouse:gateway",
        "urn:gatehouse:operator:alice",
        "urn:gatehouse:device:0",
        "https://example.org",
    ] {
        let expected = CertificateError::ApplicationVerificationFailure;
        let alert = AlertDescription::AccessDenied;
        check_refused(&tls, &house, &house.leaf(&[uri]), &expected, alert);
    }
    let error = Error::from(CertificateError::ApplicationVerificationFailure);
    let text = TlsLinkError::Handshake(error).to_string();
    assert!(text.contains("urn:gatehouse:device:<id>"), "{text}");
}

#[test]
fn a_revoked_certificate() {
    let house = House::new();
    let (good, revoked) = (house.device(1), house.device(2));
    let material = Material {
        crls: vec![house.crl(&[&revoked])],
        ..house.material()
    };
    let tls = device_tls(&material, &Tls::default());
    let alert = AlertDescription::CertificateRevoked;
    check_refused(&tls, &house, &revoked, &CertificateError::Revoked, alert);
    for version in VERSIONS {
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(house.client(&[version], Some(&good)));
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
        let mut gateway = Gateway::client(&tls);
        let mut device = Device::server(house.server(&[version], &good));
        meet(&mut gateway, &mut device, usize::MAX).unwrap();
    }
}

#[test]
fn a_certificate_of_another_root() {
    let (house, other) = (House::new(), House::new());
    let tls = device_tls(&house.material(), &Tls::default());
    let expected = CertificateError::UnknownIssuer;
    let alert = AlertDescription::UnknownCA;
    check_refused(&tls, &house, &other.device(1), &expected, alert);
    // The list of one root says nothing of another: that is no reason to refuse.
    let material = Material {
        roots: vec![house.root.clone(), other.root.clone()],
        crls: vec![house.crl(&[])],
        ..house.material()
    };
    let tls = device_tls(&material, &Tls::default());
    let leaf = other.device(1);
    let mut device = Device::client(house.client(&[&TLS13], Some(&leaf)));
    meet(&mut Gateway::server(&tls), &mut device, usize::MAX).unwrap();
}

#[test]
fn an_expired_certificate() {
    let house = House::new();
    let clock = Clock::new();
    clock.set(EXPIRY + 1);
    let tickets = tickets([1; 32], Vec::new(), &clock);
    let time = Arc::new(clock);
    let tls = DeviceTls::new(&house.material(), &Tls::default(), tickets, time).unwrap();
    let tls = Arc::new(tls);
    let leaf = house.device(1);
    for version in VERSIONS {
        let mut device = Device::client(house.client(&[version], Some(&leaf)));
        let refused = meet(&mut Gateway::server(&tls), &mut device, usize::MAX).unwrap_err();
        assert!(refused.to_string().contains("expired"), "{refused}");
        let mut device = Device::server(house.server(&[version], &leaf));
        let refused = meet(&mut Gateway::client(&tls), &mut device, usize::MAX).unwrap_err();
        assert!(refused.to_string().contains("expired"), "{refused}");
    }
}

#[test]
fn a_device_that_refuses_us_is_quoted() {
    let (house, other) = (House::new(), House::new());
    let tls = device_tls(&house.material(), &Tls::default());
    for version in VERSIONS {
        let mut gateway = Gateway::server(&tls);
        let mut device = Device::client(other.client(&[version], None));
        let refused = meet(&mut gateway, &mut device, usize::MAX).unwrap_err();
        let alert = Error::AlertReceived(AlertDescription::UnknownCA);
        assert_eq!(refused, TlsLinkError::Handshake(alert));
        assert!(refused.to_string().contains("alert UnknownCA"), "{refused}");
        // Turned round, the device wants the gateway's certificate under its own root.
        let leaf = house.device(1);
        let mut gateway = Gateway::client(&tls);
        let mut device = Device::server(other.server(&[version], &leaf));
        let refused = meet(&mut gateway, &mut device, usize::MAX).unwrap_err();
        assert!(matches!(
            refused,
            TlsLinkError::Handshake(Error::AlertReceived(_))
        ));
    }
}

#[test]
fn material_that_does_not_go_together_is_refused() {
    let house = House::new();
    let clock = Clock::new();
    let refused = |material: &Material| {
        let tickets = tickets([1; 32], Vec::new(), &clock);
        let time = Arc::new(clock.clone());
        DeviceTls::new(material, &Tls::default(), tickets, time)
            .unwrap_err()
            .to_string()
    };
    let mixed = Material {
        key: house.device(1).key(),
        ..house.material()
    };
    assert!(refused(&mixed).contains("key"), "{}", refused(&mixed));
    let rootless = Material {
        roots: Vec::new(),
        ..house.material()
    };
    assert!(
        refused(&rootless).contains("root"),
        "{}",
        refused(&rootless)
    );
}
