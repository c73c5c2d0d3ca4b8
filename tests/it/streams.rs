//! Streams over real sockets: what many readers cost a device, and how they outlive its link.

use std::collections::BTreeMap;

use gatehouse::codec::message::Message;
use gatehouse::codec::pson::Value;

use crate::iotmp::{dev1, gateway, path, web};
use crate::support::peer::{Peer, ok};
use crate::support::web::Socket;
use crate::support::{run, soon};

/// So many browsers look at one resource.
const BROWSERS: usize = 200;

/// A device with one output that samples when it is told to by the test, and counts what it is
/// asked for.
struct Sensor {
    peer: Peer,
    /// Every Start Stream, as its interval in milliseconds.
    started: Vec<Option<u64>>,
    stopped: usize,
    /// The open stream.
    id: Option<u16>,
}

impl Sensor {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            started: Vec::new(),
            stopped: 0,
            id: None,
        }
    }

    /// Serves what the gateway says, up to and including the next change of its streams.
    async fn until_change(&mut self) {
        loop {
            match self.peer.hear().await {
                Message::Describe { stream_id, .. } => {
                    let all = Value::map([("t", Value::map([("fn", 3_u64)]))]);
                    self.peer.say(&ok(stream_id, Some(all))).await;
                }
                Message::StartStream {
                    stream_id,
                    parameters,
                    ..
                } => {
                    let interval = parameters.as_ref().and_then(|map| map.get("interval"));
                    self.started.push(interval.and_then(Value::as_unsigned));
                    self.id = stream_id;
                    self.peer.say(&ok(stream_id, None)).await;
                    return;
                }
                Message::StopStream { stream_id, .. } => {
                    self.stopped += 1;
                    self.id = None;
                    self.peer.say(&ok(stream_id, None)).await;
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    async fn sample(&mut self, value: u64) {
        let id = self.id.expect("an open stream");
        self.peer.says_data(id, value).await;
    }
}

fn every(seconds: u32) -> String {
    format!("{}?interval={seconds}", path("t"))
}

/// The next value that a reader is given.
async fn value(socket: &mut Socket) -> u64 {
    let frame = socket.until("data").await;
    frame["payload"].as_u64().expect("a number")
}

#[test]
fn two_hundred_browsers_cost_the_device_one_stream() {
    run(async {
        let gateway = gateway().await;
        let mut sensor = Sensor::new(dev1(&gateway).await);
        let web = web(&gateway);
        let mut browsers = vec![web.socket(&every(6)).await];
        sensor.until_change().await;
        while browsers.len() < BROWSERS {
            browsers.push(web.socket(&every(6)).await);
        }
        sensor.sample(0).await;
        for browser in &mut browsers {
            assert_eq!(value(browser).await, 0);
        }
        assert_eq!(sensor.started, [Some(6000)]);

        // Joins and leaves: the device hears of those that change the plan.
        let mut plan = vec![Some(6000)];
        for (seconds, beat) in [(9, 3000), (12, 0), (4, 2000)] {
            let mut newcomer = web.socket(&every(seconds)).await;
            if beat != 0 {
                sensor.until_change().await;
                plan.push(Some(beat));
                // The state that a device tells after each Ok: for the newcomer.
                sensor.sample(1).await;
                assert_eq!(value(&mut newcomer).await, 1);
            }
            drop(newcomer);
            if beat != 0 {
                sensor.until_change().await;
                plan.push(Some(6000));
            }
            assert_eq!(sensor.started, plan, "{seconds}");
        }
        sensor.peer.hears_nothing().await;
        drop(browsers);
        sensor.until_change().await;
        assert_eq!((sensor.started.len(), sensor.stopped), (plan.len(), 1));
        gateway.stop().await;
    });
}

#[test]
fn a_stream_outlives_the_link_of_its_device() {
    run(async {
        let gateway = gateway().await;
        let web = web(&gateway);
        let mut sensor = Sensor::new(dev1(&gateway).await);
        let mut socket = web.socket(&every(5)).await;
        sensor.until_change().await;
        sensor.sample(1).await;
        assert_eq!(value(&mut socket).await, 1);
        for round in 2..5 {
            // The link breaks without a word, as with a power loss.
            drop(sensor);
            let stop = socket.until("stop").await;
            assert_eq!(stop["resource"], "t", "{stop}");
            sensor = Sensor::new(dev1(&gateway).await);
            sensor.until_change().await;
            assert_eq!(sensor.started, [Some(5000)]);
            socket.until("start").await;
            sensor.sample(round).await;
            assert_eq!(value(&mut socket).await, round);
        }
        gateway.stop().await;
    });
}

#[test]
fn a_reader_that_waits_for_a_device_is_served_once_it_comes() {
    run(async {
        let gateway = gateway().await;
        // Known from its first session on.
        let first = dev1(&gateway).await;
        let web = web(&gateway);
        drop(first);
        let mut client = gateway.client().await;
        let mut listed = 1;
        while listed > 0 {
            listed = crate::support::client::list(&mut client).await.len();
        }
        // Not listed any more: there is nothing to wait for.
        let (status, _) = web.try_get("/v3/users/alice/devices/dev1").await;
        assert_eq!(status, 404);
        gateway.stop().await;
    });
}

#[test]
fn a_device_of_another_owner_is_not_called_not_read_and_not_heard() {
    run(async {
        use gatehouse::codec::dialect::Dialect;
        use gatehouse::codec::message::{Answer, Run};
        let gateway = gateway().await;
        let mut alice = dev1(&gateway).await;
        let mut second = Peer::admitted(gateway.plain(), Dialect::Current, "alice", "dev2").await;
        let mut bob = Peer::admitted(gateway.plain(), Dialect::Current, "bob", "dev3").await;
        let call = |device: &str| {
            Message::Run(Run {
                stream_id: Some(7),
                resource: Some(Value::Unsigned(3)),
                parameters: Some(Value::Array(vec![device.into(), "relay".into()])),
                ..Run::default()
            })
        };
        // One of the same owner is called, and its answer comes back.
        alice.say(&call("dev2")).await;
        let asked = second.hears_run("relay").await;
        second.say(&ok(asked.stream_id, Some(true.into()))).await;
        assert_eq!(alice.hear().await, ok(7, Some(true.into())));
        // One of another owner is as unknown as one that does not exist.
        let mut answers = BTreeMap::new();
        for device in ["dev3", "dev9"] {
            alice.say(&call(device)).await;
            let Message::Error(Answer {
                parameters,
                payload,
                ..
            }) = alice.hear().await
            else {
                panic!("an Error");
            };
            let text = format!("{parameters:?} {payload:?}").replace(device, "…");
            answers.insert(device, text);
        }
        assert_eq!(answers["dev3"], answers["dev9"]);
        bob.hears_nothing().await;

        // A topic of the same name is another one for another owner.
        let subscribe = |scope: &str| {
            let parameters = Value::map([
                ("event", Value::from("device_topic_publish")),
                ("scope", scope.into()),
                ("topic", "doors/front".into()),
            ]);
            Message::StartStream {
                stream_id: Some(21),
                resource: Some(Value::Unsigned(8)),
                parameters: Some(parameters),
            }
        };
        for (peer, scope) in [
            (&mut second, "subscribe"),
            (&mut bob, "subscribe"),
            (&mut alice, "publish"),
        ] {
            peer.say(&subscribe(scope)).await;
            assert_eq!(peer.hear().await, ok(21, None));
        }
        alice.says_data(21, "open").await;
        let Message::StreamData(data) = second.hear().await else {
            panic!("Stream Data");
        };
        assert_eq!((data.stream_id, data.payload), (21, Some("open".into())));
        bob.hears_nothing().await;

        // Under another owner's path there is no such device.
        let web = web(&gateway);
        for wrong in [
            "/v3/users/alice/devices/dev3",
            "/v3/users/bob/devices/dev1",
            "/v3/users/~/devices/dev1",
        ] {
            let (status, _) = soon(wrong, web.try_get(&format!("{wrong}/resources"))).await;
            assert_eq!(status, 404, "{wrong}");
        }
        gateway.stop().await;
    });
}
