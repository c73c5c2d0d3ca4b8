//! How a device stands in its network: `network.IPConfig` and the resource `network/ip`.

use std::net::Ipv4Addr;

use http::Uri;
use tonic::Status;

use crate::codec::pson::Value;
use crate::config::is_host;
use crate::grpc::content::{Content, ResourceError};
use crate::grpc::proto::gsdk::connect::ConnectionMode;
use crate::grpc::proto::gsdk::network::{EthernetBaseband, IpConfig};

/// The resource, with the fields of [`IpConfig`] under their names in the API.
pub const NETWORK_IP: &str = "network/ip";

const PORT: i32 = 51_211;
const SERVER_PORT: i32 = 51_212;
const SSL_SERVER_PORT: i32 = 51_213;
const MTU_MIN: i32 = 1078;
const MTU_MAX: i32 = 1514;
const URL_MAX: usize = 256;

/// Why a configuration was refused before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config.{field} is {value}; it must be {right}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    right: &'static str,
}

impl From<ConfigError> for Status {
    fn from(error: ConfigError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// The state that a device told.
///
/// # Errors
/// [`ResourceError::Malformed`] naming the field.
pub fn read(content: &Content) -> Result<IpConfig, ResourceError> {
    Ok(IpConfig {
        use_dhcp: content.flag("useDHCP")?,
        ip_addr: content.text("IPAddr")?,
        gateway: content.text("gateway")?,
        subnet_mask: content.text("subnetMask")?,
        port: content.number("port")?,
        connection_mode: content.number("connectionMode")?,
        server_addr: content.text("serverAddr")?,
        server_port: content.number("serverPort")?,
        ssl_server_port: content.number("SSLServerPort")?,
        use_dns: content.flag("useDNS")?,
        dns_server: content.text("DNSServer")?,
        server_url: content.text("serverURL")?,
        mtu_size: content.number("MTUSize")?,
        baseband: content.number("baseband")?,
    })
}

/// What is written to a device: the whole configuration, but for addresses that come from DHCP and
/// an `MTUSize` of 0. A port of 0 is its default.
pub fn write(config: &IpConfig) -> Value {
    let mut pairs: Vec<(&str, Value)> = vec![("useDHCP", config.use_dhcp.into())];
    if !config.use_dhcp {
        pairs.extend([
            ("IPAddr", config.ip_addr.as_str().into()),
            ("gateway", config.gateway.as_str().into()),
            ("subnetMask", config.subnet_mask.as_str().into()),
        ]);
    }
    pairs.extend([
        ("port", number(config.port, PORT)),
        ("connectionMode", number(config.connection_mode, 0)),
        ("serverAddr", config.server_addr.as_str().into()),
        ("serverPort", number(config.server_port, SERVER_PORT)),
        (
            "SSLServerPort",
            number(config.ssl_server_port, SSL_SERVER_PORT),
        ),
        ("useDNS", config.use_dns.into()),
        ("DNSServer", config.dns_server.as_str().into()),
        ("serverURL", config.server_url.as_str().into()),
        ("baseband", number(config.baseband, 0)),
    ]);
    if config.mtu_size != 0 {
        pairs.push(("MTUSize", number(config.mtu_size, 0)));
    }
    Value::map(pairs)
}

fn number(value: i32, default: i32) -> Value {
    let value = if value == 0 { default } else { value };
    Value::from(i64::from(value))
}

/// Checks a configuration before it is written: a device that took a wrong one might be lost.
///
/// # Errors
/// [`ConfigError`] for the first field that is wrong.
pub fn check(config: &IpConfig) -> Result<(), ConfigError> {
    if !config.use_dhcp {
        check_addresses(config)?;
    }
    check_port("port", config.port)?;
    check_port("serverPort", config.server_port)?;
    check_port("SSLServerPort", config.ssl_server_port)?;
    check_server(config)?;
    check_ipv4_or_empty("DNSServer", &config.dns_server)?;
    let mtu = config.mtu_size;
    let is_mtu = mtu == 0 || (MTU_MIN..=MTU_MAX).contains(&mtu);
    let right = "1078 to 1514, or 0 to leave it as it is";
    ensure(is_mtu, "MTUSize", &mtu, right)?;
    let baseband = config.baseband;
    let is_baseband = EthernetBaseband::try_from(baseband).is_ok();
    ensure(
        is_baseband,
        "baseband",
        &baseband,
        "0 (10BASE-T) or 1 (100BASE-T)",
    )
}

/// Checks what goes to several devices at once: with fixed addresses all would get the same.
///
/// # Errors
/// [`ConfigError`] for the first field that is wrong.
pub fn check_multi(config: &IpConfig) -> Result<(), ConfigError> {
    let right = "true where several devices are configured at once";
    ensure(config.use_dhcp, "useDHCP", &config.use_dhcp, right)?;
    check(config)
}

fn check_addresses(config: &IpConfig) -> Result<(), ConfigError> {
    let right = "an IPv4 address such as 192.0.2.7, because useDHCP is false";
    let is_host = config
        .ip_addr
        .parse()
        .is_ok_and(|ip: Ipv4Addr| !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast());
    ensure(is_host, "IPAddr", &Quoted(&config.ip_addr), right)?;
    let is_mask = config.subnet_mask.parse().is_ok_and(|mask: Ipv4Addr| {
        let bits = u32::from(mask);
        bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32
    });
    let right = "a subnet mask such as 255.255.255.0, because useDHCP is false";
    ensure(is_mask, "subnetMask", &Quoted(&config.subnet_mask), right)?;
    check_ipv4_or_empty("gateway", &config.gateway)
}

fn check_server(config: &IpConfig) -> Result<(), ConfigError> {
    let (address, url) = (&config.server_addr, &config.server_url);
    let right = "an IPv4 address or a DNS name, or empty";
    ensure(
        address.is_empty() || is_host(address),
        "serverAddr",
        &Quoted(address),
        right,
    )?;
    let right = "a URL or a DNS name of at most 256 bytes, or empty";
    ensure(
        url.is_empty() || is_url(url),
        "serverURL",
        &Quoted(url),
        right,
    )?;
    let mode = config.connection_mode;
    let right = "0 (SERVER_TO_DEVICE) or 1 (DEVICE_TO_SERVER)";
    match ConnectionMode::try_from(mode) {
        Err(_) => ensure(false, "connectionMode", &mode, right),
        Ok(ConnectionMode::ServerToDevice) => Ok(()),
        Ok(ConnectionMode::DeviceToServer) => {
            let has_server = !address.is_empty() || (config.use_dns && !url.is_empty());
            let right = "whom the device is to dial, because connectionMode is DEVICE_TO_SERVER \
                         (or useDNS is true and serverURL says it)";
            ensure(has_server, "serverAddr", &Quoted(address), right)
        }
    }
}

fn check_port(field: &'static str, port: i32) -> Result<(), ConfigError> {
    let right = "1 to 65535, or 0 for its default";
    ensure(u16::try_from(port).is_ok(), field, &port, right)
}

fn check_ipv4_or_empty(field: &'static str, text: &str) -> Result<(), ConfigError> {
    let is_right = text.is_empty() || text.parse::<Ipv4Addr>().is_ok();
    let right = "an IPv4 address such as 192.0.2.7, or empty";
    ensure(is_right, field, &Quoted(text), right)
}

fn is_url(text: &str) -> bool {
    text.len() <= URL_MAX
        && text
            .parse::<Uri>()
            .is_ok_and(|url| url.host().is_some_and(is_host))
}

struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start: String = self.0.chars().take(URL_MAX).collect();
        write!(f, "{start:?}")
    }
}

