//! Arguments to devices.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use clap::error::ErrorKind;

use super::args::{BehaviourArg, DialectArg, LikeArg, LinkArg, Simulate};
use super::security::{self, Securities};
use crate::codec::dialect::Dialect;
use crate::identity::{CREDENTIAL_MAX, NAME_MAX};
use crate::sim::device::Behaviour;
use crate::sim::fleet::Place;
use crate::sim::link::Security;
use crate::sim::panel::{HOSTILE_NAME, HOSTILE_TEXT};
use crate::sim::quirks::Like;
use crate::sim::resources::Resource;
use crate::sim::spec::{Dialling, Opening, Spec};

/// Files that the process has open besides those of its devices.
const FILES_BESIDE: u64 = 64;

/// Every device that is to be started, with its place. An iterator, so that a large fleet is not
/// held twice.
#[derive(Debug)]
pub(super) struct Plan {
    /// What all devices have in common.
    common: Spec,
    securities: Securities,
    places: Places,
    first_id: u32,
    count: u32,
    /// How many are given out.
    next: u32,
}

#[derive(Debug)]
enum Places {
    Listen {
        ip: IpAddr,
        first_port: u16,
    },
    Dial {
        dialling: Dialling,
        sources: Vec<IpAddr>,
    },
}

impl Plan {
    /// Checks what goes together, resolves the gateway's name and reads the keys.
    ///
    /// # Errors
    /// One line that says which argument is wrong, and what would be right.
    pub(super) fn new(arguments: &Simulate) -> Result<Self, clap::Error> {
        if arguments
            .first_id
            .checked_add(arguments.count - 1)
            .is_none()
        {
            return Err(wrong(
                "--first-id and --count go beyond the last serial number, 4294967295",
            ));
        }
        Ok(Self {
            common: common(arguments)?,
            securities: Securities::new(arguments)?,
            places: places(arguments)?,
            first_id: arguments.first_id,
            count: arguments.count,
            next: 0,
        })
    }

    /// # Errors
    /// One line if the process may not open as many files as the devices need.
    pub(super) fn check_file_limit(&self, limit: u64) -> Result<(), clap::Error> {
        let each = match self.places {
            Places::Listen { .. } => 2,
            Places::Dial { .. } => 1,
        };
        let most = limit.saturating_sub(FILES_BESIDE) / each;
        if u64::from(self.count) <= most {
            return Ok(());
        }
        Err(wrong(format_args!(
            "this process may open {limit} files, enough for --count {most}; raise the limit \
             (ulimit -Hn) or run several simulators"
        )))
    }
}

impl Iterator for Plan {
    type Item = (Spec, Place);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let mut spec = self.common.clone();
        spec.id = self.first_id + index;
        spec.seed = spec.seed.wrapping_add(u64::from(spec.id));
        spec.device.device = spec.id.to_string();
        spec.device.info.id = spec.id;
        spec.device.info.name = if spec.device.extras.contains(&Resource::Hostile) {
            format!("{HOSTILE_NAME} {HOSTILE_TEXT} {}", spec.id)
        } else {
            format!("simulated {}", spec.id)
        };
        self.securities.secure(&mut spec, index as usize);
        Some((spec, self.places.of(index)))
    }
}

impl Places {
    fn of(&self, index: u32) -> Place {
        match self {
            Self::Listen { ip, first_port: 0 } => Place::Listens(SocketAddr::new(*ip, 0)),
            Self::Listen { ip, first_port } => {
                // The last one was seen to be a port.
                let port = u32::from(*first_port) + index;
                Place::Listens(SocketAddr::new(*ip, port as u16))
            }
            Self::Dial { dialling, sources } => Place::Dials(Dialling {
                from: sources.get(index as usize % sources.len().max(1)).copied(),
                ..*dialling
            }),
        }
    }
}

