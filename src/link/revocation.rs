//! Which certificates are revoked: certificate revocation lists, as the roots signed them.

use std::collections::{BTreeMap, HashSet};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::role::RoleError;
use crate::identity::CertificateId;

/// A revocation list in DER.
pub type Crl = CertificateRevocationListDer<'static>;

/// How a block of a revocation list begins in PEM.
const PEM_BEGINS: &str = "-----BEGIN X509 CRL-----";

/// Why revocation lists are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    #[error("it is no list of revoked certificates in PEM")]
    Malformed,
    #[error("a list in it was not signed by the root whose name it bears")]
    Signature,
}

/// The entries of one list, as they are needed to make the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedList {
    /// Counts up with every list of a root; 0 before the first.
    pub number: u64,
    /// The bytes of each serial number as they stand in the certificate, and since when it is
    /// revoked, in seconds since the Unix epoch.
    pub entries: BTreeMap<Box<[u8]>, i64>,
}

/// The ID of a certificate in DER.
///
/// # Errors
/// [`RoleError::Malformed`].
pub fn certificate_id(certificate: &[u8]) -> Result<CertificateId, RoleError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| RoleError::Malformed)?;
    Ok(certificate_id_of(
        parsed.issuer().as_raw(),
        parsed.raw_serial(),
    ))
}

/// The ID of the certificate that an issuer, by the DER of its name, gave a serial number.
pub fn certificate_id_of(issuer: &[u8], serial: &[u8]) -> CertificateId {
    let digest = Sha256::new()
        .chain_update(issuer)
        .chain_update(serial)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    CertificateId(id)
}

/// The lists of a PEM file; none in an empty one.
///
/// # Errors
/// [`RevocationError::Malformed`] when there is something else or a part of a list: a revocation
/// must not be overlooked.
pub fn parse_crls(pem: &str) -> Result<Vec<Crl>, RevocationError> {
    let crls: Vec<Crl> = Crl::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| RevocationError::Malformed)?;
    let all_parse = crls.iter().all(|crl| parsed(crl).is_some());
    let is_whole = pem.matches(PEM_BEGINS).count() == crls.len();
    if all_parse && is_whole && (pem.trim().is_empty() || !crls.is_empty()) {
        Ok(crls)
    } else {
        Err(RevocationError::Malformed)
    }
}

