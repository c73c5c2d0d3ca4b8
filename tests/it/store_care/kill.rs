//! `kill -9` while a verb works: the old store is there, or the new one, whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::made::{body, commit, devices, done, exported, fill, open};
use crate::support::process::BINARY;

/// Starts a verb on this data directory.
fn start(directory: &Path, arguments: &[&str]) -> Child {
    Command::new(BINARY)
        .arg("store")
        .args(arguments)
        .arg("--data-dir")
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs")
}

/// Kills a verb once it has come so far; whether it was still running.
fn kill_when(mut child: Child, is_there: impl Fn() -> bool) -> bool {
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{status}");
            return false;
        }
        if is_there() {
            child.kill().expect("killed");
            child.wait().expect("ended");
            return true;
        }
    }
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("a directory");
    fs::create_dir(to.path().join("store")).expect("made");
    for entry in fs::read_dir(from.join("store")).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            let place = to.path().join("store").join(entry.file_name());
            fs::copy(entry.path(), place).expect("copied");
        }
    }
    to
}

/// How large the file is that is being built.
fn built(directory: &Path) -> u64 {
    let file = directory.join("store.building/db");
    fs::metadata(file).map_or(0, |file| file.len())
}

/// Kills a verb at ever later moments, in all its stages, until it ends by itself. What is there
/// then must be one of `wholes`; how often each was.
fn kill_at_all_stages(from: &Path, arguments: &[&str], steps: u64, wholes: &[&str]) -> Vec<usize> {
    let mut seen = vec![0; wholes.len()];
    let mut judge = |directory: &Path| {
        let found = exported(directory);
        let place = wholes.iter().position(|whole| *whole == body(&found));
        seen[place.expect("neither the old store nor the new one")] += 1;
        assert!(!directory.join("store.building").exists());
        // A gateway starts with it.
        let (store, _) = open(directory);
        store.close().expect("the store closes");
    };
    let size = {
        let directory = copy(from);
        let mut largest = 0;
        let mut child = start(directory.path(), arguments);
        while child.try_wait().expect("a child").is_none() {
            largest = largest.max(built(directory.path()));
        }
        judge(directory.path());
        largest
    };
    for step in 0..steps {
        let directory = copy(from);
        let child = start(directory.path(), arguments);
        kill_when(child, || built(directory.path()) > size * step / steps);
        judge(directory.path());
    }
    // The moments of the exchange and after it.
    for stage in 0..6 {
        let directory = copy(from);
        let child = start(directory.path(), arguments);
        let (store, building) = (
            directory.path().join("store"),
            directory.path().join("store.building"),
        );
        let was = inode(&store);
        kill_when(child, || match stage % 3 {
            0 => inode(&store) != was,
            1 => inode(&store) != was && !building.exists(),
            _ => directory
                .path()
                .join("store.building.export.jsonl")
                .exists(),
        });
        judge(directory.path());
    }
    seen
}

fn inode(path: &PathBuf) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[test]
fn an_import_that_is_killed_leaves_the_old_store_or_the_new_one() {
    let old = tempfile::tempdir().expect("a directory");
    let (store, _) = open(old.path());
    commit(&store, devices(100..=200));
    store.close().expect("the store closes");
    let new = tempfile::tempdir().expect("a directory");
    fill(new.path());
    let file = new.path().join("backup.jsonl");
    let path = file.to_str().expect("a path");
    done(new.path(), &["export", path, "--all"]);
    let (before, after) = (exported(old.path()), exported(new.path()));
    let arguments = ["import", path, "--replace"];
    let seen = kill_at_all_stages(old.path(), &arguments, 10, &[body(&before), body(&after)]);
    assert!(seen[0] >= 5 && seen[1] >= 2, "{seen:?}");
}

#[test]
fn a_compaction_that_is_killed_costs_nothing() {
    let old = tempfile::tempdir().expect("a directory");
    fill(old.path());
    let before = exported(old.path());
    let seen = kill_at_all_stages(old.path(), &["compact"], 10, &[body(&before)]);
    assert_eq!(seen, [17]);
}
