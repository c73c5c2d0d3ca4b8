//! Who calls the gateway's services, and what a caller may do: [`calls`] says which role each call
//! wants, [`tokens`] knows the tokens.

pub mod calls;
pub mod tokens;

use std::fmt;

/// The longest name of a token or of a certificate's holder, in characters.
pub const CALLER_NAME_MAX: usize = 64;

/// What a caller may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads and follows.
    Viewer,
    /// Connects, disconnects, adds, deletes, sets the accept filter, configures devices.
    Operator,
    /// Identities, approvals, tokens, certificates.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Somebody who calls, as whom the gateway takes them. Its text stands in the audit log and beside
/// every decision: `token ci`, `certificate anna`, `anonymous`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller {
    pub name: Box<str>,
    pub role: Role,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Whether a text may name a token or the holder of a certificate: 1 to [`CALLER_NAME_MAX`] of
/// `A–Z a–z 0–9 . _ -`.
pub fn is_caller_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=CALLER_NAME_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}
