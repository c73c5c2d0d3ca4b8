//! The store on real files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::access::Role;
use crate::device::{DeviceId, Status};
use crate::event::Change;
use crate::identity::Identity;
use crate::registry::AutoDevice;
use crate::registry::accept_filter::AcceptFilter;
use crate::registry::records::{Record, RecordKey, Refusal, Slaves, StoredCredential, StoredToken};

pub(super) const RETENTION: Retention = Retention {
    events_max: 100_000,
    age_max: std::time::Duration::from_secs(u64::MAX / 1_000_000),
    audit_max: 1000,
    limits: Limits {
        properties_max: 3,
        property_max_bytes: 100,
        buckets_max: 4,
        bucket_keep_max: 100_000,
        bucket_keep_for: std::time::Duration::from_secs(u64::MAX / 1_000_000),
    },
};

pub(super) type Commits = Receiver<(CommitId, Result<(), NotStored>)>;

pub(super) fn open_with(directory: &Path, retention: Retention) -> (Store, Stored, Commits) {
    let (opened, stored) = Store::open(directory, retention).expect("the store opens");
    let (told, commits) = channel();
    let on_commit = move |id, result| told.send((id, result)).unwrap_or_default();
    (opened.run(on_commit).expect("a thread"), stored, commits)
}

pub(super) fn open(directory: &Path) -> (Store, Stored, Commits) {
    open_with(directory, RETENTION)
}

/// What a store in this directory holds; it is left closed.
fn look(directory: &Path) -> Stored {
    let (store, stored, _) = open(directory);
    store.close().expect("the store closes");
    stored
}

pub(super) fn id(id: u32) -> DeviceId {
    DeviceId::new(id).expect("not zero")
}

fn devices(ids: impl IntoIterator<Item = u32>) -> Vec<AutoDevice> {
    let device = |number| AutoDevice {
        id: id(number),
        address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 51211),
        use_ssl: false,
    };
    ids.into_iter().map(device).collect()
}

pub(super) fn put(ids: impl IntoIterator<Item = u32>) -> StoreChange {
    StoreChange::PutDevices(devices(ids))
}

fn apply(store: &Store, commits: &Commits, change: StoreChange) -> Result<(), NotStored> {
    store.apply(CommitId(1), change);
    commits.recv().expect("each change is told of").1
}

fn event(number: u64) -> StatusEvent {
    StatusEvent {
        number,
        device: id(1 + u32::try_from(number % 5).expect("below 5")),
        change: Change::Changed,
        old: Some(Status::Disconnected),
        new: Status::TcpConnected,
        unix_ms: number,
        cause: None,
        attempt: 0,
        next_try_unix_ms: None,
    }
}

pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn history(store: &Store, after: u64, until: u64) -> Result<History, String> {
    wait(store.events(after, until))
}

fn audit_entry(call: &str) -> AuditEntry {
    AuditEntry {
        number: 0,
        unix_ms: 5,
        caller: "token ci".into(),
        peer: "127.0.0.1:9".into(),
        call: call.into(),
        arguments: "device 7".into(),
        result: "OK".into(),
    }
}

/// The numbers and the calls of the audit log after `after`.
fn audited(store: &Store, after: u64) -> Vec<(u64, String)> {
    let entries = wait(store.audit(after, 10_000)).expect("the log can be read");
    let entry = |entry: &AuditEntry| (entry.number, entry.call.to_string());
    entries.iter().map(entry).collect()
}

/// One record of each kind.
fn records() -> Vec<Record> {
    let credential = StoredCredential {
        identity: Identity::new("home", "lamp").expect("valid names"),
        digest: [1; 32],
        previous: None,
        created_unix_ms: 4,
        made_for_tls: true,
        confirmed: false,
    };
    let refusal = Refusal {
        device: id(5),
        by: "token ci".into(),
        unix_ms: 1,
        expires_unix_ms: 2,
    };
    let token = StoredToken {
        name: "ci".into(),
        role: Role::Operator,
        digest: [2; 32],
        created_unix_ms: 3,
        expires_unix_ms: Some(9),
        created_by: "anonymous".into(),
    };
    vec![
        slaves(7, [71, 72]),
        Record::Credential(credential),
        Record::Refusal(refusal),
        Record::Enrolment(id(5)),
        Record::Token(token),
    ]
}

