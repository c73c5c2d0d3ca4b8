//! What a certificate of ours is for: its roles, written in its subject alternative names.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::access::{self, Caller, is_caller_name};
use crate::device::DeviceId;

const GATEWAY: &str = "urn:gatehouse:gateway";
const PREFIX: &str = "urn:gatehouse:";
const DEVICE: &str = "device";
/// The first rfc822Name of a tenant's certificate, as the Master API has it: it is no mail address.
const TENANT: &str = "Tenant Certificate";
/// The first rfc822Name of a gateway's certificate, as the Master API has it.
const MASTER_GATEWAY: &str = "Gateway Certificate";

/// The tenant whose certificate reaches everything on a master gateway.
pub const ADMINISTRATOR: &str = "administrator";
/// The longest ID of a tenant or a gateway, in bytes.
pub const MASTER_ID_MAX: usize = 128;

/// Whom a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `urn:gatehouse:gateway`: the server of the API and of devices.
    Gateway,
    /// `urn:gatehouse:device:<id>`.
    Device(DeviceId),
    /// `urn:gatehouse:viewer:<name>`, `…:operator:<name>`, `…:admin:<name>`: a client of the
    /// gateway's services.
    Client { role: access::Role, name: Box<str> },
    /// A tenant of a master gateway: the mail names `Tenant Certificate`, `<tenant>`.
    Tenant(Box<str>),
    /// A device gateway towards its master gateway: the mail names `Gateway Certificate`,
    /// `<tenant>`, `<gateway>`.
    MasterGateway { tenant: Box<str>, gateway: Box<str> },
}

/// How a role, or a part of it, stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleName {
    Uri(String),
    /// An rfc822Name.
    Mail(String),
}

/// Why there is no such role, or why a certificate tells none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("the certificate does not parse")]
    Malformed,
    #[error(
        "the name of a client is 1 to {} of A-Z a-z 0-9 . _ -",
        access::CALLER_NAME_MAX
    )]
    ClientName,
    #[error(
        "the ID of a tenant or a gateway is 1 to {MASTER_ID_MAX} visible ASCII characters \
         without / and spaces"
    )]
    MasterId,
}

impl Role {
    /// A client of the gateway's services.
    ///
    /// # Errors
    /// [`RoleError::ClientName`] for a name with another length or character.
    pub fn client(role: access::Role, name: &str) -> Result<Self, RoleError> {
        if is_caller_name(name) {
            let name = name.into();
            Ok(Self::Client { role, name })
        } else {
            Err(RoleError::ClientName)
        }
    }

    /// # Errors
    /// [`RoleError::ClientName`] for a name with another length or character.
    pub fn operator(name: &str) -> Result<Self, RoleError> {
        Self::client(access::Role::Operator, name)
    }

    /// # Errors
    /// [`RoleError::MasterId`] for an ID with another length or character.
    pub fn tenant(tenant: &str) -> Result<Self, RoleError> {
        Ok(Self::Tenant(master_id(tenant)?))
    }

    /// # Errors
    /// [`RoleError::MasterId`] for an ID with another length or character.
    pub fn master_gateway(tenant: &str, gateway: &str) -> Result<Self, RoleError> {
        Ok(Self::MasterGateway {
            tenant: master_id(tenant)?,
            gateway: master_id(gateway)?,
        })
    }

    /// As it stands in the certificate; the order counts.
    pub fn names(&self) -> Vec<RoleName> {
        let mails = |names: &[&str]| {
            let names = names.iter().map(|name| RoleName::Mail((*name).to_owned()));
            names.collect()
        };
        match self {
            Self::Tenant(tenant) => mails(&[TENANT, tenant]),
            Self::MasterGateway { tenant, gateway } => mails(&[MASTER_GATEWAY, tenant, gateway]),
            uri => vec![RoleName::Uri(uri.to_string())],
        }
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            [uri] => Self::from_uri(uri),
            ["tenant", tenant] => Self::tenant(tenant).ok(),
            ["gateway", tenant, gateway] => Self::master_gateway(tenant, gateway).ok(),
            _ => None,
        }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        if uri == GATEWAY {
            return Some(Self::Gateway);
        }
        let (kind, name) = uri.strip_prefix(PREFIX)?.split_once(':')?;
        if kind == DEVICE {
            let id = name.parse().ok().and_then(DeviceId::new)?;
            // One spelling only: 7, not 007 or +7.
            return (id.to_string() == name).then_some(Self::Device(id));
        }
        Self::client(access::Role::from_name(kind)?, name).ok()
    }

    fn from_mails(mails: &[&str]) -> Option<Self> {
        match mails {
            [TENANT, tenant] => Self::tenant(tenant).ok(),
            [MASTER_GATEWAY, tenant, gateway] => Self::master_gateway(tenant, gateway).ok(),
            _ => None,
        }
    }
}

/// The URI, and for the certificates of the Master API `tenant <id>` and `gateway <tenant> <id>`.
impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gateway => f.write_str(GATEWAY),
            Self::Device(id) => write!(f, "{PREFIX}{DEVICE}:{id}"),
            Self::Client { role, name } => write!(f, "{PREFIX}{role}:{name}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::MasterGateway { tenant, gateway } => write!(f, "gateway {tenant} {gateway}"),
        }
    }
}

fn master_id(id: &str) -> Result<Box<str>, RoleError> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if (1..=MASTER_ID_MAX).contains(&id.len()) && id.bytes().all(is_allowed) {
        Ok(id.into())
    } else {
        Err(RoleError::MasterId)
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
    roles_of(&certificate)
}

