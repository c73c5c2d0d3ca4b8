//! Buckets on real files.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::tests::{RETENTION, copy, id, open, open_with, put, wait};

const ALL: Range = Range {
    from_unix_ms: 0,
    until_unix_ms: u64::MAX,
    max: usize::MAX,
    newest_first: false,
};

fn bucket(owner: &str, name: &str) -> BucketName {
    BucketName {
        owner: owner.into(),
        name: name.into(),
    }
}

fn point(unix_ms: u64, value: u64) -> Point {
    Point {
        unix_ms,
        device: id(7),
        value: value.into(),
    }
}

/// Appends all of these in this order and waits until they are written.
fn append(store: &Store, bucket: &BucketName, points: &[Point]) {
    let answers = points
        .iter()
        .map(|point| store.append_point(bucket.clone(), point.clone()));
    let answers: Vec<_> = answers.collect();
    assert!(answers.into_iter().all(|answer| wait(answer) == Ok(())));
}

fn read(store: &Store, bucket: &BucketName, range: Range) -> Vec<Point> {
    wait(store.points(bucket.clone(), range)).expect("the store answers")
}

fn infos(store: &Store, owner: &str) -> Vec<BucketInfo> {
    wait(store.buckets(owner)).expect("the store answers")
}

fn info(name: &str, points: u64, first_unix_ms: u64, last_unix_ms: u64) -> BucketInfo {
    BucketInfo {
        name: name.into(),
        points,
        first_unix_ms,
        last_unix_ms,
    }
}

/// The series `numbers`, a millisecond apart from 1,000 on.
fn series(numbers: std::ops::Range<u64>) -> Vec<Point> {
    numbers.map(|number| point(1000 + number, number)).collect()
}

#[test]
fn points_come_back_in_their_order_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let (heat, light) = (bucket("home", "heat"), bucket("", "light"));
    assert_eq!(read(&store, &heat, ALL), []);
    append(&store, &heat, &series(0..150));
    append(
        &store,
        &light,
        &[point(5, 1), point(5, 2), point(3, 3), point(5, 4)],
    );
    append(&store, &heat, &series(150..170));
    let check = |store: &Store| {
        assert_eq!(read(store, &heat, ALL), series(0..170));
        let same_time = [point(5, 1), point(5, 2), point(3, 3), point(5, 4)];
        assert_eq!(read(store, &light, ALL), same_time);
        assert_eq!(infos(store, "home"), [info("heat", 170, 1000, 1169)]);
        assert_eq!(infos(store, ""), [info("light", 4, 3, 5)]);
        assert_eq!(infos(store, "hom"), []);
    };
    check(&store);
    // As after a kill: what was acknowledged is there in the next life.
    let next_life = tempfile::tempdir().expect("a directory");
    copy(directory.path(), next_life.path());
    store.close().expect("the store closes");
    let (store, _, _) = open(next_life.path());
    check(&store);
    append(&store, &heat, &series(170..300));
    assert_eq!(read(&store, &heat, ALL), series(0..300));
    // What was given and not waited for is written at the end.
    drop(store.append_point(heat.clone(), point(1300, 300)));
    store.close().expect("the store closes");
    let (store, _, _) = open(next_life.path());
    assert_eq!(read(&store, &heat, ALL), series(0..301));
    store.close().expect("the store closes");
}

#[test]
fn a_range_has_its_ends_and_its_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let heat = bucket("", "heat");
    append(&store, &heat, &series(0..11_000));
    let range = |from, until, max, newest_first| {
        let range = Range {
            from_unix_ms: from,
            until_unix_ms: until,
            max,
            newest_first,
        };
        let points = read(&store, &heat, range).into_iter();
        points.map(|point| point.unix_ms).collect::<Vec<_>>()
    };
    assert_eq!(range(1100, 1103, 9, false), [1100, 1101, 1102, 1103]);
    assert_eq!(range(1100, 1103, 2, false), [1100, 1101]);
    assert_eq!(range(1100, 1103, 2, true), [1103, 1102]);
    assert_eq!(range(0, u64::MAX, 1, true), [11_999]);
    assert_eq!(range(1103, 1100, 9, true), [0; 0]);
    assert_eq!(range(0, u64::MAX, 0, true), [0; 0]);
    let all = range(0, u64::MAX, usize::MAX, false);
    assert_eq!((all.len(), all[9_999]), (bucket::POINTS_MAX, 10_999));
    store.close().expect("the store closes");
}

