//! I-9 to I-11: streams.

use serde_json::json;

use super::{dev1, gateway, path, web};
use crate::support::peer::{Peer, ok};
use crate::support::run;

async fn starts(peer: &mut Peer, resource: &str) -> (u16, Option<u64>) {
    let (id, interval) = peer.hears_start(resource).await;
    peer.say(&ok(id, None)).await;
    (id, interval)
}

#[test]
fn i_09_two_sinks_make_one_stream_and_a_change_names_id_resource_and_interval() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        let web = web(&gateway);
        let mut six = web.socket(&format!("{}?interval=6", path("t"))).await;
        peer.describes(&[("t", 3)]).await;
        let (id, interval) = starts(&mut peer, "t").await;
        assert_eq!(interval, Some(6000));
        peer.says_data(id, 1_u64).await;
        assert_eq!(six.until("data").await["payload"], 1);

        let mut nine = web.socket(&format!("{}?interval=9", path("t"))).await;
        assert_eq!(starts(&mut peer, "t").await, (id, Some(3000)));
        // The present state, for the newcomer alone.
        peer.says_data(id, 2_u64).await;
        assert_eq!(nine.until("data").await["payload"], 2);

        // Another one on events has an ID of its own, and gets no sample.
        let mut events = web.socket(&path("t")).await;
        let (event_id, interval) = starts(&mut peer, "t").await;
        assert!(event_id != id && interval.is_none_or(|interval| interval == 0));
        peer.says_data(event_id, "state".to_owned()).await;
        peer.says_data(id, 3_u64).await;
        peer.says_data(event_id, "rang".to_owned()).await;
        assert_eq!(events.until("data").await["payload"], "rang");

        drop(nine);
        assert_eq!(starts(&mut peer, "t").await, (id, Some(6000)));
        // Some clients report events on the ID that was started last, so it is asked for again.
        assert_eq!(starts(&mut peer, "t").await.0, event_id);
        drop(six);
        assert_eq!(peer.hears_stop().await, id);
        peer.say(&ok(id, None)).await;
        // And any stop ends the events of some.
        assert_eq!(starts(&mut peer, "t").await.0, event_id);
        drop(events);
        assert_eq!(peer.hears_stop().await, event_id);
        gateway.stop().await;
    });
}

#[test]
fn i_10_stale_samples_of_an_earlier_session_reach_nobody_and_are_stopped() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        let web = web(&gateway);
        let mut socket = web.socket(&format!("{}?interval=5", path("t"))).await;
        peer.describes(&[("t", 3)]).await;
        let (old, interval) = starts(&mut peer, "t").await;
        assert_eq!(interval, Some(5000));
        peer.says_data(old, 1_u64).await;
        assert_eq!(socket.until("data").await["payload"], 1);

        drop(peer);
        let told = socket.until("stop").await;
        assert!(
            told.get("reason").is_some() || told.get("payload").is_some(),
            "{told}"
        );
        let mut peer = dev1(&gateway).await;
        // Before anything was asked for, the old streams go on.
        peer.says_data(old, 666_u64).await;
        peer.says_data(old, 667_u64).await;
        let mut stops = 0;
        let mut fresh = None;
        while stops == 0 || fresh.is_none() {
            use gatehouse::codec::message::Message;
            match peer.hear().await {
                Message::StopStream { stream_id, .. } => {
                    assert_eq!(stream_id, Some(old));
                    stops += 1;
                }
                Message::Describe { stream_id, .. } => {
                    use gatehouse::codec::pson::Value;
                    let all = Value::map([("t", Value::map([("fn", 3_u64)]))]);
                    peer.say(&ok(stream_id, Some(all))).await;
                }
                Message::StartStream { stream_id, .. } => {
                    peer.say(&ok(stream_id, None)).await;
                    fresh = stream_id;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(stops, 1);
        let fresh = fresh.expect("an ID");
        assert_ne!(fresh, old);
        peer.says_data(fresh, 2_u64).await;
        assert_eq!(socket.until("data").await["payload"], 2);
        peer.hears_nothing().await;
        gateway.stop().await;
    });
}

#[test]
fn i_11_no_stream_of_an_action_is_ever_asked_for() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        let web = web(&gateway);
        let mut socket = web.socket("/v3/users/alice/devices/dev1/resources").await;
        socket
            .send(json!({"resource": "reboot", "interval": 5, "enabled": true}))
            .await;
        peer.describes(&[("reboot", 1)]).await;
        let refused = socket.until("error").await;
        assert_eq!(refused["resource"], "reboot");
        peer.hears_nothing().await;
        gateway.stop().await;
    });
}
