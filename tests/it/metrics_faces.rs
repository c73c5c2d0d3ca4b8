//! What a scrape tells of calls, requests, streams and events, over real sockets.

use std::collections::BTreeMap;

use gatehouse::codec::message::Message;
use gatehouse::codec::pson::Value;
use gatehouse::grpc::proto::gatehouse::v1::{GetRequest, WatchRequest};
use gatehouse::grpc::proto::gsdk::connect::connect_client::ConnectClient;
use gatehouse::grpc::proto::gsdk::connect::{DeleteAsyncConnectionRequest, GetPendingListRequest};
use reqwest::Method;
use tonic::Code;
use tonic::client::Grpc;
use tonic::transport::Channel;

use crate::iotmp::{dev1, gateway, path, web};
use crate::support::client::{self, Client, add, auto, with_token};
use crate::support::device;
use crate::support::gateway::TestGateway;
use crate::support::peer::{Peer, error, ok};
use crate::support::process::Process;
use crate::support::web::Web;
use crate::support::{run, soon};

/// So often a device is listed and taken off the list again.
const ROUNDS: u32 = 5;

/// So many different names nobody serves.
const STRANGE: usize = 1000;

/// Every series of one scrape.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    async fn of(web: &Web) -> Self {
        let (status, text) = asked(web, Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().expect("a number")))
        });
        Self(series.collect())
    }

    /// The first that says so.
    async fn once(web: &Web, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        let scrape = async {
            loop {
                let scrape = Self::of(web).await;
                if holds(&scrape) {
                    return scrape;
                }
            }
        };
        soon(what, scrape).await
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.0.get(&format!("gatehouse_{series}")).copied()
    }

    /// How many series a metric has.
    fn series(&self, metric: &str) -> usize {
        let begins = format!("gatehouse_{metric}{{");
        let mut names = self.0.keys();
        names
            .by_ref()
            .filter(|name| name.starts_with(&begins))
            .count()
    }

    fn grpc(&self, method: &str, code: &str) -> Option<f64> {
        self.value(&format!(
            "grpc_requests_total{{method=\"{method}\",code=\"{code}\"}}"
        ))
    }

    fn http(&self, route: &str, method: &str, code: u16) -> Option<f64> {
        self.value(&format!(
            "http_requests_total{{route=\"{route}\",method=\"{method}\",code=\"{code}\"}}"
        ))
    }
}

/// Asks and reads the answer to its end, so that the next one comes over the same connection.
async fn asked(web: &Web, method: Method, path: &str) -> (u16, String) {
    let answer = web.call(method, path, None).await;
    let status = answer.status().as_u16();
    let text = soon("the answer", answer.text()).await;
    (status, text.expect("text"))
}

/// Calls a method by a path that no contract has.
async fn call(channel: Channel, path: &str) -> Code {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.expect("a connection");
    let codec = tonic_prost::ProstCodec::<GetRequest, GetRequest>::default();
    let request = tonic::Request::new(GetRequest::default());
    let answer = grpc
        .unary(request, path.parse().expect("a path"), codec)
        .await;
    answer.expect_err("nobody serves it").code()
}

#[test]
fn calls_are_counted_by_what_is_served_whatever_names_the_client_uses() {
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        let channel = gateway.channel().await;
        let ask = GetPendingListRequest {};
        let mut new = Client::new(channel.clone());
        let mut old = client::bare(channel.clone());
        for _ in 0..3 {
            new.get_pending_list(ask).await.expect("a list");
            old.get_pending_list(ask).await.expect("a list");
        }
        let mut fleet = client::fleet(channel.clone());
        let missing = fleet.get(GetRequest { device_id: 7 }).await;
        assert_eq!(missing.expect_err("not listed").code(), Code::NotFound);
        // Refused before a service sees it: by who asks, and by their role.
        let mut stranger = ConnectClient::new(with_token(channel.clone(), "nonsense"));
        let refused = stranger.get_pending_list(ask).await;
        assert_eq!(
            refused.expect_err("a wrong token").code(),
            Code::Unauthenticated
        );
        let approve = call(channel.clone(), "/gatehouse.v1.Approvals/Approve").await;
        assert_eq!(approve, Code::PermissionDenied);
        for number in 0..STRANGE {
            let path = match number % 4 {
                0 => format!("/gatehouse.v1.Fleet/Get{number}"),
                1 => format!("/connect.Connect/Fly{number}"),
                2 => format!("/gsdk.gsdk.connect.Connect/GetPendingList{number}"),
                _ => format!("/a{number}.B/C"),
            };
            assert_eq!(call(channel.clone(), &path).await, Code::Unimplemented);
        }
        let scrape = Scrape::of(&web).await;
        let pending = "gsdk.connect.Connect/GetPendingList";
        assert_eq!(scrape.grpc(pending, "OK"), Some(6.0));
        assert_eq!(scrape.grpc(pending, "UNAUTHENTICATED"), Some(1.0));
        assert_eq!(
            scrape.grpc("gatehouse.v1.Fleet/Get", "NOT_FOUND"),
            Some(1.0)
        );
        let denied = scrape.grpc("gatehouse.v1.Approvals/Approve", "PERMISSION_DENIED");
        assert_eq!(denied, Some(1.0));
        assert_eq!(
            scrape.grpc("unknown", "UNIMPLEMENTED"),
            Some(STRANGE as f64)
        );
        assert_eq!(scrape.series("grpc_requests_total"), 5);
        let took = format!("grpc_request_seconds_count{{method=\"{pending}\"}}");
        assert_eq!(scrape.value(&took), Some(7.0));
        assert_eq!(scrape.value("grpc_requests_in_flight"), Some(0.0));
        assert_eq!(scrape.value("grpc_connections"), Some(1.0));
        drop((new, old, fleet, stranger, channel));
        Scrape::once(&web, "the client to be gone", |scrape| {
            scrape.value("grpc_connections") == Some(0.0)
        })
        .await;
        gateway.stop().await;
    });
}