#[test]
fn a_bucket_keeps_so_many_points_and_so_long() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut retention = RETENTION;
    retention.limits.bucket_keep_max = 100;
    let (store, _, _) = open_with(directory.path(), retention);
    let (heat, old) = (bucket("", "heat"), bucket("", "old"));
    append(&store, &heat, &series(0..1000));
    let kept = read(&store, &heat, ALL);
    assert!((95..=100).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept, series(1000 - kept.len() as u64..1000));
    let now = crate::clock::now().unix_ms;
    append(&store, &old, &[point(5, 5), point(now, 6)]);
    store.close().expect("the store closes");

    retention.limits.bucket_keep_for = Duration::from_hours(1);
    retention.limits.bucket_keep_max = 10;
    let (store, _, _) = open_with(directory.path(), retention);
    // All of `heat` is old; in `old` the old point stands in one batch with a new one.
    assert_eq!(infos(&store, ""), [info("old", 2, 5, now)]);
    assert_eq!(read(&store, &heat, ALL), []);
    append(
        &store,
        &old,
        &(0..20)
            .map(|step| point(now + step, step))
            .collect::<Vec<_>>(),
    );
    assert_eq!(read(&store, &old, ALL).len(), 10);
    store.close().expect("the store closes");
    let db = sled::open(directory.path().join("store")).expect("sled opens");
    for tree in ["points", "buckets"] {
        let tree = db.open_tree(tree).expect("a tree");
        assert_eq!(tree.len(), 10, "one point a batch, and none of `heat`");
    }
}

#[test]
fn an_owner_has_so_many_buckets() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut retention = RETENTION;
    retention.limits.bucket_keep_for = Duration::from_hours(1);
    let now = crate::clock::now().unix_ms;
    let (store, _, _) = open_with(directory.path(), retention);
    let try_append = |owner: &str, name: &str, unix_ms| {
        wait(store.append_point(bucket(owner, name), point(unix_ms, 1)))
    };
    let names = ["d", "b", "c", "e", "a", "b"];
    let answers = names.map(|name| store.append_point(bucket("home", name), point(now, 1)));
    let too_many = Err(BucketError::TooMany(4));
    let ok = Ok(());
    let expected = [
        ok.clone(),
        ok.clone(),
        ok.clone(),
        ok.clone(),
        too_many.clone(),
        ok,
    ];
    assert_eq!(answers.map(wait), expected);
    assert_eq!(try_append("work", "a", now), Ok(()));
    assert_eq!(try_append("home", "a", now), too_many);
    assert_eq!(wait(store.delete_bucket(bucket("home", "b"))), Ok(()));
    assert_eq!(wait(store.delete_bucket(bucket("home", "never"))), Ok(()));
    assert_eq!(try_append("home", "a", now), Ok(()));
    let names: Vec<_> = infos(&store, "home")
        .into_iter()
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["a", "c", "d", "e"].map(Box::from));
    assert_eq!(try_append("home", "", now), Err(BucketError::BadName));
    assert_eq!(try_append("ho\0me", "a", now), Err(BucketError::BadName));
    let long = Value::Bytes(vec![0; bucket::POINT_MAX_BYTES]);
    let long = Point {
        value: long,
        ..point(now, 1)
    };
    let bytes = property::encode_value(&long.value).len();
    let answer = wait(store.append_point(bucket("home", "a"), long));
    assert_eq!(answer, Err(BucketError::TooLarge(bytes)));
    store.close().expect("the store closes");
}

