//! The files beside sled: who has the store open, and the export.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

const COPY_OF_SCHEMA: &str = "store.schema-";

/// How the names of sled's snapshots begin, and end while they are written.
const SNAPSHOT: &str = "snap.";
const UNFINISHED: &str = ".generating";

/// How often, and after which time, a lock is tried for again that another holds.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Where the export goes that belongs to a copy of a store.
pub fn export_beside(copy: &Path) -> PathBuf {
    let mut name = copy.as_os_str().to_owned();
    name.push(".export.jsonl");
    name.into()
}

/// Where things lie in the data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// sled's own directory.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    pub fn owner(&self) -> PathBuf {
        self.directory.join("store.owner")
    }

    /// Holds space for a start on a full disk.
    pub fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    pub fn export(&self) -> PathBuf {
        self.directory.join("export.jsonl")
    }

    /// Where a new store is built, which then takes the place of the old one.
    pub fn building(&self) -> PathBuf {
        self.directory.join("store.building")
    }

    /// Where the export of that new store waits.
    pub fn building_export(&self) -> PathBuf {
        export_beside(&self.building())
    }

    /// Where a copy of the store is made, until it is whole.
    pub fn copying(&self) -> PathBuf {
        self.directory.join("store.copying")
    }

    /// Where a copy of the store is looked at.
    pub fn checking(&self) -> PathBuf {
        self.directory.join("store.checking")
    }

    /// Where the old store waits while the new one takes its place, on file systems that cannot
    /// exchange the two.
    pub fn outgoing(&self) -> PathBuf {
        self.directory.join("store.outgoing")
    }

    /// Where a store goes that an import replaced.
    pub fn replaced(&self, unix_seconds: u64) -> PathBuf {
        self.directory
            .join(format!("store.replaced-{unix_seconds}"))
    }

    /// Where the copy of a store of an older schema goes.
    pub fn copy_of_schema(&self, schema: u32, unix_seconds: u64) -> PathBuf {
        let name = format!("{COPY_OF_SCHEMA}{schema}.{unix_seconds}");
        self.directory.join(name)
    }

    /// The copies of stores of older schemas, the oldest first.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn copies_of_schemas(&self) -> io::Result<Vec<PathBuf>> {
        let mut copies = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let numbers = name
                .strip_prefix(COPY_OF_SCHEMA)
                .and_then(|name| name.split_once('.'));
            let made = numbers.and_then(|(_, made)| made.parse::<u64>().ok());
            copies.extend(made.map(|made| (made, entry.path())));
        }
        copies.sort();
        Ok(copies.into_iter().map(|(_, path)| path).collect())
    }

    /// The names of what was set aside as damaged, sorted.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn quarantines(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("store.quarantine-") && entry.file_type()?.is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Where what is damaged goes; `suffix` tells several of one second apart.
    pub fn quarantine(&self, unix_seconds: u64, suffix: &str) -> PathBuf {
        let name = format!("store.quarantine-{unix_seconds}{suffix}");
        self.directory.join(name)
    }
}

/// Why the store was not locked.
#[derive(Debug)]
pub enum LockError {
    /// Who has it, in words.
    Held(String),
    Io(io::Error),
}

/// Tries again for a moment what fails because of a lock. Whoever had it may be just going, and a
/// child that is being started holds copies of the locks of its parent until it runs its program.
pub fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_held: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..LOCK_TRIES {
        match attempt() {
            Err(error) if is_held(&error) => thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    attempt()
}

/// Takes the lock of a file, which may be just being released.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when another keeps it.
pub fn take_lock(file: &File) -> Result<(), TryLockError> {
    let is_held = |error: &TryLockError| matches!(error, TryLockError::WouldBlock);
    patiently(|| file.try_lock(), is_held)
}

/// Makes a data directory that only its owner may enter, where there is none: the store in it has
/// what the export has, which nobody else may read either.
///
/// # Errors
/// That it cannot be made.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    // Another process may have made it meanwhile.
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes the data directory for this process, until the file is dropped or the process ends.
///
/// # Errors
/// [`LockError::Held`] when another has it.
pub fn lock(path: &Path) -> Result<File, LockError> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(LockError::Io)?;
    match take_lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
    }
    match sign(&mut file) {
        // On a full disk nobody is told who has it: the lock holds all the same.
        Err(error) if is_no_space(&error) => Ok(file),
        signed => signed.map(|()| file).map_err(LockError::Io),
    }
}

