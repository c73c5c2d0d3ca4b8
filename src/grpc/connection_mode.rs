//! `SetConnectionMode`: who dials from now on.

use std::net::IpAddr;

use tonic::Status;

use crate::codec::pson::Value;
use crate::device::DeviceId;
use crate::grpc::content::ResourceError;
use crate::grpc::ip_config::NETWORK_IP;
use crate::grpc::proto::gsdk::connect::ConnectionMode;
use crate::grpc::resource::Resources;

/// Whom devices are told to dial.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// An IPv4 address or a DNS name; empty: the gateway's own address on the link of each device.
    pub address: String,
    /// Where the gateway listens for aes links.
    pub aes_port: Option<u16>,
    /// Where it listens for tls links.
    pub tls_port: Option<u16>,
}

/// The mode that a request asks for.
///
/// # Errors
/// INVALID_ARGUMENT for a number that is none.
pub fn asked(mode: i32) -> Result<ConnectionMode, Status> {
    ConnectionMode::try_from(mode).map_err(|_| {
        Status::invalid_argument(format!(
            "connectionMode is {mode}; it must be 0 (SERVER_TO_DEVICE) or 1 (DEVICE_TO_SERVER)"
        ))
    })
}

/// Writes the mode to the device, with whom to dial where it is the device that dials.
///
/// # Errors
/// Those of [`ResourceError`], and FAILED_PRECONDITION when the device kept its mode, or there is
/// nothing that it could dial.
pub async fn set(
    resources: &Resources,
    advertised: &Advertised,
    device: DeviceId,
    mode: ConnectionMode,
) -> Result<(), Status> {
    let input = match mode {
        ConnectionMode::ServerToDevice => to_be_dialled(),
        ConnectionMode::DeviceToServer => {
            let local = resources.gateway().local_address(device).await;
            let local = local.map_err(|_| ResourceError::NotConnected)?;
            to_dial(advertised, local)?
        }
    };
    let state = resources.write(device, NETWORK_IP, input).await?;
    let kept = state.number("connectionMode")?;
    if !state.has("connectionMode")? || kept != mode as i32 {
        return Err(Status::failed_precondition(format!(
            "device {device} took {NETWORK_IP} and kept its connectionMode"
        )));
    }
    Ok(())
}

fn to_be_dialled() -> Value {
    let mode = Value::from(i64::from(ConnectionMode::ServerToDevice as i32));
    Value::map([("connectionMode", mode)])
}

/// `local` is the gateway's own address on the link of the device.
fn to_dial(advertised: &Advertised, local: IpAddr) -> Result<Value, Status> {
    let address = match (advertised.address.as_str(), local.to_canonical()) {
        ("", IpAddr::V4(local)) => local.to_string(),
        ("", IpAddr::V6(local)) => {
            return Err(Status::failed_precondition(format!(
                "the device reaches the gateway at {local}, and can be told an IPv4 address or a \
                 name alone; configure one as device.advertise"
            )));
        }
        (address, _) => address.to_owned(),
    };
    if advertised.aes_port.is_none() && advertised.tls_port.is_none() {
        return Err(Status::failed_precondition(
            "the gateway listens for no device; configure aes.listen or tls.listen",
        ));
    }
    let mode = Value::from(i64::from(ConnectionMode::DeviceToServer as i32));
    let ports = [
        ("serverPort", advertised.aes_port),
        ("SSLServerPort", advertised.tls_port),
    ];
    let ports = ports
        .into_iter()
        .filter_map(|(key, port)| Some((key, Value::from(u32::from(port?)))));
    let server = [("connectionMode", mode), ("serverAddr", address.into())];
    Ok(Value::map(server.into_iter().chain(ports)))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn advertised(address: &str, aes_port: Option<u16>, tls_port: Option<u16>) -> Advertised {
        Advertised {
            address: address.to_owned(),
            aes_port,
            tls_port,
        }
    }

    #[test]
    fn a_device_is_told_whom_to_dial() {
        let local: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        let both = to_dial(&advertised("", Some(1), Some(2)), local).expect("an address");
        let expected = Value::map([
            ("connectionMode", Value::from(1_u32)),
            ("serverAddr", "192.0.2.1".into()),
            ("serverPort", 1_u32.into()),
            ("SSLServerPort", 2_u32.into()),
        ]);
        assert_eq!(both, expected);
        let named = to_dial(&advertised("gate", None, Some(2)), local).expect("an address");
        assert_eq!(named.get("serverAddr"), Some(&"gate".into()));
        assert_eq!(named.get("serverPort"), None);
    }

    #[test]
    fn what_cannot_be_dialled_is_told() {
        let v6: IpAddr = "2001:db8::1".parse().expect("an address");
        for (advertised, part) in [
            (advertised("", Some(1), None), "device.advertise"),
            (advertised("gate", None, None), "aes.listen"),
        ] {
            let status = to_dial(&advertised, v6).expect_err("nothing to dial");
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert!(status.message().contains(part), "{status:?}");
        }
    }

    #[test]
    fn there_are_two_modes() {
        assert_eq!(asked(0).ok(), Some(ConnectionMode::ServerToDevice));
        assert_eq!(asked(1).ok(), Some(ConnectionMode::DeviceToServer));
        for mode in [-1, 2] {
            assert_eq!(
                asked(mode).expect_err("no mode").code(),
                Code::InvalidArgument
            );
        }
    }
}
