//! The services beside Connect that reach into devices: Device, Network, RS485, Wiegand, Admin.

use std::time::Duration;

use gatehouse::codec::pson::Value;
use gatehouse::config::CapabilityNumbers;
use gatehouse::grpc::proto::device as before_1_8;
use gatehouse::grpc::proto::gsdk::admin::GetInfoRequest as AdminInfoRequest;
use gatehouse::grpc::proto::gsdk::admin::admin_client::AdminClient;
use gatehouse::grpc::proto::gsdk::connect::Status;
use gatehouse::grpc::proto::gsdk::device::device_client::DeviceClient;
use gatehouse::grpc::proto::gsdk::device::{
    GetCapabilityInfoRequest, GetInfoRequest, LockMultiRequest,
};
use gatehouse::grpc::proto::gsdk::network::network_client::NetworkClient;
use gatehouse::grpc::proto::gsdk::network::{
    GetIpConfigRequest, GetIpConfigResponse, GetWlanConfigRequest, IpConfig,
    SetIpConfigMultiRequest, SetIpConfigRequest,
};
use gatehouse::grpc::proto::gsdk::rs485::rs485_client::Rs485Client;
use gatehouse::grpc::proto::gsdk::wiegand::wiegand_client::WiegandClient;
use gatehouse::grpc::proto::gsdk::{rs485, wiegand};
use prost::Message;
use tonic::Code;

use super::calls::call;
use crate::support::client::{self, Statuses};
use crate::support::gateway::TestGateway;
use crate::support::run;
use crate::support::scripted::Scripted;

fn resources() -> [(&'static str, Value); 3] {
    let info = Value::map([
        ("id", Value::from(1_u32)),
        ("type", 9_u32.into()),
        ("MACAddr", "02:00:00:00:00:01".into()),
        ("modelName", "Scripted".into()),
        ("firmwareVersion", "1.2.3".into()),
    ]);
    let ip = Value::map([
        ("useDHCP", Value::from(true)),
        ("IPAddr", "192.0.2.7".into()),
        ("subnetMask", "255.255.255.0".into()),
        ("port", 51_211_u32.into()),
        ("MTUSize", 1500_u32.into()),
    ]);
    let ids = |ids: &[u32]| Value::Array(ids.iter().copied().map(Value::from).collect());
    let slaves = Value::map([("rs485", ids(&[11, 12])), ("wiegand", ids(&[21]))]);
    [
        ("device/info", info),
        ("network/ip", ip),
        ("slaves", slaves),
    ]
}

/// A gateway with device 1 connected.
async fn start(numbers: CapabilityNumbers) -> (TestGateway, Scripted) {
    let gateway = TestGateway::with(|config| {
        config.compat.capability_numbers = numbers;
        config.session.request_deadline = Duration::from_millis(500);
    })
    .await;
    let device = Scripted::listen(1, gateway.fleet_key(), "", resources()).await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 0).await;
    client::add(&mut client, vec![client::auto(1, device.address)]).await;
    statuses.wait_for(1, Status::TcpConnected).await;
    (gateway, device)
}

#[test]
fn device_info_is_what_the_device_tells() {
    run(async {
        let (gateway, device) = start(CapabilityNumbers::Since1_8).await;
        let mut client = DeviceClient::new(gateway.channel().await);
        let info = client.get_info(GetInfoRequest { device_id: 1 }).await;
        let info = info.expect("told").into_inner().info.expect("an info");
        assert_eq!(info.mac_addr, "02:00:00:00:00:01");
        assert_eq!(
            (info.model_name.as_str(), info.kernel_version.as_str()),
            ("Scripted", "")
        );

        let gone = client.get_info(GetInfoRequest { device_id: 7 }).await;
        let gone = gone.expect_err("not connected");
        let known = (Code::NotFound, "Cannot get connection");
        assert_eq!((gone.code(), gone.message()), known);

        device.state().ignored.insert("device/info");
        let late = client.get_info(GetInfoRequest { device_id: 1 }).await;
        let late = late.expect_err("never answered");
        assert_eq!(late.code(), Code::DeadlineExceeded);
        let wrong = Value::map([("MACAddr", 7_u32)]);
        device.state().ignored.clear();
        device.state().resources.insert("device/info", wrong);
        let wrong = client.get_info(GetInfoRequest { device_id: 1 }).await;
        let wrong = wrong.expect_err("a number is no address");
        assert_eq!(
            (wrong.code(), wrong.message()),
            (
                Code::Internal,
                "device 1 answered device/info with a MACAddr that is not a text"
            )
        );
        gateway.stop().await;
    });
}

