//! The arguments of `gatehouse simulate`.

use std::net::{IpAddr, SocketAddrV4};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use ipnet::Ipv4Net;

use crate::cli::duration;
use crate::config::TlsVersion;
use crate::sim::resources::Resource;

/// Runs simulated devices, one or tens of thousands
#[derive(Debug, Args)]
#[command(
    long_about = "Runs simulated devices, one or tens of thousands, for a gateway to live with.\n\n\
        A device has a serial number, counted up from --first-id, and speaks IOTMP. Either it \
        dials the gateway (--dial), or the gateway dials it (--listen), until the gateway tells it \
        otherwise: it keeps what is written to it and does as it is told. On the way to the \
        gateway its bytes are encrypted with a link key (--link aes, the default), by TLS (--link \
        tls), or not at all (--link plain). Like stock clients it can take a WebSocket \
        (--websocket), and behave as one of them (--like). \
        Devices can behave badly in many ways (--behaviour), to see what the gateway does about \
        it.\n\n\
        A gateway takes in only the devices that its accept filter allows; one that refuses \
        them is told as \"refused\".\n\n\
        It runs until Ctrl-C, SIGTERM or the end of --for, and then prints what has happened. \
        One device takes one open file, one that listens takes two: the limit is raised as far as \
        the system allows, and it is said if that is not enough.",
    after_help = "Examples:\n  \
        gatehouse simulate --dial 127.0.0.1:51212 --data-dir gatehouse-data\n      \
            ten devices, 1001 to 1010, dial the gateway on this machine\n  \
        gatehouse simulate --listen 127.0.0.1 --data-dir gatehouse-data --search\n      \
            ten devices wait at ports 51211 to 51220 to be dialled, and answer a search\n  \
        gatehouse simulate --dial 127.0.0.1:51213 --link tls --ca ca.crt --credential SECRET \\\n          \
            --count 1 --first-id 7\n      \
            device 7 dials over TLS and proves itself with a stored credential\n  \
        gatehouse simulate --dial 127.0.0.1:51213 --link tls --ca ca.crt --device-certs certs\n      \
            ten devices, each with a certificate of its own: certs/1001.crt, certs/1001_key.pem\n  \
        gatehouse simulate --listen 127.0.0.1 --key fleet.key --rs485 31,32 --without security/key\n      \
            ten devices with two slaves each, whose keys cannot be replaced\n  \
        gatehouse simulate --listen 127.0.0.1 --port 0 --link plain --count 1 --format json\n      \
            one device on any free port, told as JSON\n  \
        gatehouse simulate --dial gateway:51212 --key fleet.key --count 20000 \\\n          \
            --start-rate 500 --churn 10m --quiet --for 1h\n      \
            a large fleet whose sessions break off after ten minutes on average\n  \
        gatehouse simulate --dial 127.0.0.1:25204 --link plain --like linux --count 3\n      \
            three devices that behave as the vendor's Linux client\n  \
        gatehouse simulate --dial 127.0.0.1:51212 --key fleet.key --behaviour half-handshake\n      \
            ten peers that begin a handshake and never finish it",
    group = ArgGroup::new("place").required(true)
)]
pub struct Simulate {
    /// The devices dial the gateway here: 51212 is its port for aes links, 51213 for tls ones,
    /// 25204 for plain ones
    #[arg(
        long,
        value_name = "HOST:PORT",
        group = "place",
        help_heading = "Where"
    )]
    pub(super) dial: Option<String>,
    /// The devices listen at this address of this machine, each on a port of its own
    #[arg(long, value_name = "IP", group = "place", help_heading = "Where")]
    pub(super) listen: Option<IpAddr>,
    /// With --listen: the first device's port, counted up for the next ones; 0: any free ports
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 51211,
        conflicts_with = "dial",
        help_heading = "Where"
    )]
    pub(super) port: u16,
    /// With --dial: addresses of this machine to dial from, in turn. One address has some 28,000
    /// ports; 127.0.0.2, 127.0.0.3 … are there for more on one machine
    #[arg(
        long,
        value_name = "IP,IP",
        value_delimiter = ',',
        conflicts_with = "listen",
        help_heading = "Where"
    )]
    pub(super) sources: Vec<IpAddr>,
    /// The devices answer who searches for them in their subnet
    #[arg(
        long,
        value_name = "IP:PORT",
        num_args = 0..=1,
        default_missing_value = "0.0.0.0:51210",
        help_heading = "Where"
    )]
    pub(super) search: Option<SocketAddrV4>,
    /// With --search: whose questions they answer [default: of the subnets of this machine]
    #[arg(
        long,
        value_name = "NET,NET",
        value_delimiter = ',',
        requires = "search",
        help_heading = "Where"
    )]
    pub(super) search_subnets: Vec<Ipv4Net>,

    /// How many devices
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Who"
    )]
    pub(super) count: u32,
    /// The serial number of the first device
    #[arg(
        long,
        value_name = "ID",
        default_value_t = 1001,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Who"
    )]
    pub(super) first_id: u32,
    /// The user name that they connect with
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Who"
    )]
    pub(super) owner: String,
    /// The device type that they tell, a number of the vendor's list
    #[arg(
        long = "type",
        value_name = "N",
        default_value_t = 0,
        help_heading = "Who"
    )]
    pub(super) device_type: u32,
    /// The credential that they connect with (see `gatehouse certs device-secret`)
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Who"
    )]
    pub(super) credential: String,
    /// The IDs of the devices behind each of them on its RS-485 bus
    #[arg(
        long,
        value_name = "ID,ID",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Who"
    )]
    pub(super) rs485: Vec<u32>,
    /// The IDs of the devices behind each of them on Wiegand lines
    #[arg(
        long,
        value_name = "ID,ID",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Who"
    )]
    pub(super) wiegand: Vec<u32>,
    /// A resource that they have not got: device/info, network/ip, security/ssl, security/key,
    /// slaves, or one of their sensors and switches: temperature, humidity, counter, relay, sum,
    /// display, reboot, beep; can be given again
    #[arg(long, value_name = "RESOURCE", value_parser = resource, help_heading = "Who")]
    pub(super) without: Vec<Resource>,
    /// They have one more resource, and a name, that are markup and what moves a terminal: to see
    /// that nobody takes text of a device for more than text
    #[arg(long, help_heading = "Who")]
    pub(super) hostile_text: bool,
    /// Whose client they behave as, with all that it does its own way [default: a good device]
    #[arg(long, value_enum, conflicts_with = "dialect", help_heading = "Who")]
    pub(super) like: Option<LikeArg>,

    /// With --dial and --link plain or tls: over a WebSocket, at /iotmp of the gateway's HTTP port
    #[arg(long, conflicts_with = "listen", help_heading = "Link")]
    pub(super) websocket: bool,
    /// What protects the bytes
    #[arg(
        long,
        value_enum,
        default_value_t = LinkArg::Aes,
        help_heading = "Link"
    )]
    pub(super) link: LinkArg,
    /// For aes links: a file with the link key of the fleet, 64 hex digits
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "device_keys",
        help_heading = "Link"
    )]
    pub(super) key: Option<PathBuf>,
    /// For aes links: a folder with a key for each device, <ID>.key
    #[arg(long, value_name = "DIR", help_heading = "Link")]
    pub(super) device_keys: Option<PathBuf>,
    /// The data directory of a gateway on this machine: its newest fleet key and its root
    /// certificate are taken, where no other is named
    #[arg(long, value_name = "DIR", help_heading = "Link")]
    pub(super) data_dir: Option<PathBuf>,
    /// For tls links: the root certificate that the gateway's must be signed by, PEM
    #[arg(long, value_name = "FILE", help_heading = "Link")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate that the devices show when TLS asks for one, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert_key",
        conflicts_with = "device_certs",
        help_heading = "Link"
    )]
    pub(super) cert: Option<PathBuf>,
    /// With --cert: its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Link")]
    pub(super) cert_key: Option<PathBuf>,
    /// A folder with a certificate for each device: <ID>.crt and <ID>_key.pem
    #[arg(long, value_name = "DIR", help_heading = "Link")]
    pub(super) device_certs: Option<PathBuf>,
    /// The versions of TLS that they speak [default: 1.2,1.3; 1.2 with --like linux]
    #[arg(
        long,
        value_name = "V,V",
        value_delimiter = ',',
        value_parser = tls_version,
        help_heading = "Link"
    )]
    pub(super) tls_versions: Vec<TlsVersion>,
    /// They are TLS servers when the gateway dials; needs a certificate
    #[arg(long, help_heading = "Link")]
    pub(super) tls_turned: bool,
    /// With --tls-turned: they want the certificate of a gateway
    #[arg(long, requires = "tls_turned", help_heading = "Link")]
    pub(super) tls_insist: bool,
    /// They make a whole TLS handshake each time they connect
    #[arg(long, help_heading = "Link")]
    pub(super) no_resumption: bool,
    /// The keep-alive interval that they ask for, in whole seconds; with --like, the one that they
    /// keep to and ask nobody for
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = duration::parse,
        help_heading = "Link"
    )]
    pub(super) keep_alive: Duration,
    /// Which generation of IOTMP they speak
    #[arg(
        long,
        value_enum,
        default_value_t = DialectArg::Current,
        help_heading = "Link"
    )]
    pub(super) dialect: DialectArg,

    /// What they do
    #[arg(
        long,
        value_enum,
        default_value_t = BehaviourArg::Normal,
        help_heading = "Behaviour"
    )]
    pub(super) behaviour: BehaviourArg,
    /// With --behaviour slow: how long each answer takes
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        value_parser = duration::parse,
        help_heading = "Behaviour"
    )]
    pub(super) answer_delay: Duration,
    /// With --behaviour normal: devices drop their sessions, after this long on average
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration::parse,
        help_heading = "Behaviour"
    )]
    pub(super) churn: Option<Duration>,
    /// While they dial: the pause before the next dial; each is drawn from half of it to half as
    /// much again
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        value_parser = duration::parse,
        help_heading = "Behaviour"
    )]
    pub(super) redial: Duration,
    /// The same seed gives the same pauses, drops and garbage
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Behaviour"
    )]
    pub(super) seed: u64,

    /// Start at most so many devices a second [default: as fast as it goes]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub(super) start_rate: Option<NonZeroU32>,
    /// End after this long [default: at Ctrl-C or SIGTERM]
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = duration::parse,
        help_heading = "Run"
    )]
    pub(super) run_for: Option<Duration>,
    /// How events and the summary are printed
    #[arg(
        long,
        value_enum,
        default_value_t = Format::Text,
        help_heading = "Run"
    )]
    pub(super) format: Format,
    /// Print the summary only; as JSON also where the devices listen
    #[arg(long, help_heading = "Run")]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LinkArg {
    /// Encrypted; needs --key, --device-keys or --data-dir
    Aes,
    /// Encrypted by TLS; needs --ca or --data-dir
    Tls,
    /// Not protected; the gateway must be configured to take it
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DialectArg {
    /// What devices speak since 2026
    Current,
    /// What the vendor's Linux client spoke until then
    Legacy,
    /// What was published in July 2020
    #[value(name = "2020")]
    Of2020,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LikeArg {
    /// The vendor's Linux client since 2026
    Linux,
    /// The vendor's microcontroller clients since 2026
    Embedded,
    /// The vendor's Linux client until 2026
    Legacy,
    /// July 2020, with field keys as every shipped encoder writes them
    #[value(name = "2020")]
    Of2020,
    /// July 2020, with field keys as the pages of the time draw them
    #[value(name = "2020-doc")]
    Doc2020,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BehaviourArg {
    /// They connect, keep alive and answer
    Normal,
    /// They answer late, see --answer-delay
    Slow,
    /// They connect and then never say another word, not even that they are alive
    Silent,
    /// They make the link and then never connect
    NoConnect,
    /// They open the TCP connection and say nothing at all
    Mute,
    /// They send random bytes in place of their first message
    Garbage,
    /// They send a part of their first message and then nothing more
    HalfHandshake,
    /// They connect with a credential that nobody gave them
    WrongCredential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line for a person to read
    Text,
    /// A JSON object a line
    Json,
}

fn resource(name: &str) -> Result<Resource, String> {
    Resource::named(name).ok_or_else(|| {
        let all = Resource::BASE.into_iter().chain(Resource::PANEL);
        let names: Vec<&str> = all.map(Resource::name).collect();
        format!("the resources are {}", names.join(", "))
    })
}

fn tls_version(version: &str) -> Result<TlsVersion, &'static str> {
    match version {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err("the versions are 1.2 and 1.3"),
    }
}
