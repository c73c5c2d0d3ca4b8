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