#[test]
fn a_stream_counts_when_it_ends_and_one_that_is_left_was_cancelled() {
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        let mut fleet = client::fleet(gateway.channel().await);
        let request = WatchRequest {
            after: 0,
            snapshot: true,
            queue_size: 0,
        };
        let watch = "gatehouse.v1.Fleet/Watch";
        let mut stream = fleet.watch(request).await.expect("watching").into_inner();
        soon("the snapshot", stream.message())
            .await
            .expect("goes on");
        let scrape = Scrape::of(&web).await;
        assert_eq!(scrape.value("grpc_requests_in_flight"), Some(1.0));
        assert_eq!(scrape.grpc(watch, "CANCELLED"), None);
        // It took as long as to its beginning.
        let took = format!("grpc_request_seconds_count{{method=\"{watch}\"}}");
        assert_eq!(scrape.value(&took), Some(1.0));
        drop(stream);
        let scrape = Scrape::once(&web, "the stream to end", |scrape| {
            scrape.value("grpc_requests_in_flight") == Some(0.0)
        })
        .await;
        assert_eq!(scrape.grpc(watch, "CANCELLED"), Some(1.0));
        assert_eq!(scrape.grpc(watch, "OK"), None);
        gateway.stop().await;
    });
}

#[test]
fn requests_are_counted_by_route_and_strange_ones_together() {
    run(async {
        let gateway = TestGateway::start().await;
        let web = Web::new(gateway.http());
        // This is the connection that asks.
        let connected = |scrape: &Scrape| scrape.value("http_connections");
        assert_eq!(connected(&Scrape::of(&web).await), Some(1.0));
        let by_id = "/v3/fleet/{id}";
        for id in 1..=3 {
            web.try_get(&format!("/v3/fleet/{id}")).await;
        }
        web.get("/v3/fleet").await;
        asked(&web, Method::HEAD, "/v3/fleet").await;
        asked(&web, Method::PUT, "/v3/fleet/7").await;
        for page in ["/", "/assets/app.js", "/assets/style.css"] {
            web.try_get(page).await;
        }
        for number in 0..STRANGE {
            let method = Method::from_bytes(format!("BREW{number}").as_bytes());
            let method = [Method::GET, method.expect("a method")][number % 2].clone();
            asked(&web, method, &format!("/coffee/{number}")).await;
        }
        let scrape = Scrape::of(&web).await;
        assert_eq!(scrape.http(by_id, "GET", 404), Some(3.0));
        assert_eq!(scrape.http(by_id, "PUT", 405), Some(1.0));
        assert_eq!(scrape.http("/v3/fleet", "GET", 200), Some(1.0));
        assert_eq!(scrape.http("/v3/fleet", "HEAD", 200), Some(1.0));
        assert_eq!(scrape.http("/", "GET", 200), Some(1.0));
        assert_eq!(scrape.http("/assets/{file}", "GET", 200), Some(2.0));
        assert_eq!(scrape.http("unknown", "GET", 404), Some(500.0));
        assert_eq!(scrape.http("unknown", "other", 404), Some(500.0));
        assert_eq!(scrape.series("http_requests_total"), 9);
        assert_eq!(
            scrape.value(&format!("http_request_seconds_count{{route=\"{by_id}\"}}")),
            Some(4.0)
        );
        assert_eq!(scrape.http("/metrics", "GET", 200), Some(1.0));
        drop(web);
        let other = Web::new(gateway.http());
        Scrape::once(&other, "the client to be gone", |scrape| {
            connected(scrape) == Some(1.0)
        })
        .await;
        gateway.stop().await;
    });
}

