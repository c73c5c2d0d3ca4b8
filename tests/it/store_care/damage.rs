//! What `store check` finds, and the copy before a migration.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::made::{body, commit, devices, exported, fill, open, refused, verb};
use super::tmpfs::Tmpfs;

fn check(directory: &Path) -> (i32, Json) {
    let output = verb(directory, &["check", "--output", "json"]);
    let report = serde_json::from_slice(&output.stdout).expect("a report");
    (output.status.code().expect("no signal"), report)
}

/// Every file of a store, byte for byte.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory.join("store")).expect("a directory");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs::read(path).expect("read")))
        .collect()
}

fn with_db(directory: &Path, change: impl Fn(&mut File)) {
    let db = directory.join("store/db");
    let file = File::options().read(true).write(true).open(db);
    change(&mut file.expect("a file"));
}

#[test]
fn a_sound_store_is_told_in_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let before = files(directory.path());
    let (code, report) = check(directory.path());
    assert_eq!((code, &report["sound"]), (0, &Json::Bool(true)), "{report}");
    assert_eq!(report["schema"], report["schema_written"]);
    for (tree, count) in [
        ("devices", 2000),
        ("accept_filter", 1),
        ("identities", 1),
        ("slaves", 1),
        ("credentials", 1),
        ("approvals", 2),
        ("tokens", 1),
        ("properties", 2),
        ("audit", 2),
    ] {
        assert_eq!(report["records"][tree], count, "{tree}");
    }
    assert_eq!(report["points"], 200);
    assert_eq!(report["events"]["count"], 3000);
    let events = &report["events"];
    let number = |key: &str| events[key].as_u64().expect("a number");
    assert_eq!(number("last") - number("first"), 2999);
    assert_eq!(number("followed_from") + 1, number("first"));
    assert!(files(directory.path()) == before, "it was written to");
}

#[test]
fn damage_is_found_and_not_touched() {
    type Damage = fn(&Path);
    let truncated: Damage = |directory| {
        with_db(directory, |file| {
            let length = file.metadata().expect("a length").len();
            file.set_len(length / 3).expect("cut");
        });
    };
    let garbled: Damage = |directory| {
        with_db(directory, |file| {
            let length = file.metadata().expect("a length").len();
            for at in [length / 4, length / 2] {
                file.seek(SeekFrom::Start(at)).expect("a place");
                file.write_all(&[0x5A; 4096]).expect("written");
            }
        });
    };
    let snapshot: Damage = |directory| {
        // sled writes one when it is opened.
        drop(sled::open(directory.join("store")).expect("sled opens"));
        let entries = fs::read_dir(directory.join("store")).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").path());
        let is_snapshot = |path: &PathBuf| path.to_string_lossy().contains("/snap.");
        let snapshots: Vec<_> = names.filter(is_snapshot).collect();
        assert!(!snapshots.is_empty());
        snapshots
            .iter()
            .for_each(|path| fs::write(path, "").expect("emptied"));
    };
    let gone: Damage = |directory| fs::remove_file(directory.join("store/db")).expect("removed");
    for (name, damage) in [
        ("truncated", truncated),
        ("garbled", garbled),
        ("snapshot", snapshot),
        ("gone", gone),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fill(directory.path());
        damage(directory.path());
        let before = files(directory.path());
        let (code, report) = check(directory.path());
        assert_eq!(code, 1, "{name}: {report}");
        assert!(report["damage"].is_string(), "{name}: {report}");
        assert!(files(directory.path()) == before, "{name}: it was touched");
        // The gateway sets it aside or goes on without the snapshots, and the check says so.
        let (store, stored) = open(directory.path());
        store.close().expect("the store closes");
        assert_eq!(stored.devices.len(), 2000, "{name}");
        let (code, report) = check(directory.path());
        assert_eq!(code, 1, "{name}: {report}");
        let aside = report["stores_set_aside"].as_array().expect("a list");
        assert!(!aside.is_empty(), "{name}: {report}");
        assert!(report["damage"].is_null(), "{name}: {report}");
    }
}