fn slaves(parent: u32, rs485: impl IntoIterator<Item = u32>) -> Record {
    Record::Slaves(Slaves {
        parent: id(parent),
        rs485: rs485.into_iter().map(id).collect(),
        wiegand: vec![id(9)],
    })
}

/// The numbers of the events after `after`; `None` for a gap.
fn numbers(store: &Store, after: u64) -> Option<Vec<u64>> {
    match history(store, after, u64::MAX).expect("the log can be read") {
        History::Events(events) => Some(events.iter().map(|event| event.number).collect()),
        History::Gap => None,
    }
}

/// What a crash at this instant would leave: sled's files as they are.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("store")).expect("a directory");
    for entry in fs::read_dir(from.join("store")).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            // sled may replace a snapshot file at any time.
            let _ = fs::copy(entry.path(), to.join("store").join(entry.file_name()));
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, stored, commits) = open(directory.path());
    assert_eq!(stored.devices, []);
    let filter = AcceptFilter {
        device_ids: vec![3, 3, 1],
        ..AcceptFilter::default()
    };
    let identity = Identity::new("home", "lamp").expect("valid names");
    let reserved = stored.events_reserved + 5;
    for change in [
        put(1..=4),
        StoreChange::DeleteDevices(vec![id(2), id(9)]),
        StoreChange::PutAcceptFilter(filter.clone()),
        StoreChange::PutIdentity(id(0xC000_0000), identity.clone()),
        StoreChange::ReserveEvents(reserved),
    ] {
        assert_eq!(apply(&store, &commits, change), Ok(()));
    }
    assert_eq!(store.close(), Ok(()));
    assert_eq!(store.health(), Health::Closed);
    let stored = look(directory.path());
    assert_eq!(stored.devices, devices([1, 3, 4]));
    assert_eq!(stored.accept_filter, filter);
    assert_eq!(stored.identities, [(id(0xC000_0000), identity)]);
    assert!(stored.event_next >= reserved);
}

#[test]
fn a_copy_made_at_an_acknowledgement_has_what_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let copies = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let (from, to) = (directory.path().to_owned(), copies.path().to_owned());
    let (told, commits) = channel();
    let on_commit = move |id: CommitId, result: Result<(), NotStored>| {
        if id.0.is_multiple_of(10) {
            copy(&from, &to.join(id.0.to_string()));
        }
        told.send((id, result)).unwrap_or_default();
    };
    let store = opened.run(on_commit).expect("a thread");
    for number in 1..=40 {
        store.apply(CommitId(number.into()), put([number]));
    }
    let told: Vec<u64> = commits
        .iter()
        .take(40)
        .map(|(id, result)| {
            assert_eq!(result, Ok(()));
            id.0
        })
        .collect();
    assert_eq!(told, (1..=40).collect::<Vec<_>>());
    for number in [10, 20, 30, 40] {
        let stored = look(&copies.path().join(number.to_string()));
        let ids: BTreeSet<u32> = stored
            .devices
            .iter()
            .map(|device| device.id.get())
            .collect();
        assert!(
            (1..=number).all(|id| ids.contains(&id)),
            "{number}: {ids:?}"
        );
    }
}

#[test]
fn a_large_request_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    let before = fs::metadata(directory.path().join("store/db"))
        .expect("a file")
        .len();
    assert_eq!(apply(&store, &commits, put(1..=20_000)), Ok(()));
    let after = fs::metadata(directory.path().join("store/db"))
        .expect("a file")
        .len();
    assert!(after > before);
    let steps = 12;
    for step in 0..=steps {
        let cut = tempfile::tempdir().expect("a directory");
        copy(directory.path(), cut.path());
        let db = File::options()
            .write(true)
            .open(cut.path().join("store/db"))
            .expect("a file");
        db.set_len(before + (after - before) * step / steps)
            .expect("cut");
        drop(db);
        let count = look(cut.path()).devices.len();
        assert!(
            count == 0 || count == 20_000,
            "{count} devices at step {step}"
        );
    }
    store.close().expect("the store closes");
}

