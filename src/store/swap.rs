//! A new store in the place of the old one: at every instant one of them is there, whole.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::clock;
use crate::store::files::{self, Layout};

/// Tidies up after a process that was killed: what was half built goes, and an old store comes back
/// whose place the new one had not taken yet.
///
/// # Errors
/// What the operating system says.
pub fn settle(layout: &Layout) -> io::Result<()> {
    if layout.outgoing().exists() && !layout.store().exists() {
        fs::rename(layout.outgoing(), layout.store())?;
        files::sync_directory(layout.directory())?;
    } else if layout.outgoing().exists() {
        let unix_seconds = clock::now().unix_ms / 1000;
        fs::rename(layout.outgoing(), layout.replaced(unix_seconds))?;
    }
    for left in [layout.building(), layout.copying(), layout.checking()] {
        files::remove_directory(&left)?;
    }
    match fs::remove_file(layout.building_export()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts what was built into the place of the store. The old one, if there was one, then lies where
/// the new one was built.
///
/// # Errors
/// What the operating system says; then the old one is in its place.
pub fn put_in_place(layout: &Layout, built: &Path) -> io::Result<()> {
    files::sync_files(built)?;
    let store = layout.store();
    if !store.exists() {
        fs::rename(built, store)?;
        return files::sync_directory(layout.directory());
    }
    match renameat2(
        AT_FDCWD,
        built,
        AT_FDCWD,
        &store,
        RenameFlags::RENAME_EXCHANGE,
    ) {
        // Not every file system can do it.
        Err(Errno::EINVAL | Errno::ENOSYS) => exchange_by_steps(layout, built)?,
        other => other?,
    }
    files::sync_directory(layout.directory())
}

/// After a kill between two steps, [`settle`] takes up the old one or finds the new one in place.
fn exchange_by_steps(layout: &Layout, built: &Path) -> io::Result<()> {
    fs::rename(layout.store(), layout.outgoing())?;
    if let Err(error) = fs::rename(built, layout.store()) {
        fs::rename(layout.outgoing(), layout.store())?;
        return Err(error);
    }
    fs::rename(layout.outgoing(), built)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(path: &Path, is: &str) {
        fs::create_dir(path).expect("made");
        fs::write(path.join("is"), is).expect("written");
    }

    fn is(path: &Path) -> String {
        fs::read_to_string(path.join("is")).unwrap_or_default()
    }

    #[test]
    fn what_was_built_takes_the_place_of_the_store() {
        type Exchange = fn(&Layout, &Path) -> io::Result<()>;
        for exchange in [put_in_place as Exchange, exchange_by_steps] {
            let directory = tempfile::tempdir().expect("a directory");
            let layout = Layout::new(directory.path());
            make(&layout.store(), "old");
            make(&layout.building(), "new");
            exchange(&layout, &layout.building()).expect("exchanged");
            assert_eq!(
                (is(&layout.store()), is(&layout.building())),
                ("new".into(), "old".into())
            );
            settle(&layout).expect("settled");
            assert_eq!(is(&layout.store()), "new");
            assert!(!layout.building().exists());
        }
    }

    #[test]
    fn a_kill_between_two_steps_leaves_a_whole_store() {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(directory.path());
        make(&layout.outgoing(), "old");
        make(&layout.building(), "new");
        settle(&layout).expect("settled");
        assert_eq!(is(&layout.store()), "old");
        make(&layout.outgoing(), "older");
        settle(&layout).expect("settled");
        assert_eq!(is(&layout.store()), "old");
        assert!(!layout.outgoing().exists());
        let replaced = fs::read_dir(directory.path()).expect("read").flatten();
        let kept: Vec<String> = replaced.map(|entry| is(&entry.path())).collect();
        assert!(kept.contains(&"older".to_owned()), "{kept:?}");
    }
}
