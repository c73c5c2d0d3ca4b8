//! Properties on real files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::registry::StoreChange;
use crate::store::desired::Desired;
use crate::store::disk::{Disk, Older};
use crate::store::files::Layout;
use crate::store::property::{Property, PropertyChange};
use crate::store::tests::{RETENTION, copy, id, open, put, wait};

fn set(store: &Store, device: u32, name: &str, value: u64) -> Result<(), PropertyError> {
    wait(store.set_property(id(device), name, Some(value.into())))
}

fn get(store: &Store, device: u32, name: &str) -> Option<Value> {
    wait(store.property(id(device), name)).expect("the store answers")
}

fn all(store: &Store, device: u32) -> Vec<(Box<str>, Value)> {
    wait(store.properties(id(device))).expect("the store answers")
}

fn property(name: &str, value: u64) -> (Box<str>, Value) {
    (name.into(), value.into())
}

#[test]
fn a_property_is_what_was_acknowledged_last() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    assert_eq!(get(&store, 7, "a"), None);
    for (device, name, value) in [(7, "b", 1), (7, "a", 2), (8, "a", 3), (7, "b", 4)] {
        assert_eq!(set(&store, device, name, value), Ok(()));
        assert_eq!(get(&store, device, name), Some(value.into()));
    }
    assert_eq!(all(&store, 7), [property("a", 2), property("b", 4)]);
    assert_eq!(all(&store, 8), [property("a", 3)]);
    for _ in 0..2 {
        assert_eq!(wait(store.set_property(id(7), "a", None)), Ok(()));
    }
    assert_eq!(all(&store, 7), [property("b", 4)]);
    assert_eq!(all(&store, 9), []);
    store.close().expect("the store closes");
    assert!(wait(store.property(id(7), "b")).is_err());
    assert!(wait(store.properties(id(7))).is_err());
    let closed = PropertyError::NotStored("the store is closed".into());
    assert_eq!(set(&store, 7, "a", 1), Err(closed));
}

#[test]
fn properties_are_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    // Given to the store at once: the bound counts what stands before it in its own group.
    let answers =
        ["a", "b", "c", "d", "a"].map(|name| store.set_property(id(7), name, Some(5u64.into())));
    let answers = answers.map(wait);
    let too_many = Err(PropertyError::TooMany(3));
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), too_many.clone(), Ok(())]);
    assert_eq!(set(&store, 7, "d", 1), too_many);
    assert_eq!(set(&store, 7, "b", 6), Ok(()));
    assert_eq!(wait(store.set_property(id(7), "c", None)), Ok(()));
    assert_eq!(set(&store, 7, "d", 1), Ok(()));
    assert_eq!(set(&store, 8, "d", 1), Ok(()));
    assert_eq!(set(&store, 7, "", 1), Err(PropertyError::BadName));
    let long = Value::String("x".repeat(100));
    let bytes = property::encode_value(&long).len();
    let too_large = PropertyError::TooLarge { bytes, max: 100 };
    let answer = wait(store.set_property(id(8), "long", Some(long)));
    assert_eq!(answer, Err(too_large));
    assert_eq!(all(&store, 8), [property("d", 1)]);
    store.close().expect("the store closes");
}

#[test]
fn a_kill_at_any_acknowledgement_keeps_the_property() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    for value in 1..=12 {
        assert_eq!(set(&store, 7, "a", value), Ok(()));
        if value % 4 == 0 {
            let next_life = tempfile::tempdir().expect("a directory");
            copy(directory.path(), next_life.path());
            let (store, _, _) = open(next_life.path());
            assert_eq!(get(&store, 7, "a"), Some(value.into()));
            store.close().expect("the store closes");
        }
    }
    store.close().expect("the store closes");
}

/// Leaves nothing of sled but its name.
fn lose(directory: &Path) {
    fs::write(directory.join("store/db"), [0x5A; 300_000]).expect("write");
    fs::write(directory.join("store/conf"), [0x5A; 30]).expect("write");
}

