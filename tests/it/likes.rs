//! The clients in the field, as the simulator plays them: each is read, run and streamed.

use gatehouse::sim::quirks::Like;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::client::allow_all;
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::run;
use crate::support::web::Web;

const ID: u32 = 1001;

async fn offers_what_it_has(like: Like) {
    let gateway = TestGateway::start().await;
    allow_all(&mut gateway.client().await).await;
    let device = device::dial(Spec::new(ID, &gateway).like(like), gateway.aes());
    device.described().await;
    let web = Web::new(gateway.http());
    let path = |resource: &str| format!("/v3/users/~/devices/{ID}/resources/{resource}");

    let mut samples = web
        .socket(&format!("{}?interval=1", path("temperature")))
        .await;
    samples.until("start").await;
    let mut events = web.socket(&path("relay")).await;
    events.until("start").await;
    for _ in 0..2 {
        let sample = samples.until("data").await;
        assert!(sample["payload"]["celsius"].is_number(), "{sample}");
    }
    for on in [true, false] {
        let (status, answer) = web.post(&path("relay"), json!({"on": on})).await;
        assert!(status.is_success(), "{status} {answer}");
        // Clients of 2020 report their present state as an event first.
        while events.until("data").await["payload"]["on"] != on {}
    }
    // An action is run when it is asked for, and never streamed.
    let (status, _) = web.post(&path("beep"), json!(null)).await;
    assert!(status.is_success(), "{status}");
    let before = device.state().panel.beeps;
    if !matches!(like, Like::Of2020 | Like::Doc2020) {
        let (status, read) = web.try_get(&path("temperature")).await;
        assert_eq!(status, StatusCode::OK, "{read}");
        let (status, _) = web.try_get(&path("beep")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        let mut refused = web.socket(&path("beep")).await;
        refused.until("error").await;
        assert_eq!(device.state().panel.beeps, before);
    }
    drop((samples, events));
    device.stop().await;
    gateway.stop().await;
}

#[test]
fn a_client_for_linux_offers_what_it_has() {
    run(offers_what_it_has(Like::Linux));
}

#[test]
fn an_embedded_client_offers_what_it_has() {
    run(offers_what_it_has(Like::Embedded));
}

#[test]
fn a_legacy_client_offers_what_it_has() {
    run(offers_what_it_has(Like::Legacy));
}

#[test]
fn clients_of_2020_offer_what_they_have_in_both_layouts() {
    run(async {
        offers_what_it_has(Like::Of2020).await;
        offers_what_it_has(Like::Doc2020).await;
    });
}
