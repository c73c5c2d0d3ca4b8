//! The search over a subnet: a gateway on one host, devices on another.

use std::process::{Child, Command, Stdio};

use gatehouse::grpc::proto::gsdk::connect::SearchDeviceRequest;

use crate::support::netns::{BROADCAST, Pair};
use crate::support::process::{BINARY, Process};
use crate::support::{run, simulate};

const COUNT: u32 = 40;
const FIRST_ID: u32 = 501;

/// Devices that answer the search; they end with their value.
struct Devices(Child);

impl Devices {
    fn start(mut command: Command, listen: &str, port: u16) -> Self {
        let child = command
            .args(["simulate", "--listen", listen, "--port", "0"])
            .args(["--count", &COUNT.to_string()])
            .args(["--first-id", &FIRST_ID.to_string()])
            .args(["--search", &format!("0.0.0.0:{port}")])
            .args(["--key", &simulate::key_file()])
            .args(["--format", "json"])
            .stdout(Stdio::piped())
            .spawn();
        let mut devices = Self(child.expect("the binary runs"));
        simulate::until_listening(&mut devices.0, COUNT);
        devices
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All devices that one search finds, by ID.
async fn search(gateway: &Process) -> Vec<u32> {
    let request = SearchDeviceRequest { timeout: 3000 };
    let answer = gateway.client().await.search_device(request).await;
    let mut found: Vec<u32> = answer
        .expect("devices are found")
        .into_inner()
        .device_infos
        .iter()
        .map(|info| info.device_id)
        .collect();
    found.sort_unstable();
    found
}

fn all() -> Vec<u32> {
    (FIRST_ID..FIRST_ID + COUNT).collect()
}

fn config(host: std::net::Ipv4Addr, port: u16) -> String {
    format!("search.broadcast = [\"{host}:{port}\"]")
}

#[test]
fn every_device_of_another_host_is_found() {
    const PORT: u16 = 51_210;
    let Some(Pair { near, far }) = Pair::make() else {
        // The same on one host, by the broadcast address of loopback.
        return on_loopback();
    };
    let listen = far.address.to_string();
    let _devices = Devices::start(far.command(BINARY), &listen, PORT);
    let gateway = Process::start_on(&near, &config(BROADCAST, PORT));
    let found = near.inside(|| two_at_once(&gateway));
    assert_eq!(found, [all(), all()]);
    let other = Process::start_on(&near, &config(BROADCAST, PORT));
    assert_eq!(near.inside(|| one(&other)), all());
}

/// Two searches at the same time.
fn two_at_once(gateway: &Process) -> [Vec<u32>; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (first, second) =
        runtime.block_on(async { tokio::join!(search(gateway), search(gateway)) });
    [first, second]
}

fn one(gateway: &Process) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(search(gateway))
}

fn on_loopback() {
    let port = simulate::free_udp_port();
    let _devices = Devices::start(Command::new(BINARY), "127.0.0.1", port);
    let everybody = std::net::Ipv4Addr::new(127, 255, 255, 255);
    run(async {
        let gateway = Process::start(&config(everybody, port));
        assert_eq!(search(&gateway).await, all());
    });
}

#[test]
fn every_device_on_loopback_is_found() {
    on_loopback();
}
