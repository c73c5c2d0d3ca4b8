//! Sessions that begin again with a ticket.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, Error, SupportedProtocolVersion};

use super::super::TlsLinkError;
use super::pair::{Device, Gateway, meet};
use crate::config::{DeviceCertificates, Tls};
use crate::device::DeviceId;
use crate::link::tls::device::{DeviceTls, Material};
use crate::link::tls::testing::{Clock, EXPIRY, House, Leaf, NOW, tickets};
use crate::link::tls::tickets::Tickets;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A gateway, and a device that remembers its tickets.
struct World {
    house: House,
    leaf: Leaf,
    clock: Clock,
    tickets: Arc<Tickets>,
    tls: Arc<DeviceTls>,
}

impl World {
    fn new() -> Self {
        let house = House::new();
        let leaf = house.device(4711);
        let clock = Clock::new();
        let tickets = tickets([1; 32], Vec::new(), &clock);
        let material = house.material();
        let tls = tls(&material, &Tls::default(), &tickets, &clock);
        Self {
            house,
            leaf,
            clock,
            tickets,
            tls,
        }
    }

    fn device(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        Arc::new(self.house.client(&[version], Some(&self.leaf)))
    }

    fn replace(&mut self, material: &Material, settings: &Tls) {
        self.tls = tls(material, settings, &self.tickets, &self.clock);
    }

    /// A conversation; whether it was resumed.
    fn meet(&self, device: &Arc<ClientConfig>) -> Result<bool, TlsLinkError> {
        let mut gateway = Gateway::server(&self.tls);
        let mut device = Device::shared_client(device);
        // It is said in the same flight as the end of the handshake.
        device.say(b"connect");
        let result = meet(&mut gateway, &mut device, usize::MAX);
        let plain = gateway.take_plain();
        if let Err(error) = result {
            assert_eq!(plain, b"", "nothing is heard of who does not hold");
            return Err(error);
        }
        assert_eq!(plain, b"connect");
        gateway.say(b"ok");
        meet(&mut gateway, &mut device, usize::MAX)?;
        assert_eq!(device.heard(), b"ok");
        if gateway.shown().is_some() {
            assert_eq!(gateway.devices(), Some(vec![DeviceId::new(4711).unwrap()]));
        }
        Ok(device.has_resumed())
    }
}

fn tls(
    material: &Material,
    settings: &Tls,
    tickets: &Arc<Tickets>,
    clock: &Clock,
) -> Arc<DeviceTls> {
    let (tickets, time) = (Arc::clone(tickets), Arc::new(clock.clone()));
    Arc::new(DeviceTls::new(material, settings, tickets, time).unwrap())
}

#[test]
fn a_device_resumes_with_what_it_showed() {
    for version in VERSIONS {
        let world = World::new();
        let device = world.device(version);
        assert_eq!(world.meet(&device), Ok(false));
        for _ in 0..3 {
            assert_eq!(world.meet(&device), Ok(true));
        }
        let without = Arc::new(world.house.client(&[version], None));
        assert_eq!(world.meet(&without), Ok(false));
        assert_eq!(world.meet(&without), Ok(true));
    }
}

#[test]
fn a_ticket_outlives_a_restart_and_not_its_lifetime() {
    for version in VERSIONS {
        let mut world = World::new();
        let device = world.device(version);
        world.meet(&device).unwrap();
        let kept = world.tickets.keys_to_store();
        world.clock.set(NOW + 3600);
        world.tickets = tickets([2; 32], kept, &world.clock);
        let material = world.house.material();
        world.replace(&material, &Tls::default());
        assert_eq!(world.meet(&device), Ok(true));

        let world = World::new();
        let device = world.device(version);
        world.clock.set(NOW - 3600);
        world.meet(&device).unwrap();
        world.clock.set(NOW - 3600 + 86_400);
        assert_eq!(world.meet(&device), Ok(false));
    }
}

#[test]
fn no_ticket_of_before_a_discard_resumes() {
    for version in VERSIONS {
        let world = World::new();
        let device = world.device(version);
        world.meet(&device).unwrap();
        assert!(world.tickets.discard_all());
        assert_eq!(world.meet(&device), Ok(false));
        assert_eq!(world.meet(&device), Ok(true), "with a new ticket it does");
    }
}

#[test]
fn without_resumption_no_ticket_is_given_or_taken() {
    for version in VERSIONS {
        let mut world = World::new();
        let device = world.device(version);
        world.meet(&device).unwrap();
        let material = world.house.material();
        let settings = Tls {
            resumption: false,
            ..Tls::default()
        };
        world.replace(&material, &settings);
        assert_eq!(world.meet(&device), Ok(false));
        assert_eq!(world.meet(&device), Ok(false));
    }
}

#[test]
fn a_resumed_certificate_that_was_revoked_is_refused() {
    for version in VERSIONS {
        let mut world = World::new();
        let device = world.device(version);
        world.meet(&device).unwrap();
        let material = Material {
            crls: vec![world.house.crl(&[&world.leaf])],
            ..world.house.material()
        };
        world.replace(&material, &Tls::default());
        let refused = world.meet(&device).unwrap_err();
        let expected = Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(refused, TlsLinkError::Resumed(expected), "{version:?}");
    }
}

#[test]
fn a_resumed_certificate_of_a_root_that_is_gone_is_refused() {
    for version in VERSIONS {
        let mut world = World::new();
        let device = world.device(version);
        world.meet(&device).unwrap();
        let material = Material {
            roots: vec![House::new().root],
            ..world.house.material()
        };
        world.replace(&material, &Tls::default());
        let refused = world.meet(&device).unwrap_err();
        let expected = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(refused, TlsLinkError::Resumed(expected));
    }
}

#[test]
fn a_resumed_certificate_that_expired_is_refused() {
    for version in VERSIONS {
        let world = World::new();
        let device = world.device(version);
        world.clock.set(EXPIRY - 100);
        world.meet(&device).unwrap();
        world.clock.set(EXPIRY + 100);
        let refused = world.meet(&device).unwrap_err();
        assert!(matches!(refused, TlsLinkError::Resumed(_)), "{refused:?}");
        assert!(refused.to_string().contains("expired"), "{refused}");
    }
}

#[test]
fn who_showed_nothing_does_not_resume_where_a_certificate_is_required() {
    for version in VERSIONS {
        let mut world = World::new();
        let device = Arc::new(world.house.client(&[version], None));
        world.meet(&device).unwrap();
        let material = world.house.material();
        let settings = Tls {
            device_certificates: DeviceCertificates::Required,
            ..Tls::default()
        };
        world.replace(&material, &settings);
        let refused = world.meet(&device).unwrap_err();
        assert_eq!(
            refused,
            TlsLinkError::Resumed(Error::NoCertificatesPresented)
        );
    }
}

#[test]
fn a_refused_device_hears_a_proper_end() {
    for version in VERSIONS {
        let mut world = World::new();
        let config = world.device(version);
        world.meet(&config).unwrap();
        let material = Material {
            roots: vec![House::new().root],
            ..world.house.material()
        };
        world.replace(&material, &Tls::default());
        let mut gateway = Gateway::server(&world.tls);
        let mut device = Device::shared_client(&config);
        meet(&mut gateway, &mut device, usize::MAX).unwrap_err();
        assert!(device.peer_closed());
    }
}
