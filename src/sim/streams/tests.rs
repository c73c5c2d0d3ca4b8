use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn open(id: StreamId, resource: Resource, ms: Option<u64>) -> Open {
    let interval = ms.map(Duration::from_millis);
    Open {
        id,
        resource,
        interval,
    }
}

fn told(streams: &Streams, resource: Resource) -> Vec<StreamId> {
    let told = streams.told_of(resource);
    told.iter().map(|open| open.id).collect()
}

/// When each sample comes, in milliseconds, up to the end.
fn samples(streams: &mut Streams, until_ms: u64) -> Vec<(u64, StreamId)> {
    let mut samples = Vec::new();
    while let Some(due) = streams.poll_timeout().filter(|due| *due <= at(until_ms)) {
        let ms = due.as_micros() / 1000;
        samples.extend(streams.due(due).iter().map(|open| (ms, open.id)));
        assert_eq!(streams.due(due), [], "once each");
    }
    samples
}

#[test]
fn the_first_sample_is_an_interval_after_the_start() {
    let mut streams = Streams::new(&Quirks::NONE);
    streams.begin(&[], at(500));
    streams
        .start(open(1, Resource::Counter, Some(1500)), at(700))
        .unwrap();
    streams
        .start(open(2, Resource::Counter, None), at(700))
        .unwrap();
    assert_eq!(
        samples(&mut streams, 5200),
        [(2200, 1), (3700, 1), (5200, 1)]
    );
}

#[test]
fn the_linux_client_samples_on_its_tick() {
    let mut streams = Streams::new(&Quirks::LINUX);
    streams.begin(&[], at(500));
    streams
        .start(open(1, Resource::Counter, Some(1500)), at(700))
        .unwrap();
    streams
        .start(open(2, Resource::Counter, Some(1000)), at(1500))
        .unwrap();
    let expected = [(1500, 1), (2500, 2), (3500, 1), (3500, 2), (4500, 2)];
    assert_eq!(samples(&mut streams, 4500), expected);
}

#[test]
fn samples_that_were_missed_are_not_made_up() {
    for quirks in [Quirks::NONE, Quirks::LINUX] {
        let mut streams = Streams::new(&quirks);
        streams
            .start(open(1, Resource::Counter, Some(1000)), at(0))
            .unwrap();
        assert_eq!(streams.due(at(10_500)).len(), 1);
        let next = streams.poll_timeout().unwrap();
        assert!(next > at(10_500) && next <= at(12_000), "{next}");
    }
}

#[test]
fn who_is_told_of_a_change_depends_on_the_client() {
    let with = |quirks: &Quirks| {
        let mut streams = Streams::new(quirks);
        streams
            .start(open(1, Resource::Relay, None), at(0))
            .unwrap();
        streams
            .start(open(2, Resource::Relay, Some(1000)), at(0))
            .unwrap();
        streams.start(open(3, Resource::Sum, None), at(0)).unwrap();
        streams
    };
    for (quirks, before, after) in [
        (Quirks::NONE, vec![1], vec![1]),
        (Quirks::LINUX, vec![1], vec![1]),
        (Quirks::EMBEDDED, vec![2], vec![]),
        (Quirks::LEGACY, vec![1, 2], vec![1]),
        (Quirks::OF_2020, vec![1, 2], vec![1]),
    ] {
        let mut streams = with(&quirks);
        assert_eq!(told(&streams, Resource::Relay), before);
        assert_eq!(streams.stop(2).unwrap().id, 2);
        assert_eq!(streams.stop(2), None);
        assert_eq!(told(&streams, Resource::Relay), after);
        assert_eq!(told(&streams, Resource::Sum), [3]);
        // Started again, it is the last one.
        streams
            .start(open(1, Resource::Relay, None), at(0))
            .unwrap();
        assert_eq!(told(&streams, Resource::Relay), [1]);
    }
}

#[test]
fn there_is_an_end_of_streams() {
    let mut streams = Streams::new(&Quirks::NONE);
    for id in 0..STREAMS_MAX {
        let id = id as StreamId + 1;
        streams
            .start(open(id, Resource::Relay, Some(1)), at(0))
            .unwrap();
    }
    let one_more = open(9999, Resource::Relay, None);
    assert_eq!(streams.start(one_more, at(0)), Err(Full));
    assert_eq!(streams.start(open(5, Resource::Sum, None), at(0)), Ok(()));
    assert_eq!(streams.poll_timeout(), Some(at(0) + INTERVAL_MIN));
}

#[test]
fn intervals_are_read_as_each_client_reads_them() {
    let map = Value::map([("interval", 5000_u64)]);
    let bare = Value::Unsigned(5);
    let read =
        |value: Option<&Value>, is_2020, quirks: &Quirks| Asked::read(value, is_2020, quirks);
    let ms = |ms| Asked::Interval(Duration::from_millis(ms));
    for quirks in [
        Quirks::NONE,
        Quirks::LINUX,
        Quirks::EMBEDDED,
        Quirks::LEGACY,
    ] {
        assert_eq!(read(Some(&map), false, &quirks), ms(5000));
        assert_eq!(read(None, false, &quirks), Asked::Nothing);
    }
    assert_eq!(read(Some(&bare), false, &Quirks::EMBEDDED), ms(5));
    assert_eq!(read(Some(&bare), false, &Quirks::LINUX), Asked::Nothing);
    assert_eq!(read(Some(&bare), true, &Quirks::OF_2020), ms(5000));
    let zero = Value::map([("interval", 0_u64)]);
    assert_eq!(read(Some(&zero), false, &Quirks::LINUX), Asked::Events);
}

proptest! {
    /// Whatever is started and stopped: no sample comes late or twice, and none of what is closed.
    #[test]
    fn samples_keep_their_interval(
        starts in prop::collection::vec((1_u16..6, prop::option::of(1_u64..5_000), 0_u64..9_000), 1..12),
        stop in 1_u16..6,
        ticks in any::<bool>(),
    ) {
        let quirks = if ticks { Quirks::LINUX } else { Quirks::NONE };
        let mut streams = Streams::new(&quirks);
        streams.begin(&[], at(0));
        let mut starts = starts;
        starts.sort_by_key(|(_, _, ms)| *ms);
        for (id, interval, ms) in starts {
            samples(&mut streams, ms);
            streams.start(open(id, Resource::Counter, interval), at(ms)).unwrap();
        }
        streams.stop(stop);
        let intervals = streams.open();
        let seen = samples(&mut streams, 30_000);
        prop_assert!(seen.iter().all(|(_, id)| *id != stop));
        for open in intervals {
            let times: Vec<u64> = seen.iter().filter(|(_, id)| *id == open.id).map(|(ms, _)| *ms).collect();
            let Some(interval) = open.interval else {
                prop_assert!(times.is_empty());
                continue;
            };
            let interval = interval.as_millis() as u64;
            let step = if ticks { interval.div_ceil(1000) * 1000 } else { interval };
            for pair in times.windows(2) {
                prop_assert_eq!(pair[1] - pair[0], step);
            }
            prop_assert!(times.iter().all(|ms| !ticks || ms % 1000 == 0));
        }
    }
}