#[test]
fn records_are_there_at_the_next_start_and_in_the_export() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, stored, commits) = open(directory.path());
    assert_eq!(stored.records, []);
    let put = StoreChange::PutRecords(records());
    assert_eq!(apply(&store, &commits, put), Ok(()));
    store.close().expect("the store closes");
    assert_eq!(look(directory.path()).records, records());
    // sled is lost: the export has them too.
    fs::write(directory.path().join("store/db"), [0x5A; 300_000]).expect("write");
    fs::write(directory.path().join("store/conf"), [0x5A; 30]).expect("write");
    assert_eq!(look(directory.path()).records, records());

    let (store, _, _) = open(directory.path());
    let keys: Vec<RecordKey> = records().iter().map(Record::key).collect();
    let delete = StoreChange::DeleteRecords(keys[1..].to_vec());
    assert_eq!(wait(store.commit(delete)), Ok(()));
    store.close().expect("the store closes");
    assert_eq!(look(directory.path()).records, records()[..1]);
}

#[test]
fn a_change_of_several_trees_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let length = || {
        let file = fs::metadata(directory.path().join("store/db"));
        file.expect("a file").len()
    };
    let before = length();
    let filter = AcceptFilter {
        device_ids: vec![1],
        ..AcceptFilter::default()
    };
    let all = StoreChange::All(vec![
        put(1..=4000),
        StoreChange::PutRecords((1..=4000).map(|parent| slaves(parent, [1])).collect()),
        StoreChange::PutAcceptFilter(filter.clone()),
        StoreChange::All(vec![
            StoreChange::ReserveEvents(1 << 40),
            StoreChange::ReserveEvents(1 << 30),
        ]),
        StoreChange::DeleteDevices(vec![id(4000)]),
    ]);
    assert_eq!(wait(store.commit(all)), Ok(()));
    let (after, steps, mut whole) = (length(), 16, 0);
    assert!(after > before);
    for step in 0..=steps {
        let cut = tempfile::tempdir().expect("a directory");
        copy(directory.path(), cut.path());
        let db = File::options()
            .write(true)
            .open(cut.path().join("store/db"));
        db.expect("a file")
            .set_len(before + (after - before) * step / steps)
            .expect("cut");
        let stored = look(cut.path());
        let found = (
            stored.devices.len(),
            stored.records.len(),
            stored.accept_filter,
            stored.event_next > 1 << 40,
        );
        let nothing = (0, 0, AcceptFilter::default(), false);
        let everything = (3999, 4000, filter.clone(), true);
        whole += u32::from(found == everything);
        assert!(
            found == nothing || found == everything,
            "{found:?} at step {step}"
        );
    }
    assert!(whole > 0, "the whole file has the whole change");
    store.close().expect("the store closes");
}

#[test]
fn commits_of_callers_and_of_the_registry_are_in_one_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    let mut answers = Vec::new();
    for round in 0..50u32 {
        let put = StoreChange::PutRecords(vec![slaves(7, [round + 1])]);
        answers.push(store.commit(put));
        let delete = StoreChange::DeleteRecords(vec![RecordKey::Slaves(id(7))]);
        store.apply(CommitId(round.into()), delete);
    }
    // A caller that goes away changes nothing.
    drop(store.commit(StoreChange::PutRecords(vec![slaves(8, [1])])));
    for answer in answers {
        assert_eq!(wait(answer), Ok(()));
    }
    let told = commits.iter().take(50).map(|(id, _)| id.0);
    assert_eq!(told.collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    store.close().expect("the store closes");
    assert_eq!(look(directory.path()).records, [slaves(8, [1])]);
    let closed = wait(store.commit(put([1])));
    assert_eq!(closed, Err("the store is closed".into()));
}

