//! C-24 … C-36: calls on devices, and the search for them.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use gatehouse::codec::pson::Value;
use gatehouse::config::{Credential, CredentialDigest};
use gatehouse::device::ConnectionMode as Mode;
use gatehouse::grpc::proto::gsdk::connect::{
    AddAsyncConnectionRequest, ConnectionMode, DisableSslMultiRequest, DisableSslRequest,
    DisconnectRequest, EnableSslMultiRequest, EnableSslRequest, GetSlaveDeviceRequest,
    SearchDeviceRequest, SetConnectionModeMultiRequest, SetConnectionModeRequest,
    SetSlaveDeviceRequest, SlaveDeviceInfo, Status,
};
use gatehouse::grpc::proto::gsdk::err::{ErrorResponse, MultiErrorResponse};
use gatehouse::search::message::{Found, answer, parse_question};
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::UdpSocket;
use tonic::Code;

use crate::support::client::{self, Client, Statuses, add, auto, listed};
use crate::support::device::{self as simulated, Spec};
use crate::support::gateway::TestGateway;
use crate::support::link::Link;
use crate::support::process::Process;
use crate::support::run;
use crate::support::scripted::Scripted;

const SECRET: &str = "a secret of this device";

fn ip() -> (&'static str, Value) {
    let state = Value::map([
        ("useDHCP", Value::from(true)),
        ("IPAddr", "192.0.2.7".into()),
        ("port", 51_211_u32.into()),
        ("connectionMode", 0_u32.into()),
    ]);
    ("network/ip", state)
}

fn ssl() -> (&'static str, Value) {
    ("security/ssl", Value::map([("enabled", false)]))
}

async fn device(gateway: &TestGateway, id: u32) -> Scripted {
    Scripted::listen(id, gateway.fleet_key(), SECRET, [ip(), ssl()]).await
}

/// A gateway that knows the credential of devices 1 and 2.
async fn gateway() -> TestGateway {
    TestGateway::with(|config| {
        let credential = |device: &str| Credential {
            device: device.to_owned(),
            owner: None,
            digest: CredentialDigest::of(SECRET.as_bytes()),
        };
        config.credential = vec![credential("1"), credential("2")];
    })
    .await
}

async fn connected(client: &mut Client, devices: &[&Scripted]) {
    let mut statuses = Statuses::subscribe(client, 0).await;
    let infos = devices.iter().map(|one| client::auto(one.id, one.address));
    let request = AddAsyncConnectionRequest {
        connect_infos: infos.collect(),
    };
    client.add_async_connection(request).await.expect("added");
    for device in devices {
        if !statuses.of(device.id).contains(&Status::TcpConnected) {
            statuses.wait_for(device.id, Status::TcpConnected).await;
        }
    }
}

/// A device that answers the search at an address of its own, until it is dropped.
async fn searchable(id: u32, times: usize) -> SocketAddrV4 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let SocketAddr::V4(address) = socket.local_addr().expect("an address") else {
        panic!("not IPv4");
    };
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let question = parse_question(&buffer[..len]).expect("a question");
            let found = Found {
                id,
                device_type: 9,
                use_dhcp: true,
                mode: Mode::DeviceToServer,
                address: Ipv4Addr::new(192, 0, 2, 7),
                port: 51_211,
                use_ssl: true,
                server_addr: "192.0.2.1".to_owned(),
            };
            for _ in 0..times {
                let datagram = answer(&question, &found);
                socket.send_to(&datagram, from).await.expect("sent");
            }
        }
    });
    address
}

fn search() -> SearchDeviceRequest {
    SearchDeviceRequest { timeout: 300 }
}