#[test]
fn a_deleted_bucket_is_gone_and_can_be_begun_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let (heat, other) = (bucket("home", "heat"), bucket("home", "heat2"));
    append(&store, &other, &series(0..3));
    // In the order of the calls, though nothing is waited for in between.
    let first = store.append_point(heat.clone(), point(1, 1));
    let deleted = store.delete_bucket(heat.clone());
    let second = store.append_point(heat.clone(), point(2, 2));
    assert_eq!(
        (wait(first), wait(deleted), wait(second)),
        (Ok(()), Ok(()), Ok(()))
    );
    assert_eq!(read(&store, &heat, ALL), [point(2, 2)]);
    assert_eq!(wait(store.delete_bucket(heat.clone())), Ok(()));
    store.close().expect("the store closes");
    let closed = wait(store.append_point(heat.clone(), point(2, 2)));
    assert_eq!(
        closed,
        Err(BucketError::NotStored("the store is closed".into()))
    );
    assert!(wait(store.delete_bucket(heat.clone())).is_err());
    let (store, _, _) = open(directory.path());
    assert_eq!(read(&store, &heat, ALL), []);
    assert_eq!(read(&store, &other, ALL), series(0..3));
    store.close().expect("the store closes");
}

#[test]
fn what_does_not_decode_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let (heat, light) = (bucket("", "heat"), bucket("", "light"));
    append(&store, &heat, &series(0..200));
    append(&store, &light, &series(0..3));
    store.close().expect("the store closes");
    let key = |bucket: &BucketName, number| bucket_record::key(bucket, number);
    {
        let db = sled::open(directory.path().join("store")).expect("sled opens");
        let insert = |tree: &str, key: Vec<u8>| {
            let tree = db.open_tree(tree).expect("a tree");
            tree.insert(key, b"\xFF\xFF").expect("written");
        };
        insert("points", key(&heat, 1));
        insert("points", key(&heat, 3));
        insert("buckets", key(&heat, 0));
        insert("buckets", key(&light, 0));
        insert("points", key(&light, 0));
        db.flush().expect("flushed");
    }
    let (store, _, _) = open(directory.path());
    // The newest batch is not appended to, but set aside.
    append(&store, &heat, &[point(5000, 1)]);
    let mut expected = series(0..64);
    expected.extend(series(128..192));
    expected.push(point(5000, 1));
    for _ in 0..2 {
        assert_eq!(read(&store, &heat, ALL), expected);
    }
    assert_eq!(infos(&store, ""), [info("heat", 129, 1000, 5000)]);
    store.close().expect("the store closes");
    let (store, _, _) = open(directory.path());
    assert_eq!(read(&store, &heat, ALL), expected);
    store.close().expect("the store closes");
    let db = sled::open(directory.path().join("store")).expect("sled opens");
    let aside = db.open_tree("quarantine").expect("a tree");
    assert_eq!(aside.len(), 5);
    let name = [b"points/", &key(&heat, 1)[..]].concat();
    assert!(aside.contains_key(name).expect("read"));
}

#[test]
fn more_than_can_wait_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let on_commit = move |_: CommitId, _: Result<(), NotStored>| {
        // The thread stands here until the test lets it go on.
        let _ = held.lock().expect("no panic").recv();
    };
    let store = opened.run(on_commit).expect("a thread");
    store.apply(CommitId(1), put([1]));
    let value = Value::Bytes(vec![0; bucket::POINT_MAX_BYTES - 16]);
    let large = Point {
        value,
        ..point(1, 1)
    };
    let mut answers = Vec::new();
    let heat = bucket("", "heat");
    let refused = loop {
        // The answer of one that was refused is there at once.
        let mut answer = Box::pin(store.append_point(heat.clone(), large.clone()));
        match futures_util::FutureExt::now_or_never(answer.as_mut()) {
            Some(answer) => break answer,
            None => answers.push(answer),
        }
    };
    assert_eq!(refused, Err(BucketError::Busy));
    assert!((400..1200).contains(&answers.len()), "{}", answers.len());
    drop(hold);
    assert!(answers.into_iter().all(|answer| wait(answer) == Ok(())));
    // An answer ends where it has become large enough.
    assert!(read(&store, &heat, ALL).len() < 300);
    store.close().expect("the store closes");
}