#[test]
fn the_audit_log_is_numbered_bounded_and_outlives_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let retention = Retention {
        audit_max: 10,
        ..RETENTION
    };
    let (store, _, _) = open_with(directory.path(), retention);
    assert_eq!(audited(&store, 0), []);
    for number in 1..=6 {
        store.append_audit(audit_entry(&number.to_string()));
    }
    let expected = |numbers: std::ops::RangeInclusive<u64>| -> Vec<(u64, String)> {
        numbers.map(|number| (number, number.to_string())).collect()
    };
    assert_eq!(audited(&store, 0), expected(1..=6));
    assert_eq!(audited(&store, 4), expected(5..=6));
    assert_eq!(wait(store.audit(0, 2)).expect("read").len(), 2);
    assert_eq!(audited(&store, u64::MAX), []);
    // As after a kill: what was told is there in the next life, and numbers go on.
    let next_life = tempfile::tempdir().expect("a directory");
    copy(directory.path(), next_life.path());
    store.close().expect("the store closes");
    let (store, _, _) = open_with(next_life.path(), retention);
    for number in 7..=14 {
        store.append_audit(audit_entry(&number.to_string()));
        audited(&store, number - 1);
    }
    assert_eq!(audited(&store, 0), expected(5..=14));
    store.close().expect("the store closes");
    store.append_audit(audit_entry("late"));
    assert!(wait(store.audit(0, 1)).is_err());
    let (store, _, _) = open_with(next_life.path(), retention);
    assert_eq!(audited(&store, 12), expected(13..=14));
    store.close().expect("the store closes");
}

#[test]
fn damage_costs_neither_the_start_nor_the_desired_state() {
    fn empty_snapshot(store: &Path) {
        for entry in fs::read_dir(store).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("snap."))
            {
                File::create(path).expect("an empty file");
            }
        }
    }
    fn truncated(store: &Path) {
        let db = File::options()
            .write(true)
            .open(store.join("db"))
            .expect("a file");
        let length = db.metadata().expect("metadata").len();
        db.set_len(length.saturating_sub(64 * 1024)).expect("cut");
    }
    fn garbage_page(store: &Path) {
        let mut db = File::options()
            .write(true)
            .open(store.join("db"))
            .expect("a file");
        db.seek(SeekFrom::Start(4096)).expect("seek");
        db.write_all(&[0xA5; 64 * 1024]).expect("write");
    }
    fn garbage(store: &Path) {
        fs::write(store.join("db"), [0x5A; 300_000]).expect("write");
        fs::write(store.join("conf"), [0x5A; 30]).expect("write");
    }
    for damage in [empty_snapshot, truncated, garbage_page, garbage] {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _, commits) = open(directory.path());
        for number in 1..=2000 {
            store.apply(CommitId(number.into()), put([number]));
        }
        assert!(
            commits
                .iter()
                .take(2000)
                .all(|(_, result)| result == Ok(()))
        );
        store.append_events((1..=500).map(event).collect());
        store.close().expect("the store closes");
        damage(&directory.path().join("store"));

        let (store, stored, commits) = open(directory.path());
        assert!(
            stored.devices == devices(1..=2000),
            "{} devices",
            stored.devices.len()
        );
        assert!(stored.event_next > 1_000_000);
        assert_eq!(apply(&store, &commits, put([3000])), Ok(()));
        store.close().expect("the store closes");
        assert_eq!(look(directory.path()).devices.len(), 2001);
    }
}

