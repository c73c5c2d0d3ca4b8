//! Tells when the files that the gateway reads were changed: written, replaced by a rename, or
//! swapped behind a symbolic link, as mounted Kubernetes volumes do it. A file that is written in
//! place is told of when whoever writes it has closed it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc;

use super::key_files;
use crate::config::Config;

/// Whoever replaces files replaces several: they are read when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(300);
/// Changes that never end are told all the same, so often …
const LONGEST: Duration = Duration::from_secs(5);
/// … but so long is waited for whoever has written a part of a file and not closed it.
const LONGEST_WRITE: Duration = Duration::from_mins(1);
/// As many symbolic links as the system follows in one path.
const LINKS_MAX: usize = 40;

/// The folders whose files the gateway reads: certificates and link keys.
pub fn watched_paths(config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![config.certs_dir()];
    paths.extend(key_files::folders(&config.keys_dir()));
    paths
}

/// Watches folders and single files; a message comes after each change, when it has been quiet for a moment
/// and nobody is in the middle of writing one of them. A folder that is not there yet is found when
/// it is made, if the one above it is there. Ends after the first change that nobody waits for.
///
/// # Errors
/// When the system has no more watches, or does not allow them.
pub fn watch(folders: Vec<PathBuf>, files: Vec<PathBuf>) -> io::Result<mpsc::Receiver<()>> {
    let watches = Watches::new(folders, files)?;
    // One message is enough for all changes that nobody has looked at yet.
    let (changed, changes) = mpsc::channel(1);
    let thread = thread::Builder::new().name("watch".to_owned());
    thread.spawn(move || tell(watches, &changed))?;
    Ok(changes)
}

/// On a thread of its own, which sleeps until the system wakes it.
fn tell(mut watches: Watches, changed: &mpsc::Sender<()>) {
    loop {
        if let Err(error) = watches.wait() {
            tracing::error!(%error, "changes of files are no longer noticed; SIGHUP has them read again");
            return;
        }
        // A full channel holds a message that tells of this change as well.
        if let Err(mpsc::error::TrySendError::Closed(())) = changed.try_send(()) {
            return;
        }
    }
}

/// What is watched in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    /// Entries on the way to a folder or a file that we read.
    Some(BTreeSet<OsString>),
}

impl Names {
    fn add(&mut self, name: OsString) {
        if let Self::Some(names) = self {
            names.insert(name);
        }
    }

    fn contain(&self, name: Option<&OsString>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Some(names), Some(name)) => names.contains(name),
            // The folder itself went away.
            (Self::Some(_), None) => true,
        }
    }
}

struct Watches {
    inotify: Inotify,
    folders: Vec<PathBuf>,
    /// Single files in folders that are not ours.
    files: Vec<PathBuf>,
    watched: BTreeMap<i32, (WatchDescriptor, Names)>,
    /// What was written to and not closed since, by its folder.
    half_written: BTreeSet<(i32, Option<OsString>)>,
}

impl Watches {
    fn new(folders: Vec<PathBuf>, files: Vec<PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut watches = Self {
            inotify,
            folders,
            files,
            watched: BTreeMap::new(),
            half_written: BTreeSet::new(),
        };
        watches.renew()?;
        Ok(watches)
    }

