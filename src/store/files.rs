//! The files beside sled: who has the store open, and the export.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

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

    pub fn export(&self) -> PathBuf {
        self.directory.join("export.jsonl")
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
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&mut file))),
        Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
    }
    sign(&mut file).map_err(LockError::Io)?;
    Ok(file)
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
pub fn replace_with<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    let mut buffered = BufWriter::new(new.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    new.as_file().sync_all()?;
    new.persist(path).map_err(io::Error::from)?;
    Ok(sync_directory(directory)?)
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

/// The bytes that are free for us on the file system of this directory.
///
/// # Errors
/// What the operating system says.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let told = nix::sys::statvfs::statvfs(directory)?;
    Ok(told.blocks_available().saturating_mul(told.fragment_size()))
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

/// Has the names in a directory on disk.
///
/// # Errors
/// What the operating system says.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Moves sled's snapshot files to a directory of their own. It makes new ones from its log.
///
/// # Errors
/// What the operating system says.
pub fn move_snapshots(store: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
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
