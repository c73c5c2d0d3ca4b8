//! An accept filter from the words of the command line.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::exit::{Exit, Failure};
use crate::grpc::proto::gsdk::connect::AcceptFilter;

/// A host or a network: `192.0.2.7`, `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts {
    ip: Ipv4Addr,
    /// Given with the address, after a `/`.
    mask: Option<Ipv4Addr>,
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = || {
            text.parse().ok().map(|net: Ipv4Net| Self {
                ip: net.addr(),
                mask: Some(net.netmask()),
            })
        };
        let host = text.parse().ok().map(|ip| Self { ip, mask: None });
        host.or_else(network).ok_or_else(|| {
            format!(
                "{text:?} is neither an IPv4 address nor a network; write 192.0.2.7 or 192.0.2.0/24"
            )
        })
    }
}

/// A filter with exactly these entries. `subnets` are the masks of `hosts` in their order, or
/// none at all.
///
/// # Errors
/// [`Exit::Usage`] when there are some masks, and not one for each address.
pub fn filter(
    device_ids: Vec<u32>,
    hosts: &[Hosts],
    subnets: &[Ipv4Addr],
) -> Result<AcceptFilter, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    if !subnets.is_empty() && subnets.len() != hosts.len() {
        return Err(usage(format!(
            "there are {} --subnet for {} --from; give one for each, in the same order, or none",
            subnets.len(),
            hosts.len()
        )));
    }
    let mut masks = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let mask = match (host.mask, subnets.get(index)) {
            (Some(_), Some(_)) => {
                return Err(usage(format!(
                    "the address {} has its subnet after the / already; leave --subnet out",
                    host.ip
                )));
            }
            (mask, subnet) => mask.or(subnet.copied()),
        };
        masks.push(mask.map(|mask| mask.to_string()).unwrap_or_default());
    }
    Ok(AcceptFilter {
        allow_all: false,
        device_i_ds: device_ids,
        ip_addrs: hosts.iter().map(|host| host.ip.to_string()).collect(),
        subnet_masks: masks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> Vec<Hosts> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn networks_are_written_either_way() {
        let wanted = AcceptFilter {
            allow_all: false,
            device_i_ds: vec![7],
            ip_addrs: vec!["192.0.2.7".to_owned(), "198.51.100.0".to_owned()],
            subnet_masks: vec![String::new(), "255.255.255.0".to_owned()],
        };
        let short = filter(vec![7], &hosts(&["192.0.2.7", "198.51.100.0/24"]), &[]);
        assert_eq!(short, Ok(wanted));
        let long = filter(
            vec![],
            &hosts(&["192.0.2.7"]),
            &[Ipv4Addr::new(255, 255, 255, 255)],
        );
        assert_eq!(long.unwrap().subnet_masks, ["255.255.255.255"]);
    }

    #[test]
    fn masks_that_do_not_fit_are_told() {
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        let few = filter(vec![], &hosts(&["192.0.2.7", "192.0.2.8"]), &[mask]).unwrap_err();
        assert!(few.text.contains("1 --subnet for 2 --from"), "{few}");
        let twice = filter(vec![], &hosts(&["192.0.2.0/24"]), &[mask]).unwrap_err();
        assert!(twice.text.contains("leave --subnet out"), "{twice}");
        for text in ["", "door", "::1", "192.0.2.0/33", "192.0.2.0/x"] {
            assert!(text.parse::<Hosts>().is_err(), "{text}");
        }
    }
}
