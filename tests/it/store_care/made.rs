//! A store with something of everything, made through its own interface.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use gatehouse::access::Role;
use gatehouse::cause::{Cause, CauseKind};
use gatehouse::codec::pson::Value;
use gatehouse::device::{DeviceId, Status};
use gatehouse::event::{Change, StatusEvent};
use gatehouse::identity::Identity;
use gatehouse::registry::accept_filter::AcceptFilter;
use gatehouse::registry::records::{
    AuditEntry, PreviousDigest, Record, Refusal, Slaves, StoredCredential, StoredToken,
};
use gatehouse::registry::{AutoDevice, StoreChange, Stored};
use gatehouse::store::{BucketName, Limits, Point, Retention, Store};

use crate::support::process::gatehouse;

pub const RETENTION: Retention = Retention {
    events_max: 100_000,
    age_max: Duration::from_secs(u64::MAX / 1_000_000),
    audit_max: 1000,
    limits: Limits {
        properties_max: 64,
        property_max_bytes: 10_000,
        buckets_max: 4,
        bucket_keep_max: 100_000,
        bucket_keep_for: Duration::from_secs(u64::MAX / 1_000_000),
    },
};

pub fn id(id: u32) -> DeviceId {
    DeviceId::new(id).expect("not zero")
}

pub fn open(directory: &Path) -> (Store, Stored) {
    let (opened, stored) = Store::open(directory, RETENTION).expect("the store opens");
    (opened.run(|_, _| {}).expect("a thread"), stored)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

pub fn commit(store: &Store, change: StoreChange) {
    wait(store.commit(change)).expect("stored");
}

pub fn devices(ids: impl IntoIterator<Item = u32>) -> StoreChange {
    let device = |number| AutoDevice {
        id: id(number),
        address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 51211),
        use_ssl: number % 2 == 0,
    };
    StoreChange::PutDevices(ids.into_iter().map(device).collect())
}

fn records() -> Vec<Record> {
    let credential = StoredCredential {
        identity: Identity::new("home", "lamp").expect("valid names"),
        digest: [1; 32],
        previous: Some(PreviousDigest {
            digest: [3; 32],
            holds_until_unix_ms: 77,
        }),
        created_unix_ms: 4,
        made_for_tls: true,
        confirmed: false,
    };
    let refusal = Refusal {
        device: id(5),
        by: "token \"ci\"\n".into(),
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
    let slaves = Slaves {
        parent: id(7),
        rs485: vec![id(71), id(72)],
        wiegand: vec![id(9)],
    };
    vec![
        Record::Slaves(slaves),
        Record::Credential(credential),
        Record::Refusal(refusal),
        Record::Enrolment(id(5)),
        Record::Token(token),
    ]
}

fn event(number: u64, change: Change) -> StatusEvent {
    StatusEvent {
        number,
        device: id(1 + u32::try_from(number % 5).expect("below 5")),
        change,
        old: number.is_multiple_of(2).then_some(Status::Disconnected),
        new: Status::TcpConnected,
        unix_ms: number,
        cause: number
            .is_multiple_of(3)
            .then(|| Cause::new(CauseKind::DialFailed, "refused \u{1b}[2J")),
        attempt: 3,
        next_try_unix_ms: number.is_multiple_of(4).then_some(5),
    }
}

/// Fills a store with every kind of record and closes it.
pub fn fill(directory: &Path) {
    let (store, stored) = open(directory);
    commit(&store, devices(1..=2000));
    let filter = AcceptFilter {
        device_ids: vec![3, 3, 1],
        ip_addrs: vec!["192.0.2.7".to_owned()],
        subnet_masks: vec!["255.255.255.0".to_owned()],
        ..AcceptFilter::default()
    };
    commit(&store, StoreChange::PutAcceptFilter(filter));
    let identity = Identity::new("home", "lamp2").expect("valid names");
    commit(&store, StoreChange::PutIdentity(id(0xC000_0000), identity));
    commit(&store, StoreChange::PutRecords(records()));
    for name in ["interval", "z \u{1f980}"] {
        let set = store.set_property(id(7), name, Some(Value::String("x".repeat(300))));
        wait(set).expect("stored");
    }
    let changes = [
        Change::Added,
        Change::Changed,
        Change::Refused,
        Change::Approved,
        Change::Denied,
        Change::Removed,
    ];
    let events = (0..3000u64).map(|n| event(stored.event_next + n, changes[(n % 6) as usize]));
    store.append_events(events.collect());
    let bucket = BucketName {
        owner: "".into(),
        name: "heat".into(),
    };
    for minute in 0..200 {
        let point = Point {
            unix_ms: 1_700_000_000_000 + minute * 60_000,
            device: id(7),
            value: minute.into(),
        };
        drop(store.append_point(bucket.clone(), point));
    }
    for call in ["a.B/C", "a.B/D"] {
        store.append_audit(AuditEntry {
            number: 0,
            unix_ms: 5,
            caller: "token ci".into(),
            peer: "127.0.0.1:9".into(),
            call: call.into(),
            arguments: "device 7".into(),
            result: "OK".into(),
        });
    }
    store.close().expect("the store closes");
}

/// Runs a verb on this data directory.
pub fn verb(directory: &Path, arguments: &[&str]) -> Output {
    let directory = directory.to_str().expect("a path in UTF-8");
    gatehouse(&[&["store"], arguments, &["--data-dir", directory]].concat())
}

/// What a verb says that does what it should.
pub fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = verb(directory, arguments);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complained}");
    String::from_utf8(output.stdout).expect("text")
}

/// With which code a verb ends that does not, and what it complains of.
pub fn refused(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let output = verb(directory, arguments);
    assert!(!output.status.success(), "{arguments:?} is done");
    let code = output.status.code().expect("no signal");
    (code, String::from_utf8(output.stderr).expect("text"))
}

/// Everything in the store, as lines.
pub fn exported(directory: &Path) -> String {
    done(directory, &["export", "--all"])
}

/// All lines of an export but the first, which has numbers that always go on.
pub fn body(export: &str) -> &str {
    export.split_once('\n').expect("lines").1
}