#[test]
fn records_that_do_not_decode_are_named_and_left_out_of_exports() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    {
        let db = sled::open(directory.path().join("store")).expect("sled opens");
        let tree = db.open_tree("devices").expect("a tree");
        tree.insert([0, 0, 0, 7], b"\xFF\xFF").expect("written");
        db.flush().expect("flushed");
    }
    let (code, report) = check(directory.path());
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["undecodable"][0]["tree"], "devices");
    assert_eq!(report["undecodable"][0]["key"], "00000007");
    assert_eq!(report["records"]["devices"], 1999);
    let output = verb(directory.path(), &["export"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("devices/00000007"), "{told}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.matches("\n{\"device\":").count(), 1999);
    // The gateway moves it aside; that stays told.
    let (store, stored) = open(directory.path());
    assert_eq!(stored.devices.len(), 1999);
    store.close().expect("the store closes");
    let (code, report) = check(directory.path());
    assert_eq!(
        (code, &report["set_aside"][0]),
        (1, &"devices/00000007".into()),
        "{report}"
    );
    let text = verb(directory.path(), &["check"]).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains("set aside        devices/00000007\n"),
        "{text}"
    );
    assert!(text.ends_with("NOT SOUND\n"), "{text}");
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, told) = refused(directory.path(), &["check"]);
    assert!(
        code == 2 && told.contains("there is no store in "),
        "{told}"
    );
    assert_eq!(
        fs::read_dir(directory.path()).expect("a directory").count(),
        0
    );
    fill(directory.path());
    lower_schema(directory.path(), 99);
    let (code, told) = refused(directory.path(), &["check"]);
    assert!(code == 2 && told.contains("schema version is 99"), "{told}");
}

/// Says of a store that it is of this schema.
fn lower_schema(directory: &Path, schema: u8) {
    let db = sled::open(directory.join("store")).expect("sled opens");
    let meta = db.open_tree("meta").expect("a tree");
    meta.insert("schema", [8, schema].as_slice())
        .expect("written");
    db.flush().expect("flushed");
}

fn copies(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("store.schema-"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_store_of_an_older_schema_is_copied_before_it_is_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let (before, export) = (
        exported(directory.path()),
        fs::read(directory.path().join("export.jsonl")).expect("an export"),
    );
    lower_schema(directory.path(), 2);
    let (store, _) = open(directory.path());
    commit(&store, devices([77_777]));
    store.close().expect("the store closes");
    let name = copies(directory.path()).pop().expect("a copy");
    assert!(name.starts_with("store.schema-2."), "{name}");
    let beside = directory.path().join(format!("{name}.export.jsonl"));
    assert_eq!(fs::read(beside).expect("its export"), export);
    // Back to it: the older gateway finds what it left.
    let back = tempfile::tempdir().expect("a directory");
    fs::rename(directory.path().join(&name), back.path().join("store")).expect("renamed");
    let db = sled::open(back.path().join("store")).expect("sled opens");
    let meta = db.open_tree("meta").expect("a tree");
    assert_eq!(
        meta.get("schema").expect("read").as_deref(),
        Some(&[8, 2][..])
    );
    drop((meta, db));
    assert_eq!(body(&exported(back.path())), body(&before));
    // The present schema is not copied, and only so many copies are kept.
    let (store, _) = open(directory.path());
    store.close().expect("the store closes");
    assert_eq!(copies(directory.path()), Vec::<String>::new());
    for made in ["1.100", "1.99", "2.98", "2.101", "x", "2.y"] {
        fs::create_dir(directory.path().join(format!("store.schema-{made}"))).expect("made");
    }
    lower_schema(directory.path(), 1);
    let (store, _) = open(directory.path());
    store.close().expect("the store closes");
    let kept = copies(directory.path());
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert_eq!(kept[0], "store.schema-1.100");
    assert_eq!(
        kept[2..],
        ["store.schema-2.101", "store.schema-2.y", "store.schema-x"]
    );
}

#[test]
fn without_space_for_the_copy_nothing_is_changed() {
    Tmpfs::with(24, |disk| {
        let made = tempfile::tempdir().expect("a directory");
        fill(made.path());
        lower_schema(made.path(), 2);
        let directory = disk.path().join("data");
        fs::create_dir_all(directory.join("store")).expect("made");
        for (path, bytes) in files(made.path()) {
            let name = path.file_name().expect("a name");
            fs::write(directory.join("store").join(name), bytes).expect("written");
        }
        let before = exported(&directory);
        disk.leave(100 << 10);
        let output = disk.start_gateway(&directory);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        assert!(
            told.contains("is copied before it is changed to schema")
                && told.contains("nothing was changed"),
            "{told}"
        );
        assert_eq!(copies(&directory), Vec::<String>::new());
        let (code, told) = refused(&directory, &["check"]);
        assert!(
            code == 2 && told.contains("a copy of it is looked at"),
            "{told}"
        );
        disk.give_back();
        assert!(
            exported(&directory) == before,
            "it is of schema 2 as it was"
        );
    });
}
