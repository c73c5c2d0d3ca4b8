//! Simulated devices, each with its own link to a test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatehouse::link::link_key::LinkKey;
use gatehouse::sim::device::Behaviour;
use gatehouse::sim::link::Security;
use gatehouse::sim::quirks::Like;
pub use gatehouse::sim::report::Event;
use gatehouse::sim::report::{Report, Reports};
use gatehouse::sim::run::{self, DeviceHandle};
use gatehouse::sim::spec::{Dialling, Opening, Spec as Simulated};
use gatehouse::sim::state::DeviceState;
use gatehouse::sim::tls::{Options, OwnCertificate, Tls};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::gateway::TestGateway;
use super::soon;

/// More than any test makes one device tell before it looks.
const EVENTS: usize = 1024;

/// A device that is yet to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    simulated: Simulated,
    redial: Duration,
}

impl Spec {
    /// A good device with this serial number that has the gateway's fleet key.
    pub fn new(id: u32, gateway: &TestGateway) -> Self {
        Self::keyed(id, gateway.fleet_key())
    }

    /// A good device with this serial number and link key.
    pub fn keyed(id: u32, key: LinkKey) -> Self {
        Self {
            simulated: Simulated::new(id, Security::Aes(key)),
            redial: Duration::from_millis(50),
        }
    }

    /// A good device that trusts the gateway's root and shows a certificate with this serial
    /// number.
    pub fn tls(id: u32, gateway: &TestGateway) -> Self {
        let pair = gateway.device_certificate(id, false);
        let certificate = OwnCertificate::from_pem(&pair.certificate, &pair.key);
        let options = Options {
            certificate: Some(Arc::new(certificate.expect("a certificate"))),
            ..Options::default()
        };
        let tls = Tls::new(gateway.ca(), &options).expect("a root");
        Self {
            simulated: Simulated::new(id, Security::Tls(tls)),
            redial: Duration::from_millis(50),
        }
    }

    pub fn of_type(mut self, device_type: u32) -> Self {
        self.simulated.device.info.device_type = device_type;
        self
    }

    pub fn owner(mut self, owner: &str) -> Self {
        self.simulated.device.username = owner.to_owned();
        self
    }

    /// It connects under this name; its `device/info` tells no ID then.
    pub fn named(mut self, name: &str) -> Self {
        self.simulated.device.device = name.to_owned();
        self.simulated.device.info.id = 0;
        self
    }

    pub fn credential(mut self, credential: &str) -> Self {
        self.simulated.device.credential = credential.to_owned();
        self
    }

    pub fn plain(mut self) -> Self {
        self.simulated.security = Security::Plain;
        self
    }

    /// Asks for another interval than 60 s.
    pub fn keep_alive(mut self, seconds: u64) -> Self {
        self.simulated.device.keep_alive = Some(seconds);
        self
    }

    pub fn behaving(mut self, behaviour: Behaviour) -> Self {
        self.simulated.device.behaviour = behaviour;
        self
    }

    /// Drops each session after this time, in the mean.
    pub fn churning(mut self, mean: Duration) -> Self {
        self.simulated.churn = Some(mean);
        self
    }

    /// It behaves as one of the clients in the field.
    pub fn like(mut self, like: Like) -> Self {
        like.apply(&mut self.simulated.device);
        self
    }

    pub fn opening(mut self, opening: Opening) -> Self {
        self.simulated.opening = opening;
        self
    }

    pub fn redial(mut self, redial: Duration) -> Self {
        self.redial = redial;
        self.simulated.redial = redial;
        self
    }
}

/// A running device; it stops when it is dropped.
pub struct Device {
    handle: DeviceHandle,
    events: mpsc::Receiver<Report>,
}

/// Starts a device on a free port of loopback, for the gateway to dial.
pub async fn listen(spec: Spec) -> Device {
    let (channel, events) = mpsc::channel(EVENTS);
    let free = ([127, 0, 0, 1], 0).into();
    let handle = run::listen(spec.simulated, free, Reports::to(channel));
    Device {
        handle: handle.expect("a port"),
        events,
    }
}

/// Starts a device that dials the gateway, again and again.
pub fn dial(spec: Spec, to: SocketAddr) -> Device {
    let (channel, events) = mpsc::channel(EVENTS);
    let dialling = Dialling {
        to,
        from: None,
        redial: spec.redial,
    };
    Device {
        handle: run::dial(spec.simulated, dialling, Reports::to(channel)),
        events,
    }
}

impl Device {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.handle.address().expect("a device that listens")
    }

    /// Reads on until such an event; those before it are gone then.
    pub async fn wait_for(&mut self, is_it: fn(&Event) -> bool) -> Event {
        loop {
            let report = soon("an event of a device", self.events.recv()).await;
            let event = report.expect("the device runs").event;
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Waits until the gateway has once asked what it is.
    pub async fn described(&self) {
        let described = self.handle.until(|counts| counts.described > 0);
        assert!(soon("device/info to be asked for", described).await);
    }

    /// What was written to it, as it stands.
    pub fn state(&self) -> Arc<DeviceState> {
        self.handle.state()
    }

    /// The next thing that happened to it.
    pub async fn next(&mut self) -> Event {
        let report = soon("an event of a device", self.events.recv()).await;
        report.expect("the device runs").event
    }

    /// Waits until it was admitted so often in all.
    pub async fn admitted(&self, times: u64) {
        let admitted = self.handle.until(|counts| counts.admitted >= times);
        assert!(soon("a device to be admitted", admitted).await);
    }

    /// Drops the TCP connection without a word; the device goes on.
    pub fn cut(&self) {
        self.handle.cut();
    }

    pub async fn stop(self) {
        self.handle.stop().await;
    }

    /// Waits until it has been connected and is not any more; it may have failed to connect.
    pub async fn until_gone(&self) {
        let gone = self
            .handle
            .until(|counts| counts.open == 0 && counts.links + counts.unreachable > 0);
        assert!(gone.await, "the device runs");
    }

    /// TCP connections in all.
    pub fn links_accepted(&self) -> u64 {
        self.handle.counts().links
    }

    /// TCP connections now: 0 or 1.
    pub fn links_open(&self) -> u64 {
        self.handle.counts().open
    }
}

/// An address where nobody listens, and nobody will while the tests run.
pub async fn closed_port() -> SocketAddr {
    // A bound socket that does not listen keeps its port from everybody else.
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    RESERVED.lock().expect("not poisoned").push(socket);
    address
}
