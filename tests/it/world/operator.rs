//! An operator who does what comes to mind.

use std::net::SocketAddrV4;

use gatehouse::device::DeviceId;
use gatehouse::registry::accept_filter::AcceptFilter;
use gatehouse::registry::records::Slaves;
use gatehouse::registry::{AutoDevice, Command, RequestId};
use rand::RngExt;

use super::gateway::Inside;
use super::play::{Due, World};

/// Where nobody listens.
const DEAD: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 9, 9, 9), 9);

impl World {
    pub fn operate(&mut self) {
        let command = self.any_command();
        self.send_command(command);
        let pause = self.span(50, 8_000);
        self.clock.after(pause, Due::Operator);
    }

    /// Everybody may come in, and who listens is fetched.
    pub fn begin_well(&mut self) {
        self.send_command(Command::SetAcceptFilter(AcceptFilter {
            allow_all: true,
            ..AcceptFilter::default()
        }));
        let indices = 0..self.peers.len();
        let listening = indices.filter(|index| self.peers[*index].listens);
        let devices = listening.filter_map(|index| {
            Some(AutoDevice {
                id: self.id_of(index)?,
                address: self.peers[index].address,
                use_ssl: self.peers[index].tls,
            })
        });
        let devices = devices.collect();
        self.send_command(Command::AddAsync(devices));
    }

    /// Sends a command, and may go away before its reply comes.
    pub fn send_command(&mut self, command: Command) {
        if self.gateway.is_none() {
            return;
        }
        let request = RequestId(self.requests);
        self.requests += 1;
        let waits = match command {
            Command::Connect { .. } => self.rng.random_bool(0.6),
            _ => self.rng.random_bool(0.95),
        };
        let arrives = self.mail_delay();
        let submit = Inside::Submit(request, command);
        self.clock.after(arrives, Due::Inside(self.epoch, submit));
        if !waits && self.stormy {
            let gone = arrives + self.span(0, 3_000);
            self.clock
                .after(gone, Due::Inside(self.epoch, Inside::Cancel(request)));
        }
    }

    fn any_command(&mut self) -> Command {
        match self.rng.random_range(0..100) {
            0..30 => {
                let count = self.rng.random_range(1..=3);
                Command::AddAsync((0..count).map(|_| self.any_device()).collect())
            }
            30..42 => Command::DeleteAsync(self.any_ids()),
            42..54 => {
                let index = self.rng.random_range(0..self.peers.len());
                let right = self.rng.random_bool(0.9);
                Command::Connect {
                    address: match right {
                        true => self.peers[index].address,
                        false => DEAD,
                    },
                    use_ssl: self.peers[index].tls == right,
                }
            }
            54..58 => Command::ChangeAcceptFilter {
                add: self.any_ids(),
                remove: self.any_ids(),
            },
            58..68 => Command::Disconnect(self.any_ids()),
            68..72 => Command::DisconnectAll,
            72..82 => Command::SetAcceptFilter(self.any_filter()),
            82..87 => Command::Approve {
                ids: self.any_pending(),
                enrol: self.rng.random_bool(0.5),
                by: "anna".into(),
            },
            87..90 => Command::Refuse {
                ids: self.any_pending(),
                until_unix_ms: self.clock.now().unix_ms + self.rng.random_range(0..60_000),
                by: "bob".into(),
            },
            90..93 => Command::SetSlaves(self.any_slaves()),
            _ => Command::RetryNow(self.any_ids()),
        }
    }

    fn any_device(&mut self) -> AutoDevice {
        let index = self.rng.random_range(0..self.peers.len());
        let right = self.rng.random_bool(0.75);
        let named = self.id_of(index);
        let id = match named {
            Some(id) if right => id,
            _ => self.any_id(),
        };
        let address = match right {
            true => self.peers[index].address,
            false => self.any_address(),
        };
        AutoDevice {
            id,
            address,
            use_ssl: self.peers[index].tls != self.rng.random_bool(0.05),
        }
    }

    /// The ID of a device, as far as anybody knows it.
    pub fn id_of(&self, index: usize) -> Option<DeviceId> {
        let identity = self.peers[index].identity()?;
        identity.serial().or_else(|| {
            let mut known = self.store.disk.identities.iter();
            known.find(|(_, of)| **of == identity).map(|(id, _)| *id)
        })
    }

    fn any_id(&mut self) -> DeviceId {
        let index = self.rng.random_range(0..self.peers.len());
        let unknown = 101 + self.rng.random_range(0..10);
        self.id_of(index)
            .or_else(|| DeviceId::new(unknown))
            .unwrap_or_else(|| panic!("it is not zero"))
    }

    fn any_ids(&mut self) -> Vec<DeviceId> {
        let count = self.rng.random_range(0..=3);
        (0..count).map(|_| self.any_id()).collect()
    }

    /// Some that are pending, and now and then one that is not.
    fn any_pending(&mut self) -> Vec<DeviceId> {
        let pending: Vec<DeviceId> = match &self.gateway {
            Some(gateway) => gateway.snapshot.pending.keys().copied().collect(),
            None => Vec::new(),
        };
        let mut ids: Vec<DeviceId> = pending
            .into_iter()
            .filter(|_| self.rng.random_bool(0.7))
            .collect();
        if self.rng.random_bool(0.1) {
            ids.push(self.any_id());
        }
        ids
    }

    fn any_slaves(&mut self) -> Vec<Slaves> {
        let parents = self.any_ids();
        let slaves = parents.into_iter().map(|parent| Slaves {
            parent,
            rs485: self.any_ids(),
            wiegand: Vec::new(),
        });
        slaves.collect()
    }

    fn any_address(&mut self) -> SocketAddrV4 {
        let index = self.rng.random_range(0..self.peers.len());
        match self.rng.random_bool(0.9) {
            true => self.peers[index].address,
            false => DEAD,
        }
    }

    fn any_filter(&mut self) -> AcceptFilter {
        let ids = self.any_ids();
        let address = *self.any_address().ip();
        let by_address = self.rng.random_bool(0.4);
        AcceptFilter {
            allow_all: self.rng.random_bool(0.4),
            device_ids: ids.into_iter().map(DeviceId::get).collect(),
            ip_addrs: by_address
                .then(|| address.to_string())
                .into_iter()
                .collect(),
            subnet_masks: Vec::new(),
        }
    }
}
