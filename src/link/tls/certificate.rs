//! What a certificate says of the device that shows it, and which ones a revocation list names.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::device::DeviceId;
use crate::identity::{CertificateId, DeviceCertificate, Identity};
use crate::link::revocation::certificate_id_of;

const DEVICE: &str = "urn:gatehouse:device:";

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} does not parse, it should be X.509 in DER")]
pub struct Malformed(&'static str);

/// The ID of a certificate in DER.
///
/// # Errors
/// [`Malformed`].
pub fn certificate_id(certificate: &[u8]) -> Result<CertificateId, Malformed> {
    let certificate = parse(certificate)?;
    Ok(id_of(&certificate))
}

/// The IDs of the certificates that a revocation list in DER names. It says nothing of who signed
/// the list.
///
/// # Errors
/// [`Malformed`].
pub fn revoked_ids(crl: &[u8]) -> Result<Vec<CertificateId>, Malformed> {
    let (_, crl) = CertificateRevocationList::from_der(crl)
        .map_err(|_| Malformed("certificate revocation list"))?;
    let issuer = crl.issuer().as_raw();
    let revoked = crl.iter_revoked_certificates();
    Ok(revoked
        .map(|entry| certificate_id_of(issuer, entry.raw_serial()))
        .collect())
}

/// A certificate in DER with the devices that its subject alternative names name; there may be
/// none. It says nothing of who signed it.
///
/// # Errors
/// [`Malformed`].
pub fn device_certificate(certificate: &[u8]) -> Result<DeviceCertificate, Malformed> {
    let certificate = parse(certificate)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Malformed("certificate"))?;
    let uris = names.iter().flat_map(|names| &names.value.general_names);
    let devices = uris.filter_map(|name| match name {
        GeneralName::URI(uri) => device(uri),
        _ => None,
    });
    Ok(DeviceCertificate {
        id: id_of(&certificate),
        devices: devices.collect(),
    })
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, Malformed> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| Malformed("certificate"))?;
    Ok(certificate)
}

/// The device that a URI names: its ID is written as in a Connect.
fn device(uri: &str) -> Option<DeviceId> {
    let number = uri.strip_prefix(DEVICE)?;
    Identity::new("", number).ok()?.serial()
}

fn id_of(certificate: &X509Certificate<'_>) -> CertificateId {
    certificate_id_of(certificate.issuer().as_raw(), certificate.raw_serial())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::tls::testing::House;

    #[test]
    fn a_device_is_named_as_in_a_connect() {
        assert_eq!(device("urn:gatehouse:device:4711"), DeviceId::new(4711));
        for uri in [
            "urn:gatehouse:device:",
            "urn:gatehouse:device:0",
            "urn:gatehouse:device:04711",
            "urn:gatehouse:device:+1",
            "urn:gatehouse:device:4294967296",
            "urn:gatehouse:device:door",
            "urn:gatehouse:gateway",
            "URN:gatehouse:device:1",
        ] {
            assert_eq!(device(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_certificate_names_its_devices() {
        let house = House::new();
        let uris = [
            "urn:gatehouse:device:7",
            "urn:gatehouse:gateway",
            "urn:gatehouse:device:9",
        ];
        let shown = house.leaf(&uris);
        let read = device_certificate(&shown.der).unwrap();
        assert_eq!(*read.devices, [7, 9].map(|id| DeviceId::new(id).unwrap()));
        assert_eq!(certificate_id(&shown.der), Ok(read.id));
    }

    #[test]
    fn a_revocation_list_names_the_same_id() {
        let house = House::new();
        let (one, other) = (house.device(1), house.device(2));
        let crl = house.crl(&[&one]);
        let id = certificate_id(&one.der).unwrap();
        assert_eq!(revoked_ids(&crl), Ok(vec![id]));
        assert_ne!(certificate_id(&other.der), Ok(id));
        assert_eq!(revoked_ids(&house.crl(&[])), Ok(vec![]));
    }

    #[test]
    fn another_root_makes_another_id() {
        let (one, other) = (House::new(), House::new());
        let serial = [0x45; 8];
        let ids = [&one, &other].map(|house| {
            let leaf = house.leaf_with_serial(&["urn:gatehouse:device:1"], &serial);
            certificate_id(&leaf.der).unwrap()
        });
        assert_ne!(ids[0], ids[1]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = device_certificate(&bytes);
            let _ = revoked_ids(&bytes);
        }
    }
}
