//! Under which names and addresses this machine is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::is_host;

/// DNS names and addresses, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    pub dns: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl HostNames {
    /// `localhost`, the loopback addresses, the machine's name, its interfaces' addresses, and
    /// `more`. What the operating system does not tell is left out.
    pub fn of_this_machine(more: &[String]) -> Self {
        let mut names = Self::loopback();
        if let Some(name) = gethostname().ok().and_then(|name| name.into_string().ok()) {
            names.add(&name);
        }
        for address in interface_addresses() {
            names.add_address(address);
        }
        for name in more {
            names.add(name);
        }
        names
    }

    /// `localhost`, 127.0.0.1 and ::1.
    pub fn loopback() -> Self {
        Self {
            dns: vec!["localhost".to_owned()],
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        }
    }

    /// Adds the names and addresses that a certificate in DER names.
    #[must_use]
    pub fn with_those_of(mut self, certificate: &[u8]) -> Self {
        let parsed = X509Certificate::from_der(certificate).ok();
        let extension = parsed
            .as_ref()
            .and_then(|(_, certificate)| certificate.subject_alternative_name().ok().flatten());
        let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
        for name in names {
            match name {
                GeneralName::DNSName(dns) => self.add(dns),
                GeneralName::IPAddress(bytes) => {
                    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                    if let Ok(address) = address {
                        self.add_address(address);
                    }
                }
                _ => (),
            }
        }
        self
    }

    /// Adds an address or a DNS name; what is neither cannot stand in a certificate.
    fn add(&mut self, name: &str) {
        if let Ok(address) = name.parse() {
            self.add_address(address);
        } else if is_host(name) && !self.dns.iter().any(|known| known == name) {
            self.dns.push(name.to_owned());
        }
    }

    fn add_address(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }
}

fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|address| !is_link_local(*address))
        .collect()
}

/// Such an address means nothing without its interface, which a certificate cannot hold.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::authority::Authority;
    use crate::time::Now;

    #[test]
    fn this_machine_is_reached_at_loopback_and_its_interfaces() {
        let names = HostNames::of_this_machine(&[]);
        assert!(names.dns.contains(&"localhost".to_owned()));
        assert!(names.addresses.contains(&Ipv4Addr::LOCALHOST.into()));
        for address in interface_addresses() {
            assert!(names.addresses.contains(&address), "{address}");
        }
    }

    #[test]
    fn an_address_that_needs_its_interface_is_told() {
        for (address, expected) in [
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("169.254.0.1", false),
        ] {
            assert_eq!(
                is_link_local(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn more_names_are_added_once() {
        let mut names = HostNames::loopback();
        for name in [
            "gate.example.org",
            "gate.example.org",
            "10.0.0.1",
            "127.0.0.1",
            "a b",
        ] {
            names.add(name);
        }
        assert_eq!(names.dns, ["localhost", "gate.example.org"]);
        assert_eq!(names.addresses.len(), 3);
    }

    #[test]
    fn the_names_of_a_certificate_are_taken_over() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;

        let mut names = HostNames::loopback();
        names.add("gate.example.org");
        names.add("192.0.2.1");
        let (authority, _) = Authority::make(Now::default()).unwrap();
        let pair = authority.gateway(&names, Now::default()).unwrap();
        let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
        assert_eq!(HostNames::default().with_those_of(&der), names);
        assert_eq!(HostNames::loopback().with_those_of(&der), names);
        let nothing = HostNames::default().with_those_of(b"no certificate");
        assert_eq!(nothing, HostNames::default());
    }
}