#[test]
fn c_24_found_devices_are_told_with_mode_port_and_type() {
    run(async {
        let broadcast = vec![searchable(2, 1).await, searchable(1, 3).await];
        let gateway = TestGateway::with(|config| config.search.broadcast = broadcast).await;
        let found = gateway.client().await.search_device(search()).await;
        let found = found.expect("found").into_inner().device_infos;
        let ids: Vec<u32> = found.iter().map(|found| found.device_id).collect();
        assert_eq!(ids, [1, 2], "each once");
        let first = &found[0];
        assert_eq!(first.connection_mode(), ConnectionMode::DeviceToServer);
        assert_eq!(
            (first.port, first.r#type, first.use_dhcp),
            (51_211, 9, true)
        );
        assert_eq!((first.ip_addr.as_str(), first.use_ssl), ("192.0.2.7", true));
        assert_eq!(first.server_addr, "192.0.2.1");
        gateway.stop().await;
    });
}

#[test]
fn c_25_nothing_found_is_not_found() {
    run(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let SocketAddr::V4(to) = silent.local_addr().expect("an address") else {
            panic!("not IPv4");
        };
        let gateway = TestGateway::with(|config| config.search.broadcast = vec![to]).await;
        let mut client = gateway.client().await;
        let error = client.search_device(search()).await.expect_err("nobody");
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(error.message(), "No device found in the subnet");
        let request = SearchDeviceRequest { timeout: 60_001 };
        let error = client.search_device(request).await.expect_err("too long");
        assert_eq!(error.code(), Code::InvalidArgument);
        gateway.stop().await;
    });
}

#[test]
fn c_26_two_searches_at_once_and_two_gateways_all_find() {
    run(async {
        let at = searchable(1, 1).await;
        let one = TestGateway::with(|config| config.search.broadcast = vec![at]).await;
        let other = TestGateway::with(|config| config.search.broadcast = vec![at]).await;
        let (mut a, mut b) = (one.client().await, one.client().await);
        let mut c = other.client().await;
        let found = tokio::join!(
            a.search_device(search()),
            b.search_device(search()),
            c.search_device(search())
        );
        for found in [found.0, found.1, found.2] {
            assert_eq!(found.expect("found").into_inner().device_infos.len(), 1);
        }
        one.stop().await;
        other.stop().await;
    });
}

#[test]
fn c_27_the_ip_configuration_of_a_connected_device_is_rewritten() {
    run(async {
        let gateway = gateway().await;
        let mut client = gateway.client().await;
        let device = device(&gateway, 1).await;
        connected(&mut client, &[&device]).await;
        for (mode, server) in [
            (ConnectionMode::DeviceToServer, Some("127.0.0.1".into())),
            (ConnectionMode::ServerToDevice, Some("127.0.0.1".into())),
        ] {
            let request = SetConnectionModeRequest {
                device_id: 1,
                connection_mode: mode.into(),
            };
            client.set_connection_mode(request).await.expect("set");
            let held = device.holds("network/ip", "connectionMode");
            assert_eq!(held, Some(Value::from(mode as u32)));
            assert_eq!(device.holds("network/ip", "serverAddr"), server);
        }
        let port = u32::from(gateway.aes().port());
        assert_eq!(device.holds("network/ip", "serverPort"), Some(port.into()));
        assert_eq!(device.holds("network/ip", "useDHCP"), Some(true.into()));

        device.state().stubborn.insert("network/ip");
        let request = SetConnectionModeRequest {
            device_id: 1,
            connection_mode: 1,
        };
        let error = client.set_connection_mode(request).await;
        let error = error.expect_err("the device kept its mode");
        assert_eq!(error.code(), Code::FailedPrecondition);
        device.state().refused.insert("network/ip");
        let error = client.set_connection_mode(request).await;
        let error = error.expect_err("the device refused");
        assert_eq!(
            (error.code(), error.message()),
            (
                Code::FailedPrecondition,
                "device 1 refused network/ip: 403: not today"
            )
        );
        gateway.stop().await;
    });
}

#[test]
fn c_28_not_connected_is_not_found_and_other_modes_are_invalid() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let mut set = async |device_id, connection_mode| {
            let request = SetConnectionModeRequest {
                device_id,
                connection_mode,
            };
            let error = client.set_connection_mode(request).await;
            let error = error.expect_err("refused");
            (error.code(), error.message().to_owned())
        };
        let gone = (Code::NotFound, "Cannot get connection".to_owned());
        assert_eq!(set(7, 0).await, gone);
        assert_eq!(set(7, 1).await, gone);
        for mode in [-1, 2] {
            assert_eq!(set(7, mode).await.0, Code::InvalidArgument);
        }
        assert_eq!(set(0, 1).await.0, Code::InvalidArgument);
        gateway.stop().await;
    });
}