/// As [`roles`], of a certificate that is parsed already.
///
/// # Errors
/// [`RoleError::Malformed`].
pub fn roles_of(certificate: &X509Certificate<'_>) -> Result<Vec<Role>, RoleError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| RoleError::Malformed)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let mut mails = Vec::new();
    let mut roles = Vec::new();
    for name in names {
        match name {
            GeneralName::URI(uri) => roles.extend(Role::from_uri(uri)),
            GeneralName::RFC822Name(mail) => mails.push(*mail),
            _ => (),
        }
    }
    roles.extend(Role::from_mails(&mails));
    Ok(roles)
}

/// The devices that a certificate names; none is no error.
///
/// # Errors
/// [`RoleError::Malformed`].
pub fn devices_of(certificate: &X509Certificate<'_>) -> Result<Box<[DeviceId]>, RoleError> {
    let ids = roles_of(certificate)?
        .into_iter()
        .filter_map(|role| match role {
            Role::Device(id) => Some(id),
            _ => None,
        });
    Ok(ids.collect())
}

/// As whom the holder of a certificate calls the gateway's services: `certificate <name>` with its
/// role, by the one name `urn:gatehouse:<role>:<name>`. A certificate that names a role of another
/// kind beside it, or two callers, is nobody's.
pub fn caller_of(certificate: &X509Certificate<'_>) -> Option<Caller> {
    let names = certificate.subject_alternative_name().ok()??;
    let ours = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(PREFIX) => Some(*uri),
            _ => None,
        });
    let mut callers = ours.map(|uri| match Role::from_uri(uri)? {
        Role::Client { role, name } => Some(Caller {
            name: format!("certificate {name}").into(),
            role,
        }),
        _ => None,
    });
    let first = callers.next()??;
    callers.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(id: u32) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    fn uri(role: &Role) -> String {
        match role.names().as_slice() {
            [RoleName::Uri(uri)] => uri.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn roles_of_uris_go_round() {
        for (role, expected) in [
            (Role::Gateway, "urn:gatehouse:gateway"),
            (Role::Device(id(1)), "urn:gatehouse:device:1"),
            (
                Role::Device(id(u32::MAX)),
                "urn:gatehouse:device:4294967295",
            ),
            (
                Role::client(access::Role::Viewer, "wall-1").unwrap(),
                "urn:gatehouse:viewer:wall-1",
            ),
            (
                Role::operator("alice.b_c-1").unwrap(),
                "urn:gatehouse:operator:alice.b_c-1",
            ),
            (
                Role::client(access::Role::Admin, "anna").unwrap(),
                "urn:gatehouse:admin:anna",
            ),
        ] {
            assert_eq!(uri(&role), expected);
            assert_eq!(role.to_string(), expected);
            assert_eq!(Role::from_uri(expected), Some(role.clone()));
            assert_eq!(Role::parse(expected), Some(role));
        }
    }

    #[test]
    fn the_names_of_the_master_api_go_round() {
        let mail = |name: &str| RoleName::Mail(name.to_owned());
        let tenant = Role::tenant(ADMINISTRATOR).unwrap();
        assert_eq!(
            tenant.names(),
            [mail("Tenant Certificate"), mail("administrator")]
        );
        let gateway = Role::master_gateway("acme", "gate-1").unwrap();
        let names = ["Gateway Certificate", "acme", "gate-1"];
        assert_eq!(gateway.names(), names.map(mail));
        assert_eq!(Role::from_mails(&names), Some(gateway.clone()));
        for role in [&tenant, &gateway] {
            assert_eq!(Role::parse(&role.to_string()).as_ref(), Some(role));
        }
        assert_eq!(
            Role::from_mails(&["Tenant Certificate", "administrator"]),
            Some(tenant)
        );
        for other in [
            &["Tenant Certificate"][..],
            &["Tenant Certificate", "a", "b"],
            &["Gateway Certificate", "a"],
            &["acme", "Tenant Certificate"],
            &["tenant certificate", "acme"],
            &["a@example.org"],
            &[],
        ] {
            assert_eq!(Role::from_mails(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_name_that_could_be_mistaken_is_refused() {
        let longest = "a".repeat(access::CALLER_NAME_MAX);
        assert!(Role::operator(&longest).is_ok());
        for name in ["", "a b", "a:b", "ä", "a/b", &format!("{longest}a")] {
            assert_eq!(Role::operator(name), Err(RoleError::ClientName), "{name}");
            let uri = format!("urn:gatehouse:operator:{name}");
            assert_eq!(Role::from_uri(&uri), None, "{name}");
        }
        for tenant in ["", "a b", "../a", "ä", &"a".repeat(129)] {
            assert_eq!(Role::tenant(tenant), Err(RoleError::MasterId), "{tenant}");
            assert!(Role::master_gateway("acme", tenant).is_err(), "{tenant}");
        }
    }

    #[test]
    fn other_names_are_no_roles() {
        for uri in [
            "urn:gatehouse:gateways",
            "urn:gatehouse:gateway:1",
            "urn:gatehouse:device:0",
            "urn:gatehouse:device:007",
            "urn:gatehouse:device:+7",
            "urn:gatehouse:device:4294967296",
            "urn:gatehouse:device:",
            "urn:gatehouse:root:anna",
            "urn:gatehouse:Admin:anna",
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
            if let Ok((_, certificate)) = X509Certificate::from_der(&bytes) {
                let _ = devices_of(&certificate);
                let _ = caller_of(&certificate);
            }
            let _ = Role::parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn a_uri_that_is_taken_is_the_one_that_is_written(
            uri in "urn:gatehouse:(device|viewer|operator|admin|gateway)(:[a-z0-9./ ]{0,12})?"
        ) {
            if let Some(role) = Role::from_uri(&uri) {
                prop_assert_eq!(role.names(), vec![RoleName::Uri(uri)]);
            }
        }
    }
}