#[test]
fn a_damaged_store_is_set_aside_and_not_thrown_away() {
    let directory = tempfile::tempdir().expect("a directory");
    look(directory.path());
    fs::write(directory.path().join("store/db"), [0x5A; 300_000]).expect("write");
    fs::write(directory.path().join("store/conf"), [0x5A; 30]).expect("write");
    fs::remove_file(directory.path().join("export.jsonl")).expect("an export was there");
    let stored = look(directory.path());
    let year_2020_ms = 1_577_836_800_000;
    assert!(
        stored.event_next > year_2020_ms,
        "numbers may repeat without an export"
    );
    let names = fs::read_dir(directory.path()).expect("a directory");
    let names: Vec<String> = names
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let aside = names
        .iter()
        .find(|name| name.starts_with("store.quarantine-"));
    let aside = directory.path().join(aside.expect("set aside")).join("db");
    assert_eq!(fs::metadata(aside).expect("a file").len(), 300_000);
}

#[test]
fn a_second_gateway_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let error = Store::open(directory.path(), RETENTION)
        .err()
        .expect("in use");
    let holder = format!("in use by process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    assert!(!error.to_string().contains('\n'));
    store.close().expect("the store closes");
    look(directory.path());
}

#[test]
fn the_files_of_a_closed_store_are_let_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let (going_on, until) = channel::<()>();
    // A child has copies of what is open until it runs its program.
    let start_children = move || {
        while until.try_recv() == Err(TryRecvError::Empty) {
            let child = Command::new("true").status();
            assert!(child.expect("a child").success());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(start_children);
        for round in 0..50 {
            let (store, _, commits) = open(directory.path());
            assert_eq!(apply(&store, &commits, put(1..=round + 100)), Ok(()));
            store.close().expect("the store closes");
            let file = File::open(directory.path().join("store/db")).expect("sled's file");
            file.try_lock().expect("nobody has it");
            file.unlock().expect("it is let go");
        }
        drop(going_on);
    });
}

#[test]
fn a_store_of_a_newer_schema_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    look(directory.path());
    let meta = |directory: &Path| {
        let db = sled::open(directory.join("store")).expect("sled opens");
        (db.open_tree("meta").expect("a tree"), db)
    };
    {
        let (tree, _db) = meta(directory.path());
        tree.insert("schema", record::encode_schema(7))
            .expect("written");
        tree.flush().expect("flushed");
    }
    let error = Store::open(directory.path(), RETENTION)
        .err()
        .expect("refused");
    assert!(error.to_string().contains("schema version is 7"), "{error}");
    let (tree, _db) = meta(directory.path());
    let schema = tree.get("schema").expect("read").expect("there");
    assert_eq!(record::decode_schema(&schema), Ok(7));
}

#[test]
fn a_record_that_does_not_decode_is_set_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    assert_eq!(apply(&store, &commits, put(1..=3)), Ok(()));
    let put_records = StoreChange::PutRecords(records());
    assert_eq!(apply(&store, &commits, put_records), Ok(()));
    store.append_audit(audit_entry("first"));
    store.append_audit(audit_entry("second"));
    store.append_events(vec![event(1), event(2)]);
    numbers(&store, 0).expect("a history");
    store.close().expect("the store closes");
    {
        let db = sled::open(directory.path().join("store")).expect("sled opens");
        let insert = |tree: &str, key: &[u8]| {
            let tree = db.open_tree(tree).expect("a tree");
            tree.insert(key, &[0xFF, 0xFF]).expect("written");
        };
        insert("devices", &2u32.to_be_bytes());
        insert("identities", b"x");
        insert("accept_filter", b"filter");
        insert("last_status", &2u32.to_be_bytes());
        insert("events", &1u64.to_be_bytes());
        insert("slaves", &7u32.to_be_bytes());
        insert("credentials", b"home\0lamp");
        insert("approvals", b"e\0\0\0\x05");
        insert("tokens", b"ci");
        insert("audit", &1u64.to_be_bytes());
        insert("properties", b"\0\0\0\x07a");
        insert("buckets", b"home\0t\0\0\0\0\0\0\0\0\0");
        insert("buckets", b"home\0t\0");
        db.flush().expect("flushed");
    }
    let (store, stored, _) = open(directory.path());
    assert_eq!(stored.devices, devices([1, 3]));
    // Only the refusal was left alone.
    assert_eq!(stored.records, records()[2..3]);
    assert_eq!(audited(&store, 0), [(2, "second".to_owned())]);
    assert_eq!(stored.accept_filter, AcceptFilter::default());
    assert_eq!(stored.last_statuses, [(id(3), Status::TcpConnected)]);
    assert_eq!(numbers(&store, 0), None);
    assert_eq!(numbers(&store, stored.event_next - 1), Some(Vec::new()));
    store.close().expect("the store closes");
    let db = sled::open(directory.path().join("store")).expect("sled opens");
    let aside = db.open_tree("quarantine").expect("a tree");
    assert_eq!(aside.len(), 13);
    assert!(aside.contains_key(b"devices/\0\0\0\x02").expect("read"));
}

