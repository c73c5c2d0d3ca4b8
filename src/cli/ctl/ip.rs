//! `ip`: how devices stand in their networks.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::devices::{Mode, report};
use super::exit::{Exit, Failure};
use super::input::device_id;
use super::output::{Output, render_one};
use super::row::{Field, Row, Value};
use super::rows::{baseband, mode};
use super::{Done, put, say};
use crate::grpc::proto::gsdk::network::{
    EthernetBaseband, GetIpConfigRequest, IpConfig, SetIpConfigMultiRequest, SetIpConfigRequest,
};

/// Says and sets how connected devices stand in their networks
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
        gatehouse ctl ip get 1001\n  \
        gatehouse ctl ip set 1001 --ip 192.0.2.7 --subnet-mask 255.255.255.0")]
pub enum Ip {
    /// Says how a device stands in its network, and whom it dials
    #[command(after_help = "Example:\n  gatehouse ctl ip get 1001 --output json")]
    Get {
        /// The ID of the device
        #[arg(value_name = "ID", value_parser = device_id)]
        id: u32,
    },
    /// Changes how devices stand in their networks, and whom they dial
    Set(Set),
}

#[derive(Debug, Args)]
#[command(
    long_about = "Changes how devices stand in their networks, and whom they dial. A device follows \
        when its present connection ends.\n\n\
        One device keeps what no option names. Several devices get the same configuration as a \
        whole: they have their addresses from DHCP (--dhcp), --mode must be said, and what no \
        option names gets its default. Each is tried; those that failed are listed with code and \
        message, and the exit code is 6.",
    after_help = "Examples:\n  \
        gatehouse ctl ip set 1001 --ip 192.0.2.7 --subnet-mask 255.255.255.0 --gateway 192.0.2.1\n  \
        gatehouse ctl ip set 1001 --mode device-to-server --server 192.0.2.200\n  \
        gatehouse ctl ip set 1001 1002 1003 --dhcp --mode server-to-device"
)]
pub struct Set {
    /// The IDs of the devices
    #[arg(value_name = "ID", required = true, value_parser = device_id)]
    ids: Vec<u32>,
    #[command(flatten)]
    changes: Changes,
}

/// What is changed of a configuration.
#[derive(Debug, Default, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Its addresses come from DHCP
    #[arg(long, conflicts_with_all = ["ip", "subnet_mask", "gateway"])]
    dhcp: bool,
    /// Its own fixed address
    #[arg(long, value_name = "IPV4")]
    ip: Option<Ipv4Addr>,
    /// The mask of its network, as 255.255.255.0
    #[arg(long, value_name = "MASK", requires = "ip")]
    subnet_mask: Option<Ipv4Addr>,
    /// The router of its network
    #[arg(long, value_name = "IPV4", requires = "ip")]
    gateway: Option<Ipv4Addr>,
    /// The port where the gateway dials it
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Who opens the connection
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,
    /// Whom it dials: an address, or a DNS name
    #[arg(long, value_name = "HOST")]
    server: Option<String>,
    /// The port that it dials for aes links
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    server_port: Option<u16>,
    /// The port that it dials for TLS links
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssl_server_port: Option<u16>,
    /// It asks this DNS server for names
    #[arg(long, value_name = "IPV4")]
    dns_server: Option<Ipv4Addr>,
    /// It asks no DNS server
    #[arg(long, conflicts_with_all = ["dns_server", "server_url"])]
    no_dns: bool,
    /// Whom it dials where it asks a DNS server: a URL or a DNS name
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
    /// The largest packet, 1078 to 1514 bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1078..=1514))]
    mtu: Option<u16>,
    /// The speed of its Ethernet, in Mbit/s
    #[arg(long, value_enum, value_name = "SPEED")]
    baseband: Option<Baseband>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Baseband {
    #[value(name = "10")]
    Ten,
    #[value(name = "100")]
    Hundred,
}

/// How one device stands.
struct Told {
    id: u32,
    config: IpConfig,
}