    /// Waits for a change, and then until it is quiet.
    fn wait(&mut self) -> io::Result<()> {
        while !self.take_change()? {
            self.sleep(PollTimeout::NONE)?;
        }
        let began = Instant::now();
        let mut newest = began;
        loop {
            let left = self.due(began, newest);
            let left = left.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Who never closes a file is waited for once.
                self.half_written.clear();
                return Ok(());
            }
            self.sleep(PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO))?;
            if self.take_change()? {
                newest = Instant::now();
            }
        }
    }

    /// When changes are told of which the first and the newest came then.
    fn due(&self, began: Instant, newest: Instant) -> Instant {
        match self.half_written.is_empty() {
            true => (newest + QUIET).min(began + LONGEST),
            false => began + LONGEST_WRITE,
        }
    }

    /// Until there is something to read, or the time is over, or a signal comes.
    fn sleep(&self, time: PollTimeout) -> io::Result<()> {
        let mut waiting = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, time) {
            Err(Errno::EINTR) => Ok(()),
            ready => Ok(ready.map(|_| ())?),
        }
    }

    /// Whether something has changed since the last call, and is not only being changed. It does
    /// not block.
    fn take_change(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            let events = match self.inotify.read_events() {
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                events => events?,
            };
            for event in events {
                let overflow = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                let watched = self.watched.get(&event.wd.as_raw());
                let named = watched.is_some_and(|(_, names)| names.contain(event.name.as_ref()));
                let file = (event.wd.as_raw(), event.name);
                if named && event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    self.half_written.insert(file);
                    continue;
                }
                self.half_written.remove(&file);
                changed |= overflow || named;
            }
        }
        if changed {
            // A folder or a link may stand for another one now.
            self.renew()?;
        }
        Ok(changed)
    }

    fn renew(&mut self) -> io::Result<()> {
        let mut watched: BTreeMap<i32, (WatchDescriptor, Names)> = BTreeMap::new();
        for (folder, names) in self.wanted() {
            let added = match self.inotify.add_watch(&folder, flags()) {
                // It is not there yet, or no longer: the folder above tells when it comes.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
                added => added?,
            };
            // Two paths may lead to one folder.
            watched
                .entry(added.as_raw())
                .and_modify(|(_, known)| match (&mut *known, &names) {
                    (Names::Some(known), Names::Some(more)) => known.extend(more.iter().cloned()),
                    _ => *known = Names::All,
                })
                .or_insert((added, names));
        }
        for (raw, (gone, _)) in &self.watched {
            if !watched.contains_key(raw) {
                // The system has removed it already when its folder is gone.
                let _ = self.inotify.rm_watch(*gone);
            }
        }
        self.watched = watched;
        Ok(())
    }

    /// The folders to watch, and what in each: all of ours, and of others what leads to ours.
    fn wanted(&self) -> BTreeMap<PathBuf, Names> {
        let mut wanted: BTreeMap<PathBuf, Names> = BTreeMap::new();
        for folder in &self.folders {
            lead_to(folder, &mut wanted);
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    lead_to(&entry.path(), &mut wanted);
                }
            }
        }
        for file in &self.files {
            lead_to(file, &mut wanted);
        }
        for folder in &self.folders {
            wanted.insert(folder.clone(), Names::All);
        }
        wanted
    }
}

/// What changes a file, and nothing that reads it.
fn flags() -> AddWatchFlags {
    AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_ONLYDIR
}

/// Adds the entries that can make a path lead elsewhere: its last one, and every symbolic link on
/// the way, where it stands.
fn lead_to(path: &Path, wanted: &mut BTreeMap<PathBuf, Names>) {
    let mut add = |entry: &Path| {
        if let (Some(folder), Some(name)) = (entry.parent(), entry.file_name()) {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            wanted
                .entry(folder.to_owned())
                .or_insert_with(|| Names::Some(BTreeSet::new()))
                .add(name.to_owned());
        }
    };
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        add(&path);
        let Some((link, target)) = first_link(&path) else {
            return;
        };
        add(&link);
        path = target;
    }
}

