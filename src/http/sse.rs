//! A stream of one resource as server-sent events.
//!
//! ```text
//! retry: 3000
//!
//! event: start        data: {"interval":5,"events":false}      the device streams
//! event: data         data: 20.5           id: 17              a value as JSON, with its number
//! event: lost         data: {"lost":3}                         before a value: so many are missing
//! event: stop         data: {"reason":"…"}                     nothing comes for now
//! event: error        data: {"code":404,"reason":"…"}          the device does not stream it
//! ```
//!
//! A client that comes again with `Last-Event-ID` gets what comes from then on: samples are live,
//! and are not kept. The numbers go on while the gateway runs, and jump over what went to others.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;

use crate::http::lease::Over;
use crate::stream::hub::{Delivery, Sink};

/// How long a browser waits before it comes again.
const RETRY: Duration = Duration::from_secs(3);
/// After this long without an event there is a comment, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

struct State<O> {
    sink: Sink,
    over: Pin<Box<O>>,
    waiting: VecDeque<Event>,
}

/// What a sink is told, as events, until `over`.
pub fn answer(sink: Sink, over: impl Future<Output = Over> + Send + 'static) -> Response {
    let state = State {
        sink,
        over: Box::pin(over),
        waiting: VecDeque::from([Event::default().retry(RETRY)]),
    };
    Sse::new(stream::unfold(state, turn))
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response()
}

async fn turn<O: Future<Output = Over>>(
    mut state: State<O>,
) -> Option<(Result<Event, Infallible>, State<O>)> {
    if state.waiting.is_empty() {
        let delivery = tokio::select! {
            biased;
            _ = &mut state.over => None,
            delivery = state.sink.next() => delivery,
        };
        state.waiting.extend(events(&delivery?));
    }
    let event = state.waiting.pop_front()?;
    Some((Ok(event), state))
}

/// What a sink was told; never nothing.
fn events(delivery: &Delivery) -> Vec<Event> {
    match delivery {
        Delivery::Started { sampled, events } => {
            let mut told = json!({ "events": events });
            if let Some(interval) = sampled {
                told["interval"] = (*interval).into();
            }
            vec![named("start", told.to_string())]
        }
        Delivery::Data(sample) => {
            let lost = json!({ "lost": sample.lost }).to_string();
            let lost = (sample.lost > 0).then(|| named("lost", lost));
            let data = named("data", sample.value.json()).id(sample.number.to_string());
            lost.into_iter().chain([data]).collect()
        }
        Delivery::Lost(cause) => {
            let told = json!({ "reason": cause.to_string() });
            vec![named("stop", told.to_string())]
        }
        Delivery::Refused(refusal) => {
            let told = json!({ "code": refusal.code, "reason": &*refusal.text });
            vec![named("error", told.to_string())]
        }
    }
}

/// `data`: JSON on one line.
fn named(event: &str, data: impl AsRef<str>) -> Event {
    Event::default().event(event).data(data)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::cause::CauseKind;
    use crate::http::websocket::tests::Device;

    /// What came until this text is in it.
    async fn until(body: &mut axum::body::BodyDataStream, text: &str) -> String {
        let mut told = String::new();
        while !told.contains(text) {
            let part = body.next().await.expect("more").expect("bytes");
            told.push_str(std::str::from_utf8(&part).expect("text"));
        }
        told
    }

    #[tokio::test]
    async fn a_stream_is_told_over_a_gap_with_ids() {
        let mut device = Device::away(4);
        let sink = device.open("temp", 1);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let response = answer(sink, async {
            let _ = stopped.await;
            Over::Stopping
        });
        let content = &response.headers()[http::header::CONTENT_TYPE];
        assert_eq!(content, "text/event-stream");
        let mut body = response.into_body().into_data_stream();
        let told = until(&mut body, "not_connected").await;
        assert!(told.starts_with("retry: 3000\n\nevent: stop\n"), "{told}");
        device.attach();
        device.started("temp", 1);
        device.sample("temp", "a\r\nb");
        let told = until(&mut body, "id: ").await;
        assert!(
            told.contains("event: start\ndata: {\"events\":false,\"interval\":1}"),
            "{told}"
        );
        assert!(
            told.contains("event: data\ndata: \"a\\r\\nb\"\nid: "),
            "{told}"
        );
        device.detach(CauseKind::ClosedByDevice);
        until(
            &mut body,
            "event: stop\ndata: {\"reason\":\"closed_by_device\"}",
        )
        .await;
        device.attach();
        device.refused("temp");
        until(&mut body, "event: error\ndata: {\"code\":404,").await;
        stop.send(()).expect("heard");
        assert!(body.next().await.is_none(), "it ends");
    }

    #[tokio::test]
    async fn what_a_slow_reader_lost_is_told_before_the_next_value() {
        let mut device = Device::away(4);
        device.attach();
        let sink = device.open("temp", 1);
        device.started("temp", 1);
        for n in 0..10 {
            device.sample("temp", &n.to_string());
        }
        let mut body = answer(sink, std::future::pending())
            .into_body()
            .into_data_stream();
        let told = until(&mut body, "\"9\"").await;
        assert!(
            told.contains("event: lost\ndata: {\"lost\":6}\n\nevent: data\ndata: \"6\""),
            "{told}"
        );
    }
}
