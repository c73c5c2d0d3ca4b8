//! What a simulated device keeps over its links: its flash, its switches, and what streams it was
//! asked for.

use std::fmt;
use std::sync::Arc;

use crate::link::link_key::LinkKey;
use crate::sim::ip_config::IpConfig;
use crate::sim::panel::Panel;
use crate::sim::streams::Record;

/// All that can be written to a device, and what it remembers of its streams. `Debug` shows no
/// secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceState {
    pub ip: IpConfig,
    pub ssl: Ssl,
    /// The key of its aes links; `None`: its links are plain where they are not tls.
    pub key: Option<LinkKey>,
    pub slaves: Slaves,
    pub panel: Panel,
    pub streams: Record,
}

/// Whether the device's links are tls, and what it needs for that.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ssl {
    pub enabled: bool,
    /// The certificates that it trusts, PEM.
    pub root: Option<Arc<str>>,
    /// What it was given to prove itself with. Sent in its Connect over every link but a plain one.
    pub credential: Option<Box<str>>,
}

impl fmt::Debug for Ssl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssl")
            .field("enabled", &self.enabled)
            .field("has_root", &self.root.is_some())
            .field("has_credential", &self.credential.is_some())
            .finish()
    }
}

/// The devices behind a device, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slaves {
    pub rs485: Vec<u32>,
    pub wiegand: Vec<u32>,
}