#[test]
fn what_is_not_served_says_so_by_its_name() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = DeviceClient::new(gateway.channel().await);
        let error = client.lock_multi(LockMultiRequest::default()).await;
        let error = error.expect_err("not served");
        assert_eq!(
            (error.code(), error.message()),
            (Code::Unimplemented, "this gateway does not serve LockMulti")
        );
        let mut client = NetworkClient::new(gateway.channel().await);
        let error = client
            .get_wlan_config(GetWlanConfigRequest::default())
            .await;
        assert_eq!(error.expect_err("not served").code(), Code::Unimplemented);
        let path = "/device.Device/Reboot";
        let error = call(&gateway, path, Vec::new()).await;
        assert_eq!(
            error.expect_err("not served").message(),
            "this gateway does not serve Reboot"
        );
        gateway.stop().await;
    });
}

#[test]
fn the_gateway_tells_its_version() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = AdminClient::new(gateway.channel().await);
        let info = client.get_info(AdminInfoRequest {}).await.expect("told");
        assert_eq!(info.into_inner().version, env!("CARGO_PKG_VERSION"));
        gateway.stop().await;
    });
}

/// The two flags of the answer, as a client of the older numbers reads them.
async fn old_flags(gateway: &TestGateway, path: &str) -> (bool, bool) {
    let request = GetCapabilityInfoRequest { device_id: 1 };
    let answer = call(gateway, path, request.encode_to_vec()).await;
    let answer = answer.expect("told");
    let answer = before_1_8::GetCapabilityInfoResponse::decode(&answer[..]);
    let info = answer.expect("readable").cap_info.expect("an info");
    assert_eq!(info.r#type, 9);
    (info.wiegand_supported, info.rs485_ext_supported)
}

#[test]
fn capabilities_have_the_numbers_of_the_path_and_of_the_configuration() {
    run(async {
        let (prefixed, bare) = (
            "/gsdk.device.Device/GetCapabilityInfo",
            "/device.Device/GetCapabilityInfo",
        );
        let (gateway, _device) = start(CapabilityNumbers::Since1_8).await;
        let mut client = DeviceClient::new(gateway.channel().await);
        let request = GetCapabilityInfoRequest { device_id: 1 };
        let told = client.get_capability_info(request).await.expect("told");
        let info = told.into_inner();
        let info = info.info().expect("an info");
        assert!(info.wiegand_supported && info.rs485_ext_supported);
        assert_eq!(old_flags(&gateway, prefixed).await, (false, false));
        assert_eq!(old_flags(&gateway, bare).await, (true, true));
        gateway.stop().await;

        let (gateway, _device) = start(CapabilityNumbers::Since1_0).await;
        assert_eq!(old_flags(&gateway, prefixed).await, (true, true));
        assert_eq!(old_flags(&gateway, bare).await, (true, true));
        gateway.stop().await;
    });
}

#[test]
fn the_ip_configuration_is_read_and_written_on_both_paths() {
    run(async {
        let (gateway, device) = start(CapabilityNumbers::Since1_8).await;
        let mut client = NetworkClient::new(gateway.channel().await);
        let get = GetIpConfigRequest { device_id: 1 };
        let config = client.get_ip_config(get).await.expect("told");
        let config = config.into_inner().config.expect("a config");
        assert_eq!((config.use_dhcp, config.mtu_size), (true, 1500));
        assert_eq!(config.ip_addr, "192.0.2.7");
        let path = "/network.Network/GetIPConfig";
        let bare = call(&gateway, path, get.encode_to_vec())
            .await
            .expect("told");
        let bare = GetIpConfigResponse::decode(&bare[..]).expect("readable");
        assert_eq!(bare.config.as_ref(), Some(&config));

        let fixed = IpConfig {
            use_dhcp: false,
            ip_addr: "192.0.2.8".to_owned(),
            gateway: "192.0.2.1".to_owned(),
            port: 0,
            ..config
        };
        let set = |config| SetIpConfigRequest {
            device_id: 1,
            config,
        };
        client
            .set_ip_config(set(Some(fixed.clone())))
            .await
            .expect("set");
        let held = |key| device.holds("network/ip", key);
        assert_eq!(held("IPAddr"), Some("192.0.2.8".into()));
        assert_eq!(held("port"), Some(51_211_u32.into()));
        assert_eq!(held("serverPort"), Some(51_212_u32.into()));

        let wrong = IpConfig {
            mtu_size: 100,
            ..fixed.clone()
        };
        for config in [None, Some(wrong.clone())] {
            let error = client.set_ip_config(set(config)).await;
            assert_eq!(error.expect_err("refused").code(), Code::InvalidArgument);
        }
        let multi = |config| SetIpConfigMultiRequest {
            device_i_ds: vec![1],
            config,
        };
        let error = client.set_ip_config_multi(multi(Some(fixed.clone()))).await;
        let error = error.expect_err("a fixed address for several");
        assert_eq!(error.code(), Code::InvalidArgument);
        let dhcp = IpConfig {
            use_dhcp: true,
            ..fixed
        };
        let error = client.set_ip_config_multi(multi(Some(dhcp.clone()))).await;
        let error = error.expect_err("the device has a fixed address");
        assert_eq!(error.code(), Code::FailedPrecondition);
        client
            .set_ip_config(set(Some(dhcp.clone())))
            .await
            .expect("set");
        let done = client.set_ip_config_multi(multi(Some(dhcp))).await;
        done.expect("set");
        gateway.stop().await;
    });
}

#[test]
fn slaves_are_read_and_written_a_bus_at_a_time() {
    run(async {
        let (gateway, device) = start(CapabilityNumbers::Since1_8).await;
        let mut client = Rs485Client::new(gateway.channel().await);
        let search = rs485::SearchDeviceRequest { device_id: 1 };
        let found = client
            .search_device(search)
            .await
            .expect("told")
            .into_inner();
        let ids: Vec<_> = found
            .slave_infos
            .iter()
            .map(|info| info.device_id)
            .collect();
        assert_eq!(ids, [11, 12]);
        assert_eq!(found.slave_infos[0].parent_id, 1);
        let slave = |device_id| rs485::SlaveDeviceInfo {
            device_id,
            ..rs485::SlaveDeviceInfo::default()
        };
        let set = rs485::SetDeviceRequest {
            device_id: 1,
            slave_infos: vec![slave(13)],
        };
        client.set_device(set).await.expect("set");
        let get = rs485::GetDeviceRequest { device_id: 1 };
        let got = client.get_device(get).await.expect("told").into_inner();
        assert_eq!(got.slave_infos.len(), 1);

        let mut client = WiegandClient::new(gateway.channel().await);
        let search = wiegand::SearchDeviceRequest {
            parent_device_id: 1,
        };
        let found = client
            .search_device(search)
            .await
            .expect("told")
            .into_inner();
        assert_eq!(
            found.wiegand_device_i_ds,
            [21],
            "the other bus is as it was"
        );
        let slave = |device_id, wires| wiegand::WiegandDeviceInfo {
            device_id,
            buzzer_output: wires,
            ..wiegand::WiegandDeviceInfo::default()
        };
        let set = |slave| wiegand::SetDeviceRequest {
            parent_device_id: 1,
            device_infos: vec![slave],
        };
        let wired = slave(22, Some(wiegand::WiegandOutput::default()));
        let error = client.set_device(set(wired)).await.expect_err("wires");
        assert_eq!(error.code(), Code::Unimplemented);
        let none = client.set_device(set(slave(0, None))).await;
        let none = none.expect_err("0 is no device");
        assert_eq!(
            none.message(),
            "deviceInfos[0].deviceID is 0; it must be 1 to 4294967295"
        );
        client.set_device(set(slave(22, None))).await.expect("set");
        let get = wiegand::GetDeviceRequest {
            parent_device_id: 1,
        };
        let got = client.get_device(get).await.expect("told").into_inner();
        assert_eq!(got.device_infos, [slave(22, None)]);

        device.state().resources.remove("slaves");
        let get = wiegand::GetDeviceRequest {
            parent_device_id: 1,
        };
        let error = client.get_device(get).await.expect_err("no such resource");
        assert_eq!(error.code(), Code::FailedPrecondition);
        gateway.stop().await;
    });
}