#[test]
fn the_export_has_the_properties_and_gives_them_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let values = [
        Value::Bytes(vec![0, 0xFF]),
        Value::map([("x\u{1b}<b>", Value::Float(1.5))]),
        Value::Negative(i64::MIN),
    ];
    for (device, value) in (7..).zip(&values) {
        let set = store.set_property(id(device), "a b", Some(value.clone()));
        assert_eq!(wait(set), Ok(()));
    }
    store.close().expect("the store closes");
    lose(directory.path());
    for _ in 0..2 {
        let (store, _, _) = open(directory.path());
        for (device, value) in (7..).zip(&values) {
            assert_eq!(all(&store, device), [("a b".into(), value.clone())]);
        }
        store.close().expect("the store closes");
    }
}

#[test]
fn a_store_that_came_back_with_less_takes_what_the_export_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    assert_eq!(set(&store, 7, "a", 1), Ok(()));
    assert_eq!(set(&store, 7, "b", 2), Ok(()));
    store.close().expect("the store closes");
    let layout = Layout::new(directory.path());
    let (disk, loaded) = Disk::open(&layout.store(), Older::Refused).expect("sled opens");
    let groups = loaded.desired.groups;
    let names = || {
        let found = disk.properties(id(7)).expect("the disk works");
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let one = PropertyChange::new(id(7), "b", None, 0).expect("a name");
    disk.change_property(&one, 3)
        .expect("the disk works")
        .expect("there is room");
    // What is on disk is no older than the export: it stays.
    open::restore_properties(&layout, &disk, groups).expect("the disk works");
    assert_eq!(names(), ["a".into()]);
    open::restore_properties(&layout, &disk, groups - 1).expect("the disk works");
    assert_eq!(names(), ["a".into(), "b".into()]);
}

#[test]
fn an_export_without_the_disk_keeps_the_lines_of_properties() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, mut copied) = (directory.path().join("export.jsonl"), Vec::new());
    files::copy_lines(&path, &mut copied, export::is_property_line).expect("no file");
    let property = Property {
        device: id(7),
        name: "a".into(),
        pson: vec![1],
    };
    let line = export::property_line(&property);
    let text = [
        &export::write(&Desired::default())[..],
        &line,
        &line,
        b"{\"property\":{",
    ]
    .concat();
    fs::write(&path, text).expect("written");
    files::copy_lines(&path, &mut copied, export::is_property_line).expect("a file");
    assert_eq!(copied, [line.clone(), line].concat());
}

#[test]
fn changes_of_properties_stand_in_the_order_of_all_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let (told, commits) = channel();
    let copies = tempfile::tempdir().expect("a directory");
    let (from, to) = (directory.path().to_owned(), copies.path().to_owned());
    let on_commit = move |id: CommitId, result: Result<(), NotStored>| {
        copy(&from, &to.join(id.0.to_string()));
        told.send((id, result)).unwrap_or_default();
    };
    let store = opened.run(on_commit).expect("a thread");
    let mut answers = Vec::new();
    for number in 1..=5u32 {
        answers.push(store.set_property(id(7), "n", Some(number.into())));
        store.apply(CommitId(number.into()), put([number]));
        answers.push(store.set_property(id(7), "n", None));
    }
    // A caller that goes away changes nothing.
    drop(store.set_property(id(8), "left", Some(1u64.into())));
    assert!(answers.into_iter().all(|answer| wait(answer) == Ok(())));
    assert_eq!(get(&store, 7, "n"), None);
    assert_eq!(get(&store, 8, "left"), Some(Value::Unsigned(1)));
    let told: Vec<u64> = commits.iter().take(5).map(|(id, _)| id.0).collect();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    store.close().expect("the store closes");
    for number in 1..=5u64 {
        // What was given before an acknowledged change is there with it, or was deleted since.
        let (store, stored, _) = open(&copies.path().join(number.to_string()));
        assert!(stored.devices.len() as u64 >= number);
        let found = get(&store, 7, "n");
        assert!(found.is_none_or(|found| found.as_unsigned() >= Some(number)));
        store.close().expect("the store closes");
    }
}