fn ensure(
    is_right: bool,
    field: &'static str,
    value: &dyn std::fmt::Display,
    right: &'static str,
) -> Result<(), ConfigError> {
    if is_right {
        return Ok(());
    }
    Err(ConfigError {
        field,
        value: value.to_string(),
        right,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::DeviceId;

    fn fixed() -> IpConfig {
        IpConfig {
            use_dhcp: false,
            ip_addr: "192.0.2.7".to_owned(),
            gateway: "192.0.2.1".to_owned(),
            subnet_mask: "255.255.255.0".to_owned(),
            port: 51_211,
            connection_mode: 1,
            server_addr: "192.0.2.200".to_owned(),
            server_port: 51_212,
            ssl_server_port: 51_213,
            use_dns: true,
            dns_server: "192.0.2.53".to_owned(),
            server_url: "gate.example.com".to_owned(),
            mtu_size: 1500,
            baseband: 1,
        }
    }

    fn content(value: Value) -> Content {
        Content {
            device: DeviceId::new(7).expect("not 0"),
            resource: NETWORK_IP,
            value: Some(value),
        }
    }

    fn changed(change: impl FnOnce(&mut IpConfig)) -> IpConfig {
        let mut config = fixed();
        change(&mut config);
        config
    }

    #[test]
    fn each_field_has_its_bounds() {
        assert_eq!(check(&fixed()), Ok(()));
        let text = |field: fn(&mut IpConfig) -> &mut String, value: &str| {
            check(&changed(|config| *field(config) = value.to_owned())).is_ok()
        };
        for (value, is_right) in [
            ("192.0.2.7", true),
            ("", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("::1", false),
            ("door", false),
            ("192.0.2.07", false),
        ] {
            assert_eq!(
                text(|config| &mut config.ip_addr, value),
                is_right,
                "{value}"
            );
        }
        for (value, is_right) in [
            ("255.255.255.0", true),
            ("255.255.255.255", true),
            ("128.0.0.0", true),
            ("0.0.0.0", false),
            ("255.0.255.0", false),
            ("", false),
        ] {
            assert_eq!(
                text(|config| &mut config.subnet_mask, value),
                is_right,
                "{value}"
            );
        }
        for (value, is_right) in [("", true), ("192.0.2.1", true), ("gate", false)] {
            assert_eq!(
                text(|config| &mut config.gateway, value),
                is_right,
                "{value}"
            );
            assert_eq!(
                text(|config| &mut config.dns_server, value),
                is_right,
                "{value}"
            );
        }
        for (value, is_right) in [
            ("gate.example.com", true),
            ("192.0.2.1", true),
            ("a b", false),
        ] {
            assert_eq!(
                text(|config| &mut config.server_addr, value),
                is_right,
                "{value}"
            );
        }
        let long = format!("http://{}.com", "a".repeat(URL_MAX));
        for (value, is_right) in [
            ("", true),
            ("gate.example.com", true),
            ("gate.example.com:51212", true),
            ("https://gate.example.com/path?a=b", true),
            ("/path", false),
            ("http://", false),
            ("http://a b", false),
            ("*", false),
            (long.as_str(), false),
        ] {
            assert_eq!(
                text(|config| &mut config.server_url, value),
                is_right,
                "{value}"
            );
        }
    }

    #[test]
    fn each_number_has_its_bounds() {
        let number = |field: fn(&mut IpConfig) -> &mut i32, value: i32| {
            check(&changed(|config| *field(config) = value)).is_ok()
        };
        for (value, is_right) in [
            (0, true),
            (1, true),
            (65_535, true),
            (-1, false),
            (65_536, false),
        ] {
            assert_eq!(
                number(|config| &mut config.port, value),
                is_right,
                "{value}"
            );
            assert_eq!(
                number(|config| &mut config.server_port, value),
                is_right,
                "{value}"
            );
            assert_eq!(
                number(|config| &mut config.ssl_server_port, value),
                is_right,
                "{value}"
            );
        }
        for (value, is_right) in [
            (0, true),
            (1077, false),
            (1078, true),
            (1514, true),
            (1515, false),
        ] {
            assert_eq!(
                number(|config| &mut config.mtu_size, value),
                is_right,
                "{value}"
            );
        }
        for (value, is_right) in [(-1, false), (0, true), (1, true), (2, false)] {
            assert_eq!(
                number(|config| &mut config.baseband, value),
                is_right,
                "{value}"
            );
            assert_eq!(
                number(|config| &mut config.connection_mode, value),
                is_right,
                "{value}"
            );
        }
    }

    #[test]
    fn a_device_that_is_to_dial_is_told_whom() {
        let nobody = changed(|config| config.server_addr.clear());
        assert_eq!(check(&nobody), Ok(()), "the URL says whom");
        let without_dns = IpConfig {
            use_dns: false,
            ..nobody
        };
        let error = check(&without_dns).expect_err("nobody to dial");
        assert!(
            error
                .to_string()
                .starts_with("config.serverAddr is \"\"; it must be whom")
        );
        let dialled = IpConfig {
            connection_mode: 0,
            ..without_dns
        };
        assert_eq!(check(&dialled), Ok(()));
    }

    #[test]
    fn several_devices_need_dhcp() {
        let error = check_multi(&fixed()).expect_err("fixed addresses");
        assert_eq!(
            error.to_string(),
            "config.useDHCP is false; it must be true where several devices are configured at once"
        );
        let dhcp = changed(|config| {
            config.use_dhcp = true;
            config.ip_addr.clear();
        });
        assert_eq!(check_multi(&dhcp), Ok(()));
    }

    #[test]
    fn what_comes_from_dhcp_is_not_written() {
        let written = write(&changed(|config| config.use_dhcp = true));
        for key in ["IPAddr", "gateway", "subnetMask"] {
            assert_eq!(written.get(key), None);
        }
        let defaults = write(&IpConfig::default());
        assert_eq!(defaults.get("port"), Some(&Value::Unsigned(51_211)));
        assert_eq!(defaults.get("MTUSize"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            numbers in (1_i32..65_536, 1_i32..65_536, 1_i32..65_536, 1_i32..2000, 0_i32..2, 0_i32..2),
            texts in ("[0-9.]{0,15}", "[0-9.]{0,15}", "[0-9.]{0,15}", ".{0,30}", ".{0,30}"),
            use_dns: bool,
        ) {
            let config = IpConfig {
                use_dhcp: false,
                ip_addr: texts.0,
                gateway: texts.1,
                subnet_mask: texts.2,
                port: numbers.0,
                connection_mode: numbers.4,
                server_addr: texts.3.clone(),
                server_port: numbers.1,
                ssl_server_port: numbers.2,
                use_dns,
                dns_server: texts.3,
                server_url: texts.4,
                mtu_size: numbers.3,
                baseband: numbers.5,
            };
            // Whatever it is, checking it does not panic.
            let _ = check(&config);
            prop_assert_eq!(read(&content(write(&config))), Ok(config));
        }
    }
}
