//! Which devices may dial in.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::device::DeviceId;

/// The accept filter of the Connect API. The default lets nobody in.
///
/// What was set is kept word for word, because `GetAcceptFilter` answers exactly that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptFilter {
    pub allow_all: bool,
    /// As given: order and repetitions are kept.
    pub device_ids: Vec<u32>,
    pub ip_addrs: Vec<String>,
    /// Entry `i` belongs to `ip_addrs[i]`; missing or empty means that one host.
    pub subnet_masks: Vec<String>,
}

/// Why a filter cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    #[error("IPAddrs[{index}] is {value:?}; it must be an IPv4 address such as 192.0.2.7")]
    Address { index: usize, value: String },
    #[error(
        "subnetMasks[{index}] is {value:?}; it must be an IPv4 mask whose ones all come first, such as 255.255.255.0, or empty for one host"
    )]
    Mask { index: usize, value: String },
    #[error(
        "there are {masks} subnetMasks for {addresses} IPAddrs; there must not be more masks than addresses"
    )]
    TooManyMasks { addresses: usize, masks: usize },
}

impl AcceptFilter {
    /// Checks every address and every mask, also where `allow_all` makes them idle.
    ///
    /// # Errors
    /// [`InvalidFilter`] for the first that is wrong.
    pub fn validate(&self) -> Result<(), InvalidFilter> {
        if self.subnet_masks.len() > self.ip_addrs.len() {
            return Err(InvalidFilter::TooManyMasks {
                addresses: self.ip_addrs.len(),
                masks: self.subnet_masks.len(),
            });
        }
        for (index, value) in self.ip_addrs.iter().enumerate() {
            if value.parse::<Ipv4Addr>().is_err() {
                return Err(InvalidFilter::Address {
                    index,
                    value: value.clone(),
                });
            }
        }
        for (index, value) in self.subnet_masks.iter().enumerate() {
            if mask_bits(value).is_none() {
                return Err(InvalidFilter::Mask {
                    index,
                    value: value.clone(),
                });
            }
        }
        Ok(())
    }

    /// The filter in the form in which it is asked.
    pub fn compile(&self) -> CompiledFilter {
        let mut compiled = CompiledFilter {
            allow_all: self.allow_all,
            device_ids: self.device_ids.iter().copied().collect(),
            hosts: HashSet::new(),
            subnets: Vec::new(),
        };
        for (index, address) in self.ip_addrs.iter().enumerate() {
            let mask = self.subnet_masks.get(index).map_or("", String::as_str);
            // An entry that does not parse lets nobody in.
            match (address.parse::<Ipv4Addr>(), mask_bits(mask)) {
                (Ok(host), Some(u32::MAX)) => drop(compiled.hosts.insert(host.to_bits())),
                (Ok(subnet), Some(mask)) => compiled.subnets.push((subnet.to_bits() & mask, mask)),
                _ => {}
            }
        }
        compiled
    }
}

/// An [`AcceptFilter`] that answers quickly however long it is: a fleet that comes back at once
/// asks it thousands of times a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledFilter {
    allow_all: bool,
    device_ids: HashSet<u32>,
    hosts: HashSet<u32>,
    /// Network and mask.
    subnets: Vec<(u32, u32)>,
}

impl CompiledFilter {
    /// Whether this device may come in from `address`: everybody may, or its ID is listed, or
    /// `by_address` is set and the address lies in one of the subnets.
    ///
    /// An IPv4 address in IPv6 clothes counts as the IPv4 address.
    pub fn accepts(&self, id: DeviceId, address: IpAddr, by_address: bool) -> bool {
        self.allow_all
            || self.device_ids.contains(&id.get())
            || (by_address && self.covers(address))
    }

    fn covers(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else {
            return false;
        };
        let bits = address.to_bits();
        let in_subnet = |&(network, mask): &(u32, u32)| bits & mask == network;
        self.hosts.contains(&bits) || self.subnets.iter().any(in_subnet)
    }
}