#[test]
fn event_numbers_never_repeat() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut lives = vec![directory.path().to_owned()];
    let mut given_below = 0;
    for life in 0..5 {
        let (store, stored, commits) = open(&lives[life]);
        assert!(stored.event_next > given_below);
        assert_eq!(stored.events_reserved - stored.event_next, EVENT_BLOCK);
        given_below = stored.events_reserved;
        if life % 2 == 1 {
            given_below += 100;
            let reserve = StoreChange::ReserveEvents(given_below);
            assert_eq!(apply(&store, &commits, reserve), Ok(()));
        }
        // As after a kill: nothing is closed, the next life finds the files as they are.
        let next = directory.path().join(format!("life-{life}"));
        copy(&lives[life], &next);
        lives.push(next);
    }
}

#[test]
fn events_are_answered_before_and_after_they_are_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, stored, _) = open(directory.path());
    assert_eq!(stored.event_next, 1);
    assert_eq!(numbers(&store, 0), Some(Vec::new()));
    assert_eq!(numbers(&store, 1), None);
    store.append_events((1..=2500).map(event).collect());
    assert_eq!(numbers(&store, 0), Some((1..=2500).collect()));
    store.append_events((2501..=2600).map(event).collect());
    assert_eq!(numbers(&store, 2495), Some((2496..=2600).collect()));
    let part = history(&store, 900, 1100).expect("the log can be read");
    assert_eq!(part, History::Events((901..=1100).map(event).collect()));
    assert_eq!(history(&store, 2600, 5), Ok(History::Events(Vec::new())));
    store.close().expect("the store closes");

    let (store, stored, _) = open(directory.path());
    let first = stored.event_next;
    assert_eq!(numbers(&store, 2500), Some((2501..=2600).collect()));
    assert_eq!(numbers(&store, 2601), None);
    assert_eq!(numbers(&store, first), None);
    store.append_events(vec![event(first)]);
    assert_eq!(numbers(&store, 2599), Some(vec![2600, first]));
    assert_eq!(numbers(&store, first), Some(Vec::new()));
    store.close().expect("the store closes");
}

#[test]
fn a_snapshot_that_could_not_be_finished_is_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    assert_eq!(apply(&store, &commits, put([7])), Ok(()));
    store.close().expect("the store closes");
    let layout = files::Layout::new(directory.path());
    let half = layout.store().join("snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&half, "half of one").expect("written");
    assert_eq!(look(directory.path()).devices, devices([7]));
    assert!(!half.exists());
    assert_eq!(layout.quarantines().expect("read"), Vec::<String>::new());
}

