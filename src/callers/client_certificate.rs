//! The certificate that a client of the services showed in its TLS handshake, which verified it.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::access::Caller;
use crate::identity::CertificateId;
use crate::link::revocation::certificate_id_of;
use crate::link::role::caller_of;

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub id: CertificateId,
    /// Milliseconds since the Unix epoch.
    pub expires_unix_ms: u64,
    /// `None` when it is no certificate of a caller: a device's, a gateway's, a tenant's.
    pub caller: Option<Caller>,
}

impl ClientCertificate {
    /// Reads a certificate in DER; `None` when it does not parse.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let expires = certificate.validity().not_after.timestamp();
        Some(Self {
            id: certificate_id_of(certificate.issuer().as_raw(), certificate.raw_serial()),
            expires_unix_ms: u64::try_from(expires).unwrap_or(0).saturating_mul(1000),
            caller: caller_of(&certificate),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;
    use crate::access::Role;

    fn shown(uris: &[&str]) -> Option<Caller> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("ascii"));
        params.subject_alt_names.extend(uris.iter().map(uri));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        ClientCertificate::read(certificate.der())
            .expect("parses")
            .caller
    }

    #[test]
    fn the_role_is_in_the_name() {
        for role in Role::ALL {
            let caller = shown(&[&format!("urn:gatehouse:{role}:anna"), "https://a"]);
            let name = "certificate anna".into();
            assert_eq!(caller, Some(Caller { name, role }));
        }
    }

    #[test]
    fn other_certificates_are_nobodys() {
        for uris in [
            &[][..],
            &["urn:gatehouse:device:7"],
            &["urn:gatehouse:gateway"],
            &["urn:gatehouse:operator:"],
            &["urn:gatehouse:operator:a b"],
            &["urn:gatehouse:root:anna"],
            &["urn:gatehouse:operator:anna", "urn:gatehouse:device:7"],
            &["urn:gatehouse:viewer:anna", "urn:gatehouse:admin:anna"],
            &["https://urn:gatehouse:operator:anna"],
        ] {
            assert_eq!(shown(uris), None, "{uris:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientCertificate::read(&bytes);
        }
    }
}