/// `google.rpc.Status`, with its single detail.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// Checks the trailers as strictly as the strictest client, and tells who failed.
fn failed(status: &tonic::Status, package: &str) -> Vec<ErrorResponse> {
    let details = RpcStatus::decode(status.details()).expect("google.rpc.Status");
    assert_eq!(details.code, i32::from(status.code()));
    assert_eq!(details.message, status.message());
    let [detail] = details.details.as_slice() else {
        panic!("not one detail: {details:?}");
    };
    let url = format!("type.googleapis.com/{package}.MultiErrorResponse");
    assert_eq!(detail.type_url, url);
    let custom: Vec<_> = status
        .metadata()
        .keys()
        .map(|key| format!("{key:?}"))
        // tonic counts the head in.
        .filter(|key| !key.contains("content-type") && !key.contains("date"))
        .collect();
    assert!(custom.is_empty(), "{custom:?}");
    let detail = MultiErrorResponse::decode(detail.value.clone());
    detail.expect("a MultiErrorResponse").device_errors
}

fn set_mode(ids: &[u32]) -> SetConnectionModeMultiRequest {
    SetConnectionModeMultiRequest {
        device_i_ds: ids.to_vec(),
        connection_mode: 1,
    }
}

#[test]
fn c_29_all_good_is_ok_and_empty() {
    run(async {
        let gateway = gateway().await;
        let mut client = gateway.client().await;
        let (one, two) = (device(&gateway, 1).await, device(&gateway, 2).await);
        connected(&mut client, &[&one, &two]).await;
        let done = client.set_connection_mode_multi(set_mode(&[1, 2, 1])).await;
        assert!(done.expect("set").into_inner().device_errors.is_empty());
        for device in [one, two] {
            let held = device.holds("network/ip", "connectionMode");
            assert_eq!(held, Some(1_u32.into()));
            assert_eq!(device.state().written.len(), 1, "duplicates are done once");
        }
        gateway.stop().await;
    });
}

#[test]
fn c_30_one_bad_is_named_alone_and_the_good_one_is_changed() {
    run(async {
        let gateway = gateway().await;
        let mut client = gateway.client().await;
        let device = device(&gateway, 1).await;
        connected(&mut client, &[&device]).await;
        let error = client.set_connection_mode_multi(set_mode(&[7, 1])).await;
        let error = error.expect_err("7 is not connected");
        assert_eq!(error.code(), Code::NotFound);
        let bad = ErrorResponse {
            device_id: 7,
            code: Code::NotFound.into(),
            msg: "Cannot get connection".to_owned(),
        };
        assert_eq!(failed(&error, "gsdk.err"), std::slice::from_ref(&bad));
        let held = device.holds("network/ip", "connectionMode");
        assert_eq!(held, Some(1_u32.into()));

        let mut bare = client::bare(gateway.channel().await);
        let error = bare.set_connection_mode_multi(set_mode(&[7, 1])).await;
        assert_eq!(failed(&error.expect_err("as above"), "err"), [bad]);

        device.state().refused.insert("network/ip");
        let error = client.set_connection_mode_multi(set_mode(&[7, 1])).await;
        let error = error.expect_err("both failed");
        assert_eq!(error.code(), Code::Internal, "the codes differ");
        let codes: Vec<_> = failed(&error, "gsdk.err")
            .iter()
            .map(|one| (one.device_id, Code::from_i32(one.code)))
            .collect();
        let expected = [(1, Code::FailedPrecondition), (7, Code::NotFound)];
        assert_eq!(codes, expected);
        gateway.stop().await;
    });
}

#[test]
fn c_30_a_thousand_bad_ones_are_all_named() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        for (first, count) in [(1, 100), (1, 1000), (540_000_000, 1000)] {
            let ids: Vec<u32> = (first..first + count).collect();
            let error = client.set_connection_mode_multi(set_mode(&ids)).await;
            let named = failed(&error.expect_err("none is connected"), "gsdk.err");
            let named: Vec<u32> = named.iter().map(|one| one.device_id).collect();
            assert_eq!(named, ids);
        }
        gateway.stop().await;
    });
}

