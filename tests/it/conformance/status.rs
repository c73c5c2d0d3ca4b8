//! C-37 … C-40: the status stream.

use std::collections::BTreeMap;

use gatehouse::grpc::proto::gsdk::connect::{
    DeleteAsyncConnectionRequest, Status, SubscribeStatusRequest,
};
use tonic::Code;

use crate::support::client::{self, Statuses, add, auto};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::link::{Link, on_both_links};
use crate::support::{run, soon};

async fn c_37_connect_loss_reconnect_and_delete_are_told(link: Link) {
    let gateway = TestGateway::start().await;
    let mut client = gateway.client().await;
    let mut statuses = Statuses::subscribe(&mut client, 16).await;
    let device = device::listen(link.spec(1001, &gateway)).await;
    add(&mut client, vec![link.auto(1001, device.address())]).await;
    statuses.wait_for(1001, link.connected()).await;
    device.cut();
    statuses.wait_for(1001, Status::Disconnected).await;
    statuses.wait_for(1001, link.connected()).await;
    let delete = DeleteAsyncConnectionRequest {
        device_i_ds: vec![1001],
    };
    client
        .delete_async_connection(delete)
        .await
        .expect("deleted");
    statuses.wait_for(1001, Status::Disconnected).await;
    gateway.stop().await;
}

/// Adds dead devices, each of which tells two changes, until the flood is larger than what HTTP/2
/// and the sockets between can hold.
async fn flood(client: &mut client::Client, rounds: u32, each: u32) {
    let nowhere = device::closed_port().await;
    for round in 0..rounds {
        let ids: Vec<u32> = (0..each).map(|n| 1 + round * each + n).collect();
        add(client, ids.iter().map(|id| auto(*id, nowhere)).collect()).await;
    }
}

#[test]
fn c_38_two_subscribers_get_all_and_a_stalled_one_delays_nobody() {
    run(async {
        let gateway = TestGateway::with(|config| config.dial.rate_max = 100_000).await;
        let mut client = gateway.client().await;
        let mut first = Statuses::subscribe(&mut client, 100_000).await;
        let mut second = Statuses::subscribe(&mut gateway.client().await, 100_000).await;
        let _stalled = Statuses::subscribe(&mut gateway.client().await, 1).await;
        flood(&mut client, 20, 500).await;
        for statuses in [&mut first, &mut second] {
            let mut failed = 0;
            while failed < 10_000 {
                let change = statuses.next().await.expect("goes on");
                failed += u32::from(change.status() == Status::TcpCannotConnect);
            }
            for id in [1, 5_000, 10_000] {
                let path = [Status::TryToConnect, Status::TcpCannotConnect];
                assert_eq!(statuses.of(id), path);
            }
        }
        gateway.stop().await;
    });
}

#[test]
fn c_39_a_full_queue_conflates_and_the_newest_status_arrives() {
    run(async {
        let gateway = TestGateway::with(|config| config.dial.rate_max = 100_000).await;
        let mut client = gateway.client().await;
        let mut quick = Statuses::subscribe(&mut client, 100_000).await;
        let mut slow = Statuses::subscribe(&mut gateway.client().await, 1).await;
        flood(&mut client, 20, 500).await;
        let mut failed = 0;
        while failed < 10_000 {
            let change = quick.next().await.expect("goes on");
            failed += u32::from(change.status() == Status::TcpCannotConnect);
        }
        // The slow one only now begins to read.
        let mut newest = BTreeMap::new();
        while newest
            .values()
            .filter(|status| **status == Status::TcpCannotConnect)
            .count()
            < 10_000
        {
            let change = slow.next().await.expect("goes on");
            newest.insert(change.device_id, change.status());
        }
        let device = device::listen(Spec::new(20_000, &gateway)).await;
        add(&mut client, vec![auto(20_000, device.address())]).await;
        slow.wait_for(20_000, Status::TcpConnected).await;
        gateway.stop().await;
    });
}

#[test]
fn c_40_a_cancelled_stream_frees_its_place_and_a_stop_is_unavailable() {
    run(async {
        let gateway = TestGateway::with(|config| config.grpc.subscribers_max = 1).await;
        let mut client = gateway.client().await;
        let request = SubscribeStatusRequest { queue_size: -1 };
        let error = client.subscribe_status(request).await.expect_err("refused");
        assert_eq!(error.code(), Code::InvalidArgument);

        let first = Statuses::subscribe(&mut client, 0).await;
        let request = SubscribeStatusRequest { queue_size: 0 };
        let error = client
            .subscribe_status(request)
            .await
            .expect_err("the place is taken");
        assert_eq!(error.code(), Code::ResourceExhausted);
        drop(first);
        let again = async {
            while client.subscribe_status(request).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon("the place to be free again", again).await;
        gateway.stop().await;

        let gateway = TestGateway::start().await;
        let mut statuses = Statuses::subscribe(&mut gateway.client().await, 0).await;
        gateway.stop().await;
        let end = statuses.next().await.expect_err("the stream ends");
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    });
}

on_both_links! {
    c_37_connect_loss_reconnect_and_delete_are_told,
}