/// The first symbolic link on a path, and the path with what the link stands for in its place.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut done = PathBuf::new();
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        if component == Component::ParentDir {
            done.pop();
            continue;
        }
        done.push(component);
        if let Ok(target) = std::fs::read_link(&done) {
            let folder = done.parent().unwrap_or(Path::new(""));
            let target = folder.join(target).join(rest.as_path());
            return Some((done, target));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder that is watched, with one file; nothing has changed yet.
    fn folder() -> (tempfile::TempDir, PathBuf, Watches) {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("certs");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        let watches = Watches::new(vec![folder.clone()], Vec::new()).unwrap();
        (parent, folder, watches)
    }

    #[test]
    fn a_file_that_is_written_replaced_made_or_removed_counts() {
        let (parent, folder, mut watches) = folder();
        assert!(!watches.take_change().unwrap());
        fs::write(folder.join("a"), "2").unwrap();
        assert!(watches.take_change().unwrap());
        assert!(!watches.take_change().unwrap());
        let new = parent.path().join("new");
        fs::write(&new, "3").unwrap();
        assert!(!watches.take_change().unwrap());
        fs::rename(&new, folder.join("a")).unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(folder.join("b"), "").unwrap();
        assert!(watches.take_change().unwrap());
        fs::remove_file(folder.join("b")).unwrap();
        assert!(watches.take_change().unwrap());
    }

    #[test]
    fn reading_does_not_count() {
        let (_parent, folder, mut watches) = folder();
        for _ in 0..3 {
            fs::read_to_string(folder.join("a")).unwrap();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
            fs::metadata(folder.join("a")).unwrap();
        }
        assert!(!watches.take_change().unwrap());
    }

    #[test]
    fn a_file_counts_when_whoever_writes_it_has_closed_it() {
        let (_parent, folder, mut watches) = folder();
        let began = Instant::now();
        let quiet = began + QUIET;
        let mut file = fs::File::create(folder.join("a")).unwrap();
        file.write_all(b"a half").unwrap();
        assert!(!watches.take_change().unwrap());
        // Another file is changed meanwhile.
        fs::write(folder.join("b"), "").unwrap();
        assert!(watches.take_change().unwrap());
        assert_eq!(watches.due(began, began), began + LONGEST_WRITE);
        file.write_all(b", and the other").unwrap();
        assert!(!watches.take_change().unwrap());
        assert_eq!(watches.due(began, began), began + LONGEST_WRITE);
        drop(file);
        assert!(watches.take_change().unwrap());
        assert_eq!(watches.due(began, began), quiet);
        assert_eq!(watches.due(began, began + LONGEST), began + LONGEST);
    }

    #[test]
    fn what_was_half_written_and_moved_away_is_not_waited_for() {
        let (_parent, folder, mut watches) = folder();
        let mut file = fs::File::create(folder.join("a")).unwrap();
        file.write_all(b"a half").unwrap();
        assert!(!watches.take_change().unwrap());
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        assert!(watches.take_change().unwrap());
        assert!(watches.half_written.is_empty());
    }

    #[test]
    fn a_volume_that_swaps_a_link_counts() {
        let (_parent, folder, _) = folder();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("ca.crt"), text).unwrap();
        }
        symlink("..1", folder.join("..data")).unwrap();
        symlink("..data/ca.crt", folder.join("ca.crt")).unwrap();
        let mut watches = Watches::new(vec![folder.clone()], Vec::new()).unwrap();
        symlink("..2", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        assert!(watches.take_change().unwrap());
        let now = fs::read_to_string(folder.join("ca.crt")).unwrap();
        assert_eq!(now, "two");
    }

    #[test]
    fn a_file_behind_links_in_other_folders_counts() {
        let (parent, folder, _) = folder();
        let live = parent.path().join("live");
        for version in ["1", "2"] {
            fs::create_dir_all(live.join(version)).unwrap();
            fs::write(live.join(version).join("tls.crt"), version).unwrap();
        }
        symlink("1", live.join("current")).unwrap();
        symlink("../live/current/tls.crt", folder.join("server.crt")).unwrap();
        let mut watches = Watches::new(vec![folder.clone()], Vec::new()).unwrap();
        fs::write(live.join("other"), "").unwrap();
        assert!(!watches.take_change().unwrap());
        symlink("2", live.join("next")).unwrap();
        fs::rename(live.join("next"), live.join("current")).unwrap();
        assert!(watches.take_change().unwrap());
        // It leads elsewhere now: that place is watched from here on.
        fs::write(live.join("2/tls.crt"), "changed").unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(live.join("1/tls.crt"), "changed").unwrap();
        assert!(!watches.take_change().unwrap());
    }

    #[test]
    fn of_a_single_file_its_neighbours_do_not_count() {
        let (_parent, folder, _) = folder();
        let file = folder.join("a");
        let mut watches = Watches::new(Vec::new(), vec![file.clone()]).unwrap();
        fs::write(folder.join("b"), "").unwrap();
        assert!(!watches.take_change().unwrap());
        fs::write(&file, "2").unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(folder.join("a.new"), "3").unwrap();
        assert!(!watches.take_change().unwrap());
        fs::rename(folder.join("a.new"), &file).unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(&file, "4").unwrap();
        assert!(watches.take_change().unwrap());
    }

    #[test]
    fn a_folder_that_comes_later_or_is_replaced_is_watched() {
        let (parent, folder, _) = folder();
        let late = parent.path().join("keys");
        let mut watches = Watches::new(vec![folder.clone(), late.clone()], Vec::new()).unwrap();
        fs::create_dir(&late).unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(late.join("a"), "").unwrap();
        assert!(watches.take_change().unwrap());
        fs::rename(&folder, parent.path().join("old")).unwrap();
        assert!(watches.take_change().unwrap());
        fs::create_dir(&folder).unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(folder.join("a"), "").unwrap();
        assert!(watches.take_change().unwrap());
        fs::write(parent.path().join("old/a"), "").unwrap();
        assert!(!watches.take_change().unwrap());
        fs::write(parent.path().join("beside"), "").unwrap();
        assert!(!watches.take_change().unwrap());
    }

    #[tokio::test]
    async fn changes_are_told_to_whoever_waits() {
        let (_parent, folder, _) = folder();
        let mut changes = watch(vec![folder.clone()], Vec::new()).unwrap();
        for round in 0..2 {
            fs::write(folder.join("a"), "x").unwrap();
            fs::write(folder.join("b"), "x").unwrap();
            assert_eq!(changes.recv().await, Some(()), "{round}");
        }
    }

    #[test]
    fn the_folders_of_certificates_and_keys_are_watched_and_not_the_tickets() {
        let config = Config {
            data_dir: "data".into(),
            ..Config::default()
        };
        let paths = watched_paths(&config);
        let expected = ["data/certs", "data/keys/fleet", "data/keys/device"];
        assert_eq!(paths, expected.map(PathBuf::from));
    }
}