impl Row for Told {
    const FIELDS: &'static [Field<Self>] = &[
        Field::shown("id", 10, |told| told.id.into()),
        Field::shown("use_dhcp", 8, |told| Value::Flag(told.config.use_dhcp)),
        Field::shown("ip", 15, |told| Value::text_or_absent(&told.config.ip_addr)),
        Field::shown("subnet_mask", 15, |told| {
            Value::text_or_absent(&told.config.subnet_mask)
        }),
        Field::shown("gateway", 15, |told| {
            Value::text_or_absent(&told.config.gateway)
        }),
        Field::shown("port", 5, |told| positive(told.config.port)),
        Field::shown("mode", 16, |told| mode(told.config.connection_mode)),
        Field::shown("server", 15, |told| {
            Value::text_or_absent(&told.config.server_addr)
        }),
        Field::shown("server_port", 11, |told| positive(told.config.server_port)),
        Field::shown("ssl_server_port", 15, |told| {
            positive(told.config.ssl_server_port)
        }),
        Field::shown("use_dns", 7, |told| Value::Flag(told.config.use_dns)),
        Field::shown("dns_server", 15, |told| {
            Value::text_or_absent(&told.config.dns_server)
        }),
        Field::shown("server_url", 15, |told| {
            Value::text_or_absent(&told.config.server_url)
        }),
        Field::shown("mtu", 5, |told| positive(told.config.mtu_size)),
        Field::shown("baseband", 18, |told| baseband(told.config.baseband)),
    ];
}

/// A number that a device need not tell, where 0 means that it did not.
fn positive(number: i32) -> Value {
    let number = u64::try_from(number).ok().filter(|number| *number != 0);
    number.map_or(Value::Absent, Value::Number)
}

impl Ip {
    pub async fn run(self, client: &Client, output: Output) -> Done {
        match self {
            Self::Get { id } => {
                let config = get(client, id).await?;
                put(&render_one(&Told { id, config }, output))
            }
            Self::Set(set) => set.run(client, output).await,
        }
    }
}

impl Set {
    async fn run(self, client: &Client, output: Output) -> Done {
        let Self { ids, changes } = self;
        let mut api = client.network();
        if let [device_id] = ids[..] {
            let config = Some(changes.applied_to(get(client, device_id).await?));
            let request = SetIpConfigRequest { device_id, config };
            client.ask(api.set_ip_config(request)).await?;
        } else {
            let of = ids.len();
            let request = SetIpConfigMultiRequest {
                device_i_ds: ids,
                config: Some(changes.for_several()?),
            };
            let call = api.set_ip_config_multi(request);
            let answer = client.answer(call, client.patience()).await?;
            report(client, answer.map(drop), of, output)?;
        }
        say("done");
        Ok(())
    }
}

async fn get(client: &Client, device_id: u32) -> Result<IpConfig, Failure> {
    let mut api = client.network();
    let answer = client.ask(api.get_ip_config(GetIpConfigRequest { device_id }));
    Ok(answer.await?.config.unwrap_or_default())
}

impl Changes {
    fn applied_to(self, present: IpConfig) -> IpConfig {
        let text = |new: Option<Ipv4Addr>, old| new.map_or(old, |new| new.to_string());
        let port = |new: Option<u16>, old| new.map_or(old, i32::from);
        let is_fixed = self.ip.is_some();
        let has_dns = self.dns_server.is_some() || self.server_url.is_some();
        IpConfig {
            use_dhcp: self.dhcp || (present.use_dhcp && !is_fixed),
            ip_addr: text(self.ip, present.ip_addr),
            gateway: text(self.gateway, present.gateway),
            subnet_mask: text(self.subnet_mask, present.subnet_mask),
            port: port(self.port, present.port),
            connection_mode: self
                .mode
                .map_or(present.connection_mode, |mode| mode.number()),
            server_addr: self.server.unwrap_or(present.server_addr),
            server_port: port(self.server_port, present.server_port),
            ssl_server_port: port(self.ssl_server_port, present.ssl_server_port),
            use_dns: has_dns || (present.use_dns && !self.no_dns),
            dns_server: text(self.dns_server, present.dns_server),
            server_url: self.server_url.unwrap_or(present.server_url),
            mtu_size: port(self.mtu, present.mtu_size),
            baseband: self.baseband.map_or(present.baseband, Baseband::number),
        }
    }

