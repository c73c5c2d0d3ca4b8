use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;
use crate::cause::CauseKind;
use crate::codec::pson;
use crate::stream::{Arrival, Refusal};

const LIMITS: Limits = Limits {
    sinks_max: 1000,
    resources_per_device_max: 2,
    queue_max: 4,
    interval_min: 1,
};
const DEVICE: u32 = 7;

fn id(device: u32) -> DeviceId {
    DeviceId::new(device).unwrap()
}

fn every(seconds: u32) -> Pace {
    Pace::Every(NonZeroU32::new(seconds).unwrap())
}

/// A hub with one device, and what its session was ordered.
struct World {
    hub: Hub,
    generation: Generation,
    wishes: mpsc::Receiver<Wish>,
    orders: mpsc::Sender<Wish>,
    seconds: u64,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (orders, wishes) = mpsc::channel();
        Self {
            hub: Hub::new(limits),
            generation: Generation::dialled(0),
            wishes,
            orders,
            seconds: 0,
        }
    }

    fn attached(limits: Limits) -> Self {
        let world = Self::new(limits);
        world.attach(world.generation);
        world
    }

    fn attach(&self, generation: Generation) {
        let orders = self.orders.clone();
        let order = move |wish| orders.send(wish).unwrap();
        self.hub.attach(id(DEVICE), generation, Box::new(order));
    }

    fn open(&self, resource: &str, pace: Pace) -> Sink {
        self.hub.open(id(DEVICE), resource, pace).unwrap()
    }

    fn wishes(&self) -> Vec<String> {
        let word = |wish: Wish| {
            let sampled = wish.sampled.map_or(0, NonZeroU32::get);
            let events = if wish.events { " events" } else { "" };
            format!("{} {sampled}{events}", wish.resource)
        };
        self.wishes.try_iter().map(word).collect()
    }

    fn report(&self, report: Report) {
        let now = Instant::from_micros(self.seconds * 1_000_000);
        self.hub.report(id(DEVICE), self.generation, report, now);
    }

    fn started(&self, resource: &str, seconds: u32) {
        self.report(Report::Started {
            resource: resource.into(),
            sampled: NonZeroU32::new(seconds),
            events: false,
        });
    }

    fn refused(&self, resource: &str) {
        self.report(Report::Refused {
            resource: resource.into(),
            refusal: Refusal {
                code: 404,
                text: "no such resource".into(),
            },
        });
    }

    /// A sample one second after the last one, with the second as its value.
    fn sample(&mut self, resource: &str) {
        self.seconds += 1;
        self.report(Report::Data {
            resource: resource.into(),
            arrival: Arrival::Sample,
            value: pson::Value::Unsigned(self.seconds),
        });
    }
}

/// Everything that waits in a sink.
fn told(sink: &mut Sink) -> Vec<String> {
    std::iter::from_fn(|| sink.next().now_or_never().flatten())
        .map(|delivery| match delivery {
            Delivery::Started { sampled, events } => {
                format!("started {} {events}", sampled.unwrap_or(0))
            }
            Delivery::Data(sample) => format!("{:?} lost {}", *sample.value, sample.lost),
            Delivery::Lost(cause) => cause.to_string(),
            Delivery::Refused(refusal) => refusal.code.to_string(),
        })
        .collect()
}

#[test]
fn a_sink_waits_for_its_device_and_over_its_sessions() {
    let mut world = World::new(LIMITS);
    let mut sink = world.open("door", every(1));
    assert_eq!(told(&mut sink), ["not_connected"]);
    world.attach(world.generation);
    assert_eq!(world.wishes(), ["door 1"]);
    world.started("door", 1);
    world.sample("door");
    assert_eq!(told(&mut sink), ["started 1 false", "Unsigned(1) lost 0"]);
    let cause = CauseKind::ClosedByDevice.into();
    world.hub.detach(id(DEVICE), world.generation, &cause);
    assert_eq!(told(&mut sink), ["closed_by_device"]);
    world.generation = Generation::accepted(0);
    world.attach(world.generation);
    assert_eq!(world.wishes(), ["door 1"]);
    world.started("door", 1);
    world.sample("door");
    assert_eq!(told(&mut sink), ["started 1 false", "Unsigned(2) lost 0"]);
    drop(sink);
    assert_eq!(world.wishes(), ["door 0"]);
}

