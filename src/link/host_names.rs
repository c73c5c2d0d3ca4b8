//! Under which names and addresses this machine is reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

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
}
