//! The `network/ip` of a simulated device.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::codec::pson::Value;
use crate::device::ConnectionMode;

/// What `serverPort` and `SSLServerPort` are where nobody said otherwise.
const SERVER_PORT: u16 = 51212;
const SSL_SERVER_PORT: u16 = 51213;
/// What a frame on an Ethernet may hold, in bytes.
const MTU: std::ops::RangeInclusive<u16> = 1078..=1514;
/// The longest host name or URL, in bytes.
const TEXT_MAX: usize = 256;

/// The fields of `network.IPConfig`. Those that a simulated device has no use for it keeps and
/// tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    pub use_dhcp: bool,
    /// Where the device is, as far as it knows.
    pub address: Option<Ipv4Addr>,
    pub gateway: Option<Ipv4Addr>,
    pub subnet_mask: Option<Ipv4Addr>,
    /// Where it listens; 0: at the port it began with, or else at any free one.
    pub port: u16,
    pub connection_mode: ConnectionMode,
    /// An address or a host name; empty: none is known.
    pub server: Box<str>,
    /// The port of the server for aes and plain links.
    pub server_port: u16,
    /// The port of the server for tls links.
    pub ssl_server_port: u16,
    pub use_dns: bool,
    pub dns_server: Option<Ipv4Addr>,
    pub server_url: Box<str>,
    /// Bytes.
    pub mtu_size: u16,
    /// A number of `network.EthernetBaseband`, 0 or 1.
    pub baseband: u8,
}

impl Default for IpConfig {
    /// A device that has its address from DHCP and listens.
    fn default() -> Self {
        Self {
            use_dhcp: true,
            address: None,
            gateway: None,
            subnet_mask: None,
            port: 0,
            connection_mode: ConnectionMode::ServerToDevice,
            server: "".into(),
            server_port: SERVER_PORT,
            ssl_server_port: SSL_SERVER_PORT,
            use_dns: false,
            dns_server: None,
            server_url: "".into(),
            mtu_size: *MTU.end(),
            baseband: 1,
        }
    }
}

/// How a device comes to its links. What changes it takes effect when the present link ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It waits at this port to be dialled; 0 as in [`IpConfig::port`].
    Listens(u16),
    /// It dials one of these ports.
    Dials {
        server: Box<str>,
        port: u16,
        ssl_port: u16,
    },
}

/// As the words after "told to".
impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listens(0) => f.write_str("listen"),
            Self::Listens(port) => write!(f, "listen at port {port}"),
            Self::Dials { server, .. } => write!(f, "dial {server}"),
        }
    }
}

impl IpConfig {
    pub fn stance(&self) -> Stance {
        match self.connection_mode {
            ConnectionMode::ServerToDevice => Stance::Listens(self.port),
            ConnectionMode::DeviceToServer => Stance::Dials {
                server: self.server.clone(),
                port: self.server_port,
                ssl_port: self.ssl_server_port,
            },
        }
    }

    /// All of it, under the names of `network.IPConfig`; enums as numbers.
    pub fn to_value(&self) -> Value {
        let address = |address: Option<Ipv4Addr>| {
            Value::from(address.map_or_else(String::new, |address| address.to_string()))
        };
        Value::map([
            ("useDHCP", Value::from(self.use_dhcp)),
            ("IPAddr", address(self.address)),
            ("gateway", address(self.gateway)),
            ("subnetMask", address(self.subnet_mask)),
            ("port", u32::from(self.port).into()),
            ("connectionMode", (self.connection_mode as u32).into()),
            ("serverAddr", (&*self.server).into()),
            ("serverPort", u32::from(self.server_port).into()),
            ("SSLServerPort", u32::from(self.ssl_server_port).into()),
            ("useDNS", self.use_dns.into()),
            ("DNSServer", address(self.dns_server)),
            ("serverURL", (&*self.server_url).into()),
            ("MTUSize", u32::from(self.mtu_size).into()),
            ("baseband", u32::from(self.baseband).into()),
        ])
    }

    /// With the fields that `input` has; the others stay. Fields of other names are passed over,
    /// as a device passes over what a newer gateway knows.
    ///
    /// # Errors
    /// What is wrong with which field, and what would be right; or that a device that is to dial
    /// knows no server.
    pub fn merged(&self, input: &Value) -> Result<Self, String> {
        let Value::Map(fields) = input else {
            return Err("the input is a map of the fields to set".to_owned());
        };
        let mut merged = self.clone();
        for (name, value) in fields {
            merged
                .set(name, value)
                .map_err(|right| format!("{name} is {right}"))?;
        }
        if merged.connection_mode == ConnectionMode::DeviceToServer && merged.server.is_empty() {
            return Err("serverAddr is needed by a device that is to dial".to_owned());
        }
        Ok(merged)
    }

