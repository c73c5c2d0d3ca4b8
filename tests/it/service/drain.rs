//! The orderly end: paced, told to the last event, and all are back after it.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use gatehouse::grpc::proto::gatehouse::v1::{Change, Event, ListRequest};
use gatehouse::grpc::proto::gsdk::connect::Status;
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use tonic::Code;

use super::Events;
use crate::support::client::{self, auto};
use crate::support::device::{self, Device, Spec};
use crate::support::process::Process;
use crate::support::web::Web;
use crate::support::{run, soon};

/// Devices that dial in, and that are dialled.
const INBOUND: u32 = 1900;
const AUTO: u32 = 100;
const ALL: usize = (INBOUND + AUTO) as usize;
/// Sessions a second.
const PACE: u32 = 400;

/// What the events say of one device, in their order.
type Path = Vec<(Change, Status, String)>;

fn add(paths: &mut BTreeMap<u32, Path>, event: &Event) {
    let cause = event.cause.as_ref().map(|cause| cause.kind.clone());
    let step = (
        event.change(),
        event.new_status(),
        cause.unwrap_or_default(),
    );
    paths.entry(event.device_id).or_default().push(step);
}

async fn fleet(gateway: &Process) -> Vec<Device> {
    let key = gateway.fleet_key();
    let mut client = gateway.client().await;
    client::allow_all(&mut client).await;
    // Not all the time while the port is closed.
    let redial = std::time::Duration::from_secs(1);
    let spec = |id| Spec::keyed(id, key.clone()).redial(redial);
    let mut devices: Vec<Device> = (1..=INBOUND)
        .map(|id| device::dial(spec(id), gateway.aes))
        .collect();
    let mut autos = Vec::new();
    for id in INBOUND + 1..=INBOUND + AUTO {
        let device = device::listen(spec(id)).await;
        autos.push(auto(id, device.address()));
        devices.push(device);
    }
    client::add(&mut client, autos).await;
    devices
}

/// The number of the newest event.
async fn newest(gateway: &Process) -> u64 {
    let list = client::fleet(gateway.channel().await)
        .list(ListRequest::default())
        .await;
    list.expect("a list").into_inner().event_number
}

/// What a device was told when its session was closed.
async fn farewell(device: &mut Device) -> String {
    let ended = device.wait_for(device::Event::is_ended).await;
    ended.to_string()
}