#[test]
fn c_31_tls_is_turned_on_and_off_on_a_connected_device() {
    run(async {
        let gateway = gateway().await;
        let mut client = gateway.client().await;
        let device = device(&gateway, 1).await;
        connected(&mut client, &[&device]).await;
        let on = EnableSslRequest { device_id: 1 };
        client.enable_ssl(on).await.expect("on");
        assert_eq!(device.holds("security/ssl", "enabled"), Some(true.into()));
        let root = device.holds("security/ssl", "root");
        assert_eq!(root, Some(gateway.ca().into()));
        let credential = device.holds("security/ssl", "credential");
        assert_eq!(credential, None, "it has one already");
        let off = DisableSslRequest { device_id: 1 };
        client.disable_ssl(off).await.expect("off");
        assert_eq!(device.holds("security/ssl", "enabled"), Some(false.into()));

        device.state().stubborn.insert("security/ssl");
        let error = client.enable_ssl(on).await.expect_err("kept its link");
        assert_eq!(error.code(), Code::FailedPrecondition);

        let on = EnableSslRequest { device_id: 7 };
        let error = client.enable_ssl(on).await.expect_err("not connected");
        assert_eq!(error.message(), "Cannot get connection");
        let off = DisableSslRequest { device_id: 7 };
        let error = client.disable_ssl(off).await.expect_err("not connected");
        assert_eq!(error.code(), Code::NotFound);
        gateway.stop().await;
    });
}

/// Ends the link of device 1, then dials it: over the other link it is not to be had, over this one
/// it comes up.
async fn only_over(client: &mut Client, link: Link, address: SocketAddr) {
    let mut statuses = Statuses::subscribe(client, 16).await;
    let request = DisconnectRequest {
        device_i_ds: vec![1],
    };
    client.disconnect(request).await.expect("disconnected");
    while listed(client, 1).await.is_some() {
        statuses.next().await.expect("the stream goes on");
    }
    let wrong = client.connect(link.other().connect_to(address)).await;
    let error = wrong.expect_err("the other link");
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    let right = client.connect(link.connect_to(address)).await;
    assert_eq!(right.expect("connected").into_inner().device_id, 1);
    let info = listed(client, 1).await.expect("listed");
    assert_eq!(info.status(), link.connected());
}

#[test]
fn c_32_after_the_ssl_calls_the_device_is_had_over_the_new_link_alone() {
    run(async {
        let gateway = TestGateway::with(|config| {
            config.inbound.handshake_deadline = Duration::from_millis(200);
        })
        .await;
        let mut client = gateway.client().await;
        let device = simulated::listen(Spec::new(1, &gateway)).await;
        let address = device.address();
        let first = client.connect(Link::Aes.connect_to(address)).await;
        first.expect("connected");
        let on = EnableSslRequest { device_id: 1 };
        client.enable_ssl(on).await.expect("on");
        only_over(&mut client, Link::Tls, address).await;
        let off = DisableSslRequest { device_id: 1 };
        client.disable_ssl(off).await.expect("off");
        only_over(&mut client, Link::Aes, address).await;
        gateway.stop().await;
    });
}

#[test]
fn c_33_the_failed_ones_of_the_ssl_calls_are_told_as_clients_read_them() {
    run(async {
        let gateway = gateway().await;
        let mut client = gateway.client().await;
        let device = device(&gateway, 1).await;
        connected(&mut client, &[&device]).await;
        let device_i_ds = vec![1, 8, 9];
        let on = EnableSslMultiRequest {
            device_i_ds: device_i_ds.clone(),
        };
        let error = client.enable_ssl_multi(on).await.expect_err("two failed");
        assert_eq!(
            error.message(),
            "2 of 3 devices failed: Cannot get connection"
        );
        assert_eq!(failed(&error, "gsdk.err").len(), 2);
        assert_eq!(device.holds("security/ssl", "enabled"), Some(true.into()));
        let off = DisableSslMultiRequest { device_i_ds };
        let error = client.disable_ssl_multi(off).await.expect_err("two failed");
        assert_eq!(failed(&error, "gsdk.err").len(), 2);
        assert_eq!(device.holds("security/ssl", "enabled"), Some(false.into()));
        gateway.stop().await;
    });
}

