//! `gatehouse store`: check, export, import, compact, also when they are killed; the copy before a
//! migration; the full disk.

mod damage;
mod full_disk;
mod kill;
mod made;
mod tmpfs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gatehouse::registry::StoreChange;

use self::made::{body, commit, devices, done, exported, fill, id, open, refused, verb};
use crate::support::process::Process;

#[test]
fn an_export_comes_back_as_the_store_it_was_made_from() {
    let (old, new) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    fill(old.path());
    let file = old.path().join("backup.jsonl");
    let path = file.to_str().expect("a path in UTF-8");
    assert!(done(old.path(), &["export", path, "--all"]).contains("lines: "));
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let export = fs::read_to_string(&file).expect("text");
    assert_eq!(exported(old.path()), export, "the same again");
    for kind in [
        "device",
        "accept_filter",
        "identity",
        "slaves",
        "credential",
        "refusal",
        "enrolment",
        "token",
        "property",
        "coverage",
        "last_status",
        "event",
        "point",
        "audit",
        "end",
    ] {
        let begin = format!("\n{{\"{kind}\":");
        assert!(export.contains(&begin), "there is no {kind}");
    }

    let told = done(new.path(), &["import", path]);
    for line in [
        "devices          2000\n",
        "events           3000\n",
        "points           200\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert_eq!(exported(new.path()), export, "the same bytes");
    assert!(done(new.path(), &["check"]).ends_with("\nsound\n"));
    assert!(done(old.path(), &["check"]).ends_with("\nsound\n"));
    // The export beside the store is new as well.
    let beside = fs::read_to_string(new.path().join("export.jsonl")).expect("an export");
    assert!(beside.contains("{\"property\":"), "it has the properties");

    let (store, found) = open(new.path());
    store.close().expect("the store closes");
    let (store, was) = open(old.path());
    store.close().expect("the store closes");
    assert_eq!(found.devices, was.devices);
    assert_eq!(found.records, was.records);
    assert_eq!(found.identities, was.identities);
    assert_eq!(found.accept_filter, was.accept_filter);
    assert_eq!(found.last_statuses, was.last_statuses);
    assert!(
        found.event_next > was.events_reserved,
        "numbers never repeat"
    );
}

#[test]
fn by_default_an_export_has_the_desired_state_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let export = done(directory.path(), &["export"]);
    assert!(export.contains("\n{\"property\":"));
    for kind in ["event", "last_status", "point", "audit"] {
        assert!(!export.contains(&format!("\n{{\"{kind}\":")), "{kind}");
    }
    let new = tempfile::tempdir().expect("a directory");
    let file = new.path().join("backup.jsonl");
    fs::write(&file, &export).expect("written");
    let data = new.path().join("data");
    done(&data, &["import", file.to_str().expect("a path")]);
    let mode = fs::metadata(&data).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the store is as private as its export");
    assert_eq!(done(&data, &["export"]), export, "the same bytes");
}

#[test]
fn pipes_and_devices_are_written_to_and_a_fault_of_theirs_is_not_the_stores() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let export = exported(directory.path());
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe)
    });
    let path = pipe.to_str().expect("a path in UTF-8");
    assert_eq!(done(directory.path(), &["export", path, "--all"]), "");
    assert!(fs::metadata(&pipe).is_ok_and(|pipe| !pipe.is_file()));
    let read = reader.join().expect("no panic").expect("read");
    assert_eq!(read, export);

    let full = "gatehouse: /dev/full: No space left on device (os error 28)\n".to_owned();
    for arguments in [
        ["export", "/dev/full", "--all"],
        ["export", "/dev/full", "--running"],
    ] {
        assert_eq!(refused(directory.path(), &arguments), (2, full.clone()));
    }
    let device = fs::metadata("/dev/full").expect("it is still there");
    assert!(!device.is_file());
}

#[test]
fn before_the_first_export_of_a_gateway_there_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, told) = refused(directory.path(), &["export", "--running"]);
    assert_eq!(code, 2);
    assert!(
        told.contains("export.jsonl yet; a gateway writes it"),
        "{told}"
    );
}

#[test]
fn what_a_running_gateway_wrote_can_be_imported() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    // Format 1, without a last line.
    let written = fs::read_to_string(directory.path().join("export.jsonl")).expect("an export");
    assert!(written.starts_with("{\"gatehouse_export\":1,"));
    let new = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("export.jsonl");
    done(new.path(), &["import", path.to_str().expect("a path")]);
    assert_eq!(
        body(&done(new.path(), &["export"])),
        body(&done(directory.path(), &["export"]))
    );
}