fn common(arguments: &Simulate) -> Result<Spec, clap::Error> {
    if arguments.owner.len() > NAME_MAX || arguments.credential.len() > CREDENTIAL_MAX {
        return Err(wrong(format_args!(
            "--owner has {NAME_MAX} bytes at most, --credential {CREDENTIAL_MAX}"
        )));
    }
    let keep_alive = arguments.keep_alive;
    if keep_alive.as_secs() == 0 || keep_alive.subsec_nanos() != 0 {
        return Err(wrong("--keep-alive is in whole seconds: 60s"));
    }
    if arguments.websocket && arguments.link == LinkArg::Aes {
        return Err(wrong("--websocket goes with --link plain or --link tls"));
    }
    if arguments.churn.is_some() && arguments.behaviour != BehaviourArg::Normal {
        return Err(wrong("--churn goes with --behaviour normal only"));
    }
    let is_wrong = arguments.behaviour == BehaviourArg::WrongCredential;
    if is_wrong && !arguments.credential.is_empty() {
        return Err(wrong(
            "--behaviour wrong-credential brings a --credential of its own",
        ));
    }
    let mut spec = Spec::new(arguments.first_id, Security::Plain);
    spec.device.username.clone_from(&arguments.owner);
    spec.device.credential.clone_from(&arguments.credential);
    spec.device.info.device_type = arguments.device_type;
    spec.device.keep_alive = Some(keep_alive.as_secs());
    spec.device.dialect = match arguments.dialect {
        DialectArg::Current => Dialect::Current,
        DialectArg::Legacy => Dialect::Legacy,
        DialectArg::Of2020 => Dialect::Doc2020,
    };
    if arguments.hostile_text {
        spec.device.extras = &Resource::HOSTILE_PANEL;
    }
    if let Some(like) = arguments.like {
        like_of(like).apply(&mut spec.device);
        spec.device.quirks.keep_alive = Some(keep_alive);
    }
    spec.websocket = arguments.websocket;
    spec.tls = security::options(arguments);
    spec.state.slaves.rs485.clone_from(&arguments.rs485);
    spec.state.slaves.wiegand.clone_from(&arguments.wiegand);
    spec.lacking = arguments.without.iter().copied().collect();
    spec.redial = arguments.redial;
    spec.churn = arguments.churn;
    spec.seed = arguments.seed;
    behave(&mut spec, arguments);
    Ok(spec)
}

const fn like_of(like: LikeArg) -> Like {
    match like {
        LikeArg::Linux => Like::Linux,
        LikeArg::Embedded => Like::Embedded,
        LikeArg::Legacy => Like::Legacy,
        LikeArg::Of2020 => Like::Of2020,
        LikeArg::Doc2020 => Like::Doc2020,
    }
}

fn behave(spec: &mut Spec, arguments: &Simulate) {
    match arguments.behaviour {
        BehaviourArg::Normal => {}
        BehaviourArg::Slow => spec.device.behaviour = Behaviour::Slow(arguments.answer_delay),
        BehaviourArg::Silent => spec.device.behaviour = Behaviour::MuteOnceConnected,
        BehaviourArg::NoConnect => spec.device.behaviour = Behaviour::Mute,
        BehaviourArg::Mute => spec.opening = Opening::Silence,
        BehaviourArg::Garbage => spec.opening = Opening::Garbage,
        BehaviourArg::HalfHandshake => spec.opening = Opening::Half,
        // Secrets from our tools are hex digits: this can be none of them.
        BehaviourArg::WrongCredential => spec.device.credential = "not a credential".to_owned(),
    }
}

fn places(arguments: &Simulate) -> Result<Places, clap::Error> {
    let Some(gateway) = &arguments.dial else {
        return listening(arguments);
    };
    let found = gateway.to_socket_addrs();
    let found = found.map_err(|error| {
        wrong(format_args!(
            "--dial {gateway} is not HOST:PORT, or the host is not known: {error}"
        ))
    })?;
    let family = arguments.sources.first();
    let fits = |to: &SocketAddr| family.is_none_or(|source| source.is_ipv4() == to.is_ipv4());
    let found: Vec<SocketAddr> = found.collect();
    let Some(to) = found.iter().find(|to| fits(to)) else {
        return Err(wrong(format_args!(
            "--dial {gateway} cannot be reached from --sources"
        )));
    };
    if let Some(other) = arguments
        .sources
        .iter()
        .find(|source| source.is_ipv4() != to.is_ipv4())
    {
        return Err(wrong(format_args!("{to} cannot be dialled from {other}")));
    }
    Ok(Places::Dial {
        dialling: Dialling {
            to: *to,
            from: None,
            redial: arguments.redial,
        },
        sources: arguments.sources.clone(),
    })
}

fn listening(arguments: &Simulate) -> Result<Places, clap::Error> {
    let Some(ip) = arguments.listen else {
        return Err(wrong("say where: --dial HOST:PORT or --listen IP"));
    };
    let first_port = arguments.port;
    let ports = u32::from(u16::MAX - first_port) + 1;
    if first_port != 0 && arguments.count > ports {
        return Err(wrong(format_args!(
            "there are {ports} ports from {first_port} on; --port 0 takes any free ones"
        )));
    }
    Ok(Places::Listen { ip, first_port })
}

pub(super) fn wrong(problem: impl Display) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format_args!("{problem}\n"))
}
