//! C-12 … C-17: who may dial in, and the pending list.

use gatehouse::grpc::proto::gsdk::connect::{
    AcceptFilter, GetAcceptFilterRequest, GetPendingListRequest, PendingDeviceInfo,
    SetAcceptFilterRequest,
};

use crate::support::client::{Client, Statuses, allow_all, listed, set_filter};
use crate::support::device::{self, Event};
use crate::support::gateway::TestGateway;
use crate::support::link::{Link, on_both_links};
use crate::support::run;

fn only(ids: &[u32]) -> AcceptFilter {
    AcceptFilter {
        device_i_ds: ids.to_vec(),
        ..AcceptFilter::default()
    }
}

async fn pending(client: &mut Client) -> Vec<PendingDeviceInfo> {
    let list = client.get_pending_list(GetPendingListRequest {}).await;
    list.expect("a list").into_inner().device_infos
}

async fn c_12_allow_all_accepts_any_device(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let filter = AcceptFilter {
        allow_all: true,
        ..only(&[5])
    };
    set_filter(&mut client, filter).await;
    let mut device = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    device.wait_for(Event::is_admitted).await;
    assert_eq!(
        listed(&mut client, 1001).await.expect("listed").status(),
        link.connected()
    );
    gateway.stop().await;
}

async fn c_13_a_listed_id_is_accepted_and_another_is_refused_and_pends(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    set_filter(&mut client, only(&[1001])).await;
    let mut good = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    let mut other = device::dial(link.spec(1002, &gateway), link.port(&gateway));
    good.wait_for(Event::is_admitted).await;
    other.wait_for(Event::is_refused).await;
    statuses.wait_for(1002, link.not_allowed()).await;
    assert!(listed(&mut client, 1002).await.is_none());
    let waiting: Vec<u32> = pending(&mut client)
        .await
        .iter()
        .map(|info| info.device_id)
        .collect();
    assert_eq!(waiting, [1002]);
    gateway.stop().await;
}

async fn c_14_a_missing_filter_refuses_everybody(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    allow_all(&mut client).await;
    client
        .set_accept_filter(SetAcceptFilterRequest { filter: None })
        .await
        .expect("taken");
    let answer = client
        .get_accept_filter(GetAcceptFilterRequest {})
        .await
        .expect("a filter");
    assert_eq!(
        answer.into_inner().filter.unwrap_or_default(),
        AcceptFilter::default()
    );
    let mut device = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    device.wait_for(Event::is_refused).await;
    gateway.stop().await;
}

#[test]
fn c_15_the_filter_is_returned_as_it_was_set() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut client = gateway.client().await;
        let answer = client
            .get_accept_filter(GetAcceptFilterRequest {})
            .await
            .expect("a filter");
        assert_eq!(
            answer.into_inner().filter.unwrap_or_default(),
            AcceptFilter::default()
        );
        let filter = AcceptFilter {
            allow_all: false,
            device_i_ds: vec![3, 1, 2, 1],
            ip_addrs: vec!["10.0.0.0".into(), "192.168.1.7".into(), "10.9.9.9".into()],
            subnet_masks: vec!["255.0.0.0".into(), String::new()],
        };
        set_filter(&mut client, filter.clone()).await;
        let answer = client
            .get_accept_filter(GetAcceptFilterRequest {})
            .await
            .expect("a filter");
        assert_eq!(answer.into_inner().filter, Some(filter));
        for (addresses, masks) in [
            (vec!["lamp"], vec![]),
            (vec!["10.0.0.0"], vec!["255.0.255.0"]),
            (vec![], vec!["255.0.0.0"]),
        ] {
            let filter = AcceptFilter {
                ip_addrs: addresses.into_iter().map(String::from).collect(),
                subnet_masks: masks.into_iter().map(String::from).collect(),
                ..AcceptFilter::default()
            };
            let request = SetAcceptFilterRequest {
                filter: Some(filter.clone()),
            };
            let error = client
                .set_accept_filter(request)
                .await
                .expect_err("refused");
            assert_eq!(error.code(), tonic::Code::InvalidArgument, "{filter:?}");
        }
        gateway.stop().await;
    });
}

async fn c_15_addresses_let_devices_in(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let filter = AcceptFilter {
        ip_addrs: vec!["127.0.0.0".into()],
        subnet_masks: vec!["255.0.0.0".into()],
        ..AcceptFilter::default()
    };
    set_filter(&mut client, filter).await;
    let mut device = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    device.wait_for(Event::is_admitted).await;
    gateway.stop().await;
}

async fn c_16_a_refused_device_pends_with_address_and_time(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut device = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    device.wait_for(Event::is_refused).await;
    let list = pending(&mut client).await;
    assert_eq!(
        (list[0].device_id, list[0].ip_addr.as_str()),
        (1001, "127.0.0.1")
    );
    let now = gatehouse::clock::now().unix_seconds();
    assert!(now.abs_diff(list[0].last_try) < 120);
    gateway.stop().await;
}

async fn c_17_a_second_try_makes_no_second_entry_and_acceptance_ends_it(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut device = device::dial(link.spec(1001, &gateway), link.port(&gateway));
    device.wait_for(Event::is_refused).await;
    let first = pending(&mut client).await[0].last_try;
    device.wait_for(Event::is_refused).await;
    let list = pending(&mut client).await;
    assert_eq!(list.len(), 1);
    assert!(list[0].last_try >= first);
    set_filter(&mut client, only(&[1001])).await;
    device.wait_for(Event::is_admitted).await;
    assert!(pending(&mut client).await.is_empty());
    gateway.stop().await;
}

on_both_links! {
    c_12_allow_all_accepts_any_device,
    c_13_a_listed_id_is_accepted_and_another_is_refused_and_pends,
    c_14_a_missing_filter_refuses_everybody,
    c_15_addresses_let_devices_in,
    c_16_a_refused_device_pends_with_address_and_time,
    c_17_a_second_try_makes_no_second_entry_and_acceptance_ends_it,
}
