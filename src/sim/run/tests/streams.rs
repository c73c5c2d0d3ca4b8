//! Streams and asks over a real socket.

use super::*;
use crate::codec::message::StreamData;
use crate::sim::ask::{Ask, AskId, Subscription};
use crate::sim::quirks::Like;
use crate::sim::resources::Resource;

async fn linux(listener: &TcpListener) -> (Watched, Gateway) {
    let mut spec = spec(Security::Plain);
    Like::Linux.apply(&mut spec.device);
    let watched = Watched::dialling(spec, dialling(listener.local_addr().unwrap()));
    let mut gateway = Gateway::accepted(listener, Security::Plain).await;
    gateway.admit().await;
    (watched, gateway)
}

async fn data(gateway: &mut Gateway) -> StreamData {
    loop {
        match gateway.next().await {
            Ok(Message::StreamData(data)) => return data,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn streams_are_told_counted_and_kept_over_a_redial_by_linux() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let (mut watched, mut gateway) = linux(&listener).await;
    let start = Message::StartStream {
        stream_id: Some(300),
        resource: Some("temperature".into()),
        parameters: Some(Value::map([("interval", 5000_u64)])),
    };
    gateway.send(start).await;
    let state = data(&mut gateway).await;
    assert_eq!(state.stream_id, 300);
    assert!(state.payload.unwrap().get("celsius").is_some());
    let interval = Some(Duration::from_secs(5));
    let started = Event::StreamStarted {
        id: 300,
        resource: Resource::Temperature,
        interval,
    };
    for event in [Event::Opened, Event::Admitted, started] {
        assert_eq!(watched.next().await, event);
    }
    let state = watched.device.state();
    assert_eq!((state.streams.starts, state.streams.stops), (1, 0));
    assert_eq!(state.streams.open[0].interval, interval);
    watched.device.cut();
    let mut gateway = Gateway::accepted(&listener, Security::Plain).await;
    gateway.admit().await;
    assert_eq!(data(&mut gateway).await.stream_id, 300);
    let stop = Message::StopStream {
        stream_id: Some(300),
        parameters: None,
        payload: None,
    };
    gateway.send(stop).await;
    let is_stopped = watched
        .device
        .until_state(|state| state.streams.stops == 1 && state.streams.open.is_empty());
    assert!(soon(is_stopped).await);
    assert!(soon(watched.device.until(|counts| counts.streams_stopped == 1)).await);
}

#[tokio::test]
async fn a_device_asks_what_it_is_told_to_once_it_is_admitted() {
    let listener = TcpListener::bind(FREE).await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut watched = Watched::dialling(spec(Security::Plain), dialling(to));
    // It waits for the link.
    let read = watched.device.ask(Ask::ReadProperty {
        name: "config".into(),
    });
    let topic = watched.device.ask(Ask::Subscribe(Subscription::TopicIn {
        filter: "doors/#".into(),
    }));
    assert_eq!((read, topic), (AskId(0), AskId(1)));
    let mut gateway = Gateway::accepted(&listener, Security::Plain).await;
    gateway.admit().await;
    let Ok(Message::Run(run)) = gateway.next().await else {
        panic!("no Run");
    };
    assert_eq!(run.resource, Some(Value::Unsigned(1)));
    assert_eq!(run.parameters, Some("config".into()));
    let Ok(Message::StartStream { stream_id, .. }) = gateway.next().await else {
        panic!("no Start Stream");
    };
    gateway.send(Message::Ok(answer(stream_id))).await;
    let value = Answer {
        payload: Some(Value::from("blue")),
        ..answer(run.stream_id)
    };
    gateway.send(Message::Ok(value)).await;
    let pushed = StreamData {
        stream_id: stream_id.unwrap(),
        kind: None,
        parameters: None,
        payload: Some(Value::Bool(true)),
    };
    gateway.send(Message::StreamData(pushed)).await;
    for event in [
        Event::Opened,
        Event::Admitted,
        Event::Answered {
            ask: topic,
            answer: Ok(None),
        },
        Event::Answered {
            ask: read,
            answer: Ok(Some("blue".into())),
        },
        Event::Pushed {
            ask: topic,
            value: Value::Bool(true),
        },
    ] {
        assert_eq!(watched.next().await, event);
    }
    drop(gateway);
}