/// Replaces a file so that at every instant either the old or the new one is whole on disk.
///
/// # Errors
/// What the operating system says; the old file then stays.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(contents))
}

/// Does the same with what `write` writes; where that fails, the old file stays.
///
/// # Errors
/// What the operating system says, and what `write` returns.
pub fn replace_with<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    let mut buffered = BufWriter::new(new.as_file_mut());
    let wrote = write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    new.as_file().sync_all()?;
    new.persist(path).map_err(io::Error::from)?;
    sync_directory(directory)?;
    Ok(wrote)
}

/// The first line of a file, at most 1,024 bytes of it; empty when there is no such file.
///
/// # Errors
/// What the operating system says.
pub fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut line = Vec::new();
    BufReader::new(file.take(1024)).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Copies the lines that are `wanted`; none where there is no such file.
///
/// # Errors
/// What the operating system says.
pub fn copy_lines(
    path: &Path,
    to: &mut dyn Write,
    wanted: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut lines = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => BufReader::new(file?),
    };
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if wanted(&line) && line.ends_with(b"\n") {
            to.write_all(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// The space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    pub size: u64,
    /// For us: some may be kept for the superuser.
    pub free: u64,
}

/// The space of the file system of this directory.
///
/// # Errors
/// What the operating system says.
pub fn space(directory: &Path) -> io::Result<FileSystem> {
    let told = nix::sys::statvfs::statvfs(directory)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.fragment_size());
    Ok(FileSystem {
        size: bytes(told.blocks()),
        free: bytes(told.blocks_available()),
    })
}

/// When a file was last written, in seconds since the Unix epoch; 0 where that cannot be told.
pub fn modified_unix_seconds(path: &Path) -> u64 {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = written
        .ok()
        .and_then(|written| written.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

/// The bytes of the files in a directory, and in those in it.
///
/// # Errors
/// What the operating system says.
pub fn size(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// Copies a directory and what is in it to one that is not there yet; all of it is on disk then.
///
/// # Errors
/// What the operating system says; what was copied by then stays.
pub fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_directory(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    sync_directory(to)
}

/// Has the files in a directory, and those in directories in it, on disk.
///
/// # Errors
/// What the operating system says.
pub fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_files(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_directory(directory)
}

/// Removes a directory and what is in it; done where there is none.
///
/// # Errors
/// What the operating system says.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Has the names in a directory on disk.
///
/// # Errors
/// What the operating system says.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The bytes of sled's snapshot files.
///
/// # Errors
/// What the operating system says.
pub fn snapshots_size(store: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Removes snapshot files that sled could not finish: it would take one for its newest.
///
/// # Errors
/// What the operating system says.
pub fn remove_unfinished_snapshots(store: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(SNAPSHOT) && name.ends_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether there is no space for what was to be written.
pub fn is_no_space(error: &io::Error) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    full.contains(&error.kind())
}

/// Moves sled's snapshot files to a directory of their own. It makes new ones from its log.
///
/// # Errors
/// What the operating system says.
pub fn move_snapshots(store: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
            fs::create_dir_all(to)?;
            fs::rename(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}", std::process::id())?;
    file.sync_data()
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text);
    match text.trim() {
        holder if read.is_ok() && !holder.is_empty() => holder.escape_default().to_string(),
        _ => "another process".to_owned(),
    }
}
