//! When what the gateway shows and trusts expires.

use std::collections::{HashMap, HashSet};

use super::certificate::CertificateInfo;
use super::certs::Certs;
use super::issued::Issued;
use super::revocation::next_update;
use super::role::Role;
use crate::device::DeviceId;
use crate::identity::CertificateId;
use crate::time::Now;

/// A device certificate that expires within so many seconds wants a new one.
const SOON: i64 = 30 * 24 * 3600;

/// In seconds since the Unix epoch, each the last one that is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// The soonest of the chain that the gateway shows.
    pub server: Option<i64>,
    /// The soonest of the roots.
    pub root: Option<i64>,
    /// The soonest of the revocation lists; `None` without one.
    pub revocation_list: Option<i64>,
    pub devices: DeviceExpiry,
}

/// When device certificates expire: of each device the newest that was made here and is not
/// revoked. Those that it took the place of are not waited for by anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceExpiry(Vec<i64>);

impl Expiry {
    pub fn of(certs: &Certs, issued: &[Issued], revoked: &HashSet<CertificateId>) -> Self {
        // They were read when they were taken; what does not parse here has no date.
        let not_after = |der: &_| Some(CertificateInfo::read(AsRef::as_ref(der)).ok()?.not_after);
        Self {
            server: certs.chain.iter().filter_map(not_after).min(),
            root: certs.roots.iter().filter_map(not_after).min(),
            revocation_list: certs.crls.iter().filter_map(next_update).min(),
            devices: DeviceExpiry::of(issued, revoked),
        }
    }
}

impl DeviceExpiry {
    fn of(issued: &[Issued], revoked: &HashSet<CertificateId>) -> Self {
        let mut newest: HashMap<DeviceId, &Issued> = HashMap::new();
        for issued in issued.iter().filter(|issued| !revoked.contains(&issued.id)) {
            for role in &issued.roles {
                if let Role::Device(device) = role {
                    let newest = newest.entry(*device).or_insert(issued);
                    if newest.not_after <= issued.not_after {
                        *newest = issued;
                    }
                }
            }
        }
        // One certificate may be for several devices.
        let certificates: HashMap<_, _> = newest
            .values()
            .map(|issued| (issued.id, issued.not_after))
            .collect();
        let mut ends: Vec<_> = certificates.into_values().collect();
        ends.sort_unstable();
        Self(ends)
    }

    /// How many expire within 30 days. Those that have expired are not among them.
    pub fn soon(&self, now: Now) -> usize {
        let now = i64::try_from(now.unix_ms / 1000).unwrap_or(i64::MAX);
        let until = |time| self.0.partition_point(|end| *end < time);
        until(now.saturating_add(SOON)).saturating_sub(until(now))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::link::authority::{Authority, CertificatePair};
    use crate::link::host_names::HostNames;
    use crate::link::revocation::{RevokedList, parse_crls};
    use crate::time::Instant;

    const DAY: i64 = 24 * 3600;

    fn at(days: i64) -> Now {
        Now {
            instant: Instant::ZERO,
            unix_ms: u64::try_from(days * DAY * 1000).unwrap(),
        }
    }

    fn der(pair: &CertificatePair) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
    }

    fn not_after(pair: &CertificatePair) -> i64 {
        CertificateInfo::read(&der(pair)).unwrap().not_after
    }

    /// A certificate for these devices with so many days to live from day 0.
    fn issued(number: u8, devices: &[u32], days: i64) -> Issued {
        let device = |id: &u32| Role::Device(DeviceId::new(*id).unwrap());
        Issued {
            id: CertificateId([number; 16]),
            serial: [number].into(),
            roles: devices.iter().map(device).collect(),
            not_after: days * DAY,
        }
    }

    fn soon(issued: &[Issued], revoked: &[u8], now: i64) -> usize {
        let revoked = revoked.iter().map(|number| CertificateId([*number; 16]));
        DeviceExpiry::of(issued, &revoked.collect()).soon(at(now))
    }

    #[test]
    fn the_soonest_of_each_kind_counts() {
        let made = [100, 200].map(|days| Authority::make(at(days)).unwrap());
        let hosts = HostNames {
            dns: vec!["gate".into()],
            addresses: Vec::new(),
        };
        let [(old, old_root), (new, new_root)] = &made;
        let server = new.gateway(&hosts, at(200)).unwrap();
        let lists = [(new, 300), (old, 250)].map(|(authority, days)| {
            let list = RevokedList::default();
            authority.revocation_list(&list, at(days)).unwrap()
        });
        let mut certs = Certs {
            roots: vec![der(new_root), der(old_root)],
            crls: parse_crls(&lists.concat()).unwrap(),
            chain: vec![der(&server), der(old_root)],
            key: PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap(),
        };
        let expiry = Expiry::of(&certs, &[], &HashSet::new());
        assert!(not_after(old_root) < not_after(new_root));
        assert_eq!(expiry.root, Some(not_after(old_root)));
        let of_chain = not_after(&server).min(not_after(old_root));
        assert_eq!(expiry.server, Some(of_chain));
        let list = expiry.revocation_list.unwrap();
        certs.crls.remove(1);
        let of_new = Expiry::of(&certs, &[], &HashSet::new()).revocation_list;
        assert_eq!(of_new, Some(list + 50 * DAY));
        certs.crls.clear();
        let without = Expiry::of(&certs, &[], &HashSet::new());
        assert_eq!(without.revocation_list, None);
    }

    #[test]
    fn device_certificates_count_for_their_last_thirty_days() {
        let all = [issued(1, &[7], 100), issued(2, &[8], 110)];
        for (now, expected) in [
            (0, 0),
            (69, 0),
            (71, 1),
            (81, 2),
            (99, 2),
            (101, 1),
            (111, 0),
        ] {
            assert_eq!(soon(&all, &[], now), expected, "day {now}");
        }
        assert_eq!(soon(&all, &[2], 81), 1);
    }

    #[test]
    fn one_that_has_a_newer_one_is_not_waited_for() {
        let all = [
            issued(1, &[7, 8], 100),
            issued(2, &[7], 2000),
            issued(3, &[9], 2000),
            issued(4, &[9], 100),
        ];
        // 8 has nothing newer.
        assert_eq!(soon(&all, &[], 90), 1);
        assert_eq!(soon(&all[1..], &[], 90), 0);
        // Its newer one is revoked.
        assert_eq!(soon(&all[2..], &[3], 90), 1);
        // One certificate for two devices is one.
        assert_eq!(soon(&all[..1], &[], 90), 1);
        let of_a_client = Issued {
            roles: vec![Role::operator("alice").unwrap()],
            ..issued(5, &[], 100)
        };
        assert_eq!(soon(&[of_a_client], &[], 90), 0);
    }
}
