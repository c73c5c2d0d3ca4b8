//! What a certificate says of itself.

use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::revocation::certificate_id_of;
use super::role::{Role, RoleError, roles_of};
use crate::identity::CertificateId;

/// The parts of a certificate that we go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    pub id: CertificateId,
    /// The bytes of the serial number as they stand in the certificate.
    pub serial: Box<[u8]>,
    /// The DER of its own name.
    pub subject: Box<[u8]>,
    /// The DER of the name of whoever signed it.
    pub issuer: Box<[u8]>,
    /// The public key as it stands in the certificate.
    pub public_key: Box<[u8]>,
    /// Its common name, or all of its name where it has none.
    pub name: String,
    pub roles: Vec<Role>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// The last second in which it is valid, since the Unix epoch.
    pub not_after: i64,
}

impl CertificateInfo {
    /// Reads a certificate in DER. Nothing is verified.
    ///
    /// # Errors
    /// [`RoleError::Malformed`].
    pub fn read(certificate: &[u8]) -> Result<Self, RoleError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| RoleError::Malformed)?;
        let constraints = parsed
            .basic_constraints()
            .map_err(|_| RoleError::Malformed)?;
        let common = parsed.subject().iter_common_name().next();
        let common = common
            .and_then(|name| name.as_str().ok())
            .map(str::to_owned);
        Ok(Self {
            id: certificate_id_of(parsed.issuer().as_raw(), parsed.raw_serial()),
            serial: parsed.raw_serial().into(),
            subject: parsed.subject().as_raw().into(),
            issuer: parsed.issuer().as_raw().into(),
            public_key: parsed.public_key().subject_public_key.data.as_ref().into(),
            name: common.unwrap_or_else(|| parsed.subject().to_string()),
            roles: roles_of(&parsed)?,
            is_authority: constraints.is_some_and(|constraints| constraints.value.ca),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }
}

/// A serial number as openssl writes it: hex digits, two a byte.
pub fn serial_text(serial: &[u8]) -> String {
    hex::encode_upper(significant(serial))
}

/// The bytes of a serial number as DER writes them, from hex digits with or without colons.
pub fn parse_serial(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|digit| *digit != ':').collect();
    let even = format!("{}{digits}", "0".repeat(digits.len() % 2));
    let bytes = hex::decode(even).ok().filter(|bytes| !bytes.is_empty())?;
    let bytes = significant(&bytes);
    // A first bit that is set would make the number negative.
    let sign = bytes.first().is_none_or(|first| first & 0x80 != 0);
    Some([&[0][..usize::from(sign)], bytes].concat())
}

/// The day of an instant in seconds since the Unix epoch, as `2026-11-21`; the number itself where
/// the calendar ends.
pub fn day(unix_seconds: i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(unix_seconds) else {
        return unix_seconds.to_string();
    };
    let time = time.to_datetime();
    let month = u8::from(time.month());
    format!("{:04}-{month:02}-{:02}", time.year(), time.day())
}

/// The second of an instant for the name of a file, as `20261121T093000Z`.
pub fn stamp(unix_seconds: i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(unix_seconds) else {
        return unix_seconds.to_string();
    };
    let (hour, minute, second) = time.to_datetime().to_hms();
    let day = day(unix_seconds).replace('-', "");
    format!("{day}T{hour:02}{minute:02}{second:02}Z")
}

fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_serial_is_read_with_and_without_colons() {
        for (text, expected) in [
            ("4A:0b", vec![0x4a, 0x0b]),
            ("4A0B", vec![0x4a, 0x0b]),
            ("A0B", vec![0x0a, 0x0b]),
            ("00ff", vec![0, 0xff]),
            ("ff", vec![0, 0xff]),
            ("0", vec![0]),
        ] {
            assert_eq!(parse_serial(text), Some(expected), "{text}");
        }
        for text in ["", ":", "4g", "0x4a", "alice.crt"] {
            assert_eq!(parse_serial(text), None, "{text}");
        }
        assert_eq!(serial_text(&[0, 0xab, 1]), "AB01");
    }

    #[test]
    fn an_instant_is_told_by_its_day_or_its_second() {
        assert_eq!(day(1_800_000_000), "2027-01-15");
        assert_eq!(stamp(1_800_000_000), "20270115T080000Z");
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(i64::MAX), i64::MAX.to_string());
    }

    proptest! {
        #[test]
        fn a_serial_that_is_told_is_read_again(
            first in 1_u8..0x80,
            rest in prop::collection::vec(any::<u8>(), 0..19),
        ) {
            let serial = [&[first][..], &rest].concat();
            prop_assert_eq!(parse_serial(&serial_text(&serial)), Some(serial));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = CertificateInfo::read(&bytes);
        }
    }
}
