//! Where a listener binds.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// An address with its port, or off (`""`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Listen(pub Option<SocketAddr>);

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| {
            format!("{text:?} is no address; write IP and port as in \"0.0.0.0:51212\" or \"[::]:51212\", or \"\" for off")
        })
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_off_go_round() {
        for text in ["0.0.0.0:51212", "[::1]:4000", ""] {
            let listen = Listen::try_from(text.to_owned()).unwrap();
            assert_eq!(listen.0.is_none(), text.is_empty());
            assert_eq!(String::from(listen), text);
        }
    }

    #[test]
    fn a_name_or_a_bare_port_is_refused() {
        for text in ["localhost:4000", "4000", ":4000", "0.0.0.0", "off"] {
            let error = Listen::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
