//! A gateway's certificates, for tests.

use std::sync::Arc;

use crate::clock;
use crate::link::authority::{Authority, CertificatePair};
use crate::link::host_names::HostNames;
use crate::link::role::Role;
use crate::sim::link::Security;
use crate::sim::tls::{Options, OwnCertificate, Tls, Turned};

/// A root, and what it signs.
pub struct House {
    authority: Authority,
    /// PEM.
    pub root: String,
}

impl House {
    pub fn new() -> Self {
        let (authority, pair) = Authority::make(clock::now()).unwrap();
        Self {
            authority,
            root: pair.certificate,
        }
    }

    pub fn gateway(&self) -> CertificatePair {
        let hosts = HostNames::loopback();
        self.authority.gateway(&hosts, clock::now()).unwrap()
    }

    pub fn operator(&self) -> CertificatePair {
        let role = Role::operator("alice").unwrap();
        self.authority.client(&role, clock::now()).unwrap()
    }

    /// A device that trusts it.
    pub fn device(&self) -> Security {
        Security::Tls(Tls::new(&self.root, &Options::default()).unwrap())
    }

    /// The gateway's end of a link: it is the server as a device is that is turned round.
    pub fn gateway_end(&self) -> Security {
        let options = Options {
            certificate: Some(own(&self.gateway())),
            turned: Some(Turned::Anyone),
            ..Options::default()
        };
        Security::Tls(Tls::new(&self.root, &options).unwrap())
    }
}

pub fn own(pair: &CertificatePair) -> Arc<OwnCertificate> {
    Arc::new(OwnCertificate::from_pem(&pair.certificate, &pair.key).unwrap())
}
