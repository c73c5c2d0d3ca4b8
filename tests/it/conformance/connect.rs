//! C-1 … C-11 and C-18 … C-23: connections that the gateway dials, the list, and their end.

use std::time::Duration;

use gatehouse::grpc::proto::gsdk::connect::{
    ConnectionMode, DeleteAsyncConnectionRequest, DisconnectAllRequest, DisconnectRequest, Status,
};
use tokio::net::TcpListener;
use tonic::Code;

use crate::support::client::{self, Statuses, add, auto, connect_to, list, listed};
use crate::support::device::{self, Event};
use crate::support::gateway::TestGateway;
use crate::support::link::{Link, on_both_links};
use crate::support::{run, soon};

fn disconnect(ids: &[u32]) -> DisconnectRequest {
    DisconnectRequest {
        device_i_ds: ids.to_vec(),
    }
}

fn delete(ids: &[u32]) -> DeleteAsyncConnectionRequest {
    DeleteAsyncConnectionRequest {
        device_i_ds: ids.to_vec(),
    }
}

async fn c_01_connect_returns_the_id_and_lists_the_device(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    let answer = client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    assert_eq!(answer.into_inner().device_id, 1001);
    let info = listed(&mut client, 1001).await.expect("listed");
    assert_eq!(
        (info.status(), info.auto_reconnect),
        (link.connected(), false)
    );
    assert_eq!(info.connection_mode(), ConnectionMode::ServerToDevice);
    assert_eq!(info.port, i32::from(device.address().port()));
    gateway.stop().await;
}

async fn c_02_connect_to_nobody_is_unavailable(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let error = client
        .connect(link.connect_to(device::closed_port().await))
        .await;
    let error = error.expect_err("nobody is there");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(
        error
            .message()
            .starts_with("Cannot connect to the device: dial tcp 127.0.0.1:"),
        "{error:?}"
    );
    assert!(list(&mut client).await.is_empty());
    gateway.stop().await;
}

async fn c_03_the_other_link_than_that_of_the_device_is_unavailable(link: Link) {
    // Where both ends wait for the other's first word, a deadline ends it.
    let gateway = TestGateway::with(|config| {
        config.inbound.handshake_deadline = Duration::from_millis(200);
    })
    .await;
    let mut client = gateway.client().await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    let request = link.other().connect_to(device.address());
    let error = client.connect(request).await.expect_err("the other link");
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(list(&mut client).await.is_empty());
    let right = client.connect(link.connect_to(device.address())).await;
    assert_eq!(right.expect("connected").into_inner().device_id, 1001);
    gateway.stop().await;
}

#[test]
fn c_04_bad_addresses_are_invalid_and_port_0_is_51211() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        for (address, port) in [
            ("", 1),
            ("lamp.local", 1),
            ("::1", 1),
            ("127.0.0.1", -1),
            ("127.0.0.1", 65_536),
        ] {
            let mut request = connect_to(([127, 0, 0, 1], 1).into());
            let info = request.connect_info.as_mut().expect("set above");
            info.ip_addr = address.into();
            info.port = port;
            let error = client.connect(request).await.expect_err(address);
            assert_eq!(
                error.code(),
                Code::InvalidArgument,
                "{address}:{port} {error:?}"
            );
        }
        let mut infos = vec![auto(7, ([127, 0, 0, 1], 9).into())];
        infos[0].port = 0;
        add(&mut client, infos).await;
        assert_eq!(listed(&mut client, 7).await.expect("listed").port, 51_211);
        gateway.stop().await;
    });
}

async fn c_05_auto_devices_are_listed_before_they_are_up(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    add(
        &mut client,
        vec![link.auto(1001, mute.local_addr().expect("bound"))],
    )
    .await;
    let info = listed(&mut client, 1001).await.expect("listed");
    assert!(info.auto_reconnect);
    assert!(!matches!(
        info.status(),
        Status::TcpConnected | Status::TlsConnected
    ));
    gateway.stop().await;
}

async fn c_06_auto_devices_come_up_and_come_back(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    add(&mut client, vec![link.auto(1001, device.address())]).await;
    statuses.wait_for(1001, link.connected()).await;
    device.cut();
    statuses.wait_for(1001, link.connected()).await;
    let path = statuses.of(1001);
    let expected = [
        Status::TryToConnect,
        link.connected(),
        Status::Disconnected,
        Status::TryToConnect,
        link.connected(),
    ];
    assert_eq!(path, expected);
    gateway.stop().await;
}

