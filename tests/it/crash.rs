//! `kill -9` at any instant: nothing that was acknowledged is lost, nothing is half done, and no
//! event number is given out twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatehouse::grpc::proto::gatehouse::v1::watch_response::Item;
use gatehouse::grpc::proto::gatehouse::v1::{Change, ListRequest, WatchRequest};
use gatehouse::grpc::proto::gsdk::connect::{
    AcceptFilter, AddAsyncConnectionRequest, DeleteAsyncConnectionRequest, GetAcceptFilterRequest,
    SetAcceptFilterRequest, Status,
};
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use tonic::transport::Channel;

use crate::support::client::{self, Client, auto};
use crate::support::device::{self, Spec};
use crate::support::process::Process;
use crate::support::{run, soon};

const ROUNDS: u64 = 20;

/// What a client knows that the gateway must remember.
#[derive(Clone, Debug, Default, PartialEq)]
struct Desired {
    /// ID and port.
    devices: BTreeMap<u32, u16>,
    filter: AcceptFilter,
}

#[derive(Debug)]
enum Request {
    Add(BTreeMap<u32, u16>),
    Delete(BTreeSet<u32>),
    Filter(AcceptFilter),
}

impl Request {
    fn any(rng: &mut SmallRng, listed: &Desired) -> Self {
        match rng.random_range(0..3) {
            0 => {
                let count = if rng.random_ratio(1, 8) { 1500 } else { 20 };
                let one = |_| (rng.random_range(1..5000), rng.random_range(1..1000));
                Self::Add((0..count).map(one).collect())
            }
            1 => {
                let count = rng.random_range(0..30);
                let some = listed.devices.keys().copied().sample(rng, count);
                Self::Delete(some.into_iter().chain([77_777]).collect())
            }
            _ => Self::Filter(AcceptFilter {
                device_i_ds: (0..rng.random_range(0..50)).collect(),
                ..AcceptFilter::default()
            }),
        }
    }

    fn apply(&self, desired: &mut Desired) {
        match self {
            Self::Add(devices) => desired.devices.extend(devices),
            Self::Delete(ids) => desired.devices.retain(|id, _| !ids.contains(id)),
            Self::Filter(filter) => desired.filter = filter.clone(),
        }
    }

    async fn send(&self, client: &mut Client) -> Result<(), tonic::Status> {
        match self {
            Self::Add(devices) => {
                // Nobody listens on these ports; that a dial fails is no part of this test.
                let info = |(id, port): (&u32, &u16)| auto(*id, ([127, 0, 0, 1], *port).into());
                let connect_infos = devices.iter().map(info).collect();
                let request = AddAsyncConnectionRequest { connect_infos };
                client.add_async_connection(request).await.map(|_| ())
            }
            Self::Delete(ids) => {
                let device_i_ds = ids.iter().copied().collect();
                let request = DeleteAsyncConnectionRequest { device_i_ds };
                client.delete_async_connection(request).await.map(|_| ())
            }
            Self::Filter(filter) => {
                let filter = Some(filter.clone());
                let request = SetAcceptFilterRequest { filter };
                client.set_accept_filter(request).await.map(|_| ())
            }
        }
    }
}