#[test]
fn a_store_that_does_not_work_says_so_and_works_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let on_commit = |id: CommitId, _: Result<(), NotStored>| {
        assert_ne!(id, CommitId(13), "a panic for the test");
    };
    let store = opened.run(on_commit).expect("a thread");
    assert_eq!(set(&store, 7, "a", 1), Ok(()));
    // Until it is asked while the store does not work; it opens its files again by itself.
    let failed = |ask: &dyn Fn() -> Result<(), String>| loop {
        store.apply(CommitId(13), StoreChange::DeleteDevices(Vec::new()));
        if let Err(problem) = ask() {
            assert!(problem.contains("a panic for the test"), "{problem}");
            break;
        }
    };
    failed(&|| set(&store, 7, "a", 2).map_err(|error| error.to_string()));
    failed(&|| wait(store.property(id(7), "a")).map(|_| ()));
    failed(&|| wait(store.properties(id(7))).map(|_| ()));
    let mut value = 3;
    while set(&store, 7, "a", value).is_err() {
        std::thread::yield_now();
        value += 1;
    }
    assert_eq!(get(&store, 7, "a"), Some(value.into()));
    store.close().expect("the store closes");
}

#[test]
fn a_store_of_schema_2_is_taken_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    assert_eq!(wait(store.commit(put([1]))), Ok(()));
    store.close().expect("the store closes");
    {
        let db = sled::open(directory.path().join("store")).expect("sled opens");
        for tree in ["properties", "points", "buckets"] {
            assert_eq!(db.drop_tree(tree), Ok(true));
        }
        let meta = db.open_tree("meta").expect("a tree");
        meta.insert("schema", record::encode_schema(2))
            .expect("written");
        db.flush().expect("flushed");
    }
    let (store, stored, _) = open(directory.path());
    assert_eq!(stored.devices.len(), 1);
    assert_eq!(set(&store, 1, "a", 1), Ok(()));
    store.close().expect("the store closes");
    let db = sled::open(directory.path().join("store")).expect("sled opens");
    let meta = db.open_tree("meta").expect("a tree");
    let schema = meta.get("schema").expect("read").expect("there");
    assert_eq!(record::decode_schema(&schema), Ok(3));
}

#[test]
fn a_property_that_does_not_decode_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    for name in ["a", "b"] {
        assert_eq!(set(&store, 7, name, 1), Ok(()));
    }
    store.close().expect("the store closes");
    {
        let db = sled::open(directory.path().join("store")).expect("sled opens");
        let tree = db.open_tree("properties").expect("a tree");
        tree.insert(b"\0\0\0\x07a", b"\xFF\xFF").expect("written");
        db.flush().expect("flushed");
    }
    let (store, _, _) = open(directory.path());
    assert_eq!(all(&store, 7), [property("b", 1)]);
    store.close().expect("the store closes");
    let db = sled::open(directory.path().join("store")).expect("sled opens");
    let aside = db.open_tree("quarantine").expect("a tree");
    assert!(aside.contains_key(b"properties/\0\0\0\x07a").expect("read"));
}

fn any_change() -> impl Strategy<Value = PropertyChange> {
    let pson = proptest::option::of((0..30u8).prop_map(|small| vec![small]));
    (1..3u32, "[a-d]", pson).prop_map(|(device, name, pson)| PropertyChange {
        device: id(device),
        name: name.into(),
        pson,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_failed_group_is_taken_back(groups in vec((vec(any_change(), 1..9), any::<bool>()), 1..9)) {
        let directory = tempfile::tempdir().expect("a directory");
        let (disk, _) = Disk::open(directory.path(), Older::Refused).expect("sled opens");
        let mut model: BTreeMap<(DeviceId, Box<str>), Vec<u8>> = BTreeMap::new();
        for (changes, holds) in groups {
            let mut next = model.clone();
            let mut before = Vec::new();
            for PropertyChange { device, name, pson } in &changes {
                let key = (*device, name.clone());
                let few = next.keys().filter(|(other, _)| other == device).count() < 3;
                let fits = few || next.contains_key(&key) || pson.is_none();
                let change = PropertyChange { device: *device, name: name.clone(), pson: pson.clone() };
                match disk.change_property(&change, 3).expect("the disk works") {
                    Ok(old) => before.push(old),
                    Err(error) => prop_assert_eq!((error, fits), (PropertyError::TooMany(3), false)),
                }
                match pson {
                    Some(pson) if fits => drop(next.insert(key, pson.clone())),
                    Some(_) => {}
                    None => drop(next.remove(&key)),
                }
            }
            if holds {
                model = next;
            } else {
                disk.take_back(&before).expect("the disk works");
            }
            let mut found = BTreeMap::new();
            let each = disk.each_property(|property| {
                found.insert((property.device, property.name), property.pson);
                Ok(())
            });
            each.expect("the disk works");
            prop_assert_eq!(&found, &model);
        }
    }
}
