//! C-27 … C-33 once more with whole devices, on both links: what is set is done.

use gatehouse::grpc::proto::gsdk::connect::{
    ConnectionMode, DisableSslRequest, EnableSslMultiRequest, EnableSslRequest,
    SetConnectionModeMultiRequest, SetConnectionModeRequest,
};
use gatehouse::grpc::proto::gsdk::network::network_client::NetworkClient;
use gatehouse::grpc::proto::gsdk::network::{GetIpConfigRequest, IpConfig, SetIpConfigRequest};
use tonic::Code;

use crate::support::client::{Statuses, add, allow_all, listed};
use crate::support::device;
use crate::support::gateway::TestGateway;
use crate::support::link::{Link, on_both_links};

async fn c_27_a_device_that_is_told_to_dial_dials(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    allow_all(&mut client).await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    statuses.wait_for(1001, link.connected()).await;
    let request = SetConnectionModeRequest {
        device_id: 1001,
        connection_mode: ConnectionMode::DeviceToServer.into(),
    };
    client.set_connection_mode(request).await.expect("set");
    let ip = device.state().ip.clone();
    assert_eq!(&*ip.server, "127.0.0.1");
    let ports = (ip.server_port, ip.ssl_server_port);
    assert_eq!(ports, (gateway.aes().port(), gateway.tls().port()));
    // By itself: it ends the link on which it was told, and dials.
    statuses.wait_for(1001, link.connected()).await;
    let info = listed(&mut client, 1001).await.expect("listed");
    assert_eq!(info.connection_mode(), ConnectionMode::DeviceToServer);
    assert_eq!(info.port, 0);
    gateway.stop().await;
}

async fn c_29_many_are_told_at_once(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 64).await;
    let mut devices = Vec::new();
    for id in 1..=8 {
        devices.push(device::listen(link.spec(id, &gateway)).await);
    }
    let infos = (1..).zip(&devices);
    let infos = infos.map(|(id, device)| link.auto(id, device.address()));
    add(&mut client, infos.collect()).await;
    for id in 1..=8 {
        if !statuses.of(id).contains(&link.connected()) {
            statuses.wait_for(id, link.connected()).await;
        }
    }
    let request = SetConnectionModeMultiRequest {
        device_i_ds: (1..=8).collect(),
        connection_mode: ConnectionMode::ServerToDevice.into(),
    };
    let answer = client.set_connection_mode_multi(request).await;
    assert!(answer.expect("set").into_inner().device_errors.is_empty());
    gateway.stop().await;
}

async fn c_31_a_device_keeps_what_the_ssl_calls_say(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    statuses.wait_for(1001, link.connected()).await;
    let enable = EnableSslRequest { device_id: 1001 };
    client.enable_ssl(enable).await.expect("enabled");
    let ssl = device.state().ssl.clone();
    assert!(ssl.enabled);
    assert_eq!(ssl.root.as_deref(), Some(gateway.ca()));
    // Whoever proved itself by a certificate needs no credential.
    assert_eq!(ssl.credential.is_some(), link == Link::Aes);
    let unknown = EnableSslRequest { device_id: 9 };
    let error = client.enable_ssl(unknown).await.expect_err("nobody");
    assert_eq!(
        (error.code(), error.message()),
        (Code::NotFound, "Cannot get connection")
    );
    if link == Link::Aes {
        let disable = DisableSslRequest { device_id: 1001 };
        client.disable_ssl(disable).await.expect("disabled");
        assert!(!device.state().ssl.enabled);
    }
    gateway.stop().await;
}

async fn c_33_the_good_one_is_changed_beside_a_bad_one(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    let request = EnableSslMultiRequest {
        device_i_ds: vec![1001, 1002],
    };
    let error = client.enable_ssl_multi(request).await;
    assert_eq!(error.expect_err("1002 is not there").code(), Code::NotFound);
    assert!(device.state().ssl.enabled);
    gateway.stop().await;
}

async fn the_ip_configuration_of_a_device_is_read_and_written(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut network = NetworkClient::new(gateway.channel().await);
    let device = device::listen(link.spec(1001, &gateway)).await;
    client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    let read = GetIpConfigRequest { device_id: 1001 };
    let before = network.get_ip_config(read).await.expect("read");
    let before = before.into_inner().config.expect("a configuration");
    let config = IpConfig {
        mtu_size: 1400,
        ..before
    };
    let write = SetIpConfigRequest {
        device_id: 1001,
        config: Some(config),
    };
    network.set_ip_config(write).await.expect("written");
    assert_eq!(device.state().ip.mtu_size, 1400);
    gateway.stop().await;
}

on_both_links! {
    c_27_a_device_that_is_told_to_dial_dials,
    c_29_many_are_told_at_once,
    c_31_a_device_keeps_what_the_ssl_calls_say,
    c_33_the_good_one_is_changed_beside_a_bad_one,
    the_ip_configuration_of_a_device_is_read_and_written,
}