    /// # Errors
    /// What would be right.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), &'static str> {
        match name {
            "useDHCP" => self.use_dhcp = flag(value)?,
            "IPAddr" => self.address = address(value)?,
            "gateway" => self.gateway = address(value)?,
            "subnetMask" => self.subnet_mask = mask(value)?,
            "port" => self.port = port(value)?,
            "connectionMode" => self.connection_mode = mode(value)?,
            "serverAddr" => self.server = host(value)?,
            "serverPort" => self.server_port = or_default(port(value)?, SERVER_PORT),
            "SSLServerPort" => self.ssl_server_port = or_default(port(value)?, SSL_SERVER_PORT),
            "useDNS" => self.use_dns = flag(value)?,
            "DNSServer" => self.dns_server = address(value)?,
            "serverURL" => self.server_url = text(value)?,
            "MTUSize" => self.mtu_size = mtu(value)?,
            "baseband" => self.baseband = baseband(value)?,
            _ => {}
        }
        Ok(())
    }
}

/// A message of the API cannot leave a port out: it says 0 then.
const fn or_default(port: u16, default: u16) -> u16 {
    if port == 0 { default } else { port }
}

fn flag(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => Err("true or false"),
    }
}

fn port(value: &Value) -> Result<u16, &'static str> {
    number(value).ok_or("a port, 0 to 65535")
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_unsigned()?.try_into().ok()
}

/// An empty text is none.
fn address(value: &Value) -> Result<Option<Ipv4Addr>, &'static str> {
    const RIGHT: &str = "an IPv4 address, or empty";
    match value.as_str() {
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| RIGHT),
        None => Err(RIGHT),
    }
}

fn mask(value: &Value) -> Result<Option<Ipv4Addr>, &'static str> {
    const RIGHT: &str = "a subnet mask such as 255.255.255.0, or empty";
    let mask = address(value).map_err(|_| RIGHT)?;
    let bits = mask.map_or(0, u32::from);
    if bits.leading_ones() + bits.trailing_zeros() >= u32::BITS {
        Ok(mask)
    } else {
        Err(RIGHT)
    }
}

fn mode(value: &Value) -> Result<ConnectionMode, &'static str> {
    match value.as_unsigned() {
        Some(0) => Ok(ConnectionMode::ServerToDevice),
        Some(1) => Ok(ConnectionMode::DeviceToServer),
        _ => Err("0 (server to device) or 1 (device to server)"),
    }
}

fn host(value: &Value) -> Result<Box<str>, &'static str> {
    const RIGHT: &str = "an address or a host name, or empty";
    let host = text(value).map_err(|_| RIGHT)?;
    let is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if is_name || host.parse::<IpAddr>().is_ok() {
        Ok(host)
    } else {
        Err(RIGHT)
    }
}

fn text(value: &Value) -> Result<Box<str>, &'static str> {
    match value.as_str() {
        Some(text) if text.len() <= TEXT_MAX => Ok(text.into()),
        _ => Err("a text of 256 bytes at most"),
    }
}

/// 0 stands for the default, as with ports.
fn mtu(value: &Value) -> Result<u16, &'static str> {
    let mtu = or_default(number(value).unwrap_or(u16::MAX), *MTU.end());
    if MTU.contains(&mtu) {
        Ok(mtu)
    } else {
        Err("1078 to 1514 bytes")
    }
}