    /// The whole configuration of several devices, of which none is read before.
    fn for_several(self) -> Result<IpConfig, Failure> {
        if !self.dhcp || self.mode.is_none() {
            let text = "several devices get the same configuration as a whole: say --dhcp and --mode, \
                        or change one device at a time";
            return Err(Failure::new(Exit::Usage, text));
        }
        let fastest = IpConfig {
            baseband: EthernetBaseband::Baseband100baseT.into(),
            ..IpConfig::default()
        };
        Ok(self.applied_to(fastest))
    }
}

impl Baseband {
    fn number(self) -> i32 {
        match self {
            Self::Ten => EthernetBaseband::Baseband10baseT.into(),
            Self::Hundred => EthernetBaseband::Baseband100baseT.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> IpConfig {
        IpConfig {
            use_dhcp: true,
            ip_addr: "192.0.2.7".to_owned(),
            subnet_mask: "255.255.255.0".to_owned(),
            port: 51_211,
            use_dns: true,
            dns_server: "192.0.2.53".to_owned(),
            mtu_size: 1500,
            baseband: 1,
            ..IpConfig::default()
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let none = Changes::default();
        assert_eq!(none.applied_to(present()), present());
        let changes = Changes {
            ip: Some(Ipv4Addr::new(192, 0, 2, 8)),
            no_dns: true,
            mode: Some(Mode::DeviceToServer),
            server: Some("gate.example".to_owned()),
            server_port: Some(7),
            mtu: Some(1400),
            baseband: Some(Baseband::Ten),
            ..Changes::default()
        };
        let expected = IpConfig {
            use_dhcp: false,
            ip_addr: "192.0.2.8".to_owned(),
            use_dns: false,
            connection_mode: 1,
            server_addr: "gate.example".to_owned(),
            server_port: 7,
            mtu_size: 1400,
            baseband: 0,
            ..present()
        };
        assert_eq!(changes.applied_to(present()), expected);
    }

    #[test]
    fn dhcp_and_dns_are_turned_on() {
        let fixed = IpConfig {
            use_dhcp: false,
            use_dns: false,
            ..present()
        };
        let changes = Changes {
            dhcp: true,
            server_url: Some("gate.example".to_owned()),
            ..Changes::default()
        };
        let changed = changes.applied_to(fixed);
        assert!(changed.use_dhcp && changed.use_dns);
        assert_eq!(changed.dns_server, "192.0.2.53");
    }

    #[test]
    fn several_devices_need_dhcp_and_a_mode() {
        let changes = |dhcp, mode| Changes {
            dhcp,
            mode,
            ..Changes::default()
        };
        for wrong in [
            changes(false, None),
            changes(true, None),
            changes(false, Some(Mode::ServerToDevice)),
        ] {
            assert_eq!(wrong.for_several().unwrap_err().exit, Exit::Usage);
        }
        let config = changes(true, Some(Mode::ServerToDevice)).for_several();
        let config = config.unwrap();
        assert!(config.use_dhcp && config.port == 0);
        assert_eq!((config.connection_mode, config.baseband), (0, 1));
    }

    #[test]
    fn a_configuration_is_told_with_every_field() {
        let told = Told {
            id: 1001,
            config: present(),
        };
        assert_eq!(
            render_one(&told, Output::Jsonl),
            "{\"id\":1001,\"use_dhcp\":true,\"ip\":\"192.0.2.7\",\"subnet_mask\":\"255.255.255.0\",\
             \"gateway\":null,\"port\":51211,\"mode\":\"SERVER_TO_DEVICE\",\"server\":null,\
             \"server_port\":null,\"ssl_server_port\":null,\"use_dns\":true,\
             \"dns_server\":\"192.0.2.53\",\"server_url\":null,\"mtu\":1500,\
             \"baseband\":\"BASEBAND_100BASE_T\"}\n"
        );
    }
}
