//! A disk that runs full while calls go on: what must go on goes on, what cannot is refused by
//! name, nothing acknowledged is lost, and all is taken again without a restart.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gatehouse::grpc::proto::gatehouse::v1::WatchRequest;
use gatehouse::grpc::proto::gatehouse::v1::watch_response::Item;
use gatehouse::grpc::proto::gsdk::connect::{
    AddAsyncConnectionRequest, DeleteAsyncConnectionRequest, Status,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tonic::Code;

use super::tmpfs::Tmpfs;
use crate::support::client::{self, Client, Statuses, auto};
use crate::support::device::{self, Spec};
use crate::support::process::{BINARY, Process};
use crate::support::web::Web;
use crate::support::{run, soon};

/// A gateway on this disk, and what a client of it knows.
struct World {
    gateway: Process,
    client: Client,
    /// Devices whose addition was acknowledged, and those of which it was refused.
    acknowledged: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    next: u32,
}

impl World {
    async fn start(disk: &Path, more: &str) -> Self {
        let directory = TempDir::new_in(disk).expect("a directory");
        let gateway = Process::start_at(directory, more);
        let mut client = gateway.client().await;
        client::allow_all(&mut client).await;
        Self {
            gateway,
            client,
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            next: 1000,
        }
    }

    /// Adds devices, some at once.
    async fn add(&mut self) -> Result<(), tonic::Status> {
        let ids = self.next..self.next + 5;
        self.next = ids.end;
        let infos = ids.clone().map(|id| auto(id, ([127, 0, 0, 1], 9).into()));
        let request = AddAsyncConnectionRequest {
            connect_infos: infos.collect(),
        };
        let answer = soon("an answer", self.client.add_async_connection(request)).await;
        match answer {
            Ok(_) => self.acknowledged.extend(ids),
            Err(_) => self.refused.extend(ids),
        }
        answer.map(|_| ())
    }

    /// Adds devices while the disk is filled, until that is refused.
    async fn add_until_refused(&mut self, fill: impl Fn()) {
        let refusal = loop {
            fill();
            if let Err(refusal) = self.add().await {
                break refusal;
            }
        };
        assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
        let text = refusal.message();
        assert!(
            text.starts_with("the change could not be stored: "),
            "{text}"
        );
    }

    /// Adds devices until that is acknowledged; until then there is one reason alone.
    async fn add_until_done(&mut self) {
        let again = async {
            while let Err(refusal) = self.add().await {
                assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("changes that are taken again", again).await;
    }

    async fn delete(&mut self, id: u32) -> Result<(), tonic::Status> {
        let request = DeleteAsyncConnectionRequest {
            device_i_ds: vec![id],
        };
        let answer = soon("an answer", self.client.delete_async_connection(request)).await;
        if answer.is_ok() {
            self.acknowledged.remove(&id);
        }
        answer.map(|_| ())
    }

    async fn listed(&mut self) -> BTreeSet<u32> {
        let listed = client::list(&mut self.client).await;
        let ids = listed.iter().map(|info| info.device_id);
        ids.filter(|id| (1000..1_000_000).contains(id)).collect()
    }

    /// Sessions come, calls are answered, the status is told: of the devices of this number and the
    /// next one, which were there before, unless the IDs of new ones can be stored.
    async fn goes_on(&mut self, number: u32) {
        assert_eq!(self.listed().await, self.acknowledged);
        let key = self.gateway.fleet_key();
        let mut statuses = Statuses::subscribe(&mut self.client, 1000).await;
        let inbound = device::dial(Spec::keyed(number, key.clone()), self.gateway.aes);
        statuses.wait_for(number, Status::TcpConnected).await;
        let direct = device::listen(Spec::keyed(number + 1, key)).await;
        let request = client::connect_to(direct.address());
        let connected = soon("a connection", self.client.connect(request)).await;
        assert_eq!(
            connected.expect("connected").into_inner().device_id,
            number + 1
        );
        inbound.stop().await;
        statuses.wait_for(number, Status::Disconnected).await;
    }

    /// Does the same, and tells which numbers its events had, after those up to this one.
    async fn numbers_of_what_goes_on(&mut self, number: u32, after: u64) -> Vec<u64> {
        let mut fleet = client::fleet(self.gateway.channel().await);
        let request = WatchRequest {
            after: 0,
            snapshot: false,
            queue_size: 0,
        };
        let mut watch = fleet.watch(request).await.expect("watching").into_inner();
        self.goes_on(number).await;
        let mut numbers = Vec::new();
        loop {
            let item = soon("an event", watch.message()).await.expect("goes on");
            let Some(Item::Event(event)) = item.and_then(|item| item.item) else {
                continue;
            };
            numbers.push(event.number);
            if event.device_id == number && event.new_status() == Status::Disconnected {
                break;
            }
        }
        let is_new = |number: &u64| *number > after;
        assert!(numbers.iter().all(is_new), "{numbers:?} after {after}");
        assert!(
            numbers.is_sorted_by(|one, other| one < other),
            "{numbers:?}"
        );
        numbers
    }

    fn ballast(&self) -> PathBuf {
        self.gateway.data_dir().join("ballast")
    }

    /// Kills the gateway; once there is space, what it acknowledged is there.
    async fn kill_and_restart(&mut self, disk: &Tmpfs) {
        self.gateway.kill();
        disk.give_back();
        self.gateway.restart();
        self.client = self.gateway.client().await;
        let found = self.listed().await;
        let lost: Vec<_> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "{lost:?}");
        // What was refused may have reached the disk with what failed; nothing else may be there.
        let known: BTreeSet<_> = self.acknowledged.union(&self.refused).copied().collect();
        assert!(found.is_subset(&known));
        self.acknowledged = found;
        self.add_until_done().await;
    }
}

/// A device under a name of an owner: its properties are reached over HTTP.
async fn named_device(world: &mut World) -> (device::Device, Web) {
    let mut statuses = Statuses::subscribe(&mut world.client, 100).await;
    let key = world.gateway.fleet_key();
    let device = device::dial(Spec::keyed(7, key), world.gateway.aes);
    statuses.wait_for(7, Status::TcpConnected).await;
    (device, Web::new(world.gateway.http))
}

/// Waits until that device has come again.
async fn back(world: &mut World) {
    let there = async {
        loop {
            let device = client::listed(&mut world.client, 7).await;
            if device.is_some_and(|device| device.status() == Status::TcpConnected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the device", there).await;
}

fn property_of(number: &str) -> String {
    format!("/v3/users/~/devices/{number}/properties/cfg")
}

/// The value of a sample at `/metrics`.
async fn told(web: &Web, sample: &str) -> f64 {
    let page = web.call(Method::GET, "/metrics", None).await.text().await;
    let page = page.expect("text");
    let line = page.lines().find_map(|line| line.strip_prefix(sample));
    let value = line.unwrap_or_else(|| panic!("no {sample} in {page}"));
    value.trim().parse().expect("a number")
}

async fn put(web: &Web, value: u32) -> StatusCode {
    let body = json!(value);
    web.call(Method::PUT, &property_of("7"), Some(&body))
        .await
        .status()
}

#[test]
fn below_the_reserve_changes_are_refused_and_everything_else_goes_on() {
    Tmpfs::with(64, |disk| {
        run(async {
            let mut world = World::start(disk.path(), "store.free_min = 33554432").await;
            let (_device, web) = named_device(&mut world).await;
            assert_eq!(put(&web, 1).await, StatusCode::NO_CONTENT);

            world.add_until_refused(|| disk.fill(256 << 10)).await;
            assert!(disk.free() > 16 << 20, "the reserve is there");
            world.goes_on(10).await;
            assert_eq!(put(&web, 2).await, StatusCode::INSUFFICIENT_STORAGE);
            assert_eq!(web.get(&property_of("7")).await, json!(1));
            assert_eq!(told(&web, "gatehouse_store_full").await, 1.0);
            assert_eq!(told(&web, "gatehouse_store_healthy").await, 1.0);
            assert!(told(&web, "gatehouse_store_filesystem_free_bytes").await < 33_554_432.0);
            assert_eq!(
                told(&web, "gatehouse_store_filesystem_size_bytes").await,
                67_108_864.0
            );
            let some = *world.acknowledged.first().expect("some");
            world.delete(some).await.expect("removals are stored");
            let log = world.gateway.log();
            assert!(
                log.contains("status events wait until there is space"),
                "{log}"
            );

            // Not even removals with next to nothing left.
            disk.leave(4 << 20);
            let refusal = loop {
                let some = *world.acknowledged.first().expect("some");
                if let Err(refusal) = world.delete(some).await {
                    break refusal;
                }
            };
            assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
            world.goes_on(10).await;

            // Space again: no restart.
            disk.give_back();
            world.add_until_done().await;
            assert_eq!(put(&web, 3).await, StatusCode::NO_CONTENT);
            world.goes_on(14).await;
            assert_eq!(told(&web, "gatehouse_store_full").await, 0.0);
            for name in [
                "gatehouse_store_commit_seconds_count",
                "gatehouse_store_batch_size_count{kind=\"changes\"}",
                "gatehouse_store_batch_size_count{kind=\"events\"}",
                "gatehouse_store_size_bytes",
            ] {
                assert!(told(&web, name).await > 0.0, "{name}");
            }
            assert_eq!(world.listed().await, world.acknowledged);

            // It starts, and serves, without space as well.
            world.add_until_refused(|| disk.fill(256 << 10)).await;
            world.gateway.kill();
            world.gateway.restart();
            world.client = world.gateway.client().await;
            world.add_until_refused(|| ()).await;
            world.goes_on(10).await;
            disk.leave(0);
            world.kill_and_restart(disk).await;
            back(&mut world).await;
            assert_eq!(web.get(&property_of("7")).await, json!(3));
        });
    });
}

#[test]
fn without_a_reserve_a_full_disk_costs_nothing_acknowledged_either() {
    Tmpfs::with(32, |disk| {
        run(async {
            let mut world = World::start(disk.path(), "store.free_min = 0").await;
            let (_device, web) = named_device(&mut world).await;
            assert_eq!(put(&web, 1).await, StatusCode::NO_CONTENT);
            world.goes_on(20).await;
            for _ in 0..3 {
                world.add_until_refused(|| disk.fill(3 << 20)).await;
                world.goes_on(20).await;
                assert_eq!(put(&web, 2).await, StatusCode::INSUFFICIENT_STORAGE);
                assert_eq!(web.get(&property_of("7")).await, json!(1));
                disk.give_back();
                world.add_until_done().await;
            }
            world.add_until_refused(|| disk.fill(3 << 20)).await;
            assert!(told(&web, "gatehouse_store_failures_total{reason=\"no_space\"}").await > 0.0);
            assert_eq!(told(&web, "gatehouse_store_full").await, 1.0);
            let log = world.gateway.log();
            world.kill_and_restart(disk).await;
            assert!(!log.contains("panicked"), "{log}");
            back(&mut world).await;
            assert_eq!(web.get(&property_of("7")).await, json!(1));
        });
    });
}

#[test]
fn with_nothing_left_it_starts_serves_and_recovers_by_itself() {
    Tmpfs::with(64, |disk| {
        run(async {
            let mut world = World::start(disk.path(), "store.free_min = 8388608").await;
            let (_device, web) = named_device(&mut world).await;
            assert_eq!(put(&web, 1).await, StatusCode::NO_CONTENT);
            world.add().await.expect("added");
            let mut newest = 0;
            let numbers = world.numbers_of_what_goes_on(10, newest).await;
            newest = *numbers.last().expect("some");
            for turn in 0..6 {
                match turn % 2 {
                    0 => world.gateway.kill(),
                    _ => world.gateway.stop(),
                }
                disk.leave(0);
                assert_eq!(disk.free(), 0);
                world.gateway.restart();
                world.client = world.gateway.client().await;
                let refusal = world.add().await.expect_err("no space");
                assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
                assert_eq!(web.get("/readyz").await["store"], "full");
                back(&mut world).await;
                assert_eq!(web.get(&property_of("7")).await, json!(1));
                let numbers = world.numbers_of_what_goes_on(10, newest).await;
                newest = *numbers.last().expect("some");
            }
            disk.give_back();
            world.add_until_done().await;
            assert_eq!(put(&web, 2).await, StatusCode::NO_CONTENT);
            let whole_again = async {
                let length = || fs::metadata(world.ballast()).map_or(0, |file| file.len());
                while length() < 4 << 20 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            soon("the space that is kept for a start", whole_again).await;
            let numbers = world.numbers_of_what_goes_on(10, newest).await;
            newest = *numbers.last().expect("some");
            world.gateway.kill();
            world.gateway.restart();
            world.client = world.gateway.client().await;
            world.numbers_of_what_goes_on(10, newest).await;
            assert_eq!(world.listed().await, world.acknowledged);
        });
    });
}

#[test]
fn without_the_space_for_a_start_it_says_what_is_missing_and_harms_nothing() {
    Tmpfs::with(32, |disk| {
        run(async {
            let mut world = World::start(disk.path(), "store.free_min = 0").await;
            world.add().await.expect("added");
            world.gateway.kill();
            fs::remove_file(world.ballast()).expect("it was there");
            for left in [0, 0, 8 << 10] {
                disk.leave(left);
                // It would run on if it came up.
                let output = Command::new("timeout")
                    .args(["60", BINARY, "gateway", "--config"])
                    .arg(world.gateway.config())
                    .output()
                    .expect("the binary runs");
                let told = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{told}");
                for part in ["No space left", "are free", "a start wants 4.0 MiB"] {
                    assert!(told.contains(part), "{told}");
                }
                assert!(!told.contains("damaged"), "{told}");
                disk.give_back();
            }
            world.gateway.restart();
            world.client = world.gateway.client().await;
            assert_eq!(world.listed().await, world.acknowledged);
            world.add().await.expect("added");
        });
    });
}
