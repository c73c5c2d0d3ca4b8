//! Our own API: one device, all devices, what happened, and dialling at once.

use std::time::Duration;

use gatehouse::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use gatehouse::grpc::proto::gatehouse::v1::watch_response::Item;
use gatehouse::grpc::proto::gatehouse::v1::{
    Change, Device, Event, GetRequest, Link, ListRequest, Origin, Proof, RetryNowRequest,
    WatchRequest, WatchResponse,
};
use gatehouse::grpc::proto::gsdk::connect::Status;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::support::client::{self, add, auto};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::{run, soon};

async fn watch(
    fleet: &mut FleetClient<Channel>,
    after: u64,
    snapshot: bool,
) -> Streaming<WatchResponse> {
    let request = WatchRequest {
        after,
        snapshot,
        queue_size: 0,
    };
    fleet.watch(request).await.expect("watching").into_inner()
}

async fn item(watch: &mut Streaming<WatchResponse>) -> Item {
    let response = soon("the next item", watch.message())
        .await
        .expect("goes on");
    response
        .and_then(|response| response.item)
        .expect("an item")
}

async fn event(watch: &mut Streaming<WatchResponse>, id: u32, status: Status) -> Event {
    loop {
        if let Item::Event(event) = item(watch).await
            && event.device_id == id
            && event.new_status() == status
        {
            return event;
        }
    }
}

async fn get(fleet: &mut FleetClient<Channel>, device_id: u32) -> Device {
    let answer = fleet.get(GetRequest { device_id }).await.expect("listed");
    answer.into_inner().device.expect("a device")
}

#[test]
fn a_dead_device_shows_attempt_next_try_and_cause_and_is_retried_at_once() {
    run(async {
        let gateway = TestGateway::with(|config| {
            config.reconnect.min = Duration::from_secs(600);
            config.reconnect.max = Duration::from_secs(600);
        })
        .await;
        let mut fleet = client::fleet(gateway.channel().await);
        let missing = fleet
            .get(GetRequest { device_id: 7 })
            .await
            .expect_err("not listed");
        assert_eq!(missing.code(), Code::NotFound);

        let mut events = watch(&mut fleet, 0, false).await;
        let nowhere = device::closed_port().await;
        add(&mut gateway.client().await, vec![auto(7, nowhere)]).await;
        let failed = event(&mut events, 7, Status::TcpCannotConnect).await;
        assert_eq!(failed.cause.as_ref().expect("a cause").kind, "dial_failed");
        assert_eq!((failed.attempt, failed.change()), (1, Change::Changed));
        assert!(failed.next_try_unix_ms.expect("a next try") > failed.unix_ms + 500_000);

        let retry = RetryNowRequest {
            device_ids: vec![7],
        };
        fleet.retry_now(retry).await.expect("retried");
        let twice = async {
            while get(&mut fleet, 7).await.attempt < 2 {
                tokio::task::yield_now().await;
            }
        };
        soon("the second attempt", twice).await;
        let device = get(&mut fleet, 7).await;
        assert_eq!(device.origin(), Origin::Auto);
        assert!(device.next_try_unix_ms.is_some() && device.session.is_none());
        let unknown = RetryNowRequest {
            device_ids: vec![7, 8],
        };
        let error = fleet.retry_now(unknown).await.expect_err("8 is not listed");
        assert_eq!(error.code(), Code::NotFound);
        gateway.stop().await;
    });
}

#[test]
fn a_watch_begins_with_a_snapshot_and_an_unknown_number_is_a_gap() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut fleet = client::fleet(gateway.channel().await);
        let mut events = watch(&mut fleet, 0, false).await;
        let device = device::listen(Spec::new(1001, &gateway)).await;
        add(
            &mut gateway.client().await,
            vec![auto(1001, device.address())],
        )
        .await;
        let connected = event(&mut events, 1001, Status::TcpConnected).await;

        let mut again = watch(&mut fleet, 0, true).await;
        assert!(matches!(item(&mut again).await, Item::SnapshotBegin(begin) if begin.devices == 1));
        let Item::Device(listed) = item(&mut again).await else {
            panic!("a device follows");
        };
        let session = listed.session.clone().expect("connected");
        assert_eq!(
            (session.link(), session.proof()),
            (Link::Aes, Proof::FleetKey)
        );
        assert!(
            matches!(item(&mut again).await, Item::SnapshotEnd(end) if end.event_number >= connected.number)
        );
        let list = fleet
            .list(ListRequest::default())
            .await
            .expect("a list")
            .into_inner();
        assert_eq!(list.devices, [listed]);

        let mut strange = watch(&mut fleet, u64::MAX, false).await;
        assert!(matches!(item(&mut strange).await, Item::Gap(_)));
        assert!(matches!(item(&mut strange).await, Item::SnapshotBegin(_)));
        gateway.stop().await;
    });
}