#[test]
fn a_store_that_does_not_work_fails_points_and_nothing_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let on_commit = |id: CommitId, _: Result<(), NotStored>| {
        assert_ne!(id, CommitId(13), "a panic for the test");
    };
    let store = opened.run(on_commit).expect("a thread");
    let heat = bucket("", "heat");
    append(&store, &heat, &series(0..3));
    let gathered = store.append_point(heat.clone(), point(7, 7));
    store.apply(CommitId(13), put([13]));
    let refused = store.append_point(heat.clone(), point(8, 8));
    // The one before may have been written before the panic.
    let first = wait(gathered);
    for answer in [first.clone().err(), wait(refused).err()]
        .into_iter()
        .flatten()
    {
        let BucketError::NotStored(problem) = answer else {
            panic!("{answer}");
        };
        assert!(
            problem.to_string().contains("a panic for the test"),
            "{problem}"
        );
    }
    let mut expected = series(0..3);
    expected.extend(first.is_ok().then(|| point(7, 7)));
    while wait(store.append_point(heat.clone(), point(9, 9))).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(store.health(), Health::Good);
    expected.push(point(9, 9));
    let mut found = read(&store, &heat, ALL);
    found.retain(|point| point.unix_ms != 8);
    assert_eq!(found, expected);
    store.close().expect("the store closes");
}

/// What may happen to a bucket.
#[derive(Clone, Debug)]
enum Step {
    /// Points at these times, given at once.
    Append(usize, Vec<u64>),
    Delete(usize),
    Restart,
    /// As after a kill.
    Crash,
    Read(usize, Range),
}

fn any_step() -> impl Strategy<Value = Step> {
    let range = (0..60u64, 0..60u64, 0..60usize, any::<bool>());
    let range = range.prop_map(|(from_unix_ms, until_unix_ms, max, newest_first)| Range {
        from_unix_ms,
        until_unix_ms,
        max,
        newest_first,
    });
    prop_oneof![
        5 => (0..2usize, vec(0..60u64, 1..120)).prop_map(|(bucket, times)| Step::Append(bucket, times)),
        1 => (0..2usize).prop_map(Step::Delete),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        6 => (0..2usize, range).prop_map(|(bucket, range)| Step::Read(bucket, range)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_bucket_is_a_list_of_points(steps in vec(any_step(), 1..25)) {
        let root = tempfile::tempdir().expect("a directory");
        let names = [bucket("", "a"), bucket("home", "a")];
        let mut lists: [Vec<Point>; 2] = Default::default();
        let mut directory = root.path().join("0");
        let (mut store, _, _) = open(&directory);
        let mut given = 0;
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(which, times) => {
                    let points = times.into_iter().map(|unix_ms| {
                        given += 1;
                        point(unix_ms, given)
                    });
                    let points: Vec<Point> = points.collect();
                    append(&store, &names[which], &points);
                    lists[which].extend(points);
                }
                Step::Delete(which) => {
                    prop_assert_eq!(wait(store.delete_bucket(names[which].clone())), Ok(()));
                    lists[which].clear();
                }
                Step::Restart | Step::Crash => {
                    if matches!(step, Step::Crash) {
                        let crashed = root.path().join((index + 1).to_string());
                        copy(&directory, &crashed);
                        directory = crashed;
                    }
                    store.close().expect("the store closes");
                    store = open(&directory).0;
                }
                Step::Read(which, range) => {
                    let times = range.from_unix_ms..=range.until_unix_ms;
                    let mut expected = lists[which].clone();
                    if range.newest_first {
                        expected.reverse();
                    }
                    expected.retain(|point| times.contains(&point.unix_ms));
                    expected.truncate(range.max);
                    prop_assert_eq!(read(&store, &names[which], range), expected);
                }
            }
            for (name, list) in names.iter().zip(&lists) {
                let times = || list.iter().map(|point| point.unix_ms);
                let expected = times().min().zip(times().max());
                let expected = expected.map(|(first, last)| info("a", list.len() as u64, first, last));
                prop_assert_eq!(infos(&store, &name.owner), Vec::from_iter(expected));
            }
        }
        store.close().expect("the store closes");
    }
}