fn baseband(value: &Value) -> Result<u8, &'static str> {
    match number(value) {
        Some(baseband @ 0..=1) => Ok(baseband),
        _ => Err("0 (10BASE-T) or 1 (100BASE-T)"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::pson::tests::any_value;

    fn any_address() -> impl Strategy<Value = Option<Ipv4Addr>> {
        prop::option::of(any::<u32>().prop_map(Ipv4Addr::from))
    }

    fn any_config() -> impl Strategy<Value = IpConfig> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        let addresses = (any_address(), any_address(), any_address());
        let ports = (any::<u16>(), 1..=u16::MAX, 1..=u16::MAX);
        let texts = ("[a-z0-9.]{1,20}", "[a-z:/.]{0,20}");
        (flags, addresses, 0..=32_u32, ports, texts, MTU).prop_map(
            |(flags, addresses, prefix, ports, texts, mtu_size)| IpConfig {
                use_dhcp: flags.0,
                address: addresses.0,
                gateway: addresses.1,
                subnet_mask: Some(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).into()),
                port: ports.0,
                connection_mode: mode(&Value::from(u32::from(flags.1))).unwrap(),
                server: texts.0.into(),
                server_port: ports.1,
                ssl_server_port: ports.2,
                use_dns: flags.2,
                dns_server: addresses.2,
                server_url: texts.1.into(),
                mtu_size,
                baseband: u8::from(flags.0),
            },
        )
    }

    fn pairs(value: Value) -> Vec<(String, Value)> {
        match value {
            Value::Map(pairs) => pairs,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn some_fields_are_set_and_the_others_stay(
            before in any_config(),
            wanted in any_config(),
            chosen in prop::collection::vec(any::<bool>(), 14),
        ) {
            let mut expected = pairs(before.to_value());
            let mut input = Vec::new();
            for (index, pair) in pairs(wanted.to_value()).into_iter().enumerate() {
                if chosen[index] {
                    expected[index] = pair.clone();
                    input.push(pair);
                }
            }
            input.push(("somethingNew".to_owned(), Value::Null));
            let merged = before.merged(&Value::Map(input)).unwrap();
            prop_assert_eq!(merged.to_value(), Value::Map(expected));
        }

        #[test]
        fn all_of_it_goes_round(config in any_config()) {
            prop_assert_eq!(IpConfig::default().merged(&config.to_value()), Ok(config));
        }

        #[test]
        fn no_input_panics(name in prop::sample::select(NAMES), value in any_value()) {
            let before = IpConfig::default();
            if let Ok(merged) = before.merged(&Value::map([(name, value)])) {
                prop_assert_eq!(merged.merged(&merged.to_value()), Ok(merged.clone()));
            }
        }
    }

    const NAMES: &[&str] = &[
        "useDHCP",
        "IPAddr",
        "gateway",
        "subnetMask",
        "port",
        "connectionMode",
        "serverAddr",
        "serverPort",
        "SSLServerPort",
        "useDNS",
        "DNSServer",
        "serverURL",
        "MTUSize",
        "baseband",
    ];

    #[test]
    fn a_bad_value_is_named_and_changes_nothing() {
        let before = IpConfig::default();
        for (name, bad) in [
            ("useDHCP", Value::from(1_u32)),
            ("IPAddr", "10.0.0".into()),
            ("gateway", Value::Null),
            ("subnetMask", "255.0.255.0".into()),
            ("port", 65_536_u32.into()),
            ("port", Value::Negative(-1)),
            ("connectionMode", 2_u32.into()),
            ("serverAddr", "a b".into()),
            ("serverPort", "51212".into()),
            ("serverURL", "a".repeat(TEXT_MAX + 1).into()),
            ("MTUSize", 1077_u32.into()),
            ("baseband", 2_u32.into()),
        ] {
            let problem = before.merged(&Value::map([(name, bad)])).unwrap_err();
            assert!(problem.starts_with(&format!("{name} is ")), "{problem}");
        }
        assert!(before.merged(&Value::from("port")).is_err());
    }

    #[test]
    fn a_device_that_is_to_dial_must_know_where() {
        let dial = Value::map([("connectionMode", 1_u32)]);
        let before = IpConfig::default();
        let problem = before.merged(&dial).unwrap_err();
        assert!(problem.contains("serverAddr"), "{problem}");
        let knows = Value::map([("serverAddr", "gate.example.org")]);
        let told = before.merged(&knows).unwrap().merged(&dial).unwrap();
        let expected = Stance::Dials {
            server: "gate.example.org".into(),
            port: SERVER_PORT,
            ssl_port: SSL_SERVER_PORT,
        };
        assert_eq!(told.stance(), expected);
        assert_eq!(before.stance(), Stance::Listens(0));
    }

    #[test]
    fn a_port_of_0_is_the_default() {
        let zeros = Value::map([("serverPort", 0_u32), ("SSLServerPort", 0), ("MTUSize", 0)]);
        let other = IpConfig {
            server_port: 1,
            ssl_server_port: 2,
            mtu_size: 1200,
            ..IpConfig::default()
        };
        assert_eq!(other.merged(&zeros), Ok(IpConfig::default()));
    }
}
