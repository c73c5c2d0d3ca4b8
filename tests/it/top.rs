//! The devices with the most trouble: by gRPC, by HTTP, as a gauge, and on a terminal.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatehouse::grpc::proto::gatehouse::v1::fleet_client::FleetClient;
use gatehouse::grpc::proto::gatehouse::v1::{TopBy, TopRequest, TopResponse};
use gatehouse::grpc::proto::gsdk::connect::AcceptFilter;
use gatehouse::sim::device::Behaviour;
use reqwest::Method;
use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::client::{self, add, allow_all, auto, set_filter};
use crate::support::device::{self, Spec, closed_port};
use crate::support::gateway::TestGateway;
use crate::support::process::{BINARY, Process, gatehouse};
use crate::support::web::Web;
use crate::support::{run, soon};

async fn top(fleet: &mut FleetClient<Channel>, by: TopBy) -> TopResponse {
    let request = TopRequest {
        by: by.into(),
        ..TopRequest::default()
    };
    fleet.top(request).await.expect("an answer").into_inner()
}

/// Asks until the answer is as it should be.
async fn until(
    fleet: &mut FleetClient<Channel>,
    by: TopBy,
    is_it: impl Fn(&TopResponse) -> bool,
) -> TopResponse {
    let asking = async {
        loop {
            let answer = top(fleet, by).await;
            if is_it(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the trouble", asking).await
}

fn ids(answer: &TopResponse) -> Vec<u32> {
    let mut ids: Vec<u32> = answer.devices.iter().map(|top| top.device_id).collect();
    ids.sort_unstable();
    ids
}

async fn flapping(web: &Web) -> String {
    let answer = web.call(Method::GET, "/metrics", None).await;
    let text = answer.text().await.expect("text");
    let line = text
        .lines()
        .find(|line| line.starts_with("gatehouse_flapping_devices "));
    line.expect("the gauge").to_owned()
}

#[test]
fn exactly_the_flapping_devices_are_at_the_top_and_the_gauge_agrees() {
    const FLAPPING: [u32; 5] = [11, 12, 13, 14, 15];
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        assert_eq!(flapping(&web).await, "gatehouse_flapping_devices 0");
        let churn = Duration::from_millis(100);
        let mut devices = Vec::new();
        for id in FLAPPING {
            let spec = Spec::new(id, &gateway).churning(churn);
            // Some are dialled, some dial and are not listed in between.
            if id % 2 == 0 {
                let device = device::listen(spec).await;
                add(&mut client, vec![auto(id, device.address())]).await;
                devices.push(device);
            } else {
                devices.push(device::dial(spec, gateway.aes()));
            }
        }
        for id in 21..25 {
            let device = device::dial(Spec::new(id, &gateway), gateway.aes());
            device.described().await;
            devices.push(device);
        }

        let mut fleet = client::fleet(gateway.channel().await);
        let losses = |top: &gatehouse::grpc::proto::gatehouse::v1::TopDevice| {
            top.losses.as_ref().map_or(0, |losses| losses.count)
        };
        let answer = until(&mut fleet, TopBy::Losses, |answer| {
            answer.devices.len() == FLAPPING.len()
                && answer.devices.iter().all(|top| losses(top) >= 3)
        })
        .await;
        assert_eq!(ids(&answer), FLAPPING);
        assert!(
            answer
                .devices
                .is_sorted_by_key(|top| u64::MAX - losses(top))
        );
        for top in &answer.devices {
            let tally = top.losses.as_ref().expect("losses");
            let kinds = top.losses_by_kind.expect("by kind");
            let sum = kinds.silent + kinds.closed + kinds.broken + kinds.taken_over;
            assert_eq!((tally.missed_at_most, sum), (0, tally.count), "{top:?}");
            assert!(!tally.last_cause.is_empty() && !top.peer.is_empty());
            let name = &top.identity.as_ref().expect("a name").device;
            assert_eq!(*name, top.device_id.to_string());
        }
        assert_eq!(flapping(&web).await, "gatehouse_flapping_devices 5");
        let told = web.get("/v3/devices/top?limit=1000").await;
        let mut by_http: Vec<u64> = told["devices"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|top| top["id"].as_u64().expect("an ID"))
            .collect();
        by_http.sort_unstable();
        assert_eq!(by_http, FLAPPING.map(u64::from));
        let few = web.get("/v3/devices/top?limit=2&window=1m").await;
        assert_eq!(few["window_s"], 60);
        assert!(few["devices"].as_array().expect("a list").len() <= 2);
        gateway.stop().await;
    });
}

#[test]
fn a_slow_a_refused_and_a_dead_device_are_told_by_their_measure() {
    run(async {
        let gateway = TestGateway::with(|config| {
            config.log.slow_after = Duration::from_millis(100);
        })
        .await;
        let mut client = gateway.client().await;
        let mut fleet = client::fleet(gateway.channel().await);

        add(&mut client, vec![auto(7, closed_port().await)]).await;
        let dead = until(&mut fleet, TopBy::Failed, |answer| {
            !answer.devices.is_empty()
        })
        .await;
        assert_eq!(ids(&dead), [7]);
        let failed = dead.devices[0].failed.as_ref().expect("failed tries");
        assert_eq!(failed.last_cause, "dial_failed");

        allow_all(&mut client).await;
        let slow = Spec::new(8, &gateway).behaving(Behaviour::Slow(Duration::from_millis(150)));
        let slow = device::dial(slow, gateway.aes());
        let quick = device::dial(Spec::new(9, &gateway), gateway.aes());
        slow.described().await;
        quick.described().await;
        let web = Web::new(gateway.http());
        for id in [8, 9] {
            web.get(&format!("/v3/users/~/devices/{id}/resources/temperature"))
                .await;
        }
        let answer = until(&mut fleet, TopBy::Slow, |answer| !answer.devices.is_empty()).await;
        let worst = &answer.devices[0];
        assert_eq!(worst.device_id, 8);
        assert!(worst.slowest_ms >= 150 && worst.slow_sum_ms >= worst.slowest_ms);

        // Of two that are turned away one was let in before.
        set_filter(&mut client, AcceptFilter::default()).await;
        quick.cut();
        let stranger = device::dial(Spec::new(1, &gateway), gateway.aes());
        let answer = until(&mut fleet, TopBy::Refused, |answer| {
            !answer.devices.is_empty() && !answer.peers.is_empty()
        })
        .await;
        assert_eq!(ids(&answer), [9]);
        let refused = answer.devices[0].refused.as_ref().expect("refused");
        assert_eq!(refused.last_cause, "not_accepted");
        assert_eq!(answer.peers.len(), 1, "{:?}", answer.peers);
        let peer = answer.peers[0].identity.as_ref().expect("a name");
        assert_eq!(
            (&*peer.device, &*answer.peers[0].address),
            ("1", "127.0.0.1")
        );
        drop(stranger);
        gateway.stop().await;
    });
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_can() {
    run(async {
        let gateway = TestGateway::start().await;
        let mut fleet = client::fleet(gateway.channel().await);
        let request = TopRequest {
            window_s: 61,
            ..TopRequest::default()
        };
        let error = fleet.top(request).await.expect_err("no whole minute");
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("60 to 600"), "{error}");
        let web = Web::new(gateway.http());
        for (query, right) in [
            ("by=height", "losses, failed, refused, takeovers, slow"),
            ("window=11m", "1 to 10 whole minutes"),
            ("window=soon", "1 to 10 whole minutes"),
            ("limit=many", "limit"),
        ] {
            let (status, problem) = web.try_get(&format!("/v3/devices/top?{query}")).await;
            let detail = problem["detail"].as_str().expect("a reason");
            assert_eq!(status, 400, "{detail}");
            assert!(detail.contains(right), "{detail}");
        }
        gateway.stop().await;
    });
}

/// A `ctl top` that runs until it is dropped.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn arguments<'a>(gateway: &'a [String; 4], more: &[&'a str]) -> Vec<&'a str> {
    let own = gateway.iter().map(String::as_str);
    ["ctl", "top"]
        .into_iter()
        .chain(more.iter().copied())
        .chain(own)
        .collect()
}

