//! Under which names the gateway is spoken to, and from pages of which origins. A page of a stranger
//! that has its own name lead to this machine is refused by the name that its browser sends.

use std::net::IpAddr;

use crate::config::is_host;

/// Where a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The address at which the peer reached this machine.
    pub local: IpAddr,
    pub peer: IpAddr,
    pub is_tls: bool,
}

/// The names that are this gateway's, and the origins that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// In lower case.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    origins: Vec<String>,
}

/// Why a request is refused before anything is looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("the header Host is missing, or given more than once")]
    NoHost,
    #[error("the header Host is no host with an optional port")]
    Malformed,
    #[error(
        "this gateway is not {0}; use its name or address, or list that one in http.hosts of its \
         configuration"
    )]
    Host(String),
    #[error(
        "pages of {0} may not use this gateway; list the origin in http.origins of its \
         configuration if they should"
    )]
    Origin(String),
    #[error("a page of another site may not use this gateway")]
    Site,
}

impl Hosts {
    /// `names`: DNS names and addresses that lead here; `origins`: as browsers write them.
    pub fn new(names: impl IntoIterator<Item = String>, origins: &[String]) -> Self {
        let mut hosts = Self {
            names: Vec::new(),
            addresses: Vec::new(),
            origins: origins
                .iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
        };
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(address) => hosts.addresses.push(address.to_canonical()),
                Err(_) => hosts.names.push(name.to_ascii_lowercase()),
            }
        }
        hosts
    }

    /// Judges the authority that a request names: `gate.example.org:4080`.
    ///
    /// # Errors
    /// [`Foreign::Malformed`], [`Foreign::Host`].
    pub fn check_host(&self, authority: &str, via: Via) -> Result<(), Foreign> {
        let host = host_of(authority).ok_or(Foreign::Malformed)?;
        let is_ours = match host {
            Host::Address(address) => {
                address == via.local.to_canonical() || self.addresses.contains(&address)
            }
            Host::Name(name) if name == "localhost" => via.peer.to_canonical().is_loopback(),
            Host::Name(name) => self.names.contains(&name),
        };
        if is_ours {
            Ok(())
        } else {
            Err(Foreign::Host(authority.to_owned()))
        }
    }

    /// Judges the origin of the page that sent a request to `authority`, where there is one.
    ///
    /// # Errors
    /// [`Foreign::Origin`].
    pub fn check_origin(&self, origin: &str, authority: &str, via: Via) -> Result<(), Foreign> {
        let origin = origin.to_ascii_lowercase();
        let own = own_origin(authority, via);
        if own == origin || self.origins.contains(&origin) {
            Ok(())
        } else {
            Err(Foreign::Origin(origin))
        }
    }
}

enum Host {
    Address(IpAddr),
    /// In lower case, without the dot of the root.
    Name(String),
}

fn host_of(authority: &str) -> Option<Host> {
    let (host, port) = split_port(authority)?;
    if let Some(port) = port {
        port.parse::<u16>().ok()?;
    }
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(v6) = inside {
        let address: std::net::Ipv6Addr = v6.parse().ok()?;
        return Some(Host::Address(IpAddr::V6(address).to_canonical()));
    }
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    is_host(name).then(|| Host::Name(name.to_ascii_lowercase()))
}

/// `[::1]:80` and `a:80` in two; a colon inside of brackets parts nothing.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after..)?.rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(after + at);
            Some((host, Some(port.get(1..)?)))
        }
        None => Some((authority, None)),
    }
}

/// The origin that a browser gives to pages of this gateway: it leaves out the usual port.
fn own_origin(authority: &str, via: Via) -> String {
    let (scheme, usual) = if via.is_tls {
        ("https", ":443")
    } else {
        ("http", ":80")
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    format!("{scheme}://{authority}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn via(local: &str, peer: &str, is_tls: bool) -> Via {
        Via {
            local: local.parse().expect("an address"),
            peer: peer.parse().expect("an address"),
            is_tls,
        }
    }

    fn hosts() -> Hosts {
        let names = ["Gate.Example.Org", "192.0.2.9", "2001:db8::9"].map(str::to_owned);
        Hosts::new(names, &["https://App.example.org".to_owned()])
    }

    #[test]
    fn own_names_and_addresses_are_known_in_every_form() {
        let via = via("::ffff:10.0.0.1", "10.0.0.2", true);
        for host in [
            "gate.example.org",
            "GATE.example.org.:4080",
            "192.0.2.9:1",
            "[2001:db8:0::9]",
            "10.0.0.1:4080",
            "[::ffff:10.0.0.1]:4080",
        ] {
            assert_eq!(hosts().check_host(host, via), Ok(()), "{host}");
        }
        for host in [
            "example.org",
            "a.gate.example.org",
            "10.0.0.2",
            "127.0.0.1",
            "[::1]",
        ] {
            let foreign = Foreign::Host(host.to_owned());
            assert_eq!(hosts().check_host(host, via), Err(foreign));
        }
        for host in [
            "",
            ":80",
            "gate.example.org:",
            "::1",
            "[::1",
            "a/b",
            "a@gate.example.org",
        ] {
            assert_eq!(
                hosts().check_host(host, via),
                Err(Foreign::Malformed),
                "{host}"
            );
        }
    }

    #[test]
    fn localhost_is_ours_only_on_this_machine() {
        let near = via("127.0.0.1", "::ffff:127.0.0.1", false);
        let far = via("10.0.0.1", "10.0.0.2", true);
        assert_eq!(hosts().check_host("localhost:4080", near), Ok(()));
        assert!(hosts().check_host("localhost:4080", far).is_err());
    }

    #[test]
    fn an_origin_is_ours_with_scheme_and_port() {
        let (plain, tls) = (
            via("10.0.0.1", "10.0.0.2", false),
            via("10.0.0.1", "10.0.0.2", true),
        );
        for (origin, authority, via, is_ours) in [
            ("http://gate:4080", "Gate:4080", plain, true),
            ("http://gate", "gate:80", plain, true),
            ("https://gate", "gate:443", tls, true),
            ("https://gate:80", "gate:80", tls, true),
            ("https://gate:4080", "gate:4080", plain, false),
            ("http://gate", "gate:4080", plain, false),
            ("https://app.example.org", "gate", plain, true),
            ("http://app.example.org", "gate", plain, false),
            ("https://app.example.org.evil.example", "gate", plain, false),
            ("null", "gate", plain, false),
            ("", "gate", plain, false),
        ] {
            let judged = hosts().check_origin(origin, authority, via);
            assert_eq!(judged.is_ok(), is_ours, "{origin} {authority}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_none_is_ours(text in "\\PC{0,40}") {
            let via = via("10.0.0.1", "10.0.0.2", true);
            prop_assert!(hosts().check_host(&text, via).is_err());
            prop_assert!(hosts().check_origin(&text, "gate", via).is_err());
        }

        #[test]
        fn no_other_address_is_ours(bits: u32) {
            let address = std::net::Ipv4Addr::from(bits);
            let via = via("10.0.0.1", "10.0.0.2", true);
            let known = ["10.0.0.1", "192.0.2.9"].contains(&address.to_string().as_str());
            prop_assert_eq!(hosts().check_host(&address.to_string(), via).is_ok(), known);
        }
    }
}
