//! I-5 to I-8: requests in both directions.

use gatehouse::codec::message::{Answer, Message};
use gatehouse::codec::pson::Value;
use reqwest::StatusCode;
use serde_json::json;

use super::{dev1, gateway, path, web};
use crate::support::peer::{Peer, error, ok};
use crate::support::run;

#[test]
fn i_05_fields_come_in_any_order_and_unknown_ones_are_skipped() {
    run(async {
        let gateway = gateway().await;
        // The ID behind the payload, a field 9 between them; the payload as PSON v2 and as v1.
        for connect in [
            "031a48071ae385616c69636584646576318673656372657408e78a01",
            "0326480719 72154a05616c6963654a04646576314a067365637265740 8e78a01",
        ] {
            let connect = connect.replace(' ', "");
            let body = connect.len() / 2 - 2;
            let connect = format!("03{body:02x}{}", &connect[4..]);
            let mut peer = Peer::dial(gateway.plain()).await;
            peer.say_hex(&connect).await;
            peer.hears_hex("010408e78a01").await;
        }
        gateway.stop().await;
    });
}

#[test]
fn i_06_both_shapes_of_a_server_run_are_served_and_the_unconfirmed_are_not_answered() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        // Set property, Linux shape, as captured; then read in both shapes.
        peer.say_hex("061008e9b0021ac181610112836366672002").await;
        peer.hears_hex("010408e9b002").await;
        peer.say_hex("060a08c64712836366672001").await;
        let read = ok(9158, Some(Value::map([("a", 1_u64)])));
        assert_eq!(peer.hear().await, read);
        peer.say_hex("060a08c64710012283636667").await;
        assert_eq!(peer.hear().await, read);
        // Unconfirmed: done, and not answered.
        peer.say_hex("060c1ac181620212836366672002").await;
        peer.hears_nothing().await;
        let web = web(&gateway);
        let property = "/v3/users/alice/devices/dev1/properties/cfg";
        while web.get(property).await != json!({"b": 2}) {
            tokio::task::yield_now().await;
        }
        // What there is not is said: no such property, no such function.
        for (asked, code) in [
            ("060a08c64712836e6f6e2001", 404),
            (
                "061d08a93e1ac285736c6f7473028774696d656f75741e128473656d312006",
                501,
            ),
        ] {
            peer.say_hex(asked).await;
            let Message::Error(Answer { parameters, .. }) = peer.hear().await else {
                panic!("an Error");
            };
            assert_eq!(parameters, Some(Value::Unsigned(code)));
        }
        gateway.stop().await;
    });
}

#[test]
fn i_07_answers_are_matched_by_their_id_alone() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        let (web, other) = (web(&gateway), web(&gateway));
        let first = tokio::spawn(async move { web.post(&path("a"), json!(1)).await });
        let run_a = peer.hears_run("a").await;
        let second = tokio::spawn(async move { other.post(&path("b"), json!(2)).await });
        let run_b = peer.hears_run("b").await;
        // Strays: no ID, and one that nobody asked under.
        peer.say(&ok(None, Some("stray".into()))).await;
        let stray = [run_a.stream_id, run_b.stream_id];
        let unknown = (1..).find(|id| !stray.contains(&Some(*id))).expect("an ID");
        peer.say(&ok(unknown, Some("stray".into()))).await;
        peer.say(&ok(run_b.stream_id, Some("of b".into()))).await;
        peer.say(&ok(run_a.stream_id, Some("of a".into()))).await;
        assert_eq!(first.await.expect("done"), (StatusCode::OK, json!("of a")));
        assert_eq!(second.await.expect("done"), (StatusCode::OK, json!("of b")));
        peer.hears_nothing().await;
        gateway.stop().await;
    });
}

#[test]
fn i_08_reading_an_input_describes_it_and_never_runs_it() {
    run(async {
        let gateway = gateway().await;
        let mut peer = dev1(&gateway).await;
        let functions = [("act", 1), ("in", 2), ("out", 3), ("both", 4)];
        let list = web(&gateway);
        let listed =
            tokio::spawn(async move { list.get("/v3/users/alice/devices/dev1/resources").await });
        peer.describes(&functions).await;
        let expected =
            json!({"act": {"fn": 1}, "in": {"fn": 2}, "out": {"fn": 3}, "both": {"fn": 4}});
        assert_eq!(listed.await.expect("done"), expected);

        let read = |resource: &'static str| {
            let web = web(&gateway);
            tokio::spawn(async move { web.try_get(&path(resource)).await })
        };
        let input = read("in");
        // What it has is asked for once in a session at most.
        match peer.hear().await {
            Message::Describe {
                stream_id,
                resource: None,
                ..
            } => {
                let all = functions.map(|(name, number)| (name, Value::map([("fn", number)])));
                peer.say(&ok(stream_id, Some(Value::map(all)))).await;
                let id = peer.hears_describe(Some("in")).await;
                peer.say(&ok(id, Some(Value::map([("in", false)])))).await;
            }
            Message::Describe { stream_id, .. } => {
                peer.say(&ok(stream_id, Some(Value::map([("in", false)]))))
                    .await;
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(input.await.expect("done"), (StatusCode::OK, json!(false)));
        let output = read("out");
        let asked = peer.hears_run("out").await;
        assert_eq!(asked.payload, None);
        peer.say(&ok(asked.stream_id, Some(20.5.into()))).await;
        assert_eq!(output.await.expect("done"), (StatusCode::OK, json!(20.5)));
        let both = read("both");
        let id = peer.hears_describe(Some("both")).await;
        let sample = Value::map([("in", Value::from(0_u64)), ("out", 7_u64.into())]);
        peer.say(&ok(id, Some(sample))).await;
        assert_eq!(both.await.expect("done"), (StatusCode::OK, json!(7)));
        let action = read("act").await.expect("done");
        assert_eq!(action.0, StatusCode::METHOD_NOT_ALLOWED, "{}", action.1);
        let unknown = read("none");
        if let Ok(Message::Describe { stream_id, .. }) =
            tokio::time::timeout(std::time::Duration::from_millis(100), peer.hear()).await
        {
            peer.say(&error(stream_id)).await;
        }
        assert_eq!(unknown.await.expect("done").0, StatusCode::NOT_FOUND);
        peer.hears_nothing().await;
        gateway.stop().await;
    });
}
