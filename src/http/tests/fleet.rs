//! The fleet as clients see it.

use super::*;
use crate::device::DeviceId;
use crate::registry::{AutoDevice, Command};
use crate::service::readiness::State;

impl World {
    /// Lists devices that nobody answers for.
    async fn add(&self, ids: impl IntoIterator<Item = u32>) {
        let device = |id| AutoDevice {
            id: DeviceId::new(id).expect("not zero"),
            address: "127.0.0.1:1".parse().expect("an address"),
            use_ssl: false,
        };
        let devices = ids.into_iter().map(device).collect();
        let command = Command::AddAsync(devices);
        self.running.handle().command(command).await.expect("added");
    }

    async fn events(&self, query: &str, header: &str) -> Asked<TcpStream> {
        let mut asked = self
            .send(&format!(
                "GET /v3/fleet/events{query} HTTP/1.1\nhost: localhost\n\
                 accept: text/event-stream\n{header}"
            ))
            .await;
        assert_eq!(asked.status().await, 200);
        asked
    }
}

fn ids(list: &Value) -> Vec<u64> {
    let devices = list["devices"].as_array().expect("a list");
    devices
        .iter()
        .filter_map(|device| device["id"].as_u64())
        .collect()
}

#[actix_rt::test]
async fn devices_are_listed_and_paged() {
    let world = world(|_| {}).await;
    world.add([7, 3, 5]).await;
    let page = world.ask("GET /v3/users/~/devices?limit=2").await.json();
    assert_eq!((ids(&page), &page["next_after"]), (vec![3, 5], &5.into()));
    let page = world
        .ask("GET /v3/users/~/devices?limit=2&after=5")
        .await
        .json();
    assert_eq!((ids(&page), &page["next_after"]), (vec![7], &Value::Null));
    let page = world
        .ask("GET /v3/users/~/devices?after=4294967295")
        .await
        .json();
    assert!(ids(&page).is_empty());
    assert!(ids(&world.ask("GET /v3/users/acme/devices").await.json()).is_empty());

    let device = world.ask("GET /v3/users/~/devices/7").await.json();
    assert_eq!(
        (&device["id"], &device["origin"]),
        (&7.into(), &"auto".into())
    );
    assert_eq!(device["mode"], "SERVER_TO_DEVICE");
    assert_eq!(device["address"], "127.0.0.1:1");
    assert_eq!(world.ask("GET /v3/fleet/7").await.json()["id"], 7);
    assert_eq!(world.ask("GET /v3/users/acme/devices/7").await.status, 404);
    assert_eq!(world.ask("GET /v3/users/~/devices/8").await.status, 404);
    assert_eq!(world.ask("GET /v3/users/~/devices/a%20b").await.status, 404);
    world.stop().await;
}

#[actix_rt::test]
async fn the_whole_fleet_comes_in_portions_and_whole() {
    let world = world(|_| {}).await;
    let empty = world.ask("GET /v3/fleet").await.json();
    assert!(ids(&empty).is_empty());
    world.add(1..=700).await;
    let fleet = world.ask("GET /v3/fleet").await.json();
    assert_eq!(ids(&fleet), (1..=700).collect::<Vec<u64>>());
    assert!(fleet["event_number"].as_u64() >= Some(700));
    world.stop().await;
}

#[actix_rt::test]
async fn events_follow_the_list_and_are_resumed() {
    let world = world(|_| {}).await;
    let before = world.ask("GET /v3/fleet").await.json()["event_number"].to_string();
    let mut live = world.events("", "").await;
    live.until("event: open").await;
    world.add([7]).await;
    let live = live.until("\"change\":\"added\"").await;
    assert!(live.contains("event: status"), "{live}");

    let mut resumed = world.events(&format!("?after={before}"), "").await;
    let told = resumed.until("\"device_view\":{\"id\":7").await;
    assert!(told.contains("\"device\":7,\"change\":\"added\""), "{told}");
    let number: u64 = told
        .split("id: ")
        .last()
        .and_then(|rest| {
            rest.split(|end: char| !end.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .expect("a number");
    // A browser that comes back says what it saw last, and still has the old URL.
    let header = format!("last-event-id: {number}");
    let mut again = world.events(&format!("?after={before}"), &header).await;
    world.add([8]).await;
    let told = again.until("\"device\":8").await;
    assert!(
        !told.contains("\"device\":7,\"change\":\"added\""),
        "{told}"
    );
    world.stop().await;
}

#[actix_rt::test]
async fn what_the_log_does_not_reach_is_a_gap() {
    let world = world(|_| {}).await;
    world.add([7]).await;
    let mut asked = world.events("?after=999999999999", "").await;
    let told = asked.until("event: gap").await + &asked.until("\n\n").await;
    assert!(told.contains("\"from\":1"), "{told}");
    world.add([8]).await;
    asked.until("\"device\":8").await;
    let wrong = world.ask("GET /v3/fleet/events\nlast-event-id: x").await;
    assert_eq!(wrong.status, 400);
    world.stop().await;
}

#[actix_rt::test]
async fn devices_are_retried_and_disconnected() {
    let world = world(|_| {}).await;
    world.add([7]).await;
    for verb in ["retry", "disconnect"] {
        let ask = |id: &str| format!("POST /v3/fleet/{id}/{verb}");
        assert_eq!(world.ask(&ask("7")).await.status, 204, "{verb}");
        assert_eq!(world.ask(&ask("8")).await.status, 404, "{verb}");
        assert_eq!(world.ask(&ask("0")).await.status, 400, "{verb}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn the_pending_list_is_told_and_what_is_not_on_it_is_not_decided() {
    let world = world(|_| {}).await;
    let admin = world.token(Role::Admin).await;
    assert!(ids(&world.ask("GET /v3/pending").await.json()).is_empty());
    let json = "content-type: application/json";
    for (request, status) in [
        (format!("POST /v3/pending/7/approve\n{admin}"), 404),
        (format!("POST /v3/pending/7/refuse\n{admin}"), 404),
        (
            format!("POST /v3/pending/7/refuse\n{admin}\n{json}\n\n{{\"for\":\"30d\"}}"),
            404,
        ),
        (
            format!("POST /v3/pending/7/refuse\n{admin}\n{json}\n\n{{\"for\":\"soon\"}}"),
            400,
        ),
    ] {
        assert_eq!(world.ask(&request).await.status, status, "{request}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn readiness_is_what_was_set() {
    let world = world(|setup| setup.is_open = false).await;
    let detail = async || world.ask("GET /readyz").await.json()["detail"].to_string();
    assert_eq!(world.ask("GET /readyz").await.status, 503);
    assert!(detail().await.contains("starting"));
    assert_eq!(world.ask("GET /healthz").await.status, 200);
    world.readiness.set(State::Ready);
    let ready = world.ask("GET /readyz").await;
    assert_eq!(ready.status, 200);
    let expected = serde_json::json!({ "ready": true, "store": "good" });
    assert_eq!(ready.json(), expected);
    world.readiness.set(State::Draining);
    assert_eq!(world.ask("GET /readyz").await.status, 503);
    assert!(detail().await.contains("stopping"));
    world.stop().await;
}