#[test]
fn two_thousand_sessions_are_drained_at_a_pace_and_nothing_is_lost() {
    run(async {
        let mut gateway = Process::start(&format!("drain.pace = {PACE}"));
        let mut devices = fleet(&gateway).await;
        join_all(devices.iter().map(|device| device.admitted(1))).await;
        join_all(devices.iter().map(Device::described)).await;
        let before = newest(&gateway).await;
        let mut live = Events::after(gateway.channel().await, before).await;
        let mut statuses = client::Statuses::subscribe(&mut gateway.client().await, 65_536).await;
        let web = Web::new(gateway.http);
        assert_eq!(web.get("/readyz").await["ready"], true);

        let begin = Instant::now();
        gateway.signal(Signal::SIGTERM);
        let mut drained = vec![live.next().await.expect("an event")];
        // Half the fleet is up still: whoever asks is told to go elsewhere.
        let (status, body) = web.try_get("/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["detail"].to_string().contains("stopping"), "{body}");
        assert_eq!(web.get("/healthz").await["alive"], true);
        let end = loop {
            match live.next().await {
                Ok(event) => drained.push(event),
                Err(status) => break status,
            }
        };
        let told_after = begin.elapsed();
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
        let mut told = 0;
        let end = loop {
            match statuses.next().await {
                Ok(_) => told += 1,
                Err(status) => break status,
            }
        };
        assert_eq!((end.code(), told), (Code::Unavailable, ALL));
        let exit = tokio::task::spawn_blocking(move || (gateway.wait(), gateway));
        let (exit, ended) = soon("the end of the process", exit).await.expect("waited");
        gateway = ended;
        let down_after = begin.elapsed();
        assert!(exit.success(), "{exit}: {}", gateway.log());

        // Each was told once, and not all at once: the stamps are those of the gateway.
        let mut paths = BTreeMap::new();
        drained.iter().for_each(|event| add(&mut paths, event));
        assert_eq!((drained.len(), paths.len()), (ALL, ALL));
        let lasted_ms = drained[ALL - 1].unix_ms - drained[0].unix_ms;
        let paced_ms = u64::from(1000 * u32::try_from(ALL).expect("small") / PACE);
        assert!(lasted_ms > paced_ms / 2, "{lasted_ms} ms of {paced_ms}");
        for device in &mut devices {
            assert!(farewell(device).await.contains("drain"));
        }

        let restarted = Instant::now();
        gateway.restart();
        join_all(devices.iter().map(|device| device.admitted(2))).await;
        let back_after = restarted.elapsed();

        // Who comes back has the whole path of each device: out, and in again.
        let mut resumed = Events::after(gateway.channel().await, before).await;
        let mut paths: BTreeMap<u32, Path> = BTreeMap::new();
        let (mut number, mut back) = (before, 0);
        let mut again = Vec::new();
        while back < ALL {
            let event = resumed.next().await.expect("an event");
            assert!(event.number > number, "{} after {number}", event.number);
            number = event.number;
            back += usize::from(event.new_status() == Status::TcpConnected);
            add(&mut paths, &event);
            again.push(event);
        }
        assert_eq!(again[..ALL], drained, "as they were told while it drained");
        let drain = || "drain".to_owned();
        for (id, path) in &paths {
            let (out, on_the_way) = match *id <= INBOUND {
                true => (Change::Removed, Change::Added),
                false => (Change::Changed, Change::Changed),
            };
            assert_eq!(path[0], (out, Status::Disconnected, drain()), "{id}");
            let (change, status, _) = path.last().expect("a step");
            assert_eq!(
                (*change, *status),
                (on_the_way, Status::TcpConnected),
                "{id}: {path:?}"
            );
        }
        assert_eq!(paths.len(), ALL);
        let listed = client::list(&mut gateway.client().await).await;
        assert_eq!(listed.len(), ALL);
        println!(
            "{ALL} sessions: drained in {:.2} s ({:.0}/s, pace {PACE}), streams ended after {:.2} s, \
             process after {:.2} s; all back {:.2} s after the restart began",
            lasted_ms as f64 / 1000.0,
            (ALL - 1) as f64 * 1000.0 / lasted_ms as f64,
            told_after.as_secs_f64(),
            down_after.as_secs_f64(),
            back_after.as_secs_f64(),
        );
        join_all(devices.into_iter().map(Device::stop)).await;
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        run(async move {
            // One session in a second: it would take long.
            let mut gateway = Process::start("drain.pace = 1\ndrain.grace = \"15m\"");
            client::allow_all(&mut gateway.client().await).await;
            let devices: Vec<Device> = (1..=10)
                .map(|id| device::dial(Spec::keyed(id, gateway.fleet_key()), gateway.aes))
                .collect();
            join_all(devices.iter().map(|device| device.admitted(1))).await;
            let mut live = Events::after(gateway.channel().await, newest(&gateway).await).await;
            gateway.signal(Signal::SIGTERM);
            live.next().await.expect("the first is closed");
            gateway.signal(second);
            let exit = tokio::task::spawn_blocking(move || gateway.wait());
            let exit = soon("the end of the process", exit).await.expect("waited");
            assert_eq!(exit.code(), Some(code), "{exit}");
        });
    }
}

#[test]
fn a_fleet_larger_than_its_pace_allows_ends_within_the_grace_time() {
    run(async {
        // Alone the pace would take 200 s.
        let mut gateway = Process::start("drain.pace = 1\ndrain.grace = \"4s\"");
        client::allow_all(&mut gateway.client().await).await;
        let mut devices: Vec<Device> = (1..=200)
            .map(|id| device::dial(Spec::keyed(id, gateway.fleet_key()), gateway.aes))
            .collect();
        join_all(devices.iter().map(|device| device.admitted(1))).await;
        gateway.signal(Signal::SIGTERM);
        let exit = tokio::task::spawn_blocking(move || gateway.wait());
        let exit = soon("the end of the process", exit).await.expect("waited");
        assert!(exit.success(), "{exit}");
        for device in &mut devices {
            assert!(farewell(device).await.contains("drain"), "each was told");
        }
    });
}