#[test]
fn the_command_shows_them_once_as_lines_and_as_a_screen() {
    run(async {
        let gateway = Process::start("");
        let target = [
            "--address".to_owned(),
            gateway.grpc.to_string(),
            "--data-dir".to_owned(),
            gateway.data_dir().display().to_string(),
        ];
        add(
            &mut gateway.client().await,
            vec![auto(1001, closed_port().await)],
        )
        .await;
        let ctl = |more: &[&str]| {
            let output = gatehouse(&arguments(&target, more));
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("text")
        };

        let mut lines = Command::new(BINARY);
        lines
            .args(arguments(&target, &["--by", "failed", "--output", "jsonl"]))
            .args(["--watch", "--every", "100ms"])
            .stdout(Stdio::piped());
        let mut lines = Watching(lines.spawn().expect("it runs"));
        let mut lines = BufReader::new(lines.0.stdout.take().expect("piped")).lines();
        // Each look tells it anew, with what came since.
        let mut failed = || {
            let line = lines.next().expect("it goes on").expect("text");
            let row: Value = serde_json::from_str(&line).expect("a row");
            assert_eq!(
                (&row["id"], &row["last_failure"]),
                (&1001.into(), &"dial_failed".into())
            );
            row["failed"].as_u64().expect("a number")
        };
        let first = failed();
        while failed() <= first {}

        let table = ctl(&["--by", "failed"]);
        assert!(table.starts_with("ID "), "{table}");
        assert!(table.contains("dial_failed"), "{table}");
        assert_eq!(ctl(&["--by", "takeovers", "--output", "jsonl"]), "");
        assert!(ctl(&["--peers"]).starts_with("OWNER "));

        // A terminal is made by `script`, which every Debian has.
        let command = arguments(&target, &["--by", "failed", "--watch", "--every", "100ms"]);
        let command = format!("{BINARY} {}", command.join(" "));
        let screen = Command::new("script")
            .args(["-qfec", &command, "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut screen = Watching(screen.expect("script runs"));
        let mut stdout = screen.0.stdout.take().expect("piped");
        let mut seen = String::new();
        while seen.matches("\x1b[H\x1b[2J").count() < 3 {
            let mut part = [0; 4096];
            let count = stdout.read(&mut part).expect("readable");
            assert!(count > 0, "it ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        assert!(seen.contains("dial_failed"), "{seen}");

        let output = gatehouse(&arguments(&target, &["--window", "90s"]));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("1m to 10m"), "{said}");
    });
}
