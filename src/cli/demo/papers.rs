//! What the gateway made at its start, and a user hands on: keys and certificates for devices, and
//! the first admin token for a client.

use std::error::Error;
use std::fs;
use std::sync::Arc;

use crate::callers::first_token;
use crate::cli::ctl::client::Client;
use crate::cli::ctl::profile::{Address, Target, TokenFrom};
use crate::clock;
use crate::config::Config;
use crate::device::DeviceId;
use crate::gateway::Listening;
use crate::link::gateway_key;
use crate::link::key_files;
use crate::link::link_key::LinkKey;
use crate::link::roots::Roots;
use crate::link::seal::Sealer;
use crate::sim::tls::{Options, OwnCertificate};

/// The name of the root certificate in the folder of certificates.
pub const ROOT: &str = "ca.crt";

/// What devices are given by hand before they come.
pub struct Papers<'a> {
    config: &'a Config,
    sealer: Sealer,
    root: String,
}

impl<'a> Papers<'a> {
    /// # Errors
    /// When a file of the gateway cannot be read.
    pub fn read(config: &'a Config) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            config,
            sealer: gateway_key::read(&config.gateway_key())?,
            root: fs::read_to_string(config.certs_dir().join(ROOT))?,
        })
    }

    /// The root certificate, PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The key that the gateway made for all devices.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn fleet_key(&self) -> Result<LinkKey, Box<dyn Error>> {
        let newest = key_files::newest_fleet_key(&self.config.keys_dir(), &self.sealer)?;
        Ok(newest.ok_or("the gateway made no fleet key")?)
    }

    /// A new certificate with this serial number, for a device to show.
    ///
    /// # Errors
    /// When the root cannot sign it.
    pub fn certificate(&self, id: u32) -> Result<Options, Box<dyn Error>> {
        let dir = self.config.certs_dir();
        let roots = Roots::read(&dir, &self.sealer)?.ok_or("the gateway made no root")?;
        let id = DeviceId::new(id).ok_or("no device has the ID 0")?;
        let pair = roots.signer(&dir)?.device(&[id], false, clock::now())?;
        let own = OwnCertificate::from_pem(&pair.certificate, &pair.key)?;
        Ok(Options {
            certificate: Some(Arc::new(own)),
            ..Options::default()
        })
    }
}

/// A client of the gateway with the first admin token, as `gatehouse ctl` is one.
///
/// # Errors
/// When the gateway cannot be reached, or the token cannot be read.
pub async fn admin(config: &Config, listening: &Listening) -> Result<Client, Box<dyn Error>> {
    let target = Target {
        address: Address {
            host: listening.grpc.ip().to_string(),
            port: listening.grpc.port(),
        },
        ca: config.certs_dir().join(ROOT),
        identity: None,
        token: Some(TokenFrom::File(config.data_dir.join(first_token::FILE))),
    };
    Ok(Client::open(target, None).await?)
}