async fn remembered(client: &mut Client) -> Desired {
    let devices = client::list(client).await;
    let filter = client.get_accept_filter(GetAcceptFilterRequest {}).await;
    Desired {
        devices: devices
            .iter()
            .map(|info| (info.device_id, u16::try_from(info.port).expect("a port")))
            .collect(),
        filter: filter
            .expect("a filter")
            .into_inner()
            .filter
            .unwrap_or_default(),
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    run(async {
        // A device that is dialled costs time and proves nothing here.
        let mut gateway = Process::start("dial.rate_max = 1");
        let mut rng = SmallRng::seed_from_u64(9);
        let mut acknowledged = Desired::default();
        let mut acknowledgements = 0;
        for round in 0..ROUNDS {
            let mut client = gateway.client().await;
            for _ in 0..rng.random_range(1..20) {
                let request = Request::any(&mut rng, &acknowledged);
                request.send(&mut client).await.expect("acknowledged");
                request.apply(&mut acknowledged);
                acknowledgements += 1;
            }
            let in_flight = Request::any(&mut rng, &acknowledged);
            let mut with_it = acknowledged.clone();
            in_flight.apply(&mut with_it);
            let sending = tokio::spawn(async move { in_flight.send(&mut client).await });
            for _ in 0..rng.random_range(0..400) {
                tokio::task::yield_now().await;
            }
            gateway.kill();
            if sending.await.expect("sent").is_ok() {
                acknowledged = with_it.clone();
            }
            gateway.restart();
            let found = remembered(&mut gateway.client().await).await;
            assert!(
                found == acknowledged || found == with_it,
                "round {round}: what was found is neither what was acknowledged nor that with what was in flight"
            );
            acknowledged = found;
        }
        assert!(acknowledgements > ROUNDS);
    });
}

/// What a watcher has made of the events so far.
#[derive(Default)]
struct View {
    statuses: BTreeMap<u32, Status>,
    /// The number of the last event seen, or of the snapshot that took its place.
    number: u64,
    seen: BTreeSet<u64>,
}

impl View {
    fn take(&mut self, item: Item) {
        match item {
            Item::SnapshotBegin(_) => self.statuses.clear(),
            Item::Device(device) => {
                self.statuses.insert(device.device_id, device.status());
            }
            Item::SnapshotEnd(end) => self.number = self.number.max(end.event_number),
            Item::Gap(_) => {}
            Item::Event(event) => {
                assert!(
                    self.seen.insert(event.number),
                    "number {} came twice",
                    event.number
                );
                assert!(
                    event.number > self.number,
                    "{} after {}",
                    event.number,
                    self.number
                );
                self.number = event.number;
                match event.change() {
                    Change::Added | Change::Changed => {
                        self.statuses.insert(event.device_id, event.new_status());
                    }
                    Change::Removed => {
                        self.statuses.remove(&event.device_id);
                    }
                    Change::Refused | Change::Approved | Change::Denied | Change::Unspecified => {}
                }
            }
        }
    }

    /// Watches on until a page of `List` shows the same instant, and compares.
    async fn meet_list(&mut self, channel: Channel) {
        let mut fleet = client::fleet(channel);
        let request = WatchRequest {
            after: self.number,
            snapshot: self.number == 0,
            queue_size: 65_536,
        };
        let mut watch = fleet.watch(request).await.expect("watching").into_inner();
        loop {
            let list = fleet
                .list(ListRequest::default())
                .await
                .expect("a list")
                .into_inner();
            while self.number < list.event_number {
                let item = soon("the next event", watch.message())
                    .await
                    .expect("goes on");
                self.take(item.and_then(|response| response.item).expect("an item"));
            }
            if self.number == list.event_number {
                let listed: BTreeMap<u32, Status> = list
                    .devices
                    .iter()
                    .map(|device| (device.device_id, device.status()))
                    .collect();
                assert_eq!(self.statuses, listed, "at event {}", self.number);
                return;
            }
        }
    }
}

#[test]
fn a_watch_resumes_over_kill_9_under_churn_and_sees_no_number_twice() {
    run(async {
        let mut gateway = Process::start("");
        let key = gateway.fleet_key();
        let mut client = gateway.client().await;
        client::allow_all(&mut client).await;
        let churn = Duration::from_millis(40);
        let mut devices = Vec::new();
        let mut autos = Vec::new();
        for id in 1..=10 {
            devices.push(device::dial(
                Spec::keyed(id, key.clone()).churning(churn),
                gateway.aes,
            ));
        }
        for id in 11..=20 {
            let device = device::listen(Spec::keyed(id, key.clone()).churning(churn)).await;
            autos.push(auto(id, device.address()));
            devices.push(device);
        }
        client::add(&mut client, autos).await;
        let mut rng = SmallRng::seed_from_u64(10);
        let mut view = View::default();
        for _ in 0..ROUNDS {
            view.meet_list(gateway.channel().await).await;
            let more = view.seen.len() + rng.random_range(1..60);
            let mut watch = client::fleet(gateway.channel().await)
                .watch(WatchRequest {
                    after: view.number,
                    snapshot: false,
                    queue_size: 65_536,
                })
                .await
                .expect("watching")
                .into_inner();
            while view.seen.len() < more {
                let item = soon("the next event", watch.message())
                    .await
                    .expect("goes on");
                view.take(item.and_then(|response| response.item).expect("an item"));
            }
            gateway.kill();
            gateway.restart();
        }
        view.meet_list(gateway.channel().await).await;
        assert!(view.statuses.len() >= 10, "the auto devices are listed");
    });
}
