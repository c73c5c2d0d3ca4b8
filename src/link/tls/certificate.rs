//! What a certificate says of the device that shows it.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::device::DeviceId;
use crate::identity::{CertificateId, DeviceCertificate, Identity};
use crate::link::revocation::certificate_id_of;

const DEVICE: &str = "urn:gatehouse:device:";

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} does not parse, it should be X.509 in DER")]
pub struct Malformed(&'static str);

/// A certificate in DER with the devices that its subject alternative names name; there may be
/// none. It says nothing of who signed it.
///
/// # Errors
/// [`Malformed`].
pub fn device_certificate(certificate: &[u8]) -> Result<DeviceCertificate, Malformed> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| Malformed("certificate"))?;
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
    use crate::link::revocation::certificate_id;
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

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = device_certificate(&bytes);
        }
    }
}