#[test]
fn a_line_that_cannot_be_is_named_and_nothing_is_imported() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let before = exported(directory.path());
    let file = directory.path().join("bad.jsonl");
    let head = "{\"gatehouse_export\":2,\"groups\":1,\"events_reserved\":9}\n";
    let device = "{\"device\":{\"id\":7,\"address\":\"192.0.2.7:1\",\"use_ssl\":false}}\n";
    for (text, complaint) in [
        (String::new(), "line 1: the export is empty"),
        (
            "door\n".to_owned(),
            "line 1: it does not begin an export: expected value",
        ),
        (device.to_owned(), "line 1: it does not begin an export: "),
        (
            head.replace(":2,", ":3,"),
            "line 1: gatehouse_export: the format is 3 and this gateway knows 1 to 2",
        ),
        (
            head.replace("}", ",\"schema\":99}"),
            "line 1: schema: a newer gateway wrote it (schema 99, ",
        ),
        (
            format!("{head}{device}"),
            "line 3: the export ends here, and its last line, which says so, is missing",
        ),
        (
            format!("{head}{device}{{\"end\":{{\"lines\":3}}}}\n"),
            "line 3: end.lines: 3 lines should come before, 2 do",
        ),
        (
            format!("{head}{device}{device}"),
            "line 3: device 7 is there a second time",
        ),
        (
            format!("{head}{}", device.replace("192.0.2.7:1", "door")),
            "line 2: device.address: invalid",
        ),
        (
            format!("{head}{}", device.replace("use_ssl", "ssl")),
            "line 2: device.ssl: unknown field `ssl`",
        ),
        (
            format!(
                "{head}{{\"point\":{{\"owner\":\"\",\"bucket\":\"b\",\"unix_ms\":1,\"device\":7,\"pson\":\"zz\"}}}}\n"
            ),
            "line 2: point.pson: the value is not in hex",
        ),
    ] {
        fs::write(&file, &text).expect("written");
        let path = file.to_str().expect("a path");
        let (code, told) = refused(directory.path(), &["import", path, "--replace"]);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains(complaint), "{told}");
        assert!(told.contains("nothing was imported"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert_eq!(exported(directory.path()), before);
    }
    assert_eq!(leftovers(directory.path()), Vec::<String>::new());
}

/// What a verb may have left in a data directory.
fn leftovers(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let is_left = |name: &String| name.starts_with("store.") && name != "store.owner";
    names.filter(is_left).collect()
}

#[test]
fn a_store_with_something_in_it_is_replaced_only_where_asked_and_kept() {
    let (from, to) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    fill(from.path());
    let file = from.path().join("backup.jsonl");
    let path = file.to_str().expect("a path");
    done(from.path(), &["export", path]);
    let (store, _) = open(to.path());
    commit(&store, devices([9999]));
    store.close().expect("the store closes");
    let (_, told) = refused(to.path(), &["import", path]);
    assert!(told.contains("with 1 in devices; --replace "), "{told}");
    let told = done(to.path(), &["import", path, "--replace"]);
    assert!(told.contains("store.replaced-"), "{told}");
    assert_eq!(
        body(&done(to.path(), &["export"])),
        body(&done(from.path(), &["export"]))
    );
    let kept = leftovers(to.path()).pop().expect("it is kept");
    let aside = tempfile::tempdir().expect("a directory");
    fs::rename(to.path().join(kept), aside.path().join("store")).expect("renamed");
    assert!(done(aside.path(), &["export"]).contains("\"id\":9999,"));
    // A gateway goes on with it, and numbers go on.
    let (store, stored) = open(to.path());
    assert_eq!(stored.devices.len(), 2000);
    store.close().expect("the store closes");
    // One that a gateway made and nobody used is empty.
    let fresh = tempfile::tempdir().expect("a directory");
    let (store, _) = open(fresh.path());
    store.close().expect("the store closes");
    done(fresh.path(), &["import", path]);
    assert_eq!(leftovers(fresh.path()), Vec::<String>::new());
}

#[test]
fn a_running_gateway_is_named_and_left_alone() {
    let mut gateway = Process::start("");
    let data = gateway.data_dir();
    let holder = format!("process {}", gateway.pid());
    let file = data.join("backup.jsonl");
    let path = file.to_str().expect("a path");
    for arguments in [
        &["check"][..],
        &["export"],
        &["compact"],
        &["import", path, "--replace"],
    ] {
        fs::write(&file, "").expect("written");
        let (code, told) = refused(&data, arguments);
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains(&holder) && told.contains("stop the gateway"),
            "{told}"
        );
    }
    let (_, told) = refused(&data, &["export"]);
    assert!(told.contains("--running"), "{told}");
    gateway.stop();
    gateway.restart();
    let output = verb(&data, &["export", path, "--running"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("s ago"), "{told}");
    gateway.kill();
    let new = tempfile::tempdir().expect("a directory");
    done(new.path(), &["import", path]);
    assert_eq!(
        body(&done(new.path(), &["export"])),
        body(&done(&data, &["export"]))
    );
}

#[test]
fn compacting_gives_space_back_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(directory.path());
    let (store, _) = open(directory.path());
    for round in 0..40 {
        commit(
            &store,
            devices((0..20_000).map(|n| 10_000 + (n * 7 + round) % 50_000)),
        );
    }
    commit(
        &store,
        StoreChange::DeleteDevices((10_000..60_000).map(id).collect()),
    );
    store.close().expect("the store closes");
    let before = exported(directory.path());
    let told = done(directory.path(), &["compact"]);
    let size = |at: usize| {
        let (number, unit) = (
            told.split_whitespace().nth(at),
            told.split_whitespace().nth(at + 1),
        );
        let number: f64 = number
            .and_then(|number| number.parse().ok())
            .expect("a number");
        number * if unit == Some("MiB") { 1024.0 } else { 1.0 }
    };
    assert!(size(3) * 4.0 < size(0), "{told}");
    assert_eq!(exported(directory.path()), before);
    assert!(done(directory.path(), &["check"]).ends_with("\nsound\n"));
    assert_eq!(leftovers(directory.path()), Vec::<String>::new());
    eprintln!("compact: {told}");
}
