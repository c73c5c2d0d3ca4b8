//! What a certificate of ours is for: its role, written in its subject alternative name.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const GATEWAY: &str = "urn:gatehouse:gateway";
const OPERATOR: &str = "urn:gatehouse:operator:";

/// The longest name of an operator, in characters.
pub const OPERATOR_NAME_MAX: usize = 64;

/// Whom a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `urn:gatehouse:gateway`: the server of the API and of devices.
    Gateway,
    /// `urn:gatehouse:operator:<name>`: a client of the API.
    Operator(String),
}

/// Why a certificate tells no roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("the certificate does not parse")]
    Malformed,
    #[error("an operator's name is 1 to {OPERATOR_NAME_MAX} of A-Z a-z 0-9 . _ -")]
    OperatorName,
}

impl Role {
    /// # Errors
    /// [`RoleError::OperatorName`] for a name with another length or character.
    pub fn operator(name: &str) -> Result<Self, RoleError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=OPERATOR_NAME_MAX).contains(&name.len()) && name.bytes().all(is_allowed) {
            Ok(Self::Operator(name.to_owned()))
        } else {
            Err(RoleError::OperatorName)
        }
    }

    /// As it stands in the certificate.
    pub fn uri(&self) -> String {
        match self {
            Self::Gateway => GATEWAY.to_owned(),
            Self::Operator(name) => format!("{OPERATOR}{name}"),
        }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        if uri == GATEWAY {
            return Some(Self::Gateway);
        }
        Self::operator(uri.strip_prefix(OPERATOR)?).ok()
    }
}

/// The roles that a certificate in DER names. It says nothing of who signed it. Other names and
/// roles that we do not know are passed over.
///
/// # Errors
/// [`RoleError::Malformed`].
pub fn roles(certificate: &[u8]) -> Result<Vec<Role>, RoleError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| RoleError::Malformed)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| RoleError::Malformed)?;
    let uris = names.iter().flat_map(|names| &names.value.general_names);
    Ok(uris
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Role::from_uri(uri),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn roles_go_round() {
        for role in [Role::Gateway, Role::operator("alice.b_c-1").unwrap()] {
            assert_eq!(Role::from_uri(&role.uri()), Some(role));
        }
    }

    #[test]
    fn a_name_that_could_be_mistaken_is_refused() {
        let longest = "a".repeat(OPERATOR_NAME_MAX);
        assert!(Role::operator(&longest).is_ok());
        for name in ["", "a b", "a:b", "ä", "a/b", &format!("{longest}a")] {
            assert_eq!(Role::operator(name), Err(RoleError::OperatorName), "{name}");
            assert_eq!(Role::from_uri(&format!("{OPERATOR}{name}")), None, "{name}");
        }
    }

    #[test]
    fn other_names_are_no_roles() {
        for uri in [
            "urn:gatehouse:gateways",
            "urn:gatehouse:device:1",
            "https://a",
            "URN:gatehouse:gateway",
        ] {
            assert_eq!(Role::from_uri(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = roles(&bytes);
        }
    }
}
