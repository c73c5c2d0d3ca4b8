//! What a certificate says of the device that shows it.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::DeviceCertificate;
use crate::link::revocation::certificate_id_of;
use crate::link::role::devices_of;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not parse, it should be X.509 in DER")]
pub struct Malformed;

/// A certificate in DER with the devices that its subject alternative names name; there may be
/// none. It says nothing of who signed it.
///
/// # Errors
/// [`Malformed`].
pub fn device_certificate(certificate: &[u8]) -> Result<DeviceCertificate, Malformed> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| Malformed)?;
    Ok(DeviceCertificate {
        id: certificate_id_of(certificate.issuer().as_raw(), certificate.raw_serial()),
        devices: devices_of(&certificate).map_err(|_| Malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::DeviceId;
    use crate::link::revocation::certificate_id;
    use crate::link::role::Role;
    use crate::link::tls::testing::House;

    fn device(uri: &str) -> Option<DeviceId> {
        match Role::parse(uri) {
            Some(Role::Device(id)) => Some(id),
            _ => None,
        }
    }

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