#[test]
fn another_generation_is_passed_over() {
    let mut world = World::attached(LIMITS);
    let mut sink = world.open("door", every(1));
    world.started("door", 1);
    let older = std::mem::replace(&mut world.generation, Generation::accepted(0));
    world.sample("door");
    assert_eq!(told(&mut sink), ["started 1 false"]);
    world.attach(world.generation);
    assert_eq!(told(&mut sink), ["superseded"]);
    world
        .hub
        .detach(id(DEVICE), older, &CauseKind::IoError.into());
    world.started("door", 1);
    assert_eq!(told(&mut sink), ["started 1 false"]);
}

#[test]
fn a_slow_sink_loses_its_oldest_and_is_told_how_many() {
    let mut world = World::attached(LIMITS);
    let mut slow = world.open("door", every(1));
    let mut fast = world.open("door", every(1));
    world.started("door", 1);
    for _ in 0..10 {
        world.sample("door");
        assert!(!told(&mut fast).is_empty());
    }
    let expected = [
        "started 1 false",
        "Unsigned(7) lost 6",
        "Unsigned(8) lost 0",
        "Unsigned(9) lost 0",
        "Unsigned(10) lost 0",
    ];
    assert_eq!(told(&mut slow), expected);
    let counts = Counts {
        sinks: 2,
        samples: 20,
        dropped: 6,
    };
    assert_eq!(world.hub.counts(), counts);
}

#[test]
fn two_hundred_sinks_are_one_stream() {
    let mut world = World::attached(LIMITS);
    let mut sinks: Vec<_> = (0..200).map(|_| world.open("door", every(5))).collect();
    assert_eq!(world.wishes(), ["door 5"]);
    world.started("door", 5);
    world.sample("door");
    let mut values = Vec::new();
    for sink in &mut sinks {
        assert!(matches!(sink.next().now_or_never(), Some(Some(_))));
        match sink.next().now_or_never() {
            Some(Some(Delivery::Data(sample))) => values.push(sample.value),
            other => panic!("{other:?}"),
        }
    }
    assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])));
    let quicker = world.open("door", every(2));
    let as_quick = world.open("door", every(3));
    assert_eq!(world.wishes(), ["door 1"]);
    drop(as_quick);
    drop(sinks.split_off(1));
    assert_eq!(world.wishes(), Vec::<String>::new());
    drop(sinks);
    assert_eq!(world.wishes(), ["door 2"]);
    let watcher = world.open("door", Pace::Events);
    assert_eq!(world.wishes(), ["door 2 events"]);
    drop(quicker);
    drop(watcher);
    assert_eq!(world.wishes(), ["door 0 events", "door 0"]);
    assert_eq!(world.hub.counts().sinks, 0);
}

#[test]
fn a_refusal_is_told_and_remembered_for_the_session() {
    let mut world = World::attached(LIMITS);
    let mut sink = world.open("dorr", every(1));
    assert_eq!(world.wishes(), ["dorr 1"]);
    world.refused("dorr");
    assert_eq!(told(&mut sink), ["404"]);
    drop(sink);
    let mut later = world.open("dorr", every(1));
    assert_eq!(told(&mut later), ["404"]);
    assert_eq!(world.wishes(), Vec::<String>::new());
    world.generation = Generation::accepted(0);
    world.attach(world.generation);
    assert_eq!(world.wishes(), ["dorr 1"]);
    world.started("dorr", 1);
    assert_eq!(told(&mut later), ["started 1 false"]);
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        sinks_max: 3,
        interval_min: 2,
        ..LIMITS
    };
    let world = World::attached(limits);
    let open = |resource| world.hub.open(id(DEVICE), resource, every(2));
    let too_short = OpenError::TooShort { min: 2 };
    let refused = world.hub.open(id(DEVICE), "a", every(1)).err();
    assert_eq!(refused, Some(too_short.clone()));
    let mut a = open("a").unwrap();
    assert_eq!(a.set_pace(every(1)), Err(too_short));
    let b = open("b").unwrap();
    let too_many = OpenError::TooManyResources { max: 2 };
    assert_eq!(open("c").err(), Some(too_many));
    let more = open("a").unwrap();
    assert_eq!(open("b").err(), Some(OpenError::TooManySinks { max: 3 }));
    let elsewhere = world.hub.open(id(DEVICE + 1), "a", every(2)).err();
    assert_eq!(elsewhere, Some(OpenError::TooManySinks { max: 3 }));
    drop(more);
    // What was refused and is not wanted any more makes room.
    world.refused("b");
    drop(b);
    assert!(open("c").is_ok());
}

