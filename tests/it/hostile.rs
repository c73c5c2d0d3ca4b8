//! Peers that misbehave, hundreds at once: they are gone by their deadlines, and nobody else
//! notices.

use std::time::Duration;

use gatehouse::grpc::proto::gsdk::connect::Status;
use gatehouse::sim::device::Behaviour;
use gatehouse::sim::spec::Opening;

use tokio::net::TcpStream;

use crate::support::client::{Client, Statuses, allow_all, list};
use crate::support::device::{self, Device, Event, Spec};
use crate::support::process::Process;
use crate::support::scrape::Scrape;
use crate::support::web::Web;
use crate::support::{run, soon};

const EACH: u32 = 500;
/// Pairs of twins that come together. More of them on a busy machine would not all be let in
/// before their deadlines, and then none of a pair stays.
const TWINS_AT_ONCE: usize = 50;
/// Whoever was closed comes back after the test.
const NEVER: Duration = Duration::from_secs(3600);

/// Bad peers, `EACH` of each kind.
struct Wave {
    /// Devices that connect twice at once: one of each pair stays.
    twins: Vec<[Device; 2]>,
    /// All the others: none of them stays.
    others: Vec<Device>,
}

async fn wave(gateway: &Process) -> Wave {
    let key = gateway.fleet_key();
    let dial = |spec| device::dial(spec, gateway.aes);
    let mut wave = Wave {
        twins: Vec::new(),
        others: Vec::new(),
    };
    for n in 0..EACH {
        let twin = || dial(Spec::keyed(10_000 + n, key.clone()).redial(NEVER));
        wave.twins.push([twin(), twin()]);
        if wave.twins.len().is_multiple_of(TWINS_AT_ONCE) {
            let newest = wave.twins.len() - TWINS_AT_ONCE;
            for pair in &wave.twins[newest..] {
                one_stays(pair).await;
            }
        }
    }
    for n in 0..EACH {
        let spec = |first| Spec::keyed(first + n, key.clone()).redial(NEVER);
        let others = [
            spec(20_000).opening(Opening::Half),
            spec(30_000).opening(Opening::Garbage),
            spec(40_000).opening(Opening::Silence),
            spec(50_000).behaving(Behaviour::Mute),
            spec(60_000)
                .keep_alive(1)
                .behaving(Behaviour::MuteOnceConnected),
        ];
        wave.others.extend(others.map(dial));
    }
    wave
}

/// Waits until one of two twins has given way to the other.
async fn one_stays([one, other]: &[Device; 2]) {
    let either = async {
        tokio::select! {
            () = one.until_gone() => {}
            () = other.until_gone() => {}
        }
    };
    soon("one of two twins to be gone", either).await;
    assert_eq!(one.links_open() + other.links_open(), 1);
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.expect("VmRSS").split_whitespace();
    words
        .into_iter()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

/// Lets a wave of bad peers in and out again; returns the memory of the gateway after it.
async fn survive(gateway: &Process, client: &mut Client, good: &[Device], round: u32) -> u64 {
    let bad = wave(gateway).await;
    let newcomer = Spec::keyed(70_000 + round, gateway.fleet_key());
    let mut newcomer = device::dial(newcomer, gateway.aes);
    newcomer.wait_for(Event::is_admitted).await;
    for device in &bad.others {
        soon("every bad peer to be gone", device.until_gone()).await;
    }
    for [one, other] in &bad.twins {
        assert_eq!(one.links_open() + other.links_open(), 1);
    }
    for device in good {
        assert_eq!((device.links_accepted(), device.links_open()), (1, 1));
    }
    newcomer.stop().await;
    drop(bad);
    let mut statuses = Statuses::subscribe(client, 1024).await;
    while list(client).await.len() > good.len() {
        statuses.next().await.expect("goes on");
    }
    assert!(
        list(client)
            .await
            .iter()
            .all(|info| info.status() == Status::TcpConnected)
    );
    resident(gateway.pid())
}

#[test]
fn thousands_of_bad_peers_are_gone_by_their_deadlines_and_disturb_nobody() {
    run(async {
        let gateway = Process::start(
            "inbound.first_byte_deadline = \"4s\"\n\
             inbound.handshake_deadline = \"4s\"\n\
             inbound.connect_deadline = \"4s\"\n\
             inbound.waiting_per_source_max = 4096\n\
             log.level = \"warn,gatehouse::cli=info\"",
        );
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let mut good = Vec::new();
        for id in 1..=20 {
            let mut device = device::dial(Spec::keyed(id, gateway.fleet_key()), gateway.aes);
            device.wait_for(Event::is_admitted).await;
            good.push(device);
        }
        let once = survive(&gateway, &mut client, &good, 1).await;
        let twice = survive(&gateway, &mut client, &good, 2).await;
        let thrice = survive(&gateway, &mut client, &good, 3).await;
        // The allocator keeps what the first wave needed; later ones need no more.
        let most = once.max(twice) + once / 4;
        assert!(
            thrice < most,
            "KiB after each wave: {once}, {twice}, {thrice}"
        );
    });
}

#[test]
fn who_comes_to_a_full_waiting_room_waits_and_is_not_dropped() {
    run(async {
        let gateway = Process::start(
            "inbound.waiting_max = 4\n\
             inbound.first_byte_deadline = \"1m\"",
        );
        let mut silent = Vec::new();
        for _ in 0..24 {
            let stream = TcpStream::connect(gateway.aes).await;
            silent.push(stream.expect("the kernel takes it"));
        }
        // All but the last four gave their place to another, in their turn.
        let evicted = "gatehouse_accepts_total{listener=\"aes\",outcome=\"evicted\"}";
        let web = Web::new(gateway.http);
        let in_turn = |scrape: &Scrape| scrape.get(evicted) >= 20.0;
        Scrape::until(&web, "everybody to have had a turn", in_turn).await;
    });
}
