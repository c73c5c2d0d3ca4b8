//! What is counted of devices and their connections, as Prometheus reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::client::{add, allow_all, auto};
use crate::support::device::{self, Spec};
use crate::support::gateway::TestGateway;
use crate::support::run;
use crate::support::scrape::Scrape;
use crate::support::web::Web;

#[test]
fn devices_sessions_phases_and_traffic_are_told_as_they_are() {
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        let mut client = gateway.client().await;
        allow_all(&mut client).await;
        let dialled = device::listen(Spec::new(1, &gateway)).await;
        let nowhere = device::closed_port().await;
        add(
            &mut client,
            vec![auto(1, dialled.address()), auto(2, nowhere)],
        )
        .await;
        let inbound = device::dial(Spec::new(3, &gateway), gateway.aes());
        let over_tls = device::dial(Spec::tls(4, &gateway), gateway.tls());
        for one in [&dialled, &inbound, &over_tls] {
            one.described().await;
        }
        let stranger = device::dial(Spec::tls(5, &gateway).named("6"), gateway.tls());
        let scrape = Scrape::until(&web, "all of them", |scrape| {
            scrape.sum("gatehouse_sessions", &[]) == 3.0
                && scrape.get("gatehouse_unproven_peers") == 1.0
                && scrape.sum("gatehouse_attempts_total", &["dial_failed"]) >= 2.0
        })
        .await;
        let of = |series: &str| scrape.get(series);
        assert_eq!(
            of(
                "gatehouse_sessions{link=\"tls\",direction=\"device_to_server\",proof=\"certificate\"}"
            ),
            1.0
        );
        let by_us = "direction=\"server_to_device\"";
        assert_eq!(scrape.sum("gatehouse_sessions", &[by_us, "fleet_key"]), 1.0);
        assert_eq!(scrape.sum("gatehouse_devices", &["origin=\"auto\""]), 2.0);
        assert_eq!(
            scrape.sum("gatehouse_devices", &["_CONNECTED", "inbound"]),
            2.0
        );
        assert_eq!(scrape.sum("gatehouse_sessions_opened_total", &[]), 3.0);
        assert_eq!(
            scrape.sum("gatehouse_attempts_total", &["\"connected\""]),
            3.0
        );
        assert!(scrape.sum("gatehouse_attempts_total", &["not_proven"]) >= 1.0);
        assert!(of("gatehouse_accepts_total{listener=\"aes\",outcome=\"seated\"}") >= 1.0);
        let count = "gatehouse_connection_phase_seconds_count";
        for (phase, link) in [("dial", "aes"), ("handshake", "aes"), ("handshake", "tls")] {
            let labels = [format!("phase=\"{phase}\""), format!("link=\"{link}\"")];
            let labels = [labels[0].as_str(), labels[1].as_str()];
            assert!(scrape.sum(count, &labels) >= 1.0, "{phase} {link}");
        }
        assert_eq!(scrape.sum(count, &["verdict", "tls"]), 1.0);
        for flow in ["in", "out"] {
            let labels = ["link=\"tls\"", flow];
            assert!(scrape.sum("gatehouse_link_bytes_total", &labels) > 1000.0);
            assert!(scrape.sum("gatehouse_frames_total", &labels) >= 2.0);
        }
        assert!(scrape.get("gatehouse_mailbox_wait_seconds_count{actor=\"registry\"}") >= 4.0);
        assert!(scrape.get("gatehouse_mailbox_wait_seconds_count{actor=\"session\"}") >= 3.0);
        drop((stranger, over_tls));
        let scrape = Scrape::until(&web, "an end", |scrape| {
            scrape.sum("gatehouse_sessions_closed_total", &[]) == 1.0
        })
        .await;
        assert_eq!(scrape.get("gatehouse_sessions_short_total"), 1.0);
        assert_eq!(scrape.get("gatehouse_session_seconds_count"), 1.0);
        assert_eq!(scrape.sum("gatehouse_sessions", &["link=\"tls\""]), 0.0);
        gateway.stop().await;
    });
}

/// The fleet grows and the series do not.
#[test]
fn a_larger_fleet_makes_no_more_series() {
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        allow_all(&mut gateway.client().await).await;
        let churning = |id| {
            let spec = Spec::new(id, &gateway).churning(Duration::from_millis(200));
            device::dial(spec, gateway.aes())
        };
        let mut devices: Vec<_> = (1..=10).map(churning).collect();
        let seen = |scrape: &Scrape, closed: f64| {
            scrape.sum("gatehouse_sessions_closed_total", &[]) >= closed
        };
        let few = Scrape::until(&web, "ends", |scrape| seen(scrape, 20.0)).await;
        devices.extend((11..=150).map(churning));
        let many = Scrape::until(&web, "more ends", |scrape| seen(scrape, 500.0)).await;
        let names = |scrape: Scrape| scrape.0.into_keys().collect::<BTreeSet<_>>();
        let (few, many) = (names(few), names(many));
        let more: Vec<_> = many.difference(&few).collect();
        assert!(more.is_empty(), "{more:?}");
        gateway.stop().await;
    });
}