#[test]
fn nothing_is_kept_of_a_device_without_session_and_sinks() {
    let world = World::attached(LIMITS);
    let known = |hub: &Hub| hub.shared.shard(id(DEVICE)).len();
    let sink = world.open("door", every(1));
    let cause = CauseKind::IoError.into();
    world.hub.detach(id(DEVICE), world.generation, &cause);
    assert_eq!(known(&world.hub), 1);
    drop(sink);
    assert_eq!(known(&world.hub), 0);
}

#[test]
fn numbers_ascend_also_when_a_resource_was_forgotten() {
    let mut world = World::attached(LIMITS);
    let mut last = 0;
    for _ in 0..3 {
        let mut sink = world.open("door", every(1));
        world.sample("door");
        world.sample("door");
        while let Some(Some(Delivery::Data(sample))) = sink.next().now_or_never() {
            assert!(sample.number > last);
            last = sample.number;
        }
    }
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing_and_a_waiting_sink_is_woken() {
    let mut world = World::attached(LIMITS);
    let mut sink = world.open("door", every(1));
    {
        let mut next = std::pin::pin!(sink.next());
        assert!(next.as_mut().now_or_never().is_none());
        world.started("door", 1);
        world.sample("door");
    }
    assert!(matches!(sink.next().await, Some(Delivery::Started { .. })));
    assert!(matches!(sink.next().await, Some(Delivery::Data(_))));
    let waiting = tokio::spawn(async move { sink.next().await });
    tokio::task::yield_now().await;
    world.sample("door");
    assert!(matches!(waiting.await, Ok(Some(Delivery::Data(_)))));
}

#[tokio::test]
async fn closing_ends_each_sink_after_what_waits() {
    let world = World::attached(LIMITS);
    let mut sink = world.open("door", every(1));
    world.started("door", 1);
    world.hub.close();
    assert!(matches!(sink.next().await, Some(Delivery::Started { .. })));
    assert!(sink.next().await.is_none());
    let mut late = world.open("other", every(1));
    assert!(late.next().await.is_none());
}

#[test]
fn a_scrape_tells_what_goes_through() {
    let meter = Meter::new();
    let mut world = World::attached(LIMITS);
    world.hub.counted_by(&meter);
    let shows = |streams: u32, sinks: u32, delivered: u32, dropped: u32| {
        let text = meter.render();
        for (name, count) in [
            ("streams", streams),
            ("sinks", sinks),
            ("samples_delivered_total", delivered),
            ("samples_dropped_total", dropped),
        ] {
            let line = format!("gatehouse_{name} {count}");
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
    };
    shows(0, 0, 0, 0);
    let sinks: Vec<_> = (0..3).map(|_| world.open("door", every(1))).collect();
    let other = world.open("wall", every(1));
    // The device has not answered yet.
    shows(0, 4, 0, 0);
    world.started("door", 1);
    world.refused("wall");
    shows(1, 4, 0, 0);
    (0..5).for_each(|_| world.sample("door"));
    // Four wait in each sink, and the fifth drove one out.
    shows(1, 4, 15, 3);
    let cause = CauseKind::IoError.into();
    world.hub.detach(id(DEVICE), world.generation, &cause);
    shows(0, 4, 15, 3);
    drop((sinks, other));
    shows(0, 0, 15, 3);
}