/// The bits of a mask whose ones all come first; empty is the mask of one host.
fn mask_bits(mask: &str) -> Option<u32> {
    if mask.is_empty() {
        return Some(u32::MAX);
    }
    let bits = mask.parse::<Ipv4Addr>().ok()?.to_bits();
    let contiguous = bits.leading_ones() + bits.trailing_zeros() >= u32::BITS;
    contiguous.then_some(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(ids: &[u32], subnets: &[(&str, Option<&str>)]) -> AcceptFilter {
        AcceptFilter {
            allow_all: false,
            device_ids: ids.to_vec(),
            ip_addrs: subnets.iter().map(|(ip, _)| (*ip).to_owned()).collect(),
            subnet_masks: subnets
                .iter()
                .map_while(|(_, mask)| mask.map(str::to_owned))
                .collect(),
        }
    }

    fn accepts(filter: &AcceptFilter, id: u32, address: &str) -> bool {
        let id = DeviceId::new(id).expect("not zero");
        filter
            .compile()
            .accepts(id, address.parse().expect("an address"), true)
    }

    #[test]
    fn lets_in_by_all_or_id_or_address() {
        for (all, listed, inside) in
            (0..8).map(|bits| (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0))
        {
            let filter = AcceptFilter {
                allow_all: all,
                ..filter(
                    if listed { &[9, 7, 7] } else { &[9] },
                    &[("10.0.0.0", Some("255.0.0.0"))],
                )
            };
            let address = if inside { "10.9.8.7" } else { "11.9.8.7" };
            assert_eq!(
                accepts(&filter, 7, address),
                all || listed || inside,
                "all {all}, listed {listed}, inside {inside}"
            );
        }
    }

    #[test]
    fn default_lets_nobody_in() {
        assert!(!accepts(&AcceptFilter::default(), 1, "127.0.0.1"));
        assert_eq!(AcceptFilter::default().validate(), Ok(()));
    }

    #[test]
    fn missing_or_empty_mask_is_one_host() {
        let filter = filter(
            &[],
            &[
                ("10.0.0.1", Some("")),
                ("192.168.1.77", Some("255.255.255.0")),
                ("10.0.0.2", None),
            ],
        );
        assert_eq!(filter.subnet_masks.len(), 2);
        for (address, accepted) in [
            ("10.0.0.1", true),
            ("10.0.0.2", true),
            ("10.0.0.3", false),
            ("192.168.1.1", true),
            ("192.168.2.77", false),
            ("::ffff:10.0.0.2", true),
            ("::ffff:10.0.0.3", false),
            ("::1", false),
        ] {
            assert_eq!(accepts(&filter, 1, address), accepted, "{address}");
        }
    }

    #[test]
    fn empty_prefix_is_everybody_on_ipv4() {
        let filter = filter(&[], &[("0.0.0.0", Some("0.0.0.0"))]);
        assert_eq!(filter.validate(), Ok(()));
        assert!(accepts(&filter, 1, "203.0.113.9"));
        assert!(!accepts(&filter, 1, "2001:db8::1"));
    }

    #[test]
    fn addresses_can_be_left_out_of_the_judgement() {
        let filter = filter(&[7], &[("10.0.0.1", None)]);
        let address = "10.0.0.1".parse().expect("an address");
        let id = |id| DeviceId::new(id).expect("not zero");
        assert!(!filter.compile().accepts(id(1), address, false));
        assert!(filter.compile().accepts(id(7), address, false));
    }

    #[test]
    fn refusals_name_index_and_value() {
        let text = |filter: AcceptFilter| filter.validate().expect_err("invalid").to_string();
        assert_eq!(
            text(filter(&[], &[("10.0.0.1", None), ("door-7", None)])),
            "IPAddrs[1] is \"door-7\"; it must be an IPv4 address such as 192.0.2.7"
        );
        for mask in ["255.0.255.0", "0.0.0.255", "24", "::"] {
            let refused = filter(&[], &[("10.0.0.1", Some(mask))]);
            assert!(text(refused).starts_with(&format!("subnetMasks[0] is {mask:?};")));
        }
        let refused = AcceptFilter {
            subnet_masks: vec!["255.0.0.0".to_owned()],
            ..AcceptFilter::default()
        };
        assert_eq!(
            text(refused),
            "there are 1 subnetMasks for 0 IPAddrs; there must not be more masks than addresses"
        );
    }

    proptest! {
        #[test]
        fn a_mask_is_valid_exactly_when_it_is_a_prefix(bits: u32, length in 0u32..=32) {
            let prefix = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            prop_assert_eq!(mask_bits(&Ipv4Addr::from_bits(prefix).to_string()), Some(prefix));
            let is_prefix = (0..=32).any(|n| u32::MAX.checked_shl(32 - n).unwrap_or(0) == bits);
            prop_assert_eq!(mask_bits(&Ipv4Addr::from_bits(bits).to_string()).is_some(), is_prefix);
        }

        #[test]
        fn a_subnet_holds_what_shares_its_prefix(subnet: u32, address: u32, length in 0u32..=32) {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let subnet_text = Ipv4Addr::from_bits(subnet).to_string();
            let mask_text = Ipv4Addr::from_bits(mask).to_string();
            let filter = filter(&[], &[(&subnet_text, Some(&mask_text))]);
            let inside = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(subnet), length as u8)
                .expect("a length")
                .contains(&Ipv4Addr::from_bits(address));
            prop_assert_eq!(accepts(&filter, 1, &Ipv4Addr::from_bits(address).to_string()), inside);
        }
    }
}