async fn c_07_the_same_device_twice_is_one_entry_and_one_link(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let mut old = device::listen(link.spec(1001, &gateway)).await;
    let mut new = device::listen(link.spec(1001, &gateway)).await;
    add(
        &mut client,
        vec![
            link.auto(1001, old.address()),
            link.auto(1001, old.address()),
        ],
    )
    .await;
    statuses.wait_for(1001, link.connected()).await;
    add(&mut client, vec![link.auto(1001, old.address())]).await;
    assert_eq!(list(&mut client).await.len(), 1);
    assert_eq!(old.links_accepted(), 1);

    add(&mut client, vec![link.auto(1001, new.address())]).await;
    new.wait_for(Event::is_admitted).await;
    old.wait_for(Event::is_ended).await;
    statuses.wait_for(1001, link.connected()).await;
    let list = list(&mut client).await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].port, i32::from(new.address().port()));
    assert_eq!((old.links_open(), new.links_open()), (0, 1));
    gateway.stop().await;
}

#[test]
fn c_08_device_0_is_invalid_and_nothing_is_ok() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        add(&mut client, Vec::new()).await;
        let address = ([127, 0, 0, 1], 9).into();
        let request = gatehouse::grpc::proto::gsdk::connect::AddAsyncConnectionRequest {
            connect_infos: vec![auto(5, address), auto(0, address)],
        };
        let error = client
            .add_async_connection(request)
            .await
            .expect_err("refused");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains('1'), "names the index: {error:?}");
        assert!(list(&mut client).await.is_empty(), "nothing of it was done");
        gateway.stop().await;
    });
}

async fn c_09_a_deleted_device_is_disconnected_told_and_not_dialled_again(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let mut device = device::listen(link.spec(1001, &gateway)).await;
    add(&mut client, vec![link.auto(1001, device.address())]).await;
    statuses.wait_for(1001, link.connected()).await;
    client
        .delete_async_connection(delete(&[1001]))
        .await
        .expect("deleted");
    assert!(list(&mut client).await.is_empty());
    statuses.wait_for(1001, Status::Disconnected).await;
    device.wait_for(Event::is_ended).await;
    assert_eq!(device.links_accepted(), 1);
    gateway.stop().await;
}

#[test]
fn c_10_deleting_an_unknown_device_is_ok_and_deletes_the_others() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let nowhere = device::closed_port().await;
        add(&mut client, vec![auto(1, nowhere), auto(2, nowhere)]).await;
        client
            .delete_async_connection(delete(&[99, 1, 98]))
            .await
            .expect("ok");
        let left: Vec<u32> = list(&mut client)
            .await
            .iter()
            .map(|info| info.device_id)
            .collect();
        assert_eq!(left, [2]);
        gateway.stop().await;
    });
}

async fn c_11_deleting_while_a_dial_runs_leaves_no_link(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    add(
        &mut client,
        vec![link.auto(1001, mute.local_addr().expect("bound"))],
    )
    .await;
    let (mut socket, _) = soon("the dial", mute.accept()).await.expect("dialled");
    client
        .delete_async_connection(delete(&[1001]))
        .await
        .expect("deleted");
    let mut said = Vec::new();
    let _ = soon(
        "the end",
        tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut said),
    )
    .await;
    assert!(list(&mut client).await.is_empty());
    gateway.stop().await;
}

async fn c_18_the_list_holds_all_three_kinds(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    client::allow_all(&mut client).await;
    let direct = device::listen(link.spec(1, &gateway)).await;
    let auto_device = device::listen(link.spec(2, &gateway)).await;
    let _inbound = device::dial(link.spec(3, &gateway), link.port(&gateway));
    client
        .connect(link.connect_to(direct.address()))
        .await
        .expect("connected");
    add(&mut client, vec![link.auto(2, auto_device.address())]).await;
    statuses.wait_for(2, link.connected()).await;
    while listed(&mut client, 3).await.is_none() {
        statuses.next().await.expect("goes on");
    }
    let kinds: Vec<_> = list(&mut client)
        .await
        .iter()
        .map(|info| {
            let dialled_port = info.port != 0;
            (
                info.device_id,
                info.auto_reconnect,
                info.connection_mode(),
                dialled_port,
            )
        })
        .collect();
    let expected = [
        (1, false, ConnectionMode::ServerToDevice, true),
        (2, true, ConnectionMode::ServerToDevice, true),
        (3, false, ConnectionMode::DeviceToServer, false),
    ];
    assert_eq!(kinds, expected);
    gateway.stop().await;
}

