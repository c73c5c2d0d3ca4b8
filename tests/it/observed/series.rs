//! The number of series is that of ten devices with a thousand.

use std::collections::BTreeSet;

use reqwest::Method;

use crate::support::client::{add, allow_all, auto, list};
use crate::support::device::{self, Device, Spec};
use crate::support::gateway::TestGateway;
use crate::support::run;
use crate::support::scrape::Scrape;
use crate::support::web::Web;

/// One in this many is dialled, one dials over TLS, the others over aes.
const KINDS: u32 = 5;

async fn devices(gateway: &TestGateway, ids: std::ops::RangeInclusive<u32>) -> Vec<Device> {
    let mut devices = Vec::new();
    let mut dialled = Vec::new();
    for id in ids {
        let device = match id % KINDS {
            0 => {
                let device = device::listen(Spec::new(id, gateway)).await;
                dialled.push(auto(id, device.address()));
                device
            }
            1 => device::dial(Spec::tls(id, gateway), gateway.tls()),
            _ => device::dial(Spec::new(id, gateway), gateway.aes()),
        };
        devices.push(device);
    }
    add(&mut gateway.client().await, dialled).await;
    for device in &devices {
        device.described().await;
    }
    devices
}

/// What is asked of a device by whoever looks at it; and each loses its link once.
async fn use_all(gateway: &TestGateway, web: &Web, devices: &[Device]) {
    for id in 1..=devices.len() {
        let path = format!("/v3/users/~/devices/{id}/resources/temperature");
        web.get(&path).await;
        web.call(Method::GET, &format!("/v3/fleet/{id}"), None)
            .await;
        devices[id - 1].cut();
    }
    let connected = "_CONNECTED\"";
    Scrape::until(web, "all of them to be back", |scrape| {
        let opened = scrape.sum("gatehouse_sessions_opened_total", &[]);
        opened >= 2.0 * devices.len() as f64
            && scrape.sum("gatehouse_devices", &[connected]) == devices.len() as f64
    })
    .await;
    assert_eq!(list(&mut gateway.client().await).await.len(), devices.len());
}

#[test]
fn the_number_of_series_is_that_of_ten_devices_with_a_thousand() {
    run(async {
        let series = |scrape: Scrape| scrape.0.into_keys().collect::<BTreeSet<_>>();
        let mut seen = Vec::new();
        for count in [10, 1000] {
            let gateway = TestGateway::with(|config| config.inbound.waiting_per_source_max = 8192);
            let gateway = gateway.await;
            let web = Web::new(gateway.http());
            allow_all(&mut gateway.client().await).await;
            let devices = devices(&gateway, 1..=count).await;
            use_all(&gateway, &web, &devices).await;
            seen.push(series(Scrape::of(&web).await));
            drop(devices);
            gateway.stop().await;
        }
        let [few, many] = [&seen[0], &seen[1]];
        let differ: Vec<_> = few.symmetric_difference(many).collect();
        assert!(differ.is_empty(), "{differ:#?}");
        assert!(few.len() > 500, "something is counted: {}", few.len());
    });
}
