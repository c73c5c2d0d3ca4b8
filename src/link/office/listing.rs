//! What certificates there are.

use super::super::certificate::CertificateInfo;
use super::super::certs::{CertsError, SERVER, certificates, crls, is_there};
use super::super::issued;
use super::super::revocation::revoked_ids;
use super::super::role::Role;
use super::Office;
use crate::identity::CertificateId;

/// A certificate in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: CertificateId,
    pub kind: Kind,
    /// The root's name, or whom the certificate is for.
    pub holder: String,
    /// The bytes of the serial number as they stand in the certificate.
    pub serial: Box<[u8]>,
    /// The last second in which it is valid, since the Unix epoch.
    pub not_after: i64,
    pub state: State,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Root,
    Server,
    Device,
    Client,
    Tenant,
    Gateway,
    Other,
}

/// Whether a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Valid,
    Expired,
    Revoked,
    /// It served here before another took its place; it is good until it is revoked or expires.
    Replaced,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Server => "server",
            Self::Device => "device",
            Self::Client => "client",
            Self::Tenant => "tenant",
            Self::Gateway => "gateway",
            Self::Other => "other",
        }
    }

    fn of(role: Option<&Role>) -> Self {
        match role {
            Some(Role::Gateway) => Self::Server,
            Some(Role::Device(_)) => Self::Device,
            Some(Role::Client { .. }) => Self::Client,
            Some(Role::Tenant(_)) => Self::Tenant,
            Some(Role::MasterGateway { .. }) => Self::Gateway,
            None => Self::Other,
        }
    }
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }
}

impl Office {
    /// The roots, the server certificate in use, and all that was made here, in this order.
    ///
    /// # Errors
    /// [`CertsError`].
    pub fn list(&self) -> Result<Vec<Listed>, CertsError> {
        let roots = self.roots()?.certificates;
        let revoked = revoked_ids(&crls(&self.dir, &roots)?);
        let now = i64::try_from(self.now.unix_ms / 1000).unwrap_or(i64::MAX);
        let state = |id: CertificateId, not_after: i64| {
            if revoked.contains(&id) {
                State::Revoked
            } else if not_after < now {
                State::Expired
            } else {
                State::Valid
            }
        };
        let mut list = Vec::new();
        for root in &roots {
            let info = CertificateInfo::read(root)?;
            let state = state(info.id, info.not_after);
            list.push(Listed::of(info, Kind::Root, state));
        }
        let server = self.server()?;
        let in_use = server.as_ref().map(|server| server.id);
        if let Some(info) = server {
            let state = state(info.id, info.not_after);
            list.push(Listed::of(info, Kind::Server, state));
        }
        for made in issued::read(&self.dir)? {
            if Some(made.id) == in_use {
                continue;
            }
            let kind = Kind::of(made.roles.first());
            let state = match state(made.id, made.not_after) {
                State::Valid if kind == Kind::Server => State::Replaced,
                state => state,
            };
            list.push(Listed {
                id: made.id,
                kind,
                holder: holder(&made.roles, ""),
                serial: made.serial,
                not_after: made.not_after,
                state,
            });
        }
        Ok(list)
    }

    fn server(&self) -> Result<Option<CertificateInfo>, CertsError> {
        let path = self.dir.join(SERVER.certificate);
        if !is_there(&path)? {
            return Ok(None);
        }
        let chain = certificates(&path)?;
        let server = chain.first().map(|server| CertificateInfo::read(server));
        Ok(server.transpose()?)
    }
}

impl Listed {
    fn of(info: CertificateInfo, kind: Kind, state: State) -> Self {
        Self {
            id: info.id,
            kind,
            holder: holder(&info.roles, &info.name),
            serial: info.serial,
            not_after: info.not_after,
            state,
        }
    }
}

/// Whom these roles name, in a few words.
fn holder(roles: &[Role], name: &str) -> String {
    let words = roles.iter().map(|role| match role {
        Role::Gateway => "this gateway".to_owned(),
        Role::Device(id) => id.to_string(),
        Role::Client { role, name } => format!("{role} {name}"),
        Role::Tenant(tenant) => tenant.to_string(),
        Role::MasterGateway { tenant, gateway } => format!("{gateway} of {tenant}"),
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() {
        name.to_owned()
    } else {
        words.join(" ")
    }
}