#[test]
fn c_19_an_empty_gateway_lists_nothing() {
    run(async {
        let gateway = TestGateway::start().await;
        assert!(list(&mut gateway.client().await).await.is_empty());
        gateway.stop().await;
    });
}

async fn c_20_the_type_is_listed_once_the_device_has_told_it(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let device = device::listen(link.spec(1001, &gateway).of_type(9)).await;
    client
        .connect(link.connect_to(device.address()))
        .await
        .expect("connected");
    device.described().await;
    let typed = async {
        while listed(&mut client, 1001).await.expect("listed").r#type != 9 {
            tokio::task::yield_now().await;
        }
    };
    soon("the type", typed).await;
    gateway.stop().await;
}

async fn c_21_disconnect_does_what_the_kind_of_the_device_says(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    client::allow_all(&mut client).await;
    let direct = device::listen(link.spec(1, &gateway)).await;
    let auto_device = device::listen(link.spec(2, &gateway)).await;
    let mut inbound = device::dial(link.spec(3, &gateway), link.port(&gateway));
    client
        .connect(link.connect_to(direct.address()))
        .await
        .expect("connected");
    add(&mut client, vec![link.auto(2, auto_device.address())]).await;
    inbound.wait_for(Event::is_admitted).await;
    statuses.wait_for(2, link.connected()).await;

    client
        .disconnect(disconnect(&[1, 2, 3]))
        .await
        .expect("disconnected");
    assert!(
        listed(&mut client, 1).await.is_none(),
        "a direct device vanishes"
    );
    inbound.wait_for(Event::is_ended).await;
    inbound.wait_for(Event::is_admitted).await;
    statuses.wait_for(2, link.connected()).await;
    assert_eq!(direct.links_accepted(), 1);
    gateway.stop().await;
}

#[test]
fn c_22_disconnecting_an_unknown_device_is_ok() {
    run(async {
        let gateway = TestGateway::start().await;
        gateway
            .client()
            .await
            .disconnect(disconnect(&[42]))
            .await
            .expect("ok");
        gateway.stop().await;
    });
}

async fn c_23_disconnect_all_closes_every_link_and_keeps_auto_entries(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    client
        .disconnect_all(DisconnectAllRequest {})
        .await
        .expect("ok with nothing");
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let mut direct = device::listen(link.spec(1, &gateway)).await;
    let mut auto_device = device::listen(link.spec(2, &gateway)).await;
    client
        .connect(link.connect_to(direct.address()))
        .await
        .expect("connected");
    add(&mut client, vec![link.auto(2, auto_device.address())]).await;
    statuses.wait_for(2, link.connected()).await;
    client
        .disconnect_all(DisconnectAllRequest {})
        .await
        .expect("ok");
    direct.wait_for(Event::is_ended).await;
    auto_device.wait_for(Event::is_ended).await;
    let left: Vec<u32> = list(&mut client)
        .await
        .iter()
        .map(|info| info.device_id)
        .collect();
    assert_eq!(left, [2]);
    statuses.wait_for(2, link.connected()).await;
    gateway.stop().await;
}

on_both_links! {
    c_01_connect_returns_the_id_and_lists_the_device,
    c_02_connect_to_nobody_is_unavailable,
    c_03_the_other_link_than_that_of_the_device_is_unavailable,
    c_05_auto_devices_are_listed_before_they_are_up,
    c_06_auto_devices_come_up_and_come_back,
    c_07_the_same_device_twice_is_one_entry_and_one_link,
    c_09_a_deleted_device_is_disconnected_told_and_not_dialled_again,
    c_11_deleting_while_a_dial_runs_leaves_no_link,
    c_18_the_list_holds_all_three_kinds,
    c_20_the_type_is_listed_once_the_device_has_told_it,
    c_21_disconnect_does_what_the_kind_of_the_device_says,
    c_23_disconnect_all_closes_every_link_and_keeps_auto_entries,
}
