//! The devices of the demo, and what is asked of the gateway for them.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::net::TcpSocket;

use super::papers::Papers;
use crate::config::{Config, Credential, CredentialDigest};
use crate::device::DeviceId;
use crate::gateway::Running;
use crate::handle::Gateway;
use crate::link::link_key::LinkKey;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::{AutoDevice, Command};
use crate::sim::link::Security;
use crate::sim::report::Reports;
use crate::sim::run::{self, DeviceHandle};
use crate::sim::spec::{Dialling, Spec};
use crate::sim::tls::{Options, Tls};

/// Devices that the gateway dials and keeps connected.
const AUTO: std::ops::RangeInclusive<u32> = 1001..=1005;
/// One that it dials once.
const DIRECT: u32 = 1006;
/// One that is added and that nobody will ever find.
const DEAD: u32 = 1007;
/// One that it dials over TLS and keeps connected; it proves itself by its certificate.
const TLS_AUTO: u32 = 1008;
/// Devices that dial the gateway.
const INBOUND: std::ops::RangeInclusive<u32> = 2001..=2004;
/// One that dials over a plain link and proves itself by its credential.
const PLAIN: u32 = 2005;
/// One that dials and is not let in by the accept filter.
const STRANGER: u32 = 2006;
/// One that dials over TLS, trusts the root certificate and proves itself by its credential.
const TLS_INBOUND: u32 = 2007;
/// One that is switched from being dialled over aes to dialling over TLS.
const SWITCHED: u32 = 3001;

const CREDENTIAL: &str = "open sesame";
const REDIAL: Duration = Duration::from_secs(2);
/// The switched device does not keep its audience waiting.
const SWITCHED_REDIAL: Duration = Duration::from_millis(400);

/// What the gateway must know of the devices that prove themselves by a credential.
pub fn credentials() -> [Credential; 2] {
    [PLAIN, TLS_INBOUND].map(|id| Credential {
        device: id.to_string(),
        owner: None,
        digest: CredentialDigest::of(CREDENTIAL.as_bytes()),
    })
}

/// All devices. Dropping it ends them.
pub struct Cast {
    autos: Vec<DeviceHandle>,
    direct: DeviceHandle,
    over_tls: DeviceHandle,
    switched: DeviceHandle,
    /// Kept for as long as they are to dial.
    inbound: Vec<DeviceHandle>,
    /// Bound and not listening, so that nobody else can answer there.
    dead: TcpSocket,
    next_loss: usize,
}

impl Cast {
    /// Says who may come in, then starts every device; those that dial begin at once.
    ///
    /// # Errors
    /// When a device has no port, or what the gateway made for devices cannot be read.
    pub async fn start(gateway: &Running, config: &Config) -> Result<Self, Box<dyn Error>> {
        let filter = AcceptFilter {
            device_ids: INBOUND.chain([PLAIN, TLS_INBOUND]).collect(),
            ..AcceptFilter::default()
        };
        let handle = gateway.handle();
        handle.command(Command::SetAcceptFilter(filter)).await?;
        let papers = Papers::read(config)?;
        let key = papers.fleet_key()?;
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listens = |id| run::listen(device(id, &key), free, Reports::default());
        let dead = TcpSocket::new_v4()?;
        dead.bind(free)?;
        let listening = gateway.listening();
        let mut inbound = Vec::new();
        for id in INBOUND.chain([STRANGER]) {
            inbound.extend(listening.aes.map(|to| dials(device(id, &key), to)));
        }
        let mut plain = device(PLAIN, &key);
        plain.security = Security::Plain;
        CREDENTIAL.clone_into(&mut plain.device.credential);
        inbound.extend(listening.plain.map(|to| dials(plain, to)));
        let mut tls = device(TLS_INBOUND, &key);
        tls.security = Security::Tls(Tls::new(papers.root(), &Options::default())?);
        CREDENTIAL.clone_into(&mut tls.device.credential);
        inbound.extend(listening.tls.map(|to| dials(tls, to)));
        let mut certified = device(TLS_AUTO, &key);
        let certificate = papers.certificate(TLS_AUTO)?;
        certified.security = Security::Tls(Tls::new(papers.root(), &certificate)?);
        let mut switched = device(SWITCHED, &key);
        switched.redial = SWITCHED_REDIAL;
        Ok(Self {
            autos: AUTO.map(listens).collect::<Result<_, _>>()?,
            direct: listens(DIRECT)?,
            over_tls: run::listen(certified, free, Reports::default())?,
            switched: run::listen(switched, free, Reports::default())?,
            inbound,
            dead,
            next_loss: 0,
        })
    }

    /// Asks the gateway to dial the others: whom to keep connected, and whom to dial once.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn enter(&self, gateway: &Gateway) -> Result<(), Box<dyn Error>> {
        let listening = self.autos.iter().chain([&self.over_tls]);
        let addresses = listening.map(|device| (device.id(), device.address()));
        let devices = addresses.chain([(DEAD, self.dead.local_addr().ok())]);
        let autos = devices.filter_map(|(id, address)| {
            Some(AutoDevice {
                id: DeviceId::new(id)?,
                address: v4(address?)?,
                use_ssl: id == TLS_AUTO,
            })
        });
        gateway.command(Command::AddAsync(autos.collect())).await?;
        if let Some(address) = self.direct.address().and_then(v4) {
            let use_ssl = false;
            gateway
                .command(Command::Connect { address, use_ssl })
                .await?;
        }
        Ok(())
    }

    /// The device that is to be switched, and where it listens; `None` once it dials.
    pub fn switched(&self) -> Option<(u32, SocketAddr)> {
        Some((self.switched.id(), self.switched.address()?))
    }

    /// Drops the connection of the next auto device without a word.
    pub fn lose_one(&mut self) {
        let unlucky = self.next_loss % self.autos.len();
        self.autos[unlucky].cut();
        self.next_loss += 1;
    }

    /// How many devices there are, the one that nobody finds included.
    pub fn len(&self) -> usize {
        // The rest: direct, over TLS, switched, dead.
        self.autos.len() + self.inbound.len() + 4
    }
}

fn device(id: u32, key: &LinkKey) -> Spec {
    let mut spec = Spec::new(id, Security::Aes(key.clone()));
    // Some model of each: their numbers in `device.Type` are contiguous here.
    spec.device.info.device_type = 8 + id % 12;
    spec
}

fn dials(spec: Spec, to: SocketAddr) -> DeviceHandle {
    let dialling = Dialling {
        to,
        from: None,
        redial: REDIAL,
    };
    run::dial(spec, dialling, Reports::default())
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}