#[test]
fn what_is_kept_and_left_free_changes_while_it_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    store.append_events((1..=2500).map(event).collect());
    assert_eq!(numbers(&store, 0), Some((1..=2500).collect()));
    let retention = |events_max, audit_max, property_max_bytes| Retention {
        events_max,
        audit_max,
        limits: Limits {
            property_max_bytes,
            ..RETENTION.limits
        },
        ..RETENTION
    };
    let set = |text: &str| wait(store.set_property(id(1), "name", Some(text.into())));
    for _ in 0..3 {
        store.append_audit(audit_entry("a"));
    }
    assert_eq!(wait(store.audit(0, 10)).expect("read").len(), 3);
    assert_eq!(set("twenty letters, or so"), Ok(()));

    store.keep(Keeping {
        retention: retention(1000, 2, 10),
        free_min: 0,
    });
    assert_eq!(numbers(&store, 0), None);
    assert_eq!(numbers(&store, 1000), Some((1001..=2500).collect()));
    assert!(matches!(
        set("twenty letters, or so"),
        Err(PropertyError::TooLarge { .. })
    ));
    store.keep(Keeping {
        retention: retention(1000, 2, 10),
        free_min: 1 << 60,
    });
    let refused = apply(&store, &commits, put([1]));
    assert!(matches!(refused, Err(NotStored::NoSpace(_))), "{refused:?}");
    assert!(matches!(store.health(), Health::NoSpace(_)));

    store.keep(Keeping {
        retention: retention(1000, 2, 100),
        free_min: 0,
    });
    assert_eq!(apply(&store, &commits, put([1])), Ok(()));
    assert_eq!(set("twenty letters, or so"), Ok(()));
    store.append_audit(audit_entry("b"));
    let calls = wait(store.audit(0, 10)).expect("read");
    assert_eq!(calls.len(), 2, "the oldest went with the next one");
    store.close().expect("the store closes");
}

#[test]
fn last_statuses_are_those_of_the_listed_devices() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let mut events: Vec<StatusEvent> = (1..=5).map(event).collect();
    events[1].change = Change::Added;
    events[2].change = Change::Refused;
    store.append_events(events);
    let mut removed = event(6);
    removed.change = Change::Removed;
    store.append_events(vec![removed]);
    store.close().expect("the store closes");
    let listed: Vec<_> = [1, 3, 5]
        .map(|number| (id(number), Status::TcpConnected))
        .into();
    assert_eq!(look(directory.path()).last_statuses, listed);
}

#[test]
fn a_long_history_comes_in_parts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, _) = open(directory.path());
    let all = HISTORY_MAX as u64 + 10;
    for first in (1..=all).step_by(1000) {
        store.append_events((first..=all.min(first + 999)).map(event).collect());
        numbers(&store, first).expect("a history");
    }
    let part = numbers(&store, 0).expect("a history");
    assert_eq!(part, (1..=HISTORY_MAX as u64).collect::<Vec<_>>());
    let rest = numbers(&store, HISTORY_MAX as u64).expect("a history");
    assert_eq!(rest.len(), 10);
    store.close().expect("the store closes");
}

#[test]
fn a_panic_fails_what_was_on_its_way_and_nothing_later() {
    let directory = tempfile::tempdir().expect("a directory");
    let (opened, _) = Store::open(directory.path(), RETENTION).expect("the store opens");
    let (told, commits) = channel();
    let on_commit = move |id: CommitId, result: Result<(), NotStored>| {
        assert_ne!(id, CommitId(13), "a panic for the test");
        told.send((id, result)).unwrap_or_default();
    };
    let store = opened.run(on_commit).expect("a thread");
    store.append_events(vec![event(1)]);
    store.apply(CommitId(13), put([13]));
    // Whatever the panic takes with it fails; then the store works again without a restart.
    let mut tries = 100;
    loop {
        store.apply(CommitId(tries), put([14]));
        let (id, result) = commits.recv().expect("each change is told of");
        assert_eq!(id, CommitId(tries));
        match result {
            Ok(()) => break,
            Err(_) => tries += 1,
        }
        std::thread::yield_now();
    }
    assert_eq!(store.health(), Health::Good);
    assert_eq!(numbers(&store, 0), Some(vec![1]));
    assert_eq!(store.close(), Ok(()));
    assert_eq!(look(directory.path()).devices, devices([13, 14]));
}