#[test]
fn c_34_no_devices_are_no_failure() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let none = EnableSslMultiRequest::default();
        client.enable_ssl_multi(none).await.expect("nothing to do");
        let none = DisableSslMultiRequest::default();
        client.disable_ssl_multi(none).await.expect("nothing to do");
        let none = set_mode(&[]);
        let done = client.set_connection_mode_multi(none).await;
        done.expect("nothing to do");
        gateway.stop().await;
    });
}

fn slaves(parent: u32, rs485: &[u32], wiegand: &[u32]) -> SlaveDeviceInfo {
    SlaveDeviceInfo {
        device_id: parent,
        rs485_slave_device_i_ds: rs485.to_vec(),
        wiegand_slave_device_i_ds: wiegand.to_vec(),
    }
}

async fn set_slaves(
    client: &mut Client,
    slave_device_infos: Vec<SlaveDeviceInfo>,
) -> Result<(), tonic::Status> {
    let request = SetSlaveDeviceRequest { slave_device_infos };
    client.set_slave_device(request).await.map(drop)
}

async fn get_slaves(client: &mut Client) -> Vec<SlaveDeviceInfo> {
    let slaves = client.get_slave_device(GetSlaveDeviceRequest {}).await;
    slaves.expect("a list").into_inner().slave_device_infos
}

#[test]
fn c_35_before_any_set_there_are_no_slaves() {
    run(async {
        let gateway = TestGateway::start().await;
        assert_eq!(get_slaves(&mut gateway.client().await).await, []);
        gateway.stop().await;
    });
}

#[test]
fn c_35_slaves_are_kept_over_a_restart_unless_they_are_to_be_forgotten() {
    run(async {
        for forgets in [false, true] {
            let mut gateway = Process::start(&format!("compat.forget_slaves = {forgets}"));
            let mut client = gateway.client().await;
            let nowhere = simulated::closed_port().await;
            add(&mut client, vec![auto(7, nowhere), auto(8, nowhere)]).await;
            let set = vec![slaves(7, &[71, 72], &[73]), slaves(8, &[], &[81])];
            set_slaves(&mut client, set.clone()).await.expect("set");
            assert_eq!(get_slaves(&mut client).await, set);
            gateway.kill();
            gateway.restart();
            let kept = get_slaves(&mut gateway.client().await).await;
            let expected = if forgets { Vec::new() } else { set };
            assert_eq!(kept, expected, "forget_slaves = {forgets}");
        }
    });
}

#[test]
fn c_36_no_parent_has_the_id_0() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let none = vec![SlaveDeviceInfo::default()];
        let error = set_slaves(&mut client, none).await.expect_err("refused");
        assert_eq!(error.code(), Code::InvalidArgument);
        gateway.stop().await;
    });
}

#[test]
fn c_36_the_whole_list_is_replaced_and_an_unknown_parent_is_not_found() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let nowhere = simulated::closed_port().await;
        add(&mut client, vec![auto(7, nowhere), auto(8, nowhere)]).await;
        let first = vec![slaves(7, &[71], &[]), slaves(8, &[81], &[])];
        set_slaves(&mut client, first.clone()).await.expect("set");
        let unknown = vec![slaves(7, &[72], &[]), slaves(9, &[91], &[])];
        let error = set_slaves(&mut client, unknown).await.expect_err("9");
        assert_eq!(error.code(), Code::NotFound);
        assert!(error.message().contains('9'), "{error:?}");
        assert_eq!(
            get_slaves(&mut client).await,
            first,
            "nothing of it is done"
        );
        let second = vec![slaves(8, &[82], &[83])];
        set_slaves(&mut client, second.clone()).await.expect("set");
        assert_eq!(get_slaves(&mut client).await, second);
        gateway.stop().await;
    });
}