/// Checks that each list that bears the name of one of these roots was signed by it.
///
/// # Errors
/// [`RevocationError`].
pub fn check_crls(crls: &[Crl], roots: &[CertificateDer<'_>]) -> Result<(), RevocationError> {
    for crl in crls {
        let crl = parsed(crl).ok_or(RevocationError::Malformed)?;
        let roots = roots
            .iter()
            .filter_map(|root| Some(X509Certificate::from_der(root).ok()?.1));
        let mut of_name = roots
            .filter(|root| root.subject().as_raw() == crl.issuer().as_raw())
            .peekable();
        let is_known = of_name.peek().is_some();
        if is_known && !of_name.any(|root| crl.verify_signature(root.public_key()).is_ok()) {
            return Err(RevocationError::Signature);
        }
    }
    Ok(())
}

/// All certificates that these lists revoke. What is no list is passed over: [`parse_crls`] takes
/// none such.
pub fn revoked_ids(crls: &[Crl]) -> HashSet<CertificateId> {
    let mut ids = HashSet::new();
    for crl in crls.iter().filter_map(parsed) {
        let issuer = crl.issuer().as_raw();
        let revoked = crl.iter_revoked_certificates();
        ids.extend(revoked.map(|revoked| certificate_id_of(issuer, revoked.raw_serial())));
    }
    ids
}

/// The name in DER of whoever signed a list.
pub fn issuer_of(crl: &Crl) -> Option<Box<[u8]>> {
    parsed(crl).map(|crl| crl.issuer().as_raw().into())
}

/// The second of the next list that its issuer has announced in this one, since the Unix epoch.
pub fn next_update(crl: &Crl) -> Option<i64> {
    Some(parsed(crl)?.next_update()?.timestamp())
}

/// What the lists of one issuer hold together, with the highest number.
pub fn list_of(crls: &[Crl], issuer: &[u8]) -> RevokedList {
    let mut list = RevokedList::default();
    let of_issuer = crls
        .iter()
        .filter_map(parsed)
        .filter(|crl| crl.issuer().as_raw() == issuer);
    for crl in of_issuer {
        list.number = list.number.max(number_of(&crl));
        for revoked in crl.iter_revoked_certificates() {
            let since = revoked.revocation_date.timestamp();
            list.entries.insert(revoked.raw_serial().into(), since);
        }
    }
    list
}

/// A number above 64 bits counts as the highest that there is.
fn number_of(crl: &CertificateRevocationList<'_>) -> u64 {
    let bytes = crl.crl_number().map(|number| number.to_bytes_be());
    let bytes = bytes.unwrap_or_default();
    let mut number = [0; 8];
    match number.len().checked_sub(bytes.len()) {
        Some(start) => number[start..].copy_from_slice(&bytes),
        None => return u64::MAX,
    }
    u64::from_be_bytes(number)
}

fn parsed<'a>(crl: &'a Crl) -> Option<CertificateRevocationList<'a>> {
    let (rest, crl) = CertificateRevocationList::from_der(crl).ok()?;
    rest.is_empty().then_some(crl)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::authority::Authority;
    use crate::link::certificate::CertificateInfo;
    use crate::link::role::Role;
    use crate::time::{Instant, Now};

    const NOW: Now = Now {
        instant: Instant::ZERO,
        unix_ms: 1_800_000_000_000,
    };

    struct House {
        authority: Authority,
        root: CertificateDer<'static>,
        leaves: Vec<CertificateInfo>,
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn house() -> House {
        let (authority, root) = Authority::make(NOW).unwrap();
        let role = Role::operator("alice").unwrap();
        let leaf = || {
            let pair = authority.client(&role, NOW).unwrap();
            CertificateInfo::read(&der(&pair.certificate)).unwrap()
        };
        let leaves = (0..3).map(|_| leaf()).collect();
        let root = der(&root.certificate);
        House {
            authority,
            root,
            leaves,
        }
    }

    impl House {
        fn crl(&self, number: u64, revoked: &[usize]) -> String {
            let serials = revoked.iter().map(|place| &self.leaves[*place].serial);
            let list = RevokedList {
                number,
                entries: serials.cloned().zip(1_700_000_000..).collect(),
            };
            self.authority.revocation_list(&list, NOW).unwrap()
        }
    }

    #[test]
    fn what_was_revoked_is_read_again() {
        let (ours, other) = (house(), house());
        let pem = format!("{}{}", ours.crl(7, &[0, 2]), other.crl(1, &[1]));
        let crls = parse_crls(&pem).unwrap();
        let expected = [&ours.leaves[0], &ours.leaves[2], &other.leaves[1]];
        let expected: HashSet<_> = expected.map(|leaf| leaf.id).into_iter().collect();
        assert_eq!(revoked_ids(&crls), expected);
        let list = list_of(&crls, &ours.leaves[0].issuer);
        assert_eq!(list.number, 7);
        let since: Vec<_> = list.entries.values().copied().collect();
        assert_eq!(since.iter().sum::<i64>(), 2 * 1_700_000_000 + 1);
        assert!(list.entries.contains_key(&ours.leaves[2].serial));
        assert_eq!(list_of(&crls, b"nobody"), RevokedList::default());
        assert_eq!(issuer_of(&crls[0]), Some(ours.leaves[0].issuer.clone()));
    }

    #[test]
    fn the_id_of_a_certificate_is_that_of_its_issuer_and_serial() {
        let house = house();
        let ids: HashSet<_> = house.leaves.iter().map(|leaf| leaf.id).collect();
        assert_eq!(ids.len(), 3);
        let root = certificate_id(&house.root).unwrap();
        let info = CertificateInfo::read(&house.root).unwrap();
        assert_eq!(root, info.id);
        assert_eq!(root, certificate_id_of(&info.subject, &info.serial));
        assert_eq!(certificate_id(b"no certificate"), Err(RoleError::Malformed));
    }

    #[test]
    fn an_empty_list_is_one() {
        let house = house();
        assert_eq!(parse_crls("").unwrap(), []);
        let crls = parse_crls(&house.crl(1, &[])).unwrap();
        assert_eq!(crls.len(), 1);
        assert!(revoked_ids(&crls).is_empty());
    }

    #[test]
    fn a_list_that_another_root_signed_under_the_name_of_ours_is_refused() {
        let (ours, other) = (house(), house());
        let crls = parse_crls(&ours.crl(1, &[0])).unwrap();
        let roots = |house: &House| vec![house.root.clone()];
        assert_eq!(check_crls(&crls, &roots(&ours)), Ok(()));
        // A list of a root that nobody trusts revokes nothing that counts.
        assert_eq!(check_crls(&crls, &roots(&other)), Ok(()));
        let mut forged = crls[0].to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let forged = [Crl::from(forged)];
        let error = check_crls(&forged, &roots(&ours));
        assert_eq!(error, Err(RevocationError::Signature));
    }

    #[test]
    fn a_list_that_was_cut_is_refused_wherever_it_was_cut() {
        let house = house();
        let pem = house.crl(1, &[0, 1]);
        // Without its last dashes nothing of the list is lost.
        let whole = pem.find("-----END").unwrap();
        for end in 1..=whole {
            assert!(parse_crls(&pem[..end]).is_err(), "{end}");
        }
        let both = format!("{pem}{pem}");
        for end in [pem.len() + PEM_BEGINS.len(), pem.len() + 100] {
            assert!(parse_crls(&both[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text: String) {
            let crls = [Crl::from(bytes.clone())];
            let _ = check_crls(&crls, &[]);
            prop_assert!(revoked_ids(&crls).is_empty());
            let _ = list_of(&crls, &[]);
            let _ = certificate_id(&bytes);
            let _ = parse_crls(&text);
        }
    }
}