#[test]
fn a_store_that_is_closed_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    assert_eq!(store.close(), Ok(()));
    assert_eq!(store.close(), Ok(()));
    assert_eq!(
        apply(&store, &commits, put([1])),
        Err("the store is closed".into())
    );
    assert_eq!(history(&store, 0, 1), Err("the store is closed".into()));
    store.append_events(vec![event(1)]);
}

#[test]
fn a_store_that_is_dropped_finishes_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _, commits) = open(directory.path());
    store.apply(CommitId(1), put([1]));
    store.append_events(vec![event(1)]);
    drop(store);
    assert_eq!(commits.recv(), Ok((CommitId(1), Ok(()))));
    // The thread drops the sender last of all it does.
    assert!(commits.recv().is_err());
    let (store, stored, _) = loop {
        match Store::open(directory.path(), RETENTION) {
            Err(OpenError::InUse { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
            Ok((opened, stored)) => break (opened.run(|_, _| ()).expect("a thread"), stored, ()),
        }
    };
    assert_eq!(stored.devices, devices([1]));
    assert_eq!(numbers(&store, 0), Some(vec![1]));
    store.close().expect("the store closes");
}

/// What may happen between two looks at the log.
#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// As after a kill: the next life has the files as they were at some instant.
    Crash,
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..1500u64).prop_map(Step::Append),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_history_on_disk_is_whole_or_a_gap(steps in vec(any_step(), 1..12)) {
        let root = tempfile::tempdir().expect("a directory");
        let retention = Retention { events_max: 3000, ..RETENTION };
        let mut directory = root.path().join("0");
        let (mut store, stored, _) = open_with(&directory, retention);
        let mut next = stored.event_next;
        // Every number that is still part of the story.
        let mut story: BTreeSet<u64> = BTreeSet::new();
        let mut lost: BTreeSet<u64> = BTreeSet::new();
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(count) => {
                    story.extend(next..next + count);
                    store.append_events((next..next + count).map(event).collect());
                    next += count;
                }
                Step::Crash | Step::Restart => {
                    let crashed = root.path().join((index + 1).to_string());
                    let is_crash = matches!(step, Step::Crash);
                    if is_crash {
                        copy(&directory, &crashed);
                        directory = crashed;
                    }
                    store.close().expect("the store closes");
                    let (again, stored, _) = open_with(&directory, retention);
                    store = again;
                    if is_crash {
                        let log_end = kept_through(&store, &story);
                        lost.extend(story.split_off(&(log_end + 1)));
                    }
                    next = stored.event_next;
                }
            }
            for after in places(&story, &lost, next) {
                let answer = numbers(&store, after);
                if lost.contains(&after) || after >= next {
                    prop_assert_eq!(answer, None, "after {}", after);
                } else if let Some(events) = answer {
                    let expected: Vec<u64> = story.range(after + 1..).copied().collect();
                    prop_assert_eq!(events, expected, "after {}", after);
                }
            }
            if let Some(newest) = story.last() {
                prop_assert!(numbers(&store, *newest).is_some());
                let oldest_kept = story.iter().rev().nth(2999).unwrap_or(newest);
                prop_assert!(numbers(&store, *oldest_kept).is_some());
            }
        }
        store.close().expect("the store closes");
    }
}

/// The newest number of the story that survived a crash: the newest that can be followed.
fn kept_through(store: &Store, story: &BTreeSet<u64>) -> u64 {
    let mut newest_first = story.iter().rev().copied();
    newest_first
        .find(|number| numbers(store, *number).is_some())
        .unwrap_or(0)
}

/// Where to ask: around every edge.
fn places(story: &BTreeSet<u64>, lost: &BTreeSet<u64>, next: u64) -> BTreeSet<u64> {
    let sample = |set: &BTreeSet<u64>| -> Vec<u64> {
        let step = set.len() / 7 + 1;
        let ends = set.first().into_iter().chain(set.last()).copied();
        set.iter().copied().step_by(step).chain(ends).collect()
    };
    let mut places: BTreeSet<u64> = sample(story).into_iter().chain(sample(lost)).collect();
    places.extend([0, next, next + 1]);
    places
}