/// Serves what the gateway says until it asks for a stream of `t`, and takes that; its ID.
async fn streams(peer: &mut Peer) -> u16 {
    loop {
        match peer.hear().await {
            Message::Describe { stream_id, .. } => {
                let all = Value::map([("t", Value::map([("fn", 3_u64)]))]);
                peer.say(&ok(stream_id, Some(all))).await;
            }
            Message::StartStream { stream_id, .. } => {
                peer.say(&ok(stream_id, None)).await;
                return stream_id.expect("an ID");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn streams_and_what_a_device_answers_are_counted() {
    run(async {
        let gateway = gateway().await;
        let web = web(&gateway);
        let mut peer = dev1(&gateway).await;
        let every = format!("{}?interval=5", path("t"));
        let mut socket = web.socket(&every).await;
        let id = streams(&mut peer).await;
        socket.until("start").await;
        let client = reqwest::Client::builder().no_proxy().build();
        let request = client.expect("a client").get(web.url(&every));
        let request = request.header("accept", "text/event-stream");
        let mut events = soon("the events", request.send()).await.expect("an answer");
        // The state that a device tells after its Ok is for all.
        peer.says_data(id, 7_u64).await;
        socket.until("data").await;
        let scrape = Scrape::of(&web).await;
        for (series, value) in [
            ("streams", 1.0),
            ("sinks", 2.0),
            ("samples_delivered_total", 2.0),
            ("samples_dropped_total", 0.0),
            ("http_streams{kind=\"websocket\"}", 1.0),
            ("http_streams{kind=\"sse\"}", 1.0),
        ] {
            assert_eq!(scrape.value(series), Some(value), "{series}");
        }
        let one = "/v3/users/{user}/devices/{device}/resources/{*resource}";
        assert_eq!(scrape.http(one, "GET", 101), Some(1.0));
        assert_eq!(scrape.http(one, "GET", 200), Some(1.0));
        let chunk = soon("an event", events.chunk()).await.expect("goes on");
        assert!(chunk.is_some());
        drop((socket, events));
        Scrape::once(&web, "all readers to be gone", |scrape| {
            [
                "sinks",
                "streams",
                "http_streams{kind=\"websocket\"}",
                "http_streams{kind=\"sse\"}",
            ]
            .iter()
            .all(|series| scrape.value(series) == Some(0.0))
        })
        .await;
        gateway.stop().await;
    });
}

#[test]
fn requests_to_devices_and_theirs_are_counted_by_what_they_come_to() {
    run(async {
        let gateway = gateway().await;
        let web = web(&gateway);
        let mut peer = dev1(&gateway).await;
        let requests = |outcome: &str| format!("device_requests_total{{outcome=\"{outcome}\"}}");
        let before = Scrape::of(&web).await;
        let run_relay = |web: Web| async move { web.post(&path("relay"), true.into()).await };
        for is_ok in [true, false] {
            let asking = tokio::spawn(run_relay(web.clone()));
            let asked = peer.hears_run("relay").await;
            let answer = match is_ok {
                true => ok(asked.stream_id, None),
                false => error(asked.stream_id),
            };
            peer.say(&answer).await;
            asking.await.expect("an answer");
        }
        // Who asked goes away before the answer.
        let asking = tokio::spawn(run_relay(web.clone()));
        peer.hears_run("relay").await;
        asking.abort();
        let scrape = Scrape::once(&web, "the request to be given up", |scrape| {
            scrape.value(&requests("cancelled")) == Some(1.0)
        })
        .await;
        let more = |outcome| {
            let series = requests(outcome);
            let [now, then] = [&scrape, &before].map(|one| one.value(&series));
            now.zip(then).map(|(now, then)| now - then)
        };
        for (outcome, count) in [
            ("ok", 1.0),
            ("refused", 1.0),
            ("timeout", 0.0),
            ("lost", 0.0),
        ] {
            assert_eq!(more(outcome), Some(count), "{outcome}");
        }
        let function = |function: &str, outcome: &str| {
            format!("device_functions_total{{function=\"{function}\",outcome=\"{outcome}\"}}")
        };
        assert_eq!(scrape.value(&function("subscribe_topic", "ok")), Some(0.0));
        let subscribe = Value::map([
            ("event", Value::from("device_topic_publish")),
            ("scope", "subscribe".into()),
            ("topic", "doors/front".into()),
        ]);
        peer.say(&Message::StartStream {
            stream_id: Some(21),
            resource: Some(Value::Unsigned(8)),
            parameters: Some(subscribe),
        })
        .await;
        assert_eq!(peer.hear().await, ok(21, None));
        let scrape = Scrape::of(&web).await;
        assert_eq!(scrape.value(&function("subscribe_topic", "ok")), Some(1.0));
        gateway.stop().await;
    });
}

#[test]
fn events_and_who_is_slow_to_take_them_are_counted() {
    run(async {
        let gateway = TestGateway::with(|config| config.grpc.subscribers_max = 1).await;
        let web = Web::new(gateway.http());
        let nowhere = device::closed_port().await;
        let idle = Scrape::of(&web).await;
        let subscribers = idle.value("subscribers").expect("told");
        // It takes nothing, and has room for two.
        let mut slow = gateway.handle().subscribe(2).expect("room");
        assert!(gateway.handle().subscribe(2).is_err());
        let mut client = gateway.client().await;
        for _ in 0..ROUNDS {
            add(&mut client, vec![auto(7, nowhere)]).await;
            let device_i_ds = vec![7];
            let request = DeleteAsyncConnectionRequest { device_i_ds };
            let deleted = client.delete_async_connection(request).await;
            deleted.expect("deleted");
        }
        let scrape = Scrape::of(&web).await;
        let events = |change: &str| scrape.value(&format!("events_total{{change=\"{change}\"}}"));
        assert_eq!(events("added"), Some(f64::from(ROUNDS)));
        assert_eq!(events("removed"), Some(f64::from(ROUNDS)));
        // Two wait in order, and one for all that came after.
        let all = ["added", "changed", "removed"].map(|change| events(change).expect(change));
        let conflated = all.iter().sum::<f64>() - 3.0;
        assert_eq!(scrape.value("events_conflated_total"), Some(conflated));
        assert_eq!(scrape.value("subscriber_queue_deepest"), Some(3.0));
        assert_eq!(scrape.value("subscribers"), Some(subscribers + 1.0));
        assert_eq!(scrape.value("subscribers_refused_total"), Some(1.0));
        for _ in 0..3 {
            assert!(soon("an event", slow.next()).await.is_some());
        }
        drop(slow);
        let scrape = Scrape::of(&web).await;
        assert_eq!(scrape.value("subscribers"), Some(subscribers));
        gateway.stop().await;
    });
}

#[test]
fn what_does_not_change_is_told_from_the_start() {
    run(async {
        let gateway = TestGateway::with(|config| {
            config.registry.devices_max = 4321;
            config.http.connections_max = 77;
        })
        .await;
        let web = Web::new(gateway.http());
        let scrape = Scrape::of(&web).await;
        let version = env!("CARGO_PKG_VERSION");
        let schema = gatehouse::store::SCHEMA;
        let build = format!("build_info{{version=\"{version}\",schema=\"{schema}\"}}");
        assert_eq!(scrape.value(&build), Some(1.0));
        assert_eq!(scrape.value("limit{of=\"devices\"}"), Some(4321.0));
        assert_eq!(scrape.value("limit{of=\"http_connections\"}"), Some(77.0));
        assert_eq!(scrape.series("limit"), 8);
        let expiry =
            |of: &str| format!("certificate_expiry_timestamp_seconds{{certificate=\"{of}\"}}");
        let server = scrape.value(&expiry("server")).expect("a certificate");
        let root = scrape.value(&expiry("root")).expect("a root");
        let now = gatehouse::clock::now().unix_ms as f64 / 1000.0;
        assert!(now < server && server <= root, "{server} {root}");
        assert_eq!(scrape.value(&expiry("revocation_list")), None);
        assert_eq!(scrape.value("device_certificates_expiring"), Some(0.0));
        gateway.stop().await;
    });
}

#[test]
fn what_expires_is_told_anew_after_a_reload() {
    run(async {
        let gateway = Process::start("");
        let web = Web::new(gateway.http);
        let list = "certificate_expiry_timestamp_seconds{certificate=\"revocation_list\"}";
        assert_eq!(Scrape::of(&web).await.value(list), None);
        let out = tempfile::tempdir().expect("a directory");
        let folder = out.path().to_str().expect("a path in UTF-8");
        gateway.certs(&["device", "7", "--out-dir", folder]);
        gateway.certs(&["revoke", "--device", "7"]);
        gateway.hang_up();
        let scrape = Scrape::once(&web, "the new list", |scrape| scrape.value(list).is_some());
        let next = scrape.await.value(list).expect("a time");
        let now = gatehouse::clock::now().unix_ms as f64 / 1000.0;
        assert!(next > now, "{next} at {now}");
    });
}
